"""Runs the jobs: pgqueuer brings them, each handler opens its own transactions, failures are retried or kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from pgqueuer import PgQueuer
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job as QueuedJob

from demarc.kernel.db import Database
from demarc.kernel.errors import DemarcError, Unavailable
from demarc.kernel.jobs import REGISTRY, Envelope, Job, work_of
from demarc.kernel.logs import logger
from demarc.kernel.metrics import JOBS_RUN

_LOG = logger(__name__)
BATCH = 20
CONCURRENT = 80
POLL = timedelta(seconds=2)
HEARTBEAT = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class JobRunner:
    """One kind of job on its way from the queue to its handler."""

    database: Database
    ports: Mapping[type, object]
    kind: Job[Any]

    async def __call__(self, queued: QueuedJob) -> None:
        """Run once; ask for a retry when that may help, otherwise let the failure be kept for a person.

        Raises:
            RetryRequested: the queue runs it again later.
        """
        envelope = msgspec.json.decode(queued.payload or b"", type=Envelope)
        work = work_of(self.database, self.kind, envelope, queued.attempts, self.ports)
        with structlog.contextvars.bound_contextvars(job=self.kind.name, request_id=work.request_id):
            try:
                await self.kind.run(work, bytes(envelope.body))
            except Exception as error:  # the job edge: everything ends here, logged
                self._after_failure(error, queued.attempts, is_last=work.is_last_attempt)
                raise
        JOBS_RUN.labels(self.kind.name, "done").inc()

    def _after_failure(self, error: Exception, attempt: int, *, is_last: bool) -> None:
        if is_last or not worth_a_retry(error):
            JOBS_RUN.labels(self.kind.name, "failed").inc()
            _LOG.error("job failed for good", attempt=attempt, exc_info=error)
            return
        JOBS_RUN.labels(self.kind.name, "retried").inc()
        _LOG.warning("job will be tried again", attempt=attempt, reason=f"{type(error).__name__}: {error}")
        raise RetryRequested(self.kind.delay_before(attempt), reason=type(error).__name__) from error


def worth_a_retry(error: Exception) -> bool:
    """A domain refusal stays a refusal; what is away, was outrun by another, or unexpected may be better next time."""
    if not isinstance(error, DemarcError):
        return True
    return isinstance(error, Unavailable) or error.code == "CONCURRENT_CHANGE"


def build_queue(database: Database, ports: Mapping[type, object]) -> PgQueuer:
    """The queue with every declared job as an entry point."""
    queue = PgQueuer.from_asyncpg_pool(database.pool)
    for kind in REGISTRY.values():
        queue.entrypoint(kind.name, on_failure="hold", accepts_context=False)(
            JobRunner(database, ports, kind)
        )
    return queue


async def run_queue(queue: PgQueuer) -> None:
    """Until the queue's `shutdown` is set; running jobs are finished first.

    A lost database ends it with an error: the supervisor starts the process again.
    """
    # pgqueuer sends its first health check while it begins to LISTEN; on a busy machine the check overtakes, is never
    # heard, and ends the worker ten seconds later. Listening before it starts closes the gap.
    await queue.connection.add_listener(queue.channel, _not_ours)
    await queue.run(
        dequeue_timeout=POLL,
        batch_size=BATCH,
        max_concurrent_tasks=CONCURRENT,
        heartbeat_timeout=HEARTBEAT,
        shutdown_on_listener_failure=True,
    )


def _not_ours(_payload: str | bytes | bytearray) -> None:
    """What the queue announces is for the queue's own listener, on the same connection."""
