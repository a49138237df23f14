from __future__ import annotations

from enum import StrEnum

from demarc.kernel.states import StateMachine


class UserStatus(StrEnum):
    """Somebody who left is disabled, never deleted: the audit log names him."""

    ACTIVE = "active"
    DISABLED = "disabled"


USER = StateMachine[UserStatus](
    "user",
    {
        UserStatus.ACTIVE: frozenset({UserStatus.DISABLED}),
        UserStatus.DISABLED: frozenset({UserStatus.ACTIVE}),
    },
)


class Role(StrEnum):
    """What a member of staff may do; `permissions.py` lists it."""

    ADMIN = "admin"
    SUPPORT = "support"
    BILLING = "billing"
    TECHNICIAN = "technician"
    RESELLER = "reseller"
    READ_ONLY = "read_only"
