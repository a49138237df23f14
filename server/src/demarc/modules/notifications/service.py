"""Every write of notifications, one function per use case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from uuid import UUID

from sqlalchemy import Column, bindparam, delete
from sqlalchemy.dialects.postgresql import insert

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict
from demarc.kernel.outbox import emit
from demarc.kernel.sql import Query, mine
from demarc.kernel.states import change_status, record_status_change
from demarc.modules.audit.service import record
from demarc.modules.notifications.errors import NotResendable, TemplateExists
from demarc.modules.notifications.inputs import NewTemplate
from demarc.modules.notifications.models import notification, notification_template
from demarc.modules.notifications.queries import (
    Notification,
    Template,
    count_resent,
    find_notification_about,
    find_template,
    get_notification,
    get_notification_by_id,
    get_template,
    get_wording,
)
from demarc.modules.notifications.rules import FALLBACK_LANGUAGE, check_syntax, render
from demarc.modules.notifications.states import NOTIFICATION, Channel, NotificationStatus

ENTITY = "notification"
_ERROR_LENGTH = 500
_RESENT = ":resent:"
_DELETE_TEMPLATE = Query(
    delete(notification_template).where(
        mine(notification_template), notification_template.c.id == bindparam("id")
    )
)


def _bound(column: Column[object]) -> object:
    return bindparam(column.name, type_=column.type)


_QUEUE = Query(
    insert(notification)
    .values(
        {
            name: _bound(notification.c[name])
            for name in (
                *("tenant_id", "customer_id", "channel", "template", "recipient", "subject", "body"),
                *("about", "status", "created_at", "updated_at"),
            )
        }
    )
    .on_conflict_do_nothing(index_elements=["tenant_id", "channel", "about"])
    .returning(*notification.c)
)
_SET_TEMPLATE = Query(
    insert(notification_template)
    .values(
        {
            column.name: _bound(column)
            for column in notification_template.c
            if column.name not in ("id", "uid")
        }
    )
    .on_conflict_do_update(
        index_elements=["tenant_id", "channel", "name", "language"],
        set_={
            name: bindparam(name, type_=notification_template.c[name].type)
            for name in ("subject", "body", "updated_at")
        },
    )
    .returning(*notification_template.c)
)


async def queue_notification(
    tx: Tx,
    *,
    customer_id: int,
    channel: Channel,
    template: str,
    recipient: str,
    about: str,
    context: Mapping[str, object],
    language: str = FALLBACK_LANGUAGE,
) -> Notification:
    """Write one message and have it sent after the commit.

    Args:
        tx: the caller's transaction.
        customer_id: who it is for.
        channel: how it goes out.
        template: name of the wording.
        recipient: e-mail address or telephone number.
        about: what it is about, at most 80 characters; the same channel and subject matter are told once only,
            queuing it again answers the first message.
        context: what the wording may name; a name that is missing is an error.
        language: the customer's; English when there is no wording in it.

    Raises:
        TemplateMissing: there is no such wording.
        Invalid: the wording cannot be rendered with this context.
    """
    earlier = await find_notification_about(tx, channel, about)
    if earlier is not None:
        return earlier
    text = render(await get_wording(tx, channel, template, language), context)
    made = await tx.find(
        _QUEUE,
        Notification,
        customer_id=customer_id,
        channel=channel.value,
        template=template,
        recipient=recipient,
        subject=text.subject,
        body=text.body,
        about=about,
        status=NotificationStatus.PENDING.value,
        created_at=tx.now,
        updated_at=tx.now,
    )
    return await _announce(tx, made) if made else await _the_first(tx, channel, about)


async def _announce(tx: Tx, made: Notification) -> Notification:
    await record_status_change(tx, entity=ENTITY, entity_id=made.id, from_status=None, to_status=made.status)
    await emit(
        tx,
        "notification.queued",
        entity=ENTITY,
        entity_id=made.id,
        notification_uid=str(made.uid),
        channel=made.channel,
        template=made.template,
    )
    return made


async def _the_first(tx: Tx, channel: Channel, about: str) -> Notification:
    """Somebody else queued it between our look and our insert."""
    first = await find_notification_about(tx, channel, about)
    if first is None:
        raise Conflict("another request queued the same message at the same time; try again")
    return first


async def note_attempt(tx: Tx, notification_id: int) -> Notification | None:
    """Count one more attempt; None when the message is no longer to be sent."""
    current = await get_notification_by_id(tx, notification_id)
    if current.status != NotificationStatus.PENDING:
        return None
    return await tx.update(
        notification, Notification, {"id": current.id}, attempts=current.attempts + 1, updated_at=tx.now
    )


async def note_error(tx: Tx, notification_id: int, error: str) -> None:
    """Keep what the last attempt said; the message stays pending."""
    await tx.update(
        notification,
        Notification,
        {"id": notification_id},
        last_error=error[:_ERROR_LENGTH],
        updated_at=tx.now,
    )


async def mark_sent(tx: Tx, notification_id: int) -> Notification:
    """The next server has taken it. Saying so again changes nothing."""
    current = await get_notification_by_id(tx, notification_id)
    if current.status == NotificationStatus.SENT:
        return current
    sent = await change_status(
        tx,
        NOTIFICATION,
        notification,
        Notification,
        entity_id=current.id,
        current=NotificationStatus(current.status),
        target=NotificationStatus.SENT,
        sent_at=tx.now,
        last_error=None,
    )
    await emit(tx, "notification.sent", entity=ENTITY, entity_id=sent.id, notification_uid=str(sent.uid))
    return sent


async def mark_failed(tx: Tx, notification_id: int, *, reason: str, transport: bool) -> Notification:
    """Give up.

    Args:
        tx: the caller's transaction.
        notification_id: the message.
        reason: in the words of the refusing side.
        transport: True when nobody answered for a day, False when the receiving side refused for good.
    """
    current = await get_notification_by_id(tx, notification_id)
    failed = await change_status(
        tx,
        NOTIFICATION,
        notification,
        Notification,
        entity_id=current.id,
        current=NotificationStatus(current.status),
        target=NotificationStatus.FAILED,
        reason=reason[:_ERROR_LENGTH],
        last_error=reason[:_ERROR_LENGTH],
    )
    await emit(
        tx,
        "notification.failed",
        entity=ENTITY,
        entity_id=failed.id,
        notification_uid=str(failed.uid),
        transport=transport,
        reason=reason[:_ERROR_LENGTH],
    )
    return failed


async def resend_notification(tx: Tx, uid: UUID, *, recipient: str | None = None) -> Notification:
    """Send the same text once more, as a message of its own, to another recipient if one is given.

    Raises:
        NotFound: no such message.
        NotResendable: it is on its way still, or its text was erased with its customer.
    """
    first = await get_notification(tx, uid)
    if first.status == NotificationStatus.PENDING:
        raise NotResendable("this message is on its way; it is tried again by itself")
    to = recipient or first.recipient
    if not to or not first.body:
        raise NotResendable("nothing is left of this message: its customer was erased")
    channel = Channel(first.channel)
    prefix = first.about.partition(_RESENT)[0] + _RESENT
    again = await tx.find(
        _QUEUE,
        Notification,
        customer_id=first.customer_id,
        channel=first.channel,
        template=first.template,
        recipient=to,
        subject=first.subject,
        body=first.body,
        about=f"{prefix}{await count_resent(tx, channel, prefix) + 1}",
        status=NotificationStatus.PENDING.value,
        created_at=tx.now,
        updated_at=tx.now,
    )
    if again is None:
        raise Conflict("another request resent the same message at the same time; look at the list")
    after = {"resent": str(first.uid)}
    await record(tx, "notification.resend", entity=ENTITY, entity_id=again.id, after=after)
    return await _announce(tx, again)


async def create_template(tx: Tx, new: NewTemplate) -> Template:
    """As `set_template`, for wording that the tenant does not have yet; it may hide a shipped one.

    Raises:
        TemplateExists: the tenant has it.
        Invalid: it is not a template that Jinja2 can read.
    """
    if await find_template(tx, new.channel, new.name, new.language) is not None:
        raise TemplateExists(
            f"your {new.channel.value} template {new.name!r} in {new.language!r} exists already; change it"
        )
    return await set_template(tx, new)


async def update_template(tx: Tx, uid: UUID, changes: Mapping[str, str]) -> Template:
    """Change subject or body of the tenant's own wording.

    Raises:
        TemplateMissing: it has none of this id (a shipped one is not changed, but hidden by an own).
        Invalid: a value is not acceptable.
    """
    before = await get_template(tx, uid)
    wanted = {"subject": before.subject, "body": before.body, **changes}
    return await set_template(
        tx,
        NewTemplate(channel=Channel(before.channel), name=before.name, language=before.language, **wanted),
    )


async def delete_template(tx: Tx, uid: UUID) -> None:
    """Take the tenant's own wording away: the shipped one holds again, if there is one.

    Raises:
        TemplateMissing: the tenant has none of this id.
    """
    before = await get_template(tx, uid)
    await tx.execute(_DELETE_TEMPLATE, id=before.id)
    await record(
        tx,
        "notification_template.delete",
        entity="notification_template",
        entity_id=before.id,
        before=asdict(before),
    )


async def set_template(tx: Tx, new: NewTemplate) -> Template:
    """Put the tenant's own wording in place of the shipped one; what is already queued keeps its text.

    Raises:
        Invalid: it is not a template that Jinja2 can read.
    """
    check_syntax("subject", new.subject)
    check_syntax("body", new.body)
    values = {**asdict(new), "channel": new.channel.value, "updated_at": tx.now}
    stored = await tx.find(_SET_TEMPLATE, Template, **values)
    if stored is None:
        raise AssertionError("INSERT … RETURNING gave no row")
    await record(
        tx,
        "notification_template.set",
        entity="notification_template",
        entity_id=stored.id,
        after=asdict(new),
    )
    return stored
