"""`/api/sessions` and `/api/coa-requests`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query
from pydantic import IPvAnyAddress

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.paging import Page
from demarc.modules.access.queries import (
    Order,
    Session,
    find_subscriber_id,
    get_live_session,
    get_nas,
    get_order,
    get_session,
    list_ended_sessions,
    list_orders,
    list_sessions,
    nas_uids_of,
    uids_of,
)
from demarc.modules.access.service import disconnect_session
from demarc.modules.access.states import CoaKind, CoaOutcome
from demarc.modules.services.queries import uids_of as service_uids_of
from demarc.web.bss.parameters import ApiDatetime, SortParam, WindowDep, counts
from demarc.web.bss.references import service_key
from demarc.web.bss.sessions.policies import OverrideIn, PolicyOut, override
from demarc.web.bss.sessions.schemas import (
    DisconnectOut,
    EndedSessionList,
    OrderList,
    OrderOut,
    ReasonIn,
    SessionDetail,
    SessionList,
    Uids,
    ended_session_out,
    order_out,
    session_detail,
    session_out,
)
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/sessions", tag="sessions")
orders = ApiRouter(prefix="/api/coa-requests", tag="sessions")
_NO_REASON = ReasonIn()


async def _nas_id(tx: Tx, uid: UUID) -> int | None:
    try:
        return (await get_nas(tx, uid)).id
    except NotFound:
        return None


async def _whose(
    tx: TxDep, subscriber_id: UUID | None = None, nas_id: UUID | None = None, service_id: UUID | None = None
) -> dict[str, int] | None:
    """The rows that the filters name; None: there is no such row, so nothing matches."""
    given: dict[str, int | None] = {}
    if subscriber_id is not None:
        given["subscriber_id"] = await find_subscriber_id(tx, subscriber_id)
    if nas_id is not None:
        given["nas_id"] = await _nas_id(tx, nas_id)
    if service_id is not None:
        given["service_id"] = await service_key(tx, service_id)
    known = {name: value for name, value in given.items() if value is not None}
    return known if known.keys() == given.keys() else None


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
    framed_ip: IPvAnyAddress | None = None,
    calling_station_id: UsernameParam = None,
    since: FromParam = None,
    until: ToParam = None,
    sort: SortParam = None,
) -> SessionList:
    """Who is on line, the longest first, unless `sort` says otherwise (started_at, updated_at)."""
    if whose is None:
        return SessionList(sessions=[], **counts(Page([], 0, window)))
    page = await list_sessions(
        tx,
        window,
        sort=sort,
        username=username,
        framed_ip=framed_ip,
        calling_station_id=calling_station_id,
        since=since,
        until=until,
        **whose,
    )
    uids = await _uids(tx, page.rows)
    return SessionList(sessions=[session_out(row, uids) for row in page.rows], **counts(page))


@router.on("GET", "/history", permission="access.read")
async def list_history(
    tx: TxDep,
    window: WindowDep,
    whose: WhoseDep,
    username: UsernameParam = None,
    framed_ip: IPvAnyAddress | None = None,
    calling_station_id: UsernameParam = None,
    terminate_cause: Annotated[str | None, Query(max_length=100, examples=["User-Request"])] = None,
    since: FromParam = None,
    until: ToParam = None,
    sort: SortParam = None,
) -> EndedSessionList:
    """Sessions that have ended, newest first, unless `sort` says otherwise (started_at, stopped_at)."""
    if whose is None:
        return EndedSessionList(sessions=[], **counts(Page([], 0, window)))
    page = await list_ended_sessions(
        tx,
        window,
        sort=sort,
        username=username,
        framed_ip=framed_ip,
        calling_station_id=calling_station_id,
        terminate_cause=terminate_cause,
        since=since,
        until=until,
        **whose,
    )
    uids = await _uids(tx, page.rows)
    return EndedSessionList(sessions=[ended_session_out(row, uids) for row in page.rows], **counts(page))


@router.on("GET", "/{session_id}", permission="access.read", problem=(404,))
async def get(session_id: UUID, tx: TxDep) -> SessionDetail:
    """One session, live or ended."""
    row = await get_session(tx, session_id)
    return session_detail(row, await _uids(tx, [row]))


@router.on("POST", "/{session_id}/disconnect", permission="access.write", status=202, problem=(404, 409))
async def disconnect(session_id: UUID, tx: TxDep, body: ReasonIn = _NO_REASON) -> DisconnectOut:
    """Tell the NAS to end this one session; the subscriber may log on again at once. One that has ended is 409."""
    row = await disconnect_session(tx, session_id, reason=body.reason or "asked for by staff")
    return DisconnectOut(session_id=row.id, username=row.username)


@router.on("POST", "/{session_id}/coa", permission="access.write", status=202, problem=(404, 409))
async def change_speeds(session_id: UUID, body: OverrideIn, tx: TxDep) -> PolicyOut:
    """Give the session other speeds by CoA, and its subscriber's further ones too, for as long as the answered policy holds."""
    row = await get_live_session(tx, session_id)
    return await override(tx, service_id=row.service_id, subscriber_id=row.subscriber_id, body=body)


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
