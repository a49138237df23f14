"""`/api/services/lifecycle/bulk`."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from fastapi import Response

from demarc.kernel.db import Tx
from demarc.modules.services.inputs import BULK_MAX
from demarc.modules.services.queries import Bulk, get_bulk, list_bulk_failures, list_bulk_rows, list_bulks
from demarc.modules.services.service import start_bulk
from demarc.modules.services.states import BulkOperation, BulkOutcome, BulkStatus
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.bss.services.convert import bulk_out, bulk_row_out
from demarc.web.bss.services.schemas import BulkIn, BulkList, BulkOut, BulkRowList
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/services/lifecycle/bulk", tag="services")


@router.on("POST", "", permission="services.write", status=200, also=(202,), problem=(404, 409))
async def create(body: BulkIn, tx: TxDep, response: Response) -> BulkOut:
    """Do one thing to many services. Up to 50 are done when this answers; 202: the rest goes on, see `remaining`."""
    bulk = await start_bulk(tx, body.to_order())
    if bulk.status == BulkStatus.RUNNING:
        response.status_code = 202
    return (await _shown(tx, [bulk]))[0]


@router.on("GET", "", permission="services.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    operation: BulkOperation | None = None,
    status: BulkStatus | None = None,
    sort: SortParam = None,
) -> BulkList:
    """Bulk orders, the newest first, unless `sort` says otherwise (created_at)."""
    page = await list_bulks(tx, window, sort=sort, operation=operation, status=status)
    return BulkList(bulk_orders=await _shown(tx, page.rows), **counts(page))


@router.on("GET", "/{bulk_id}", permission="services.read", problem=(404,))
async def get(bulk_id: UUID, tx: TxDep) -> BulkOut:
    """One bulk order and its progress."""
    return (await _shown(tx, [await get_bulk(tx, bulk_id)]))[0]


@router.on("GET", "/{bulk_id}/rows", permission="services.read", problem=(404,))
async def rows(
    bulk_id: UUID,
    tx: TxDep,
    window: WindowDep,
    outcome: BulkOutcome | None = None,
    sort: SortParam = None,
) -> BulkRowList:
    """What became of each service, in the order of the request (position)."""
    bulk = await get_bulk(tx, bulk_id)
    page = await list_bulk_rows(tx, bulk.id, window, sort=sort, outcome=outcome)
    return BulkRowList(rows=[bulk_row_out(row) for row in page.rows], **counts(page))


async def _shown(tx: Tx, bulks: Sequence[Bulk]) -> list[BulkOut]:
    refused = [row.id for row in bulks if row.failed]
    failures = await list_bulk_failures(tx, refused, limit=BULK_MAX * len(refused))
    return [bulk_out(row, failures) for row in bulks]
