from __future__ import annotations

from enum import StrEnum


class UserStatus(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"


class Role(StrEnum):
    """What a member of staff may do; `permissions.py` lists it."""

    ADMIN = "admin"
    SUPPORT = "support"
    BILLING = "billing"
    TECHNICIAN = "technician"
    READ_ONLY = "read_only"
