"""`/api/sessions` and `/api/coa-requests`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.paging import Page
from demarc.modules.access.queries import (
    Order,
    Session,
    get_nas,
    get_order,
    get_subscriber,
    list_ended_sessions,
    list_orders,
    list_sessions,
    nas_uids_of,
    uids_of,
)
from demarc.modules.access.states import CoaKind, CoaOutcome
from demarc.modules.services.queries import uids_of as service_uids_of
from demarc.web.bss.parameters import ApiDatetime, SortParam, WindowDep, counts
from demarc.web.bss.sessions.schemas import (
    EndedSessionList,
    OrderList,
    OrderOut,
    SessionList,
    Uids,
    ended_session_out,
    order_out,
    session_out,
)
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/sessions", tag="sessions")
orders = ApiRouter(prefix="/api/coa-requests", tag="sessions")


async def _whose(
    tx: TxDep, subscriber_id: UUID | None = None, nas_id: UUID | None = None
) -> dict[str, int] | None:
    """The rows that the filters name; None: there is no such row, so nothing matches."""
    try:
        given = {
            "subscriber_id": None if subscriber_id is None else (await get_subscriber(tx, subscriber_id)).id,
            "nas_id": None if nas_id is None else (await get_nas(tx, nas_id)).id,
        }
    except NotFound:
        return None
    return {name: value for name, value in given.items() if value is not None}


WhoseDep = Annotated[dict[str, int] | None, Depends(_whose)]
UsernameParam = Annotated[str | None, Query(max_length=253)]
FromParam = Annotated[ApiDatetime | None, Query(alias="from", description="heard of at or after")]
ToParam = Annotated[ApiDatetime | None, Query(alias="to", description="started before")]


@router.on("GET", "", permission="access.read")
async def list_live(
    tx: TxDep,
    window: WindowDep,
    whose: WhoseDep,
    username: UsernameParam = None,
    since: FromParam = None,
    until: ToParam = None,
    sort: SortParam = None,
) -> SessionList:
    """Who is on line, the longest first, unless `sort` says otherwise (started_at, updated_at)."""
    if whose is None:
        return SessionList(sessions=[], **counts(Page([], 0, window)))
    page = await list_sessions(tx, window, sort=sort, username=username, since=since, until=until, **whose)
    uids = await _uids(tx, page.rows)
    return SessionList(sessions=[session_out(row, uids) for row in page.rows], **counts(page))


@router.on("GET", "/history", permission="access.read")
async def list_history(
    tx: TxDep,
    window: WindowDep,
    whose: WhoseDep,
    username: UsernameParam = None,
    since: FromParam = None,
    until: ToParam = None,
    sort: SortParam = None,
) -> EndedSessionList:
    """Sessions that have ended, newest first, unless `sort` says otherwise (started_at, stopped_at)."""
    if whose is None:
        return EndedSessionList(sessions=[], **counts(Page([], 0, window)))
    page = await list_ended_sessions(
        tx, window, sort=sort, username=username, since=since, until=until, **whose
    )
    uids = await _uids(tx, page.rows)
    return EndedSessionList(sessions=[ended_session_out(row, uids) for row in page.rows], **counts(page))


@orders.on("GET", "", permission="access.read")
async def list_of_orders(
    tx: TxDep,
    window: WindowDep,
    whose: WhoseDep,
    outcome: CoaOutcome | None = None,
    kind: CoaKind | None = None,
    sort: SortParam = None,
) -> OrderList:
    """Orders to NAS and what came of them, newest first, unless `sort` says otherwise (requested_at)."""
    if whose is None:
        return OrderList(coa_requests=[], **counts(Page([], 0, window)))
    page = await list_orders(tx, window, sort=sort, outcome=outcome, kind=kind, **whose)
    uids = await _uids(tx, page.rows)
    return OrderList(coa_requests=[order_out(row, uids) for row in page.rows], **counts(page))


@orders.on("GET", "/{coa_request_id}", permission="access.read", problem=(404,))
async def get_one_order(coa_request_id: UUID, tx: TxDep) -> OrderOut:
    """One order to a NAS."""
    row = await get_order(tx, coa_request_id)
    return order_out(row, await _uids(tx, [row]))


async def _uids(tx: Tx, rows: Sequence[Session] | Sequence[Order]) -> Uids:
    everyone: Sequence[Any] = rows
    service_ids = {row.service_id for row in everyone if isinstance(row, Session)}
    return Uids(
        subscribers=await uids_of(tx, list({row.subscriber_id for row in everyone})),
        services=await service_uids_of(tx, service_ids) if service_ids else {},
        nas=await nas_uids_of(tx, list({row.nas_id for row in everyone})),
    )
