"""What runs by the clock. Each tick queues one job per tenant; a tenant's job that still waits is not queued twice."""

from __future__ import annotations

import msgspec
from pgqueuer import PgQueuer
from pgqueuer.domain.models import Schedule

from demarc.kernel.clock import real_now
from demarc.kernel.context import system
from demarc.kernel.db import Database
from demarc.kernel.jobs import Job, Work, defer, job
from demarc.kernel.logs import logger
from demarc.modules.audit.seal import seal_audit_log
from demarc.modules.tenants.queries import list_tenants
from demarc.workflows.access_enforcement import enforce_tenant
from demarc.workflows.non_payment import sweep_tenant

_LOG = logger(__name__)
_CLOCK = system("schedule")
PARTITION_MONTHS = 6


class Nothing(msgspec.Struct, frozen=True):
    """A scheduled job knows all from its tenant."""


@job("schedule.sweep", Nothing, attempts=3)
async def sweep(work: Work, _: Nothing) -> None:
    """Overdue invoices, dunning steps, due terminations of one tenant."""
    await sweep_tenant(work)


@job("schedule.seal_audit", Nothing, attempts=3)
async def seal_audit(work: Work, _: Nothing) -> None:
    """Extend one tenant's chain of audit seals."""
    async with work.begin() as tx:
        await seal_audit_log(tx)


@job("schedule.enforce_access", Nothing, attempts=2)
async def enforce(work: Work, _: Nothing) -> None:
    """Cut one tenant's sessions that should not be live; end throttles whose time is over."""
    await enforce_tenant(work)


EVERY_MINUTE: tuple[Job[Nothing], ...] = (sweep, seal_audit)


async def queue_for_every_tenant(database: Database, kind: Job[Nothing]) -> int:
    """One job per tenant; the number of tenants."""
    tenants = await list_tenants(database)
    for entry in tenants:
        async with database.begin(entry.id, _CLOCK) as tx:
            await defer(tx, kind, Nothing(), dedupe_key=f"{kind.name}:{entry.id}")
    return len(tenants)


def install_schedules(queue: PgQueuer, database: Database) -> None:
    """Register the ticks; with several workers each tick runs once."""

    @queue.schedule("every-minute", "* * * * *")
    async def _every_minute(_: Schedule) -> None:
        for kind in EVERY_MINUTE:
            await queue_for_every_tenant(database, kind)

    @queue.schedule("every-ten-seconds", "* * * * * */10")
    async def _every_ten_seconds(_: Schedule) -> None:
        await queue_for_every_tenant(database, enforce)

    @queue.schedule("session-partitions", "17 3 * * *")
    async def _partitions(_: Schedule) -> None:
        async with database.directory() as connection:
            await connection.execute(
                "SELECT create_session_partitions($1, $2)", real_now().date(), PARTITION_MONTHS
            )
        _LOG.info("session partitions made", months=PARTITION_MONTHS)
