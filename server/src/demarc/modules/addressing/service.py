"""Every write of pools and addresses, one function per use case."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import (
    ARRAY,
    BigInteger,
    DateTime,
    Interval,
    Text,
    all_,
    any_,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import INET

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, NotFound
from demarc.kernel.outbox import emit
from demarc.kernel.sql import Query, mine
from demarc.modules.addressing.inputs import Block, NewPool, Range, as_block, clean_changes, clean_note
from demarc.modules.addressing.models import ip_address, ip_assignment, ip_pool, ip_pool_exclusion
from demarc.modules.addressing.queries import (
    Assignment,
    Exclusion,
    Pool,
    get_assignment,
    get_pool,
    get_pool_by_id,
    hold_pool,
    layout_of,
    pools_by_id,
    was_ever_used,
)
from demarc.modules.addressing.rules import overlapping, reserved_hosts
from demarc.modules.addressing.states import AddressStatus, PoolKind, PoolStatus
from demarc.modules.audit.service import changes as changed_fields
from demarc.modules.audit.service import record

ENTITY = "ip_pool"
ROWS_AT_A_TIME = 64
"""How many blocks of a pool that has no rows for all are made ready at once."""

_DUPLICATES = {
    "uq_ip_pool_tenant_id_name": (
        "POOL_NAME_TAKEN",
        "a pool of this name exists already; choose another name",
    ),
    "ex_ip_pool_overlap": ("POOL_OVERLAP", "the network overlaps a pool that exists; see GET /api/pools"),
    "uq_ip_pool_default": (
        "DEFAULT_POOL_TAKEN",
        "another pool was made the default at the same time; try again",
    ),
}

_FILL = """
    INSERT INTO ip_address (tenant_id, pool_id, address, status)
    SELECT $1, $2, $3::inet + step, CASE WHEN $3::inet + step = ANY ($5::inet[]) THEN 'reserved' ELSE 'free' END
      FROM generate_series(0, $4::bigint - 1) AS step
"""
_NO_DEFAULT = Query(
    update(ip_pool)
    .where(mine(ip_pool), ip_pool.c.is_default, ip_pool.c.kind == bindparam("kind"))
    .values(is_default=False, updated_at=bindparam("now"))
)
_EMPTY = Query(delete(ip_address).where(mine(ip_address), ip_address.c.pool_id == bindparam("pool_id")))
_FORGET_EXCLUSIONS = Query(
    delete(ip_pool_exclusion).where(
        mine(ip_pool_exclusion), ip_pool_exclusion.c.pool_id == bindparam("pool_id")
    )
)
_REMOVE = Query(delete(ip_pool).where(mine(ip_pool), ip_pool.c.id == bindparam("pool_id")))

_NOW = bindparam("now", type_=DateTime(timezone=True))
# Written out as in the partial index, which a bound parameter would hide from the planner.
_MAY_BE_OPEN = text("ip_address.status IN ('free', 'quarantined')")
_OPEN = or_(ip_address.c.status == AddressStatus.FREE.value, ip_address.c.available_at <= _NOW)


def _take(*, wanted: bool, wait: bool) -> Query:
    """Assign one open address: the lowest, or the `wanted` one; `wait` for other transactions or pass over theirs."""
    chosen = (
        select(ip_address.c.tenant_id, ip_address.c.address)
        .where(
            mine(ip_address),
            ip_address.c.pool_id == bindparam("pool_id", type_=BigInteger),
            _MAY_BE_OPEN,
            _OPEN,
        )
        .order_by(ip_address.c.address)
        .limit(literal_column("1"))
        .with_for_update(skip_locked=not wait)
    )
    if wanted:
        chosen = chosen.where(ip_address.c.address == bindparam("wanted", type_=INET))
    candidate = chosen.cte("candidate")
    return Query(
        update(ip_address)
        .where(ip_address.c.tenant_id == candidate.c.tenant_id, ip_address.c.address == candidate.c.address)
        .values(
            status=AddressStatus.ASSIGNED.value,
            subscriber_id=bindparam("subscriber_id", type_=BigInteger),
            available_at=None,
        )
        .returning(ip_address.c.address)
    )


_TAKE_LOWEST = _take(wanted=False, wait=False)
_TAKE_LOWEST_PATIENTLY = _take(wanted=False, wait=True)
_TAKE_WANTED = _take(wanted=True, wait=True)
_HOLDS = Query(
    select(ip_address.c.address)
    .where(
        mine(ip_address),
        ip_address.c.pool_id == bindparam("pool_id"),
        ip_address.c.subscriber_id == bindparam("subscriber_id"),
        ip_address.c.status == AddressStatus.ASSIGNED.value,
    )
    .order_by(ip_address.c.address)
)
_END = (
    update(ip_assignment)
    .where(mine(ip_assignment), ip_assignment.c.released_at.is_(None))
    # A transaction that began before the assignment's may end it.
    .values(released_at=func.greatest(ip_assignment.c.assigned_at, _NOW))
    .returning(*ip_assignment.c)
)
_OF_KINDS = select(ip_pool.c.id).where(
    mine(ip_pool), ip_pool.c.kind == any_(bindparam("kinds", type_=ARRAY(Text)))
)
_END_ASSIGNMENTS = Query(
    _END.where(
        ip_assignment.c.subscriber_id == bindparam("subscriber_id"), ip_assignment.c.pool_id.in_(_OF_KINDS)
    )
)
_END_ASSIGNMENT = Query(_END.where(ip_assignment.c.uid == bindparam("uid")))
_ADD_ROWS = """
    INSERT INTO ip_address (tenant_id, pool_id, address, status)
    SELECT $1, $2, block, 'free' FROM unnest($3::inet[]) AS block
    ON CONFLICT DO NOTHING
