"""`/api/pools`, `/api/addresses` and `/api/address-assignments`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Response

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound, naming
from demarc.kernel.paging import Page
from demarc.modules.access.queries import (
    find_subscriber_id,
    get_subscriber,
    list_sessions_with_address,
    uids_of,
)
from demarc.modules.access.service import give_address, take_address_back
from demarc.modules.addressing.inputs import clean_block, clean_range
from demarc.modules.addressing.queries import (
    Assignment,
    Pool,
    get_assignment,
    get_pool,
    list_addresses,
    list_assignments,
    list_exclusions,
    list_pools,
    pools_by_id,
    utilisation_of,
    who_had,
)
from demarc.modules.addressing.service import (
    add_exclusion,
    create_pool,
    delete_pool,
    remove_exclusion,
    update_pool,
)
from demarc.modules.addressing.states import AddressStatus, PoolKind, PoolStatus
from demarc.web.bss.parameters import ApiDatetime, SortParam, WindowDep, counts
from demarc.web.bss.pools.schemas import (
    AddressHistoryOut,
    AddressList,
    AssignmentIn,
    AssignmentList,
    AssignmentOut,
    ExclusionIn,
    ExclusionList,
    ExclusionOut,
    PoolIn,
    PoolList,
    PoolOut,
    PoolPatch,
    address_out,
    address_session_out,
    assignment_out,
    exclusion_out,
    pool_out,
)
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/pools", tag="pools")
addresses = ApiRouter(prefix="/api/addresses", tag="pools")
assignments = ApiRouter(prefix="/api/address-assignments", tag="pools")
_NOBODY = -1
"""No row has this id: what leads nowhere matches nothing."""


@router.on("POST", "", permission="addressing.write", status=201, problem=(409,))
async def create(body: PoolIn, tx: TxDep) -> PoolOut:
    """Open a pool; its network may not overlap another one's."""
    return await _shown(tx, await create_pool(tx, body.to_input()))


@router.on("GET", "", permission="addressing.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    status: PoolStatus | None = None,
    kind: PoolKind | None = None,
    name: Annotated[str | None, Query(max_length=100)] = None,
    is_default: bool | None = None,
    sort: SortParam = None,
) -> PoolList:
    """Pools in the order they were made, unless `sort` says otherwise (created_at, name, network)."""
    page = await list_pools(tx, window, sort=sort, status=status, kind=kind, name=name, is_default=is_default)
    used = await utilisation_of(tx, page.rows)
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
    """Addresses of the pool, lowest first, unless `sort` says otherwise (address).

    Of other pools than IPv4 those that were handed out or come next: there are too many to list them all.
    """
    pool = await get_pool(tx, pool_id)
    page = await list_addresses(tx, pool.id, window, status=status, sort=sort)
    holders = await uids_of(tx, [row.subscriber_id for row in page.rows if row.subscriber_id is not None])
    return AddressList(addresses=[address_out(row, holders) for row in page.rows], **counts(page))


@router.on("POST", "/{pool_id}/exclusions", permission="addressing.write", status=201, problem=(404, 409))
async def exclude(pool_id: UUID, body: ExclusionIn, tx: TxDep) -> ExclusionOut:
    """Keep a range out of what the pool hands out; refused while an address of it is assigned."""
    pool = await get_pool(tx, pool_id)
    asked = clean_range(body.first, body.last, pool.network)
    return exclusion_out(await add_exclusion(tx, pool_id, asked, note=body.note))


@router.on("GET", "/{pool_id}/exclusions", permission="addressing.read", problem=(404,))
async def list_excluded(pool_id: UUID, tx: TxDep, window: WindowDep, sort: SortParam = None) -> ExclusionList:
    """Ranges that are never handed out, lowest first, unless `sort` says otherwise (first, created_at)."""
    page = await list_exclusions(tx, (await get_pool(tx, pool_id)).id, window, sort=sort)
    return ExclusionList(exclusions=[exclusion_out(row) for row in page.rows], **counts(page))


@router.on(
    "DELETE", "/{pool_id}/exclusions/{exclusion_id}", permission="addressing.write", problem=(404, 409)
)
async def include(pool_id: UUID, exclusion_id: UUID, tx: TxDep) -> ExclusionOut:
    """Hand the range out again."""
    return exclusion_out(await remove_exclusion(tx, pool_id, exclusion_id))


