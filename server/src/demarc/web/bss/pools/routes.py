"""`/api/pools` and `/api/addresses`."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated
from uuid import UUID

from fastapi import Query

from demarc.kernel.db import Tx
from demarc.kernel.paging import Page
from demarc.modules.access.queries import list_sessions_with_address, uids_of
from demarc.modules.addressing.queries import (
    Pool,
    Utilisation,
    count_addresses,
    get_pool,
    list_addresses,
    list_assignments,
    list_pools,
    who_had,
)
from demarc.modules.addressing.service import create_pool, delete_pool, update_pool
from demarc.modules.addressing.states import AddressStatus, PoolStatus
from demarc.web.bss.parameters import ApiDatetime, SortParam, WindowDep, counts
from demarc.web.bss.pools.schemas import (
    AddressHistoryOut,
    AddressList,
    PoolIn,
    PoolList,
    PoolOut,
    PoolPatch,
    address_out,
    address_session_out,
    assignment_out,
    pool_out,
)
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/pools", tag="pools")
addresses = ApiRouter(prefix="/api/addresses", tag="pools")


@router.on("POST", "", permission="addressing.write", status=201, problem=(409,))
async def create(body: PoolIn, tx: TxDep) -> PoolOut:
    """Open a pool; its network may not overlap another one's."""
    return await _shown(tx, await create_pool(tx, body.to_input()))


@router.on("GET", "", permission="addressing.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    status: PoolStatus | None = None,
    name: Annotated[str | None, Query(max_length=100)] = None,
    is_default: bool | None = None,
    sort: SortParam = None,
) -> PoolList:
    """Pools in the order they were made, unless `sort` says otherwise (created_at, name, network)."""
    page = await list_pools(tx, window, sort=sort, status=status, name=name, is_default=is_default)
    used = await count_addresses(tx, [row.id for row in page.rows])
    return PoolList(pools=[pool_out(row, used[row.id]) for row in page.rows], **counts(page))


@router.on("GET", "/{pool_id}", permission="addressing.read", problem=(404,))
async def get(pool_id: UUID, tx: TxDep) -> PoolOut:
    """One pool with its utilisation."""
    return await _shown(tx, await get_pool(tx, pool_id))


@router.on("PATCH", "/{pool_id}", permission="addressing.write", problem=(404, 409))
async def patch(pool_id: UUID, body: PoolPatch, tx: TxDep) -> PoolOut:
    """Change the fields given; making a pool the default takes the flag from the other one."""
    return await _shown(tx, await update_pool(tx, pool_id, body.changes()))


@router.on("DELETE", "/{pool_id}", permission="addressing.write", problem=(404, 409))
async def delete(pool_id: UUID, tx: TxDep) -> PoolOut:
    """Take back a pool that was never used; one that was can be closed."""
    shown = await _shown(tx, await get_pool(tx, pool_id))
    await delete_pool(tx, pool_id)
    return shown


@router.on("GET", "/{pool_id}/addresses", permission="addressing.read", problem=(404,))
async def list_of_pool(
    pool_id: UUID,
    tx: TxDep,
    window: WindowDep,
    status: AddressStatus | None = None,
    sort: SortParam = None,
) -> AddressList:
    """Addresses of the pool, lowest first, unless `sort` says otherwise (address)."""
    pool = await get_pool(tx, pool_id)
    page = await list_addresses(tx, pool.id, window, status=status, sort=sort)
    holders = await uids_of(tx, [row.subscriber_id for row in page.rows if row.subscriber_id is not None])
    return AddressList(addresses=[address_out(row, holders) for row in page.rows], **counts(page))


@addresses.on("GET", "/{address}/history", permission="addressing.read")
async def history(
    address: IPv4Address,
    tx: TxDep,
    window: WindowDep,
    at: ApiDatetime | None = None,
    sort: SortParam = None,
) -> AddressHistoryOut:
    """Who had this address, newest first, unless `sort` says otherwise (assigned_at); with `at`, at that moment."""
    if at is None:
        page = await list_assignments(tx, address, window, sort=sort)
    else:
        holder = await who_had(tx, address, at)
        page = Page([holder] if holder else [], 1 if holder else 0, window)
    live, ended = await list_sessions_with_address(tx, address, at)
    sessions = [*live, *ended]
    everyone = {row.subscriber_id for row in page.rows} | {row.subscriber_id for row in sessions}
    known = await uids_of(tx, list(everyone))
    return AddressHistoryOut(
        address=address,
        at=at,
        assignments=[assignment_out(row, known) for row in page.rows],
        sessions=[address_session_out(row, known) for row in sessions],
        **counts(page),
    )


async def _shown(tx: Tx, row: Pool) -> PoolOut:
    used = await count_addresses(tx, [row.id])
    return pool_out(row, used.get(row.id, Utilisation(row.id, 0, 0, 0, 0)))