"""
_WITHIN = (
    mine(ip_address),
    ip_address.c.pool_id == bindparam("pool_id"),
    # Compared without the length: inet sorts a network before its own addresses.
    func.host(ip_address.c.address)
    .cast(INET)
    .between(bindparam("first", type_=INET), bindparam("last", type_=INET)),
)
_ASSIGNED_WITHIN = Query(
    select(ip_address.c.address).where(*_WITHIN, ip_address.c.status == AddressStatus.ASSIGNED.value).limit(1)
)
_KEEP_OUT = Query(
    update(ip_address)
    .where(
        *_WITHIN,
        _MAY_BE_OPEN,
    )
    .values(status=AddressStatus.RESERVED.value, available_at=None)
)
_LET_IN = Query(
    update(ip_address)
    .where(
        *_WITHIN,
        ip_address.c.status == AddressStatus.RESERVED.value,
        ip_address.c.address != all_(bindparam("kept", type_=ARRAY(INET))),
    )
    .values(status=AddressStatus.FREE.value)
)
_DROP_EXCLUSION = Query(
    delete(ip_pool_exclusion)
    .where(
        mine(ip_pool_exclusion),
        ip_pool_exclusion.c.pool_id == bindparam("pool_id"),
        ip_pool_exclusion.c.uid == bindparam("uid"),
    )
    .returning(*ip_pool_exclusion.c)
)
_QUARANTINE = Query(
    update(ip_address)
    .where(mine(ip_address), ip_address.c.address == bindparam("address", type_=INET))
    .values(
        status=AddressStatus.QUARANTINED.value,
        subscriber_id=None,
        available_at=bindparam("released_at", type_=DateTime(timezone=True))
        + bindparam("quarantine", type_=Interval),
    )
)


async def create_pool(tx: Tx, new: NewPool, *, uid: UUID | None = None, pool_id: int | None = None) -> Pool:
    """Open a pool with one row for each of its addresses.

    Args:
        tx: the caller's transaction.
        new: the pool's data; as the default it takes the place of the one before.
        uid: given by the sandbox only; otherwise the database makes one.
        pool_id: likewise.

    Raises:
        Conflict: the name is taken (POOL_NAME_TAKEN), or the network overlaps another pool (POOL_OVERLAP).
    """
    fixed = {name: value for name, value in (("uid", uid), ("id", pool_id)) if value is not None}
    if new.is_default:
        await tx.execute(_NO_DEFAULT, now=tx.now, kind=new.kind.value)
    async with _explained():
        made = await tx.insert(
            ip_pool,
            Pool,
            **{**asdict(new), **fixed},
            next_address=None if new.kind is PoolKind.IPV4 else new.network.network_address,
            created_at=tx.now,
            updated_at=tx.now,
        )
    if new.kind is PoolKind.IPV4:
        await _fill(tx, made)
    await record(tx, "ip_pool.create", entity=ENTITY, entity_id=made.id, after=_public(made))
    await emit(tx, "ip_pool.created", entity=ENTITY, entity_id=made.id, pool_uid=str(made.uid))
    return made


async def _fill(tx: Tx, pool: Pool) -> None:
    reserved = [str(host) for host in reserved_hosts(PoolKind.IPV4, pool.network, pool.gateway)]
    first = str(pool.network.network_address)
    await tx.connection.execute(_FILL, tx.tenant.id, pool.id, first, pool.network.num_addresses, reserved)


async def update_pool(tx: Tx, uid: UUID, changes: dict[str, Any]) -> Pool:
    """Change name, default flag, quarantine or status; a closed pool gives no more addresses out.

    Raises:
        NotFound: no such pool.
        Invalid: a value is not acceptable.
        Conflict: the name is taken.
    """
    before = await get_pool(tx, uid)
    cleaned = clean_changes(changes)
    if not cleaned:
        return before
    if cleaned.get("is_default"):
        await tx.execute(_NO_DEFAULT, now=tx.now, kind=before.kind)
    async with _explained():
        after = await tx.update(ip_pool, Pool, {"id": before.id}, **cleaned, updated_at=tx.now)
    old, new = changed_fields(_public(before), _public(after))
    await record(tx, "ip_pool.update", entity=ENTITY, entity_id=after.id, before=old, after=new)
    await emit(tx, "ip_pool.updated", entity=ENTITY, entity_id=after.id, fields=sorted(cleaned))
    return after


async def delete_pool(tx: Tx, uid: UUID) -> None:
    """Take back a pool that was never used; one that was is closed instead, since its history has to stay.

    Raises:
        Conflict: an address of it was assigned once (POOL_IN_USE).
    """
    pool = await get_pool(tx, uid)
    # Locks every address, so that no allocation slips in between the check and the removal.
    await tx.execute(_EMPTY, pool_id=pool.id)
    if await was_ever_used(tx, pool.id):
        raise Conflict(
            "addresses of the pool were handed out, so its history has to stay; "
            'close it instead: PATCH with {"status": "closed"}',
            code="POOL_IN_USE",
        )
    await tx.execute(_FORGET_EXCLUSIONS, pool_id=pool.id)
    await tx.execute(_REMOVE, pool_id=pool.id)
    await record(tx, "ip_pool.delete", entity=ENTITY, entity_id=pool.id, before=_public(pool))
    await emit(tx, "ip_pool.deleted", entity=ENTITY, entity_id=pool.id, pool_uid=str(pool.uid))


async def add_exclusion(tx: Tx, uid: UUID, asked: Range, *, note: str = "") -> Exclusion:
    """Keep a range out of what the pool hands out; it is widened to whole blocks.

    Raises:
        NotFound: no such pool.
        Conflict: an address of the range is assigned (RANGE_IN_USE), or it overlaps another one (EXCLUSION_OVERLAP).
    """
    note = clean_note(note)
    pool = await hold_pool(tx, (await get_pool(tx, uid)).id)
    layout = await layout_of(tx, pool)
    whole = layout.whole_blocks(asked)
    taken = next(overlapping(whole, layout.excluded), None)
    if taken is not None:
        raise Conflict(f"the range overlaps {taken.first} to {taken.last}", code="EXCLUSION_OVERLAP")
    made = await tx.insert(
        ip_pool_exclusion,
        Exclusion,
        pool_id=pool.id,
        first_address=whole.first,
        last_address=whole.last,
        note=note,
        created_at=tx.now,
    )
    await tx.execute(_KEEP_OUT, pool_id=pool.id, first=whole.first, last=whole.last)
    held = await tx.value(_ASSIGNED_WITHIN, pool_id=pool.id, first=whole.first, last=whole.last)
    if held is not None:
        raise Conflict(f"{held} of the range is assigned; release it first", code="RANGE_IN_USE")
    await record(tx, "ip_pool.exclude", entity=ENTITY, entity_id=pool.id, after=_range_shown(made))
    await emit(tx, "ip_pool.updated", entity=ENTITY, entity_id=pool.id, fields=["exclusions"])
    return made


async def remove_exclusion(tx: Tx, uid: UUID, exclusion_uid: UUID) -> Exclusion:
    """Hand the range out again.

    Raises:
        NotFound: no such pool, or no such range of it.
    """
    pool = await hold_pool(tx, (await get_pool(tx, uid)).id)
    gone = await tx.find(_DROP_EXCLUSION, Exclusion, pool_id=pool.id, uid=exclusion_uid)
    if gone is None:
        raise NotFound(f"no exclusion {exclusion_uid} of this pool")
    kept = [*reserved_hosts(PoolKind(pool.kind), pool.network, pool.gateway)]
    await tx.execute(_LET_IN, pool_id=pool.id, first=gone.first_address, last=gone.last_address, kept=kept)
    if pool.kind != PoolKind.IPV4 and (
        pool.next_address is None or int(pool.next_address) > int(gone.first_address)
    ):
        await tx.update(ip_pool, Pool, {"id": pool.id}, next_address=gone.first_address)
    await record(tx, "ip_pool.include", entity=ENTITY, entity_id=pool.id, before=_range_shown(gone))
    await emit(tx, "ip_pool.updated", entity=ENTITY, entity_id=pool.id, fields=["exclusions"])
    return gone


async def assign_address(tx: Tx, *, pool_id: int, subscriber_id: int, address: Block | None = None) -> Block:
    """Give the subscriber an address, prefix or block of the pool, for as long as it is not released.

    A subscriber who holds one of this pool keeps it, so a repeated call gives the same answer.

    Args:
        tx: the caller's transaction; the address is locked until it ends.
        pool_id: which pool.
        subscriber_id: who gets it.
        address: this one and no other; without it the lowest that is free or whose quarantine is over.

    Raises:
        Conflict: the pool is closed (POOL_CLOSED), has no address left (POOL_EXHAUSTED), or the address asked for is
            taken, resting or reserved (ADDRESS_TAKEN).
        NotFound: the address asked for is not of this pool.
    """
    pool = await get_pool_by_id(tx, pool_id)
    held = [
        as_block(row["address"])
        for row in await tx.connection.fetch(
            _HOLDS.sql,
            *_HOLDS.arguments(
                {"tenant_id": tx.tenant.id, "pool_id": pool_id, "subscriber_id": subscriber_id}
            ),
        )
    ]
    if held and address in (None, *held):
        return held[0] if address is None else address
    if pool.status != PoolStatus.ACTIVE:
        raise Conflict(f"the pool {pool.name} is closed; name another one", code="POOL_CLOSED")
    taken = await _take_address(tx, pool, subscriber_id, address)
    await tx.insert(
        ip_assignment,
        Assignment,
        pool_id=pool_id,
        address=taken,
        subscriber_id=subscriber_id,
        assigned_at=tx.now,
    )
    return taken


async def _take_address(tx: Tx, pool: Pool, subscriber_id: int, address: Block | None) -> Block:
    values: dict[str, Any] = {"pool_id": pool.id, "subscriber_id": subscriber_id, "now": tx.now}
    if address is not None:
        return await _take_wanted(tx, pool, address, values)
    # What others hold locked is passed over; only when nothing else is left, their outcome decides.
    taken = await tx.value(_TAKE_LOWEST, **values)
    if taken is None and pool.next_address is not None:
        taken = await _take_new(tx, pool.id, values)
    taken = taken or await tx.value(_TAKE_LOWEST_PATIENTLY, **values)
    if taken is None:
        raise Conflict(
            f"the pool {pool.name} ({pool.network}) has nothing free left; release some, wait for their "
            "quarantine to end, or name another pool",
            code="POOL_EXHAUSTED",
        )
    return as_block(taken)


async def _take_wanted(tx: Tx, pool: Pool, address: Block, values: dict[str, Any]) -> Block:
    if pool.kind != PoolKind.IPV4:
        pool = await hold_pool(tx, pool.id)  # no range is excluded meanwhile
    layout = await layout_of(tx, pool)
    if not layout.holds(address):
        raise NotFound(
            f"{address} is nothing that the pool {pool.name} hands out: /{pool.prefix_length} of {pool.network}"
        )
    if pool.kind != PoolKind.IPV4 and not layout.is_kept_out(address):
        await tx.connection.execute(_ADD_ROWS, tx.tenant.id, pool.id, [address])
    taken = await tx.value(_TAKE_WANTED, **values, wanted=address)
    if taken is None:
        raise Conflict(
            f"{address} is assigned, in quarantine or reserved; see the pool's addresses",
            code="ADDRESS_TAKEN",
        )
    return as_block(taken)


async def _take_new(tx: Tx, pool_id: int, values: dict[str, Any]) -> Any:
    """Make more rows, one transaction at a time, until one can be taken or the pool is through."""
    pool = await hold_pool(tx, pool_id)
    taken = await tx.value(_TAKE_LOWEST, **values)  # who held the pool before has made rows for us too
    while taken is None and pool.next_address is not None:
        layout = await layout_of(tx, pool)
        blocks, following = layout.blocks_from(pool.next_address, ROWS_AT_A_TIME)
        await tx.connection.execute(_ADD_ROWS, tx.tenant.id, pool_id, blocks)
        pool = await tx.update(ip_pool, Pool, {"id": pool_id}, next_address=following)
        taken = await tx.value(_TAKE_LOWEST, **values)
    return taken


async def release_address(
    tx: Tx, *, subscriber_id: int, kinds: Collection[PoolKind] = tuple(PoolKind)
) -> int:
    """Take back all that the subscriber holds of these kinds; each rests for its pool's quarantine. How many there were."""
    ended = await tx.fetch(
        _END_ASSIGNMENTS,
        Assignment,
        subscriber_id=subscriber_id,
        kinds=[kind.value for kind in kinds],
        now=tx.now,
    )
    await _quarantine(tx, ended)
    return len(ended)


