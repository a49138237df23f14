"""A sandbox tenant's months in seconds: its clock moves, and all that follows from the new time happens."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.kernel.jobs import Work, defer, job
from demarc.modules.access.service import project_clock
from demarc.modules.tenants.service import move_clock
from demarc.workflows.access_enforcement import enforce_tenant
from demarc.workflows.non_payment import sweep_tenant

FURTHEST = timedelta(days=36_525)
"""A clock that is a century ahead has gone far enough; beyond the year 9999 there is none."""


class SweepSandbox(msgspec.Struct, frozen=True):
    """Why: the clock's new offset, so that two moves are two sweeps."""

    offset_seconds: float


@job("sandbox.sweep", SweepSandbox, attempts=3)
async def sweep_sandbox(work: Work, _payload: SweepSandbox) -> None:
    """What is due after the clock has moved."""
    await sweep_tenant(work)
    await enforce_tenant(work)


async def advance_clock(tx: Tx, by: timedelta) -> datetime:
    """Move the tenant's business time forward, FreeRADIUS's view of it too, and queue the sweeps; the new time.

    Raises:
        Forbidden: the tenant is no sandbox.
        Invalid: time does not go back, nor a century ahead.
    """
    if tx.tenant.clock_offset + by > FURTHEST:
        raise invalid("advance", f"the clock may be {FURTHEST.days} days ahead at most")
    offset = await move_clock(tx, by)
    await project_clock(tx)
    await defer(tx, sweep_sandbox, SweepSandbox(offset.total_seconds()))
    return tx.now + by
