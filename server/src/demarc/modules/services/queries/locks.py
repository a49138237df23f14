"""Reads of locks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, bindparam, select

from demarc.kernel.db import Tx
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.services.models import (
    service_lock,
)


@dataclass(frozen=True, slots=True)
class ServiceLock:
    """Why a service is or was held down, from when to when; at `lifts_at` it is lifted by itself."""

    tenant_id: int
    id: int
    service_id: int
    kind: str
    reason: str
    placed_by: str
    lifted_by: str | None
    placed_at: datetime
    lifts_at: datetime | None
    lifted_at: datetime | None


_OPEN_LOCKS = Query(
    select(service_lock)
    .where(
        mine(service_lock),
        service_lock.c.service_id == bindparam("service_id"),
        service_lock.c.lifted_at.is_(None),
    )
    .order_by(service_lock.c.id)
)

LOCKS = Listing(
    service_lock,
    filters={
        "service_id": service_lock.c.service_id == bindparam("service_id"),
        "kind": service_lock.c.kind == bindparam("kind"),
        "is_open": service_lock.c.lifted_at.is_(None) == bindparam("is_open", type_=Boolean),
    },
    sorts={"placed_at": service_lock.c.placed_at},
    default_sort="placed_at",
)


async def list_open_locks(tx: Tx, service_id: int) -> list[ServiceLock]:
    """The locks that are on, in the order they came."""
    return await tx.fetch(_OPEN_LOCKS, ServiceLock, service_id=service_id)


async def list_locks(
    tx: Tx, service_id: int, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[ServiceLock]:
    """Every lock the service has and had. Filters: kind, is_open."""
    return await LOCKS.page(tx, ServiceLock, window, sort=sort, service_id=service_id, **filters)
