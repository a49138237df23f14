"""Reads of monthly runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Date,
    bindparam,
    select,
)

from demarc.kernel.db import Tx
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.billing.models import (
    billing_run,
)


@dataclass(frozen=True, slots=True)
class Run:
    """A monthly run and how far it is."""

    tenant_id: int
    id: int
    uid: UUID
    month_on: date
    subscription_id: int | None
    status: str
    after_subscription_id: int
    subscriptions: int
    billed: int
    unchanged: int
    failed: int
    failures: list[dict[str, Any]]
    total_minor: int
    created_at: datetime
    updated_at: datetime


_RUN = Query(select(billing_run).where(mine(billing_run), billing_run.c.uid == bindparam("uid")))


_RUN_LOCKED = Query(
    select(billing_run).where(mine(billing_run), billing_run.c.id == bindparam("id")).with_for_update()
)


RUNS = Listing(
    billing_run,
    filters={"month_on": billing_run.c.month_on == bindparam("month_on", type_=Date)},
    sorts={"created_at": billing_run.c.id},
    default_sort="-created_at",
)


async def get_run(tx: Tx, uid: UUID) -> Run:
    """Raises `NotFound`."""
    return await tx.get(_RUN, Run, f"no billing run {uid}", uid=uid)


async def lock_run(tx: Tx, run_id: int) -> Run:
    """The run, locked until the transaction ends."""
    return await tx.get(_RUN_LOCKED, Run, f"no billing run {run_id}", id=run_id)


async def list_runs(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Run]:
    """Filter: month_on."""
    return await RUNS.page(tx, Run, window, sort=sort, **filters)
