"""Reads of bulk orders."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.db import Tx
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.services.models import (
    service_bulk,
    service_bulk_row,
)
from demarc.modules.services.states import (
    BulkOutcome,
)


@dataclass(frozen=True, slots=True)
class Bulk:
    """One order to many services; `action` is a `BulkAction`."""

    tenant_id: int
    id: int
    uid: UUID
    operation: str
    action: dict[str, Any]
    on_error: str
    status: str
    total: int
    succeeded: int
    failed: int
    requested_by: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class BulkRow:
    """What became of one service of a bulk order."""

    tenant_id: int
    id: int
    bulk_id: int
    position: int
    service_uid: UUID
    outcome: str
    code: str | None
    message: str | None


_BULK = select(service_bulk).where(mine(service_bulk))

_BULK_BY_UID = Query(_BULK.where(service_bulk.c.uid == bindparam("uid")))

_HELD_BULK = Query(_BULK.where(service_bulk.c.id == bindparam("id")).with_for_update())

_PENDING_ROWS = Query(
    select(service_bulk_row)
    .where(
        mine(service_bulk_row),
        service_bulk_row.c.bulk_id == bindparam("bulk_id"),
        service_bulk_row.c.outcome == BulkOutcome.PENDING.value,
    )
    .order_by(service_bulk_row.c.position)
    .limit(bindparam("limit", type_=BigInteger))
)

_BULK_FAILURES = Query(
    select(service_bulk_row)
    .where(
        mine(service_bulk_row),
        service_bulk_row.c.bulk_id == any_(bindparam("bulk_ids", type_=ARRAY(BigInteger))),
        service_bulk_row.c.outcome == BulkOutcome.FAILED.value,
    )
    .order_by(service_bulk_row.c.bulk_id, service_bulk_row.c.position)
    .limit(bindparam("limit", type_=BigInteger))
)

BULKS = Listing(
    service_bulk,
    filters={
        "operation": service_bulk.c.operation == bindparam("operation"),
        "status": service_bulk.c.status == bindparam("status"),
    },
    sorts={"created_at": service_bulk.c.created_at},
    default_sort="-created_at",
)

BULK_ROWS = Listing(
    service_bulk_row,
    filters={
        "bulk_id": service_bulk_row.c.bulk_id == bindparam("bulk_id"),
        "outcome": service_bulk_row.c.outcome == bindparam("outcome"),
    },
    sorts={"position": service_bulk_row.c.position},
    default_sort="position",
)


async def get_bulk(tx: Tx, uid: UUID) -> Bulk:
    """Raises `NotFound`."""
    return await tx.get(_BULK_BY_UID, Bulk, f"no bulk order {uid}", uid=uid)


async def hold_bulk(tx: Tx, bulk_id: int) -> Bulk:
    """The row, locked until the transaction ends. Raises `NotFound`."""
    return await tx.get(_HELD_BULK, Bulk, f"no bulk order {bulk_id}", id=bulk_id)


async def list_bulks(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Bulk]:
    """Newest first. Filters: operation, status."""
    return await BULKS.page(tx, Bulk, window, sort=sort, **filters)


async def list_bulk_rows(
    tx: Tx, bulk_id: int, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[BulkRow]:
    """In the order of the request. Filters: outcome."""
    return await BULK_ROWS.page(tx, BulkRow, window, sort=sort, bulk_id=bulk_id, **filters)


async def list_pending_rows(tx: Tx, bulk_id: int, *, limit: int) -> list[BulkRow]:
    """The next services of a bulk order that are still to be done."""
    return await tx.fetch(_PENDING_ROWS, BulkRow, bulk_id=bulk_id, limit=limit)


async def list_bulk_failures(tx: Tx, bulk_ids: Collection[int], *, limit: int) -> list[BulkRow]:
    """The refused rows of these bulk orders, in order."""
    return await tx.fetch(_BULK_FAILURES, BulkRow, bulk_ids=[*bulk_ids], limit=limit)
