"""What the passing of time does to those who do not pay, and to services whose time is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from demarc.kernel.db import Tx
from demarc.kernel.jobs import Work
from demarc.modules.billing.service import mark_overdue
from demarc.modules.dunning.service import run_due_steps, start_due_executions
from demarc.modules.services.service import terminate_due


@dataclass(frozen=True, slots=True)
class Swept:
    """How many rows each sweep acted on."""

    overdue: int
    started: int
    steps: int
    terminated: int


async def sweep_tenant(work: Work) -> Swept:
    """Everything that is due for the job's tenant at its business time, in order; each batch is its own transaction.

    Safe to run twice at once: every sweep claims its rows.
    """
    return Swept(
        overdue=await _once(work, mark_overdue),
        started=await _once(work, start_due_executions),
        steps=await _until_done(work, run_due_steps),
        terminated=await _until_done(work, terminate_due),
    )


async def _once(work: Work, sweep: Callable[[Tx], Awaitable[int]]) -> int:
    async with work.begin() as tx:
        return await sweep(tx)


async def _until_done(work: Work, sweep: Callable[[Tx], Awaitable[int]]) -> int:
    total = 0
    while done := await _once(work, sweep):
        total += done
    return total
