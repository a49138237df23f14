"""Large bulk orders go on after the answer, a part in each transaction."""

from __future__ import annotations

import msgspec

from demarc.kernel.db import Tx
from demarc.kernel.jobs import Work, defer, job
from demarc.kernel.outbox import Event, projects
from demarc.modules.services.service import advance_bulk
from demarc.modules.services.states import BulkStatus


class BulkJob(msgspec.Struct, frozen=True):
    """Which bulk order to carry on with."""

    bulk_id: int


@job("services.bulk", BulkJob)
async def carry_on(work: Work, order: BulkJob) -> None:
    """Until every row is done; it may die anywhere, what is committed is not done again.

    Raises:
        Unavailable: the database is away; the queue runs the job again.
    """
    status: str = BulkStatus.RUNNING
    while status == BulkStatus.RUNNING:
        async with work.begin() as tx:
            status = (await advance_bulk(tx, order.bulk_id)).status


@projects("service_bulk.started")
async def queue_bulk(tx: Tx, event: Event) -> None:
    """An order and its job are written together."""
    await defer(tx, carry_on, BulkJob(event.entity_id))
