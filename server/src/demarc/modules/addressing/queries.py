"""Every read of pools and addresses."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Integer,
    String,
    and_,
    any_,
    bindparam,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import INET

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.addressing.inputs import Block, Host, Network, Range, as_block
from demarc.modules.addressing.models import ip_address, ip_assignment, ip_pool, ip_pool_exclusion
from demarc.modules.addressing.rules import Layout, around, reserved_hosts
from demarc.modules.addressing.states import AddressStatus, PoolKind


@dataclass(frozen=True, slots=True)
class Pool:
    """One row; `quarantine_hours` is how long a released address rests.

    `prefix_length`: of what it hands out. `next_address`: from here on no rows are made yet.
    """

    tenant_id: int
    id: int
    uid: UUID
    name: str
    kind: str
    network: Network
    prefix_length: int
    next_address: Host | None
    gateway: Host | None
    is_default: bool
    quarantine_hours: int
    status: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Address:
    """One address, prefix or block of a pool. `available_at` (business time) ends a quarantine."""

    tenant_id: int
    pool_id: int
    address: Block
    status: str
    subscriber_id: int | None
    available_at: datetime | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", as_block(self.address))


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A range of a pool that is never handed out, both ends included."""

    tenant_id: int
    id: int
    uid: UUID
    pool_id: int
    first_address: Host
    last_address: Host
    note: str
    created_at: datetime

    @property
    def range(self) -> Range:
        return Range(self.first_address, self.last_address)


@dataclass(frozen=True, slots=True)
class Holding:
    """What a subscriber holds of a pool of this kind."""

    subscriber_id: int
    pool_id: int
    kind: str
    address: Block

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", as_block(self.address))


@dataclass(frozen=True, slots=True)
class Assignment:
    """A subscriber had the address in [assigned_at, released_at); None: still has."""

    tenant_id: int
    id: int
    uid: UUID
    pool_id: int
    address: Block
    subscriber_id: int
    assigned_at: datetime
    released_at: datetime | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", as_block(self.address))


@dataclass(frozen=True, slots=True)
class Utilisation:
    """Addresses of a pool by what may be done with them; a quarantine that is over counts as free."""

    pool_id: int
    free: int
    assigned: int
    quarantined: int
    reserved: int

    @property
    def total(self) -> int:
        return self.free + self.assigned + self.quarantined + self.reserved


_BY_UID = Query(select(ip_pool).where(mine(ip_pool), ip_pool.c.uid == bindparam("uid")))
_BY_ID = Query(select(ip_pool).where(mine(ip_pool), ip_pool.c.id == bindparam("id")))
_BY_NAME = Query(select(ip_pool).where(mine(ip_pool), ip_pool.c.name == bindparam("name")))
_DEFAULT = Query(
    select(ip_pool).where(mine(ip_pool), ip_pool.c.is_default, ip_pool.c.kind == bindparam("kind"))
)
_HELD_POOL = Query(
    select(ip_pool).where(mine(ip_pool), ip_pool.c.id == bindparam("id")).with_for_update(key_share=True)
)
_POOLS_OF = Query(
    select(ip_pool).where(mine(ip_pool), ip_pool.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger))))
)
_EXCLUSIONS = Query(
    select(ip_pool_exclusion)
    .where(
        mine(ip_pool_exclusion),
        ip_pool_exclusion.c.pool_id == any_(bindparam("pool_ids", type_=ARRAY(BigInteger))),
    )
    .order_by(ip_pool_exclusion.c.first_address)
)

