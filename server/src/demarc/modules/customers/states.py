from __future__ import annotations

from enum import StrEnum

from demarc.kernel.states import StateMachine


class CustomerStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"


CUSTOMER = StateMachine[CustomerStatus](
    "customer",
    {
        CustomerStatus.ACTIVE: frozenset({CustomerStatus.SUSPENDED, CustomerStatus.TERMINATED}),
        CustomerStatus.SUSPENDED: frozenset({CustomerStatus.ACTIVE, CustomerStatus.TERMINATED}),
        CustomerStatus.TERMINATED: frozenset(),
    },
)


class CustomerTier(StrEnum):
    BASIC = "basic"
    STANDARD = "standard"
    PREMIUM = "premium"
    VIP = "vip"
