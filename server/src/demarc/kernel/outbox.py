"""Events: what happened, written in the transaction in which it happened; handlers run as jobs of their own."""

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


async def emit(tx: Tx, name: str, *, entity: str, entity_id: int, **payload: Any) -> None:
    """Write the event and queue its handlers, in the caller's transaction."""
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
    for kind in _HANDLERS.get(name, ()):
        await defer(tx, kind, event)
