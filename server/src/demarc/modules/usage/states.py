from __future__ import annotations

from enum import StrEnum


class BilledStatus(StrEnum):
    PENDING = "pending"
    BILLED = "billed"
    ERROR = "error"
    EXCLUDED = "excluded"
