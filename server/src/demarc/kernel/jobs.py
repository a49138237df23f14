"""Jobs are rows of the caller's transaction: they exist exactly if what they follow from does (ADR 0001).

A job runs at least once; its handler finds out from the database whether its work is still to be done.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar, cast

import asyncpg
import msgspec
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.queries import Queries

from demarc.kernel.context import Actor, system
from demarc.kernel.db import Database, Tx
from demarc.kernel.errors import Misconfigured

P = TypeVar("P")
T = TypeVar("T")


class Envelope(msgspec.Struct, frozen=True):
    """What a job's payload column holds."""

    tenant_id: int
    request_id: str
    body: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Work:
    """What a handler gets beside its payload: the way to open transactions of the job's tenant."""

    database: Database
    tenant_id: int
    request_id: str
    attempt: int
    is_last_attempt: bool
    actor: Actor
    ports: Mapping[type, object]

    def port(self, kind: type[T]) -> T:
        """What bootstrap joined to this port (a mailer, a sender of CoA, the master key)."""
        joined = self.ports.get(kind)
        if joined is None:
            raise Misconfigured(f"nothing is joined to the port {kind.__name__} in this process")
        return cast("T", joined)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Tx]:
        """One transaction of the job's tenant."""
        async with self.database.begin(self.tenant_id, self.actor, request_id=self.request_id) as tx:
            yield tx


@dataclass(frozen=True, slots=True)
class Job(Generic[P]):
    """A kind of job. `first_delay` doubles with each attempt up to `max_delay`."""

    name: str
    payload: type[P]
    handler: Callable[[Work, P], Awaitable[None]]
    attempts: int
    first_delay: timedelta
    max_delay: timedelta

    def delay_before(self, attempt: int) -> timedelta:
        """How long to wait after the failure of attempt number `attempt` (0 is the first)."""
        return min(self.first_delay * (1 << min(attempt, 30)), self.max_delay)

    async def run(self, work: Work, body: bytes) -> None:
        await self.handler(work, msgspec.json.decode(body, type=self.payload))


REGISTRY: dict[str, Job[Any]] = {}


def job(
    name: str,
    payload: type[P],
    *,
    attempts: int = 10,
    first_delay: timedelta = timedelta(seconds=1),
    max_delay: timedelta = timedelta(minutes=15),
) -> Callable[[Callable[[Work, P], Awaitable[None]]], Job[P]]:
    """Declare a kind of job; the decorated function is its handler."""

    def declare(handler: Callable[[Work, P], Awaitable[None]]) -> Job[P]:
        declared = Job(name, payload, handler, attempts, first_delay, max_delay)
        if REGISTRY.setdefault(name, declared) is not declared:
            raise ValueError(f"job {name} is declared twice")
        return declared

    return declare


async def defer(
    tx: Tx, kind: Job[P], payload: P, *, delay: timedelta = timedelta(0), dedupe_key: str | None = None
) -> None:
    """Queue one job in the caller's transaction.

    Args:
        tx: the transaction whose commit makes the job visible.
        kind: what to run.
        payload: its input; no secrets, since the queue is readable by operators.
        delay: real time to wait at least; business delays are rows with `next_action_at`.
        dedupe_key: while a job with this key waits or runs, another one is not queued.
    """
    envelope = Envelope(tx.tenant.id, tx.request_id, msgspec.Raw(msgspec.json.encode(payload)))
    queries = Queries(AsyncpgDriver(cast("asyncpg.Connection[Any]", tx.connection)))
    await queries.enqueue(
        kind.name,
        msgspec.json.encode(envelope),
        execute_after=delay or None,
        dedupe_key=dedupe_key,
        on_conflict="skip",
    )


def work_of(
    database: Database, kind: Job[Any], envelope: Envelope, attempt: int, ports: Mapping[type, object]
) -> Work:
    """The `Work` of one run."""
    return Work(
        database=database,
        tenant_id=envelope.tenant_id,
        request_id=envelope.request_id,
        attempt=attempt,
        is_last_attempt=attempt + 1 >= kind.attempts,
        actor=system(kind.name),
        ports=ports,
    )