async def release_assignment(tx: Tx, uid: UUID) -> Assignment:
    """Take back one; it rests for its pool's quarantine.

    Raises:
        NotFound: no such assignment.
        Conflict: it is released already.
    """
    ended = await tx.fetch(_END_ASSIGNMENT, Assignment, uid=uid, now=tx.now)
    if not ended:
        known = await get_assignment(tx, uid)
        raise Conflict(f"{known.address} was released at {known.released_at}", code="ALREADY_RELEASED")
    await _quarantine(tx, ended)
    return ended[0]


async def _quarantine(tx: Tx, ended: list[Assignment]) -> None:
    pools = await pools_by_id(tx, {assignment.pool_id for assignment in ended}) if ended else {}
    for assignment in ended:
        await tx.execute(
            _QUARANTINE,
            address=assignment.address,
            released_at=assignment.released_at,
            quarantine=timedelta(hours=pools[assignment.pool_id].quarantine_hours),
        )


@asynccontextmanager
async def _explained() -> AsyncIterator[None]:
    """A refusal of the database in the caller's words."""
    try:
        yield
    except (asyncpg.UniqueViolationError, asyncpg.ExclusionViolationError) as error:
        if error.constraint_name not in _DUPLICATES:
            raise
        code, message = _DUPLICATES[error.constraint_name]
        raise Conflict(message, code=code) from None


def _public(pool: Pool) -> dict[str, Any]:
    """The row as the audit log keeps it (JSON has no networks)."""
    addresses = ("network", "gateway", "next_address")
    return {
        name: str(value) if name in addresses and value is not None else value
        for name, value in asdict(pool).items()
    }


def _range_shown(one: Exclusion) -> dict[str, Any]:
    return {"first": str(one.first_address), "last": str(one.last_address), "note": one.note}
