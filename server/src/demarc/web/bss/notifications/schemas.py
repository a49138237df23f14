"""Bodies of `/api/notifications`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from demarc.modules.notifications.inputs import NewTemplate
from demarc.modules.notifications.queries import Notification, ShippedWording, Template
from demarc.modules.notifications.rules import Wording, variables
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


class ResendIn(BaseModel):
    """Where to, if not to where it went before."""

    recipient: str | None = Field(None, min_length=3, max_length=254)


Language = Annotated[
    str, Field(min_length=2, max_length=10, pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$", examples=["en"])
]
Name = Annotated[str, Field(pattern="^[a-z0-9_]{1,60}$", examples=["payment_reminder_1"])]
Subject = Annotated[str, Field(max_length=200)]
Body = Annotated[str, Field(min_length=1, max_length=20_000, examples=["Dear {{ customer_name }}, …"])]


class TemplateIn(BaseModel):
    """Wording of your own: Jinja2 text. It goes before the shipped one of the same name."""

    channel: Channel
    name: Name
    language: Language = "en"
    subject: Subject = ""
    body: Body

    def to_input(self) -> NewTemplate:
        return NewTemplate(
            channel=self.channel,
            name=self.name,
            language=self.language,
            subject=self.subject,
            body=self.body,
        )


class TemplatePatch(BaseModel):
    """The fields to change; what is left out stays, nothing can be emptied by null."""

    subject: Subject = ""
    body: Body = " "

    def changes(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.model_fields_set}


class ShippedTemplateOut(BaseModel):
    """Wording that comes with Demarc; `variables` are the names it takes from what is told."""

    channel: Channel
    name: str
    language: str
    subject: str
    body: str
    variables: list[str]


class ShippedTemplateList(Listed):
    """A window of the list."""

    templates: list[ShippedTemplateOut]


class TemplateOut(ShippedTemplateOut):
    """Wording of your own."""

    id: UUID
    updated_at: datetime


class TemplateList(Listed):
    """A window of the list."""

    templates: list[TemplateOut]


class PreviewIn(BaseModel):
    """A template that exists, or a subject and body to try out; and what it may name."""

    channel: Channel = Channel.EMAIL
    name: Name | None = None
    language: Language = "en"
    subject: Subject = ""
    body: Body | None = None
    context: dict[str, Any] = Field(default_factory=dict, max_length=100, examples=[{"customer_name": "Ann"}])


class PreviewOut(BaseModel):
    """What would be read; names in `missing` stand in it as they are written."""

    subject: str
    body: str
    variables: list[str]
    missing: list[str]


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


def shipped_out(row: ShippedWording) -> ShippedTemplateOut:
    return ShippedTemplateOut(**_wording_of(row))


def template_out(row: Template) -> TemplateOut:
    return TemplateOut(id=row.uid, updated_at=row.updated_at, **_wording_of(row))


def _wording_of(row: ShippedWording | Template) -> dict[str, Any]:
    return {
        "channel": Channel(row.channel),
        "name": row.name,
        "language": row.language,
        "subject": row.subject,
        "body": row.body,
        "variables": variables(Wording(row.subject, row.body)),
    }
