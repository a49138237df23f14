from __future__ import annotations

from enum import StrEnum

from demarc.kernel.states import StateMachine


class BilledStatus(StrEnum):
    PENDING = "pending"
    BILLED = "billed"
    ERROR = "error"
    EXCLUDED = "excluded"


BILLING = StateMachine[BilledStatus](
    "usage record",
    {
        BilledStatus.PENDING: frozenset({BilledStatus.BILLED, BilledStatus.ERROR, BilledStatus.EXCLUDED}),
        BilledStatus.BILLED: frozenset({BilledStatus.PENDING}),  # its invoice was voided
        BilledStatus.ERROR: frozenset({BilledStatus.PENDING, BilledStatus.EXCLUDED}),
        BilledStatus.EXCLUDED: frozenset({BilledStatus.PENDING}),
    },
)
