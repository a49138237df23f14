from __future__ import annotations

from enum import StrEnum

from demarc.kernel.states import StateMachine


class Channel(StrEnum):
    EMAIL = "email"
    SMS = "sms"


class NotificationStatus(StrEnum):
    """`failed` is definitive: the recipient's server refused, or every attempt within a day went unanswered."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


NOTIFICATION = StateMachine(
    "notification",
    {
        NotificationStatus.PENDING: frozenset({NotificationStatus.SENT, NotificationStatus.FAILED}),
        NotificationStatus.SENT: frozenset(),
        NotificationStatus.FAILED: frozenset(),
    },
)
