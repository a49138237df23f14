"""Every write of pools and addresses, one function per use case."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import (
    BigInteger,
    DateTime,
    Interval,
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
from demarc.modules.addressing.inputs import NewPool, clean_changes
from demarc.modules.addressing.models import ip_address, ip_assignment, ip_pool
from demarc.modules.addressing.queries import Assignment, Pool, get_pool, get_pool_by_id, was_ever_used
from demarc.modules.addressing.rules import reserved_addresses
from demarc.modules.addressing.states import AddressStatus, PoolStatus
from demarc.modules.audit.service import changes as changed_fields
from demarc.modules.audit.service import record

ENTITY = "ip_pool"
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
    .where(mine(ip_pool), ip_pool.c.is_default)
    .values(is_default=False, updated_at=bindparam("now"))
)
_EMPTY = Query(delete(ip_address).where(mine(ip_address), ip_address.c.pool_id == bindparam("pool_id")))
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
    select(ip_address.c.address).where(
        mine(ip_address),
        ip_address.c.pool_id == bindparam("pool_id"),
        ip_address.c.subscriber_id == bindparam("subscriber_id"),
        ip_address.c.status == AddressStatus.ASSIGNED.value,
    )
)
_END_ASSIGNMENTS = Query(
    update(ip_assignment)
    .where(
        mine(ip_assignment),
        ip_assignment.c.subscriber_id == bindparam("subscriber_id"),
        ip_assignment.c.released_at.is_(None),
    )
    # A transaction that began before the assignment's may end it.
    .values(released_at=func.greatest(ip_assignment.c.assigned_at, _NOW))
    .returning(*ip_assignment.c)
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
        await tx.execute(_NO_DEFAULT, now=tx.now)
    async with _explained():
        made = await tx.insert(
            ip_pool, Pool, **{**asdict(new), **fixed}, created_at=tx.now, updated_at=tx.now
        )
    reserved = [str(address) for address in reserved_addresses(new.network, new.gateway)]
    first = str(new.network.network_address)
    await tx.connection.execute(_FILL, tx.tenant.id, made.id, first, new.network.num_addresses, reserved)
    await record(tx, "ip_pool.create", entity=ENTITY, entity_id=made.id, after=_public(made))
    await emit(tx, "ip_pool.created", entity=ENTITY, entity_id=made.id, pool_uid=str(made.uid))
    return made


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
        await tx.execute(_NO_DEFAULT, now=tx.now)
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
    await tx.execute(_REMOVE, pool_id=pool.id)
    await record(tx, "ip_pool.delete", entity=ENTITY, entity_id=pool.id, before=_public(pool))
    await emit(tx, "ip_pool.deleted", entity=ENTITY, entity_id=pool.id, pool_uid=str(pool.uid))


async def assign_address(
    tx: Tx, *, pool_id: int, subscriber_id: int, address: IPv4Address | None = None
) -> IPv4Address:
    """Give the subscriber an address of the pool, for as long as it is not released.

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
    held: IPv4Address | None = await tx.value(_HOLDS, pool_id=pool_id, subscriber_id=subscriber_id)
    if held is not None and address in (None, held):
        return held
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


async def _take_address(tx: Tx, pool: Pool, subscriber_id: int, address: IPv4Address | None) -> IPv4Address:
    values: dict[str, Any] = {"pool_id": pool.id, "subscriber_id": subscriber_id, "now": tx.now}
    taken: IPv4Address | None
    if address is not None:
        if address not in pool.network:
            raise NotFound(f"{address} is not an address of the pool {pool.name} ({pool.network})")
        taken = await tx.value(_TAKE_WANTED, **values, wanted=address)
        if taken is None:
            raise Conflict(
                f"{address} is assigned, in quarantine or reserved; see the pool's addresses",
                code="ADDRESS_TAKEN",
            )
        return taken
    # What others hold locked is passed over; only when nothing else is left, their outcome decides.
    taken = await tx.value(_TAKE_LOWEST, **values) or await tx.value(_TAKE_LOWEST_PATIENTLY, **values)
    if taken is None:
        raise Conflict(
            f"the pool {pool.name} ({pool.network}) has no free address left; release some, wait for their "
            "quarantine to end, or name another pool",
            code="POOL_EXHAUSTED",
        )
    return taken


async def release_address(tx: Tx, *, subscriber_id: int) -> int:
    """Take back every address of the subscriber; each rests for its pool's quarantine. How many there were."""
    ended = await tx.fetch(_END_ASSIGNMENTS, Assignment, subscriber_id=subscriber_id, now=tx.now)
    for assignment in ended:
        pool = await get_pool_by_id(tx, assignment.pool_id)
        await tx.execute(
            _QUARANTINE,
            address=assignment.address,
            released_at=assignment.released_at,
            quarantine=timedelta(hours=pool.quarantine_hours),
        )
    return len(ended)


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
    return {**asdict(pool), "network": str(pool.network), "gateway": pool.gateway and str(pool.gateway)}