_NOW = bindparam("now", type_=DateTime(timezone=True))
_QUARANTINE_OVER = (ip_address.c.status == AddressStatus.QUARANTINED.value) & (
    ip_address.c.available_at <= _NOW
)
_UTILISATION = Query(
    select(
        ip_address.c.pool_id,
        func.count()
        .filter(or_(ip_address.c.status == AddressStatus.FREE.value, _QUARANTINE_OVER))
        .label("free"),
        func.count().filter(ip_address.c.status == AddressStatus.ASSIGNED.value).label("assigned"),
        func.count()
        .filter(ip_address.c.status == AddressStatus.QUARANTINED.value, ip_address.c.available_at > _NOW)
        .label("quarantined"),
        func.count().filter(ip_address.c.status == AddressStatus.RESERVED.value).label("reserved"),
    )
    .where(
        mine(ip_address),
        ip_address.c.pool_id == any_(bindparam("pool_ids", type_=ARRAY(BigInteger))),
    )
    .group_by(ip_address.c.pool_id)
)

_STATUS = bindparam("status", type_=String)
_OF_POOL = (
    mine(ip_address)
    & (ip_address.c.pool_id == bindparam("pool_id"))
    & or_(_STATUS.is_(None), ip_address.c.status == _STATUS)
)


def _addresses(order: ColumnElement[Any]) -> Query:
    return Query(
        select(ip_address)
        .where(_OF_POOL)
        .order_by(order)
        .limit(bindparam("window_limit", type_=Integer))
        .offset(bindparam("window_skip", type_=Integer))
    )


_ADDRESSES = {
    "address": _addresses(ip_address.c.address.asc()),
    "-address": _addresses(ip_address.c.address.desc()),
}
_ADDRESS_COUNT = Query(select(func.count()).select_from(ip_address).where(_OF_POOL))

_HOLDINGS = Query(
    select(ip_address.c.subscriber_id, ip_address.c.pool_id, ip_pool.c.kind, ip_address.c.address)
    .join(ip_pool, and_(ip_pool.c.tenant_id == ip_address.c.tenant_id, ip_pool.c.id == ip_address.c.pool_id))
    .where(
        mine(ip_address),
        ip_address.c.subscriber_id == any_(bindparam("subscriber_ids", type_=ARRAY(BigInteger))),
        ip_address.c.status == AddressStatus.ASSIGNED.value,
    )
    .order_by(ip_address.c.address)
)

_AT = bindparam("at", type_=DateTime(timezone=True))
_AROUND = bindparam("around", type_=ARRAY(INET))
_WHO_HAD = Query(
    select(ip_assignment)
    .where(
        mine(ip_assignment),
        ip_assignment.c.address == any_(_AROUND),
        ip_assignment.c.assigned_at <= _AT,
        or_(ip_assignment.c.released_at.is_(None), ip_assignment.c.released_at > _AT),
    )
    .order_by(ip_assignment.c.id.desc())
)
_ASSIGNMENT = Query(select(ip_assignment).where(mine(ip_assignment), ip_assignment.c.uid == bindparam("uid")))
_OPEN_ASSIGNMENT = Query(
    select(ip_assignment).where(
        mine(ip_assignment),
        ip_assignment.c.subscriber_id == bindparam("subscriber_id"),
        ip_assignment.c.address == bindparam("address", type_=INET),
        ip_assignment.c.released_at.is_(None),
    )
)
_EVER_ASSIGNED = Query(
    select(ip_assignment.c.id)
    .where(mine(ip_assignment), ip_assignment.c.pool_id == bindparam("pool_id"))
    .limit(1)
)

LISTING = Listing(
    ip_pool,
    filters={
        "status": ip_pool.c.status == bindparam("status"),
        "kind": ip_pool.c.kind == bindparam("kind"),
        "name": ip_pool.c.name == bindparam("name"),
        "is_default": ip_pool.c.is_default == bindparam("is_default"),
    },
    sorts={"created_at": ip_pool.c.created_at, "name": ip_pool.c.name, "network": ip_pool.c.network},
    default_sort="created_at",
)


