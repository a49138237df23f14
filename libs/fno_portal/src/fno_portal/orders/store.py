"""What the library keeps of orders, as a Protocol, with a store in memory. All methods are atomic.

Another store (a platform's own tables) implements OrderStore and runs `fno_portal.testing.STORE_RULES` on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from fno_portal.errors import FNODuplicateError
from fno_portal.models import FNOOrder, OrderEvent, OrderRequest, Outcome, UnmatchedMessage


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """An order as stored: its state, what was asked, and when it was sent (None: never). `version` counts the saves."""

    order: FNOOrder
    request: OrderRequest
    sent_at: datetime | None = None
    version: int = 0

    @property
    def fingerprint(self) -> str:
        """A hash of what was asked, to tell a repetition from a reused reference."""
        asked = self.request.model_dump_json(exclude={"rica"})
        return hashlib.sha256(f"{self.order.fno}\0{asked}".encode()).hexdigest()


class OrderStore(Protocol):
    """Orders by our reference, their events in order, and the mails that nobody could place."""

    async def add(self, record: OrderRecord) -> OrderRecord:
        """Store the record unless its reference exists; either way the one that is stored. Durable on return."""

    async def get(self, reference: str) -> OrderRecord | None:
        """The order with our reference."""

    async def find(self, fno: str, fno_reference: str) -> OrderRecord | None:
        """The order with the operator's number."""

    async def list_orders(
        self, *, fno: str | None = None, outcome: Outcome | None = None
    ) -> list[OrderRecord]:
        """Orders, oldest first."""

    async def claim(self, reference: str, at: datetime) -> bool:
        """Move `not_sent` to `sending`, durably; True for exactly one of all callers."""

    async def save(self, record: OrderRecord, event: OrderEvent | None = None) -> bool:
        """Replace the record and append its event, in one step.

        False, and nothing is done, when the stored version is not `record.version`, or the event is there already.

        Raises:
            FNODuplicateError: another order of that operator has that number; nothing is done.
        """

    async def append(self, event: OrderEvent) -> bool:
        """Append an event that changes nothing; False when its key is there already."""

    async def has_event(self, fno: str, dedupe_key: str) -> bool:
        """Whether that news is in the log."""

    async def list_events(self, reference: str) -> list[OrderEvent]:
        """The order's log, oldest first."""

    async def add_unmatched(self, message: UnmatchedMessage) -> bool:
        """Queue a mail for a person; False when its key is there already."""

    async def list_unmatched(self) -> list[UnmatchedMessage]:
        """The queue, oldest first."""

    async def remove_unmatched(self, key: str) -> bool:
        """Take one mail off the queue, once a person has dealt with it."""

    async def keep_keys(self, fno: str, place: str, keys: Mapping[str, str]) -> None:
        """Remember an operator's own keys of a place (see `coverage.place_of`), in the stead of earlier ones."""

    async def keys(self, fno: str, place: str) -> dict[str, str]:
        """The keys last kept, or an empty dict."""


def number_taken(order: FNOOrder) -> FNODuplicateError:
    """What `save` raises over an operator's number that another order has."""
    return FNODuplicateError(
        f"the number {order.fno_reference} of order {order.id} belongs to another order",
        fno=order.fno,
        hint="Ask the operator which order it is",
    )


@dataclass(slots=True)
class MemoryStore:
    """Keeps everything in memory. One event loop; nothing survives the process."""

    _orders: dict[str, OrderRecord] = field(default_factory=dict)
    _events: list[OrderEvent] = field(default_factory=list)
    _keys: set[tuple[str, str]] = field(default_factory=set)
    _unmatched: dict[str, UnmatchedMessage] = field(default_factory=dict)
    _places: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)

    async def add(self, record: OrderRecord) -> OrderRecord:
        """See OrderStore."""
        return self._orders.setdefault(record.order.id, record)

    async def get(self, reference: str) -> OrderRecord | None:
        """See OrderStore."""
        return self._orders.get(reference)

    async def find(self, fno: str, fno_reference: str) -> OrderRecord | None:
        """See OrderStore."""
        wanted = (fno, fno_reference)
        return next(
            (one for one in self._orders.values() if (one.order.fno, one.order.fno_reference) == wanted), None
        )

    async def list_orders(
        self, *, fno: str | None = None, outcome: Outcome | None = None
    ) -> list[OrderRecord]:
        """See OrderStore."""
        return [
            one
            for one in self._orders.values()
            if fno in (None, one.order.fno) and outcome in (None, one.order.outcome)
        ]

    async def claim(self, reference: str, at: datetime) -> bool:
        """See OrderStore."""
        record = self._orders.get(reference)
        if record is None or record.order.outcome is not Outcome.NOT_SENT:
            return False
        sending = record.order.model_copy(update={"outcome": Outcome.SENDING})
        self._orders[reference] = replace(record, order=sending, sent_at=at, version=record.version + 1)
        return True

    async def save(self, record: OrderRecord, event: OrderEvent | None = None) -> bool:
        """See OrderStore."""
        stored = self._orders.get(record.order.id)
        if stored is None or stored.version != record.version:
            return False
        order = record.order
        same = await self.find(order.fno, order.fno_reference) if order.fno_reference else None
        if same is not None and same.order.id != order.id:
            raise number_taken(order)
        if event is not None and not await self.append(event):
            return False
        self._orders[record.order.id] = replace(record, version=record.version + 1)
        return True

    async def append(self, event: OrderEvent) -> bool:
        """See OrderStore."""
        key = (event.fno, event.dedupe_key)
        if key in self._keys:
            return False
        self._keys.add(key)
        self._events.append(event.model_copy(update={"sequence": len(self._events) + 1}))
        return True

    async def has_event(self, fno: str, dedupe_key: str) -> bool:
        """See OrderStore."""
        return (fno, dedupe_key) in self._keys

    async def list_events(self, reference: str) -> list[OrderEvent]:
        """See OrderStore."""
        return [one for one in self._events if one.reference == reference]

    async def add_unmatched(self, message: UnmatchedMessage) -> bool:
        """See OrderStore."""
        return self._unmatched.setdefault(message.key, message) is message

    async def list_unmatched(self) -> list[UnmatchedMessage]:
        """See OrderStore."""
        return list(self._unmatched.values())

    async def remove_unmatched(self, key: str) -> bool:
        """See OrderStore."""
        return self._unmatched.pop(key, None) is not None

    async def keep_keys(self, fno: str, place: str, keys: Mapping[str, str]) -> None:
        """See OrderStore."""
        self._places[fno, place] = dict(keys)

    async def keys(self, fno: str, place: str) -> dict[str, str]:
        """See OrderStore."""
        return dict(self._places.get((fno, place), {}))
