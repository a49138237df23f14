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
from demarc.kernel.errors import NotFound, invalid
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
    channel: str
    name: str
    language: str
    subject: str
    body: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class KnownWording:
    """A template by its name: the tenant's own (`is_own`), else the shipped one."""

    channel: str
    name: str
    language: str
    subject: str
    body: str
    is_own: bool
    updated_at: datetime | None


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

_OWN_TEMPLATES = Query(select(notification_template).where(mine(notification_template)))
_RESENT = Query(
    select(func.count())
    .select_from(notification)
    .where(
        mine(notification),
        notification.c.channel == bindparam("channel", type_=String),
        func.starts_with(notification.c.about, bindparam("prefix", type_=String)),
    )
)
_WORDING_SORTS: dict[str, Callable[[KnownWording], tuple[str, ...]]] = {
    "name": lambda row: (row.name, row.channel, row.language),
    "channel": lambda row: (row.channel, row.name, row.language),
    "language": lambda row: (row.language, row.channel, row.name),
}

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
    found = await tx.find(_BY_UID, Notification, uid=uid)
    if found is None:
        raise NotFound(f"no notification {uid}")
    return found


async def get_notification_by_id(tx: Tx, notification_id: int) -> Notification:
    """Raises `NotFound`."""
    found = await tx.find(_BY_ID, Notification, id=notification_id)
    if found is None:
        raise NotFound(f"no notification {notification_id}")
    return found


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


async def get_known_wording(tx: Tx, channel: Channel, name: str, language: str) -> KnownWording:
    """The wording in exactly this language, the tenant's own before the shipped one; raises `TemplateMissing`."""
    found = [
        row
        for row in await _known_wordings(tx)
        if (row.channel, row.name, row.language) == (channel, name, language)
    ]
    if not found:
        raise TemplateMissing(f"there is no {channel.value} template {name!r} in {language!r}")
    return found[0]


async def list_known_wordings(
    tx: Tx,
    window: Window,
    *,
    sort: str | None = None,
    channel: Channel | None = None,
    name: str | None = None,
    language: str | None = None,
    is_own: bool | None = None,
) -> Page[KnownWording]:
    """Every wording there is, own and shipped; an own one hides the shipped one of its name. They are few.

    Raises:
        Invalid: the sort is not known (name, channel, language).
    """
    wanted = {"channel": channel, "name": name, "language": language, "is_own": is_own}
    given = {field: value for field, value in wanted.items() if value is not None}
    key = _WORDING_SORTS.get((sort or "channel").removeprefix("-"))
    if key is None:
        raise invalid("sort", f"sort by one of {', '.join(_WORDING_SORTS)}")
    rows = [
        row
        for row in await _known_wordings(tx)
        if all(getattr(row, field) == value for field, value in given.items())
    ]
    rows.sort(key=key, reverse=(sort or "").startswith("-"))
    return Page(rows[window.skip : window.skip + window.limit], len(rows), window)


async def _known_wordings(tx: Tx) -> list[KnownWording]:
    own = [
        KnownWording(row.channel, row.name, row.language, row.subject, row.body, True, row.updated_at)
        for row in await tx.fetch(_OWN_TEMPLATES, Template)
    ]
    hidden = {(row.channel, row.name, row.language) for row in own}
    shipped = [
        KnownWording(channel.value, name, language, wording.subject, wording.body, False, None)
        for channel, name, language in list_shipped()
        if (channel.value, name, language) not in hidden
        and (wording := find_shipped(channel, name, language)) is not None
    ]
    return own + shipped
