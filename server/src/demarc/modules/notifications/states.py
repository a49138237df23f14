from __future__ import annotations

from enum import StrEnum


class Channel(StrEnum):
    EMAIL = "email"
    SMS = "sms"


class NotificationStatus(StrEnum):
    """`failed` is definitive: the recipient's server refused, or every attempt within a day went unanswered."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
