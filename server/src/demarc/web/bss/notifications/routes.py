"""`/api/notifications`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query

from demarc.kernel.errors import Invalid, invalid
from demarc.modules.customers.inputs import clean_email, clean_phone
from demarc.modules.customers.queries import uids_of
from demarc.modules.notifications.queries import get_notification, list_notifications
from demarc.modules.notifications.service import resend_notification
from demarc.modules.notifications.states import Channel, NotificationStatus
from demarc.web.bss.notifications.schemas import NotificationList, NotificationOut, ResendIn, notification_out
from demarc.web.bss.parameters import ApiDatetime, SortParam, WindowDep, counts
from demarc.web.bss.references import customer_key
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/notifications", tag="notifications")


@router.on("GET", "", permission="notifications.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    customer_id: UUID | None = None,
    channel: Channel | None = None,
    status: NotificationStatus | None = None,
    template: Annotated[str | None, Query(max_length=60)] = None,
    recipient: Annotated[str | None, Query(max_length=254)] = None,
    created_since: Annotated[ApiDatetime | None, Query(description="at or after, business time")] = None,
    created_until: Annotated[ApiDatetime | None, Query(description="before")] = None,
    sort: SortParam = None,
) -> NotificationList:
    """Messages, newest first, unless `sort` says otherwise (created_at, sent_at)."""
    customer = await customer_key(tx, customer_id)
    page = await list_notifications(
        tx,
        window,
        sort=sort,
        customer_id=customer,
        channel=channel,
        status=status,
        template=template,
        recipient=recipient,
        created_since=created_since,
        created_until=created_until,
    )
    customers = await uids_of(tx, {row.customer_id for row in page.rows})
    return NotificationList(
        notifications=[notification_out(row, customers) for row in page.rows], **counts(page)
    )


@router.on("GET", "/{notification_id}", permission="notifications.read", problem=(404,))
async def get(notification_id: UUID, tx: TxDep) -> NotificationOut:
    """One message with its text."""
    found = await get_notification(tx, notification_id)
    return notification_out(found, await uids_of(tx, {found.customer_id}))


@router.on(
    "POST", "/{notification_id}/resend", permission="notifications.write", status=201, problem=(404, 409)
)
async def resend(notification_id: UUID, body: ResendIn, tx: TxDep) -> NotificationOut:
    """Send the same text once more, as a message of its own; to a corrected recipient if one is given."""
    first = await get_notification(tx, notification_id)
    recipient = _clean(Channel(first.channel), body.recipient)
    again = await resend_notification(tx, notification_id, recipient=recipient)
    return notification_out(again, await uids_of(tx, {again.customer_id}))


def _clean(channel: Channel, recipient: str | None) -> str | None:
    if recipient is None:
        return None
    try:
        return clean_email(recipient) if channel is Channel.EMAIL else clean_phone(recipient)
    except Invalid as error:
        raise invalid("recipient", error.details[0].message) from None
