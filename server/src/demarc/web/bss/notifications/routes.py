"""`/api/notifications`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query

from demarc.modules.customers.queries import uids_of
from demarc.modules.notifications.queries import get_notification, list_notifications
from demarc.modules.notifications.states import Channel, NotificationStatus
from demarc.web.bss.notifications.schemas import NotificationList, NotificationOut, notification_out
from demarc.web.bss.parameters import SortParam, WindowDep, counts
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
    sort: SortParam = None,
) -> NotificationList:
    """Messages, newest first, unless `sort` says otherwise (created_at, sent_at)."""
    customer = await customer_key(tx, customer_id)
    page = await list_notifications(
        tx, window, sort=sort, customer_id=customer, channel=channel, status=status, template=template
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
