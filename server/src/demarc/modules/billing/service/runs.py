"""How far a monthly run is."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Any

from demarc.kernel.db import Tx
from demarc.kernel.outbox import emit
from demarc.kernel.states import change_status, record_status_change
from demarc.modules.audit.service import record
from demarc.modules.billing.models import billing_run
from demarc.modules.billing.queries import (
    Run,
)
from demarc.modules.billing.states import RUN, RunStatus


async def open_run(tx: Tx, *, month_on: date, subscription_id: int | None, subscriptions: int) -> Run:
    """Start a monthly run over so many subscriptions."""
    made = await tx.insert(
        billing_run,
        Run,
        month_on=month_on,
        subscription_id=subscription_id,
        status=RunStatus.RUNNING.value,
        subscriptions=subscriptions,
        created_at=tx.now,
        updated_at=tx.now,
    )
    await record_status_change(
        tx, entity="billing run", entity_id=made.id, from_status=None, to_status=made.status
    )
    await record(tx, "billing_run.create", entity="billing_run", entity_id=made.id, after=asdict(made))
    return made


async def advance_run(tx: Tx, run: Run, **progress: Any) -> Run:
    """Keep how far a run is; `progress` holds the new values of its counters."""
    return await tx.update(billing_run, Run, {"id": run.id}, updated_at=tx.now, **progress)


async def complete_run(tx: Tx, run: Run) -> Run:
    """Every subscription was looked at."""
    done = await change_status(
        tx,
        RUN,
        billing_run,
        Run,
        entity_id=run.id,
        current=RunStatus(run.status),
        target=RunStatus.COMPLETED,
    )
    await emit(
        tx,
        "billing_run.completed",
        entity="billing_run",
        entity_id=done.id,
        month_on=done.month_on.isoformat(),
        billed=done.billed,
        failed=done.failed,
    )
    return done
