"""Events: what happened, written in the transaction in which it happened.

A handler (`handles`) runs as a job of its own after the commit; a projection (`projects`) runs inside the event's own
transaction, for state that must never be behind, such as what FreeRADIUS answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from demarc.kernel.db import Tx
from demarc.kernel.jobs import Job, Work, defer, job
from demarc.kernel.tables import outbox_event


class Event(msgspec.Struct, frozen=True):
    """One fact. `name` is noun.past; `payload` holds ids and public values only."""

    id: int
    name: str
    entity: str
    entity_id: int
    payload: dict[str, Any]


class _StoredEvent:
    def __init__(self, **columns: Any) -> None:
        self.id: int = columns["id"]


Handler = Callable[[Tx, Event], Awaitable[None]]
_PROJECTIONS: dict[str, list[Handler]] = {}
_HANDLERS: dict[str, list[Job[Event]]] = {}


def handles(event_name: str) -> Callable[[Handler], Handler]:
    """Register a handler: it runs in a transaction of its own, after the event's has committed, at least once."""

    def register(handler: Handler) -> Handler:
        async def run(work: Work, event: Event) -> None:
            async with work.begin() as tx:
                await handler(tx, event)

        kind = job(f"on {event_name}: {handler.__module__}.{handler.__name__}", Event)(run)
        _HANDLERS.setdefault(event_name, []).append(kind)
        return handler

    return register


def projects(event_name: str) -> Callable[[Handler], Handler]:
    """Register a projection: it runs in the event's own transaction; when it fails, nothing happened at all."""

    def register(handler: Handler) -> Handler:
        _PROJECTIONS.setdefault(event_name, []).append(handler)
        return handler

    return register


async def emit(tx: Tx, name: str, *, entity: str, entity_id: int, **payload: Any) -> None:
    """Write the event, run its projections and queue its handlers, in the caller's transaction."""
    stored = await tx.insert(
        outbox_event,
        _StoredEvent,
        name=name,
        entity=entity,
        entity_id=entity_id,
        payload=payload,
        request_id=tx.request_id,
        occurred_at=tx.now,
    )
    event = Event(stored.id, name, entity, entity_id, payload)
    for project in _PROJECTIONS.get(name, ()):
        await project(tx, event)
    for kind in _HANDLERS.get(name, ()):
        await defer(tx, kind, event)