@addresses.on("GET", "/{address:path}/history", permission="addressing.read")
async def history(
    address: Annotated[str, Path(max_length=43, examples=["10.100.0.25", "2001:db8:8000:100::/56"])],
    tx: TxDep,
    window: WindowDep,
    at: ApiDatetime | None = None,
    sort: SortParam = None,
) -> AddressHistoryOut:
    """Who had this address or prefix, newest first, unless `sort` says otherwise (assigned_at); with `at`, at that moment."""
    block = clean_block(address)
    if at is None:
        page = await list_assignments(tx, window, sort=sort, address=block)
    else:
        holder = await who_had(tx, block, at)
        page = Page([holder] if holder else [], 1 if holder else 0, window)
    live, ended = await list_sessions_with_address(tx, block, at)
    sessions = [*live, *ended]
    everyone = {row.subscriber_id for row in page.rows} | {row.subscriber_id for row in sessions}
    known = await uids_of(tx, list(everyone))
    pools = await pools_by_id(tx, {row.pool_id for row in page.rows})
    return AddressHistoryOut(
        address=str(block),
        at=at,
        assignments=[assignment_out(row, known, pools) for row in page.rows],
        sessions=[address_session_out(row, known) for row in sessions],
        **counts(page),
    )


@assignments.on("POST", "", permission="addressing.write", status=201, also=(200,), problem=(404, 409))
async def assign(body: AssignmentIn, tx: TxDep, response: Response) -> AssignmentOut:
    """Let a subscriber hold an address, prefix or block; what is held already is 200. Live sessions dial in anew."""
    pool = await naming("pool_id", get_pool(tx, body.pool_id))
    row = await naming("subscriber_id", get_subscriber(tx, body.subscriber_id))
    wanted = None if body.address is None else clean_block(body.address)
    made, is_new = await give_address(tx, subscriber_id=row.id, pool=pool, address=wanted)
    if not is_new:
        response.status_code = 200
    return assignment_out(made, {row.id: row.uid}, {pool.id: pool})


@assignments.on("GET", "", permission="addressing.read")
async def list_assigned(
    tx: TxDep,
    window: WindowDep,
    subscriber_id: UUID | None = None,
    pool_id: UUID | None = None,
    address: Annotated[str | None, Query(max_length=43, description="also as a part of a prefix")] = None,
    is_open: bool | None = None,
    sort: SortParam = None,
) -> AssignmentList:
    """Who holds and held what, newest first, unless `sort` says otherwise (assigned_at)."""
    page = await list_assignments(
        tx,
        window,
        sort=sort,
        address=None if address is None else clean_block(address),
        subscriber_id=await _subscriber_key(tx, subscriber_id),
        pool_id=await _pool_key(tx, pool_id),
        is_open=is_open,
    )
    return AssignmentList(assignments=await _assignments_out(tx, page.rows), **counts(page))


@assignments.on("GET", "/{assignment_id}", permission="addressing.read", problem=(404,))
async def get_one(assignment_id: UUID, tx: TxDep) -> AssignmentOut:
    """One assignment, open or ended."""
    return (await _assignments_out(tx, [await get_assignment(tx, assignment_id)]))[0]


@assignments.on("DELETE", "/{assignment_id}", permission="addressing.write", problem=(404, 409))
async def release(assignment_id: UUID, tx: TxDep) -> AssignmentOut:
    """Take it back: it rests for the pool's quarantine, and live sessions dial in anew without it."""
    return (await _assignments_out(tx, [await take_address_back(tx, assignment_id)]))[0]


async def _assignments_out(tx: Tx, rows: Sequence[Assignment]) -> list[AssignmentOut]:
    known = await uids_of(tx, [row.subscriber_id for row in rows])
    pools = await pools_by_id(tx, {row.pool_id for row in rows})
    return [assignment_out(row, known, pools) for row in rows]


async def _subscriber_key(tx: Tx, uid: UUID | None) -> int | None:
    found = None if uid is None else await find_subscriber_id(tx, uid)
    return _NOBODY if uid is not None and found is None else found


async def _pool_key(tx: Tx, uid: UUID | None) -> int | None:
    try:
        return None if uid is None else (await get_pool(tx, uid)).id
    except NotFound:
        return _NOBODY


async def _shown(tx: Tx, row: Pool) -> PoolOut:
    return pool_out(row, (await utilisation_of(tx, [row]))[row.id])
