"""Reads of NAS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    any_,
    bindparam,
    func,
    select,
)

from demarc.kernel.db import Tx
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.access.models import (
    aaa_nas,
    nas,
    radius_session,
)


@dataclass(frozen=True, slots=True)
class Nas:
    """One row. `unanswered_until` (real time): no order is sent before, since the NAS did not answer the last one."""

    tenant_id: int
    id: int
    uid: UUID
    name: str
    source_ip: IPv4Address
    secret_encrypted: bytes = field(repr=False)
    vendor: str
    coa_port: int
    message_authenticator: str
    status: str
    unanswered_until: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NasProjection:
    """What FreeRADIUS knows of a NAS."""

    tenant_id: int
    nas_id: int
    source_ip: IPv4Address
    secret: str = field(repr=False)
    shortname: str
    vendor: str
    speed_replies: list[str] | None
    message_authenticator: str
    message_authenticator_seen: bool
    clock_offset: timedelta


@dataclass(frozen=True, slots=True)
class Named:
    """A row's number and the id that the surfaces show."""

    id: int
    uid: UUID


IDS = bindparam("ids", type_=ARRAY(BigInteger))

_NAS_BY_UID = Query(select(nas).where(mine(nas), nas.c.uid == bindparam("uid")))

_NAS_BY_ID = Query(select(nas).where(mine(nas), nas.c.id == bindparam("id")))

_NAS_PROJECTION = Query(select(aaa_nas).where(mine(aaa_nas), aaa_nas.c.nas_id == bindparam("nas_id")))

_NAS_UIDS = Query(select(nas.c.id, nas.c.uid).where(mine(nas), nas.c.id == any_(IDS)))

_NAS_HEARD = Query(
    select(func.max(radius_session.c.updated_at)).where(
        mine(radius_session), radius_session.c.nas_id == bindparam("nas_id")
    )
)

NAS_LISTING = Listing(
    nas,
    filters={"status": nas.c.status == bindparam("status"), "vendor": nas.c.vendor == bindparam("vendor")},
    sorts={"created_at": nas.c.created_at, "name": nas.c.name, "source_ip": nas.c.source_ip},
    default_sort="created_at",
)


async def get_nas(tx: Tx, uid: UUID) -> Nas:
    """Raises `NotFound`."""
    return await tx.get(_NAS_BY_UID, Nas, f"no NAS {uid}", uid=uid)


async def get_nas_by_id(tx: Tx, nas_id: int) -> Nas:
    """Raises `NotFound`."""
    return await tx.get(_NAS_BY_ID, Nas, f"no NAS {nas_id}", id=nas_id)


async def find_nas_projection(tx: Tx, nas_id: int) -> NasProjection | None:
    """None: the NAS is disabled, so FreeRADIUS does not know it."""
    return await tx.find(_NAS_PROJECTION, NasProjection, nas_id=nas_id)


async def list_nas(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Nas]:
    """Filters: status, vendor."""
    return await NAS_LISTING.page(tx, Nas, window, sort=sort, **filters)


async def nas_uids_of(tx: Tx, ids: Sequence[int]) -> dict[int, UUID]:
    """NAS id -> its id on `/api`."""
    return {row.id: row.uid for row in await tx.fetch(_NAS_UIDS, Named, ids=list(ids))}


async def nas_last_heard(tx: Tx, nas_id: int) -> datetime | None:
    """When accounting of any live session last came from the NAS, business time; None: it has no live session."""
    heard: datetime | None = await tx.value(_NAS_HEARD, nas_id=nas_id)
    return heard