ASSIGNMENTS = Listing(
    ip_assignment,
    filters={
        "around": ip_assignment.c.address == any_(_AROUND),
        "subscriber_id": ip_assignment.c.subscriber_id == bindparam("subscriber_id"),
        "pool_id": ip_assignment.c.pool_id == bindparam("pool_id"),
        "is_open": ip_assignment.c.released_at.is_(None) == bindparam("is_open", type_=Boolean),
    },
    sorts={"assigned_at": ip_assignment.c.assigned_at},
    default_sort="-assigned_at",
)
EXCLUSIONS = Listing(
    ip_pool_exclusion,
    filters={"pool_id": ip_pool_exclusion.c.pool_id == bindparam("pool_id")},
    sorts={"first": ip_pool_exclusion.c.first_address, "created_at": ip_pool_exclusion.c.created_at},
    default_sort="first",
)


async def get_pool(tx: Tx, uid: UUID) -> Pool:
    """Raises `NotFound`."""
    return await tx.get(_BY_UID, Pool, f"no address pool {uid}", uid=uid)


async def get_pool_by_id(tx: Tx, pool_id: int) -> Pool:
    """Raises `NotFound`."""
    return await tx.get(_BY_ID, Pool, f"no address pool {pool_id}", id=pool_id)


async def find_pool_by_name(tx: Tx, name: str) -> Pool | None:
    return await tx.find(_BY_NAME, Pool, name=name)


async def find_default_pool(tx: Tx, kind: PoolKind = PoolKind.IPV4) -> Pool | None:
    """The pool of this kind that serves subscribers who name none."""
    return await tx.find(_DEFAULT, Pool, kind=kind.value)


async def hold_pool(tx: Tx, pool_id: int) -> Pool:
    """The row, locked until the transaction ends. Raises `NotFound`."""
    return await tx.get(_HELD_POOL, Pool, f"no address pool {pool_id}", id=pool_id)


async def pools_by_id(tx: Tx, ids: Collection[int]) -> dict[int, Pool]:
    """These pools, by id."""
    return {row.id: row for row in await tx.fetch(_POOLS_OF, Pool, ids=[*ids])}


async def list_pools(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Pool]:
    """Filters: status, kind, name (exact), is_default."""
    return await LISTING.page(tx, Pool, window, sort=sort, **filters)


async def layout_of(tx: Tx, pool: Pool) -> Layout:
    """How the pool's network is cut, and what of it is kept out."""
    return (await layouts_of(tx, [pool]))[pool.id]


async def layouts_of(tx: Tx, pools: Sequence[Pool]) -> dict[int, Layout]:
    """`layout_of` for a page of pools."""
    excluded: dict[int, list[Range]] = {pool.id: [] for pool in pools}
    for one in await tx.fetch(_EXCLUSIONS, Exclusion, pool_ids=list(excluded)):
        excluded[one.pool_id].append(one.range)
    return {
        pool.id: Layout(
            pool.network,
            pool.prefix_length,
            reserved_hosts(PoolKind(pool.kind), pool.network, pool.gateway),
            tuple(excluded[pool.id]),
        )
        for pool in pools
    }


async def utilisation_of(tx: Tx, pools: Sequence[Pool]) -> dict[int, Utilisation]:
    """The utilisation of each pool at `tx.now`, by pool id; of IPv6 the numbers may be larger than 64 bits."""
    counted = await count_addresses(tx, [pool.id for pool in pools])
    layouts = await layouts_of(tx, [pool for pool in pools if pool.kind != PoolKind.IPV4])
    nothing = Utilisation(0, 0, 0, 0, 0)
    return {
        pool.id: _complete(pool.id, counted.get(pool.id, nothing), layouts.get(pool.id)) for pool in pools
    }


def _complete(pool_id: int, counted: Utilisation, layout: Layout | None) -> Utilisation:
    """Blocks without a row are free, or kept out."""
    if layout is None:
        return replace(counted, pool_id=pool_id)
    free = layout.total - layout.kept_out - counted.assigned - counted.quarantined
    return Utilisation(pool_id, free, counted.assigned, counted.quarantined, layout.kept_out)


