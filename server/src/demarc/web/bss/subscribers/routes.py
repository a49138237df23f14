"""`/api/subscribers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Query

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.paging import Page
from demarc.modules.access.queries import (
    Subscriber,
    get_subscriber,
    get_subscriber_by_id,
    list_login_attempts,
    list_logins,
    list_subscribers,
)
from demarc.modules.access.service import (
    delete_subscriber,
    disconnect_sessions,
    reset_password,
    resume_subscriber,
    suspend_subscriber,
    update_subscriber,
)
from demarc.modules.access.states import SubscriberStatus
from demarc.modules.addressing.queries import list_holdings
from demarc.modules.customers.queries import get_customer
from demarc.modules.customers.queries import uids_of as customer_uids_of
from demarc.modules.services.queries import get_service
from demarc.modules.services.queries import uids_of as service_uids_of
from demarc.modules.usage.caps import get_cap
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.bss.subscribers.schemas import (
    CreatedSubscriberOut,
    DisconnectOut,
    PasswordIn,
    PasswordOut,
    ReasonIn,
    SubscriberIn,
    SubscriberList,
    SubscriberOut,
    SubscriberPatch,
    Surroundings,
    WantedStatus,
    created_out,
    subscriber_out,
)
from demarc.web.bss.usage.caps import CapDetail, cap_detail
from demarc.web.routing import ApiRouter, PlatformDep, TxDep
from demarc.workflows.subscribers import move_to_pool, order_subscriber

router = ApiRouter(prefix="/api/subscribers", tag="subscribers")
_NO_REASON = ReasonIn()


@router.on("POST", "", permission="access.write", status=201, problem=(404, 409), shown_once=("password",))
async def create(body: SubscriberIn, tx: TxDep, platform: PlatformDep) -> CreatedSubscriberOut:
    """Let somebody log on: FreeRADIUS knows the subscriber when this answers.

    The log-in is for `service_id`; without it for the customer's newest active service of `service_type` that has no
    subscriber yet (never a suspended one); else for a new service of the tenant's default plan for the type.
    """
    made = await order_subscriber(tx, platform.master_key, body.to_order())
    return created_out(await _shown(tx, made.subscriber), made.password)


@router.on("GET", "", permission="access.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    customer_id: UUID | None = None,
    service_id: UUID | None = None,
    status: SubscriberStatus | None = None,
    username: Annotated[str | None, Query(max_length=64, description="the name or its beginning")] = None,
    search: Annotated[
        str | None, Query(max_length=100, description="part of user name, MAC address, circuit or remote id")
    ] = None,
    sort: SortParam = None,
) -> SubscriberList:
    """Subscribers in the order they came, unless `sort` says otherwise (created_at, username).

    Deleted ones are listed with `status=terminated` only.
    """
    try:
        customer = None if customer_id is None else (await get_customer(tx, customer_id)).id
        service = None if service_id is None else (await get_service(tx, service_id)).id
    except NotFound:
        return SubscriberList(subscribers=[], **counts(Page([], 0, window)))
    page = await list_subscribers(
        tx,
        window,
        sort=sort,
        status=status,
        customer_id=customer,
        service_id=service,
        username=username,
        search=search,
    )
    around = await _around(tx, page.rows)
    return SubscriberList(subscribers=[subscriber_out(row, around) for row in page.rows], **counts(page))


@router.on("GET", "/{subscriber_id}", permission="access.read", problem=(404,))
async def get(subscriber_id: UUID, tx: TxDep) -> SubscriberOut:
    """One subscriber, with what FreeRADIUS answers and how the last log-in went."""
    return await _shown(tx, await get_subscriber(tx, subscriber_id))


@router.on("GET", "/{subscriber_id}/data-cap", permission="usage.read", problem=(404,))
async def data_cap(subscriber_id: UUID, tx: TxDep) -> CapDetail:
    """The cap of the subscriber's service, what it has used this month, and what that did to the line."""
    row = await get_subscriber(tx, subscriber_id)
    return await cap_detail(tx, await get_cap(tx, row.service_id))


