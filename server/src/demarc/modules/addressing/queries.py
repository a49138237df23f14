"""Every read of pools and addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    DateTime,
    Integer,
    String,
    any_,
    bindparam,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import INET

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound, invalid
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.addressing.models import ip_address, ip_assignment, ip_pool
from demarc.modules.addressing.states import AddressStatus


@dataclass(frozen=True, slots=True)
class Pool:
    """One row; `quarantine_hours` is how long a released address rests."""

    tenant_id: int
    id: int
    uid: UUID
    name: str
    network: IPv4Network
    gateway: IPv4Address | None
    is_default: bool
    quarantine_hours: int
    status: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a pool. `available_at` (business time) ends a quarantine."""

    tenant_id: int
    pool_id: int
    address: IPv4Address
    status: str
    subscriber_id: int | None
    available_at: datetime | None


@dataclass(frozen=True, slots=True)
class Assignment:
    """A subscriber had the address in [assigned_at, released_at); None: still has."""

    tenant_id: int
    id: int
    pool_id: int
    address: IPv4Address
    subscriber_id: int
    assigned_at: datetime
    released_at: datetime | None


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


@dataclass(frozen=True, slots=True)
class _Held:
    subscriber_id: int
    address: IPv4Address
    pool_id: int


_BY_UID = Query(select(ip_pool).where(mine(ip_pool), ip_pool.c.uid == bindparam("uid")))
_BY_ID = Query(select(ip_pool).where(mine(ip_pool), ip_pool.c.id == bindparam("id")))
_BY_NAME = Query(select(ip_pool).where(mine(ip_pool), ip_pool.c.name == bindparam("name")))
_DEFAULT = Query(select(ip_pool).where(mine(ip_pool), ip_pool.c.is_default))

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

_HELD = Query(
    select(ip_address.c.subscriber_id, ip_address.c.address, ip_address.c.pool_id)
    .where(
        mine(ip_address),
        ip_address.c.subscriber_id == any_(bindparam("subscriber_ids", type_=ARRAY(BigInteger))),
        ip_address.c.status == AddressStatus.ASSIGNED.value,
    )
    .order_by(ip_address.c.address.desc())
)

_AT = bindparam("at", type_=DateTime(timezone=True))
_HAD = mine(ip_assignment) & (ip_assignment.c.address == bindparam("address", type_=INET))
_WHO_HAD = Query(
    select(ip_assignment)
    .where(
        _HAD,
        ip_assignment.c.assigned_at <= _AT,
        or_(ip_assignment.c.released_at.is_(None), ip_assignment.c.released_at > _AT),
    )
    .order_by(ip_assignment.c.id.desc())
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
        "name": ip_pool.c.name == bindparam("name"),
        "is_default": ip_pool.c.is_default == bindparam("is_default"),
    },
    sorts={"created_at": ip_pool.c.created_at, "name": ip_pool.c.name, "network": ip_pool.c.network},
    default_sort="created_at",
)


ASSIGNMENTS = Listing(
    ip_assignment,
    filters={"address": ip_assignment.c.address == bindparam("address", type_=INET)},
    sorts={"assigned_at": ip_assignment.c.assigned_at},
    default_sort="-assigned_at",
)


async def get_pool(tx: Tx, uid: UUID) -> Pool:
    """Raises `NotFound`."""
    found = await tx.find(_BY_UID, Pool, uid=uid)
    if found is None:
        raise NotFound(f"no address pool {uid}")
    return found


async def get_pool_by_id(tx: Tx, pool_id: int) -> Pool:
    """Raises `NotFound`."""
    found = await tx.find(_BY_ID, Pool, id=pool_id)
    if found is None:
        raise NotFound(f"no address pool {pool_id}")
    return found


async def find_pool_by_name(tx: Tx, name: str) -> Pool | None:
    return await tx.find(_BY_NAME, Pool, name=name)


async def find_default_pool(tx: Tx) -> Pool | None:
    """The pool that serves subscribers who name none."""
    return await tx.find(_DEFAULT, Pool)


async def list_pools(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Pool]:
    """Filters: status, name (exact), is_default."""
    return await LISTING.page(tx, Pool, window, sort=sort, **filters)


async def count_addresses(tx: Tx, pool_ids: Sequence[int]) -> dict[int, Utilisation]:
    """The utilisation of each pool at `tx.now`, by pool id."""
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
    """The address each of these subscribers holds, by subscriber id; the lowest one if there are several."""
    rows = await tx.fetch(_HELD, _Held, subscriber_ids=list(subscriber_ids))
    return {row.subscriber_id: row.address for row in rows}


async def who_had(tx: Tx, address: IPv4Address | IPv6Address, at: datetime) -> Assignment | None:
    """Whose the address was at that moment; None: nobody's."""
    return await tx.find(_WHO_HAD, Assignment, address=address, at=at)


async def list_assignments(
    tx: Tx, address: IPv4Address | IPv6Address, window: Window, *, sort: str | None = None
) -> Page[Assignment]:
    """Everybody who had the address, newest first, unless `sort` says otherwise (assigned_at)."""
    return await ASSIGNMENTS.page(tx, Assignment, window, sort=sort, address=address)


async def was_ever_used(tx: Tx, pool_id: int) -> bool:
    """Whether an address of the pool was ever assigned."""
    return await tx.value(_EVER_ASSIGNED, pool_id=pool_id) is not None
