"""Bodies of `/api/sandbox`."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from pydantic import BaseModel, Field

from demarc.adapters.mail.trap import TrappedMail
from demarc.kernel.errors import invalid
from demarc.modules.notifications.queries import Notification
from demarc.web.bss.parameters import Listed


class ClockOut(BaseModel):
    """The tenant's business time, and how far ahead of real time it is."""

    now: datetime
    offset_seconds: float


class AdvanceIn(BaseModel):
    """How far forward; the three add up."""

    days: int = Field(0, ge=0, le=3660)
    hours: int = Field(0, ge=0, le=87_840)
    minutes: int = Field(0, ge=0, le=5_270_400)

    def span(self) -> timedelta:
        """Raises `Invalid` when it is nothing."""
        span = timedelta(days=self.days, hours=self.hours, minutes=self.minutes)
        if not span:
            raise invalid("minutes", "name days, hours or minutes to move forward by")
        return span


class MailOut(BaseModel):
    """One e-mail that arrived in the trap. `sent_at` is real time."""

    message_id: str
    notification_id: UUID
    template: str
    sender: str
    to: str
    subject: str
    body: str
    sent_at: datetime


class MailList(Listed):
    """A window of the trap."""

    messages: list[MailOut]


def mail_out(mail: TrappedMail, notification: Notification) -> MailOut:
    return MailOut.model_construct(
        message_id=mail.message_id,
        notification_id=notification.uid,
        template=notification.template,
        sender=mail.sender,
        to=mail.recipient,
        subject=mail.subject,
        body=mail.body,
        sent_at=mail.sent_at,
    )