@router.on("PATCH", "/{subscriber_id}", permission="access.write", problem=(404, 409))
async def patch(
    subscriber_id: UUID, body: SubscriberPatch, tx: TxDep, platform: PlatformDep
) -> SubscriberOut:
    """Change the fields given. New speeds go to live sessions by CoA; a new address ends them."""
    row = await get_subscriber(tx, subscriber_id)
    row = await update_subscriber(tx, platform.master_key, subscriber_id=row.id, changes=body.changes())
    if body.wants_address is not None:
        row = await move_to_pool(
            tx, subscriber_id=row.id, allocate_ip=body.wants_address, ip_pool_name=body.ip_pool_name
        )
    if body.status is not None and body.status != row.status:
        change = suspend_subscriber if body.status is WantedStatus.SUSPENDED else resume_subscriber
        row = await change(tx, subscriber_id=row.id, reason="")
    return await _shown(tx, row)


@router.on("DELETE", "/{subscriber_id}", permission="access.write", problem=(404, 409))
async def delete(subscriber_id: UUID, tx: TxDep) -> SubscriberOut:
    """Give up the log-in: sessions are ended, the address rests, the user name is free again."""
    row = await get_subscriber(tx, subscriber_id)
    return await _shown(tx, await delete_subscriber(tx, subscriber_id=row.id))


@router.on("POST", "/{subscriber_id}/suspend", permission="access.write", problem=(404, 409))
async def suspend(subscriber_id: UUID, tx: TxDep, body: ReasonIn = _NO_REASON) -> SubscriberOut:
    """Refuse this log-in from now on and end its sessions; the service stays as it is."""
    row = await get_subscriber(tx, subscriber_id)
    return await _shown(tx, await suspend_subscriber(tx, subscriber_id=row.id, reason=body.reason))


@router.on("POST", "/{subscriber_id}/resume", permission="access.write", problem=(404, 409))
async def resume(subscriber_id: UUID, tx: TxDep, body: ReasonIn = _NO_REASON) -> SubscriberOut:
    """Let the subscriber log on again."""
    row = await get_subscriber(tx, subscriber_id)
    return await _shown(tx, await resume_subscriber(tx, subscriber_id=row.id, reason=body.reason))


@router.on("POST", "/{subscriber_id}/disconnect", permission="access.write", status=202, problem=(404,))
async def disconnect(subscriber_id: UUID, tx: TxDep, body: ReasonIn = _NO_REASON) -> DisconnectOut:
    """Tell the NAS to end every live session; the subscriber may log on again at once."""
    row = await get_subscriber(tx, subscriber_id)
    reason = body.reason or "asked for by staff"
    return DisconnectOut(
        id=row.uid, sessions=await disconnect_sessions(tx, subscriber_id=row.id, reason=reason)
    )


@router.on(
    "POST",
    "/{subscriber_id}/password",
    permission="access.write",
    problem=(404,),
    shown_once=("password",),
)
async def password(
    subscriber_id: UUID, tx: TxDep, platform: PlatformDep, body: PasswordIn | None = None
) -> PasswordOut:
    """Set a new network password, generated unless one is given; what is on line stays on line."""
    row = await get_subscriber(tx, subscriber_id)
    chosen = body.password if body is not None else None
    new = await reset_password(tx, platform.master_key, subscriber_id=row.id, password=chosen)
    generated = chosen is None
    return PasswordOut(id=row.uid, password=new if generated else None, shown_once=generated)


async def _shown(tx: Tx, row: Subscriber) -> SubscriberOut:
    current = await get_subscriber_by_id(tx, row.id)
    return subscriber_out(current, await _around(tx, [current]))


async def _around(tx: Tx, rows: Sequence[Subscriber]) -> Surroundings:
    ids = [row.id for row in rows]
    return Surroundings(
        customers=await customer_uids_of(tx, {row.customer_id for row in rows}),
        services=await service_uids_of(tx, {row.service_id for row in rows}),
        holdings=await list_holdings(tx, ids),
        logins=await list_logins(tx, ids),
        attempts=await list_login_attempts(tx, [row.username for row in rows]),
    )
