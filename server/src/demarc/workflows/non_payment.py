"""What the passing of time does: to those who do not pay, and to services that have a date to start, resume or end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, Unavailable
from demarc.kernel.jobs import Work
from demarc.kernel.logs import logger
from demarc.modules.billing.queries import list_due_invoice_ids
from demarc.modules.billing.service import mark_invoice_overdue
from demarc.modules.dunning.queries import list_due_execution_ids
from demarc.modules.dunning.service import (
    list_invoices_to_collect,
    put_back,
    run_due_step,
    start_execution_for,
)
from demarc.modules.services.queries import (
    list_locks_due_to_lift,
    list_plan_changes_due,
    list_services_due_to_end,
    list_services_due_to_start,
)
from demarc.modules.services.service import (
    carry_out_plan_change,
    end_service_due,
    lift_lock_due,
    start_service_due,
)

_LOG = logger(__name__)


@dataclass(frozen=True, slots=True)
class Swept:
    """How many rows each sweep acted on."""

    overdue: int
    started: int
    steps: int
    terminated: int
    activated: int = 0
    resumed: int = 0
    plans_changed: int = 0


async def sweep_tenant(work: Work) -> Swept:
    """Everything that is due for the job's tenant at its business time, in order; each row is its own transaction.

    Safe to run twice at once: every row is claimed. A row that ends in an error that nobody foresaw is logged and
    left for the next sweep, a dunning execution for longer and only so often; the others go on.

    Raises:
        Unavailable: the database is away; run it again.
    """
    return Swept(
        overdue=await _each(work, list_due_invoice_ids, mark_invoice_overdue),
        started=await _each(work, list_invoices_to_collect, start_execution_for),
        steps=await _run_steps(work),
        terminated=await _each(work, list_services_due_to_end, end_service_due),
        activated=await _each(work, list_services_due_to_start, start_service_due),
        resumed=await _each(work, list_locks_due_to_lift, lift_lock_due),
        plans_changed=await _each(work, list_plan_changes_due, carry_out_plan_change),
    )


async def _run_steps(work: Work) -> int:
    """Steps without delay follow at once."""
    total = 0
    while done := await _each(work, list_due_execution_ids, run_due_step, give_way=put_back):
        total += done
    return total


async def _each(
    work: Work,
    list_due: Callable[[Tx], Awaitable[list[int]]],
    act: Callable[[Tx, int], Awaitable[bool]],
    give_way: Callable[[Tx, int, str], Awaitable[None]] | None = None,
) -> int:
    async with work.begin() as tx:
        due = await list_due(tx)
    return sum([await _one(work, row_id, act, give_way) for row_id in due])


async def _one(
    work: Work,
    row_id: int,
    act: Callable[[Tx, int], Awaitable[bool]],
    give_way: Callable[[Tx, int, str], Awaitable[None]] | None,
) -> bool:
    try:
        async with work.begin() as tx:
            return await act(tx, row_id)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - a job's edge: one row must not hold up its tenant's others
        if isinstance(error, Conflict) and error.code == "CONCURRENT_CHANGE":
            return False  # somebody else changes the row right now; the next sweep looks again
        _LOG.error("a sweep left a row out", sweep=getattr(act, "__name__", ""), row=row_id, exc_info=error)
        if give_way is not None:
            async with work.begin() as tx:
                await give_way(tx, row_id, type(error).__name__)
        return False
