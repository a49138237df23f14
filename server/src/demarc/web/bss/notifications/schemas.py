"""Bodies of `/api/notifications`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from demarc.modules.notifications.queries import Notification
from demarc.modules.notifications.states import Channel, NotificationStatus
from demarc.web.bss.parameters import Listed


class NotificationOut(BaseModel):
    """One message to one customer, as it went out or will."""

    id: UUID
    customer_id: UUID
    channel: Channel
    template: str
    recipient: str
    subject: str
    body: str
    about: str
    status: NotificationStatus
    attempts: int
    last_error: str | None
    created_at: datetime
    sent_at: datetime | None


class NotificationList(Listed):
    """A window of the list."""

    notifications: list[NotificationOut]


def notification_out(row: Notification, customers: dict[int, UUID]) -> NotificationOut:
    return NotificationOut.model_construct(
        id=row.uid,
        customer_id=customers[row.customer_id],
        channel=Channel(row.channel),
        template=row.template,
        recipient=row.recipient,
        subject=row.subject,
        body=row.body,
        about=row.about,
        status=NotificationStatus(row.status),
        attempts=row.attempts,
        last_error=row.last_error,
        created_at=row.created_at,
        sent_at=row.sent_at,
    )
