"""Every read of notifications and their wording."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, String, Uuid, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.notifications.errors import TemplateMissing
from demarc.modules.notifications.inputs import clean_template_name
from demarc.modules.notifications.models import notification, notification_template
from demarc.modules.notifications.rules import FALLBACK_LANGUAGE, Wording, languages
from demarc.modules.notifications.shipped import find_shipped, list_shipped
from demarc.modules.notifications.states import Channel


@dataclass(frozen=True, slots=True)
class Notification:
    """One message to one customer. `created_at` and `sent_at` are business time."""

    tenant_id: int
    id: int
    uid: UUID
    customer_id: int
    channel: str
    template: str
    recipient: str
    subject: str
    body: str
    about: str
    status: str
    attempts: int
    last_error: str | None
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Template:
    """A tenant's own wording."""

    tenant_id: int
    id: int
    uid: UUID
    channel: str
    name: str
    language: str
    subject: str
    body: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ShippedWording:
    """A template that comes with Demarc."""

    channel: str
    name: str
    language: str
    subject: str
    body: str


_MOMENT = DateTime(timezone=True)
_BY_UID = Query(select(notification).where(mine(notification), notification.c.uid == bindparam("uid")))
_BY_ID = Query(select(notification).where(mine(notification), notification.c.id == bindparam("id")))
_ABOUT = Query(
    select(notification).where(
        mine(notification),
        notification.c.channel == bindparam("channel", type_=String),
        notification.c.about == bindparam("about", type_=String),
    )
)
_OF_UIDS = Query(
    select(notification).where(
        mine(notification), notification.c.uid == any_(bindparam("uids", type_=ARRAY(Uuid)))
    )
)
_TEMPLATE = Query(
    select(notification_template).where(
        mine(notification_template),
        notification_template.c.channel == bindparam("channel", type_=String),
        notification_template.c.name == bindparam("name", type_=String),
        notification_template.c.language == bindparam("language", type_=String),
    )
)

_TEMPLATE_BY_UID = Query(
    select(notification_template).where(
        mine(notification_template), notification_template.c.uid == bindparam("uid")
    )
)
_RESENT = Query(
    select(func.count())
    .select_from(notification)
    .where(
        mine(notification),
        notification.c.channel == bindparam("channel", type_=String),
        func.starts_with(notification.c.about, bindparam("prefix", type_=String)),
    )
)
_SHIPPED_SORTS: dict[str, Callable[[ShippedWording], tuple[str, ...]]] = {
    "name": lambda row: (row.name, row.channel, row.language),
    "channel": lambda row: (row.channel, row.name, row.language),
}

TEMPLATES = Listing(
    notification_template,
    filters={
        "channel": notification_template.c.channel == bindparam("channel", type_=String),
        "name": notification_template.c.name == bindparam("name", type_=String),
        "language": notification_template.c.language == bindparam("language", type_=String),
    },
    sorts={
        "name": notification_template.c.name,
        "channel": notification_template.c.channel,
        "updated_at": notification_template.c.updated_at,
    },
    default_sort="name",
)
LISTING = Listing(
    notification,
    filters={
        "customer_id": notification.c.customer_id == bindparam("customer_id", type_=BigInteger),
        "channel": notification.c.channel == bindparam("channel", type_=String),
        "status": notification.c.status == bindparam("status", type_=String),
        "template": notification.c.template == bindparam("template", type_=String),
        "recipient": notification.c.recipient == bindparam("recipient", type_=String),
        "created_since": notification.c.created_at >= bindparam("created_since", type_=_MOMENT),
        "created_until": notification.c.created_at < bindparam("created_until", type_=_MOMENT),
    },
    sorts={"created_at": notification.c.created_at, "sent_at": notification.c.sent_at},
    default_sort="-created_at",
)


async def get_notification(tx: Tx, uid: UUID) -> Notification:
    """Raises `NotFound`."""
    return await tx.get(_BY_UID, Notification, f"no notification {uid}", uid=uid)


async def get_notification_by_id(tx: Tx, notification_id: int) -> Notification:
    """Raises `NotFound`."""
    return await tx.get(_BY_ID, Notification, f"no notification {notification_id}", id=notification_id)


async def find_notification_about(tx: Tx, channel: Channel, about: str) -> Notification | None:
    return await tx.find(_ABOUT, Notification, channel=channel.value, about=about)


async def list_notifications(
    tx: Tx, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[Notification]:
    """Newest first.

    Filters: customer_id (the row's), channel, status, template, recipient, created_since and created_until
    (business time, [since, until)).
    """
    return await LISTING.page(tx, Notification, window, sort=sort, **filters)


async def list_notifications_by_uid(tx: Tx, uids: Iterable[UUID]) -> list[Notification]:
    """Those of the given ones that are this tenant's."""
    return await tx.fetch(_OF_UIDS, Notification, uids=list(uids))


async def find_wording(
    tx: Tx, channel: Channel, name: str, language: str = FALLBACK_LANGUAGE
) -> Wording | None:
    """The tenant's own wording before the shipped one, the customer's language before English."""
    clean_template_name(name)
    for tag in languages(language):
        own = await tx.find(_TEMPLATE, Template, channel=channel.value, name=name, language=tag)
        wording = Wording(own.subject, own.body) if own else find_shipped(channel, name, tag)
        if wording is not None:
            return wording
    return None


async def get_wording(tx: Tx, channel: Channel, name: str, language: str) -> Wording:
    """Raises `TemplateMissing`."""
    wording = await find_wording(tx, channel, name, language)
    if wording is None:
        raise TemplateMissing(
            f"there is no {channel.value} template {name!r}, neither your own nor a shipped one"
        )
    return wording


async def count_resent(tx: Tx, channel: Channel, prefix: str) -> int:
    """How many messages' `about` begins with this."""
    return int(await tx.value(_RESENT, channel=channel.value, prefix=prefix))


async def find_template(tx: Tx, channel: Channel, name: str, language: str) -> Template | None:
    """The tenant's own wording in exactly this language."""
    return await tx.find(_TEMPLATE, Template, channel=channel.value, name=name, language=language)


async def get_template(tx: Tx, uid: UUID) -> Template:
    """The tenant's own wording; raises `TemplateMissing`."""
    found = await tx.find(_TEMPLATE_BY_UID, Template, uid=uid)
    if found is None:
        raise TemplateMissing(f"you have no template {uid}")
    return found


async def list_templates(
    tx: Tx, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[Template]:
    """The tenant's own, by name. Filters: channel, name, language."""
    return await TEMPLATES.page(tx, Template, window, sort=sort, **filters)


def list_shipped_wordings(
    window: Window, *, sort: str | None = None, channel: Channel | None = None, name: str | None = None
) -> Page[ShippedWording]:
    """What comes with Demarc, by channel and name; a tenant's own goes before it.

    Raises:
        Invalid: the sort is not known (channel, name).
    """
    key = _SHIPPED_SORTS.get((sort or "channel").removeprefix("-"))
    if key is None:
        raise invalid("sort", "sort by one of channel, -channel, name, -name")
    rows = [
        ShippedWording(known.value, called, language, wording.subject, wording.body)
        for known, called, language in list_shipped()
        if channel in (None, known) and name in (None, called)
        if (wording := find_shipped(known, called, language)) is not None
    ]
    rows.sort(key=key, reverse=(sort or "").startswith("-"))
    return Page(rows[window.skip : window.skip + window.limit], len(rows), window)