async def count_addresses(tx: Tx, pool_ids: Sequence[int]) -> dict[int, Utilisation]:
    """Rows of each pool by what may be done with them at `tx.now`, by pool id; see `utilisation_of`."""
    rows = await tx.fetch(_UTILISATION, Utilisation, pool_ids=list(pool_ids), now=tx.now)
    return {row.pool_id: row for row in rows}


async def list_addresses(
    tx: Tx,
    pool_id: int,
    window: Window,
    *,
    status: AddressStatus | None = None,
    sort: str | None = None,
) -> Page[Address]:
    """Addresses of a pool, lowest first, or highest first (`-address`).

    Raises:
        Invalid: the sort is not known.
    """
    query = _ADDRESSES.get(sort or "address")
    if query is None:
        raise invalid("sort", f"sort by one of {', '.join(_ADDRESSES)}")
    filters = {"pool_id": pool_id, "status": status.value if status else None}
    rows = await tx.fetch(query, Address, **filters, window_limit=window.limit, window_skip=window.skip)
    return Page(rows, await tx.value(_ADDRESS_COUNT, **filters), window)


async def list_held_addresses(tx: Tx, subscriber_ids: Sequence[int]) -> dict[int, IPv4Address]:
    """The IPv4 address each of these subscribers holds, by subscriber id; the lowest one if there are several."""
    holdings = await list_holdings(tx, subscriber_ids)
    return {
        subscriber_id: held[0]
        for subscriber_id, mine_of in holdings.items()
        if (
            held := [
                one.address
                for one in mine_of
                if isinstance(one.address, IPv4Address) and one.kind == PoolKind.IPV4
            ]
        )
    }


async def list_holdings(tx: Tx, subscriber_ids: Sequence[int]) -> dict[int, list[Holding]]:
    """All that each of these subscribers holds, the lowest first, by subscriber id; who holds nothing is left out."""
    holdings: dict[int, list[Holding]] = {}
    for row in await tx.fetch(_HOLDINGS, Holding, subscriber_ids=list(subscriber_ids)):
        holdings.setdefault(row.subscriber_id, []).append(row)
    return holdings


async def who_had(tx: Tx, address: Block, at: datetime) -> Assignment | None:
    """Whose the address was at that moment, by itself or as a part of a prefix or block; None: nobody's."""
    return await tx.find(_WHO_HAD, Assignment, around=around(address), at=at)


async def list_assignments(
    tx: Tx, window: Window, *, sort: str | None = None, address: Block | None = None, **filters: Any
) -> Page[Assignment]:
    """Newest first, unless `sort` says otherwise (assigned_at).

    Filters: address (also as a part of a prefix or block), subscriber_id, pool_id (internal ids), is_open.
    """
    networks = None if address is None else around(address)
    return await ASSIGNMENTS.page(tx, Assignment, window, sort=sort, around=networks, **filters)


async def get_assignment(tx: Tx, uid: UUID) -> Assignment:
    """Raises `NotFound`."""
    return await tx.get(_ASSIGNMENT, Assignment, f"no address assignment {uid}", uid=uid)


async def get_open_assignment(tx: Tx, subscriber_id: int, address: Block) -> Assignment:
    """The open assignment of what the subscriber holds. Raises `NotFound`."""
    return await tx.get(
        _OPEN_ASSIGNMENT, Assignment, f"{address} is not held", subscriber_id=subscriber_id, address=address
    )


async def list_exclusions(
    tx: Tx, pool_id: int, window: Window, *, sort: str | None = None
) -> Page[Exclusion]:
    """The ranges of the pool that are never handed out, lowest first."""
    return await EXCLUSIONS.page(tx, Exclusion, window, sort=sort, pool_id=pool_id)


async def was_ever_used(tx: Tx, pool_id: int) -> bool:
    """Whether an address of the pool was ever assigned."""
    return await tx.value(_EVER_ASSIGNED, pool_id=pool_id) is not None
