"""The order desk: order once, follow by poll, webhook and mail, cancel, settle what is unknown.

An order is stored before it is sent, and marked as being sent before the first byte leaves. Whatever happens then, it is
never sent again unless the operator itself says, after a time to settle, that it has no order with our reference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from fno_portal.base import Capability, FNOClient
from fno_portal.errors import (
    FNODuplicateError,
    FNOError,
    FNONotFoundError,
    FNOOrderError,
    FNOProtocolError,
    FNORateLimitError,
    FNOTimeoutError,
    FNOTransitionError,
    FNOUnavailableError,
    FNOUnknownOutcomeError,
    FNOUnsupportedError,
    FNOValidationError,
)
from fno_portal.models import (
    Cancellation,
    EventSource,
    FNOOrder,
    OrderEvent,
    OrderRequest,
    OrderStatus,
    Outcome,
)
from fno_portal.orders.intake import check_dates, check_not_past, read_request
from fno_portal.orders.store import OrderRecord, OrderStore
from fno_portal.redaction import redact, redact_text
from fno_portal.rica import RicaRegister, require_verified
from fno_portal.transitions import is_final, may_follow

SAST = ZoneInfo("Africa/Johannesburg")
_UNCERTAIN = (FNOTimeoutError, FNOUnavailableError, FNOProtocolError)
_ATTEMPTS = 5
# Where the store keeps when a feed was read last, among the operators' keys of places: no address is written like this.
_FEED = "feed|changes"


def utc_now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


class OrderDesk:
    """The use cases of orders, over a store."""

    def __init__(
        self,
        store: OrderStore,
        *,
        register: RicaRegister | None = None,
        settle: timedelta = timedelta(minutes=2),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Work on a store.

        Args:
            store: where orders and events live.
            register: where verifications are looked up that an order does not carry.
            settle: how long after the sending a look-up that finds nothing is not yet believed.
            clock: gives the present in UTC.
        """
        self.store = store
        self._register = register
        self._settle = settle
        self._clock = clock

    async def order(self, client: FNOClient, order_data: dict[str, Any]) -> FNOOrder:
        """Order once per reference; the same order asked again answers what is known of the first.

        Raises:
            FNOValidationError, FNORicaError, FNODuplicateError, FNOUnsupportedError: nothing was sent.
            FNOOrderError, FNOAuthError: the operator refused.
            FNOUnavailableError: the operator could not be reached; nothing was sent, ask again.
            FNOUnknownOutcomeError: sent, and nobody knows; see `settle`.
        """
        now = self._clock()
        request = read_request(order_data, fno=client.name)
        if not await self._has_gone_out(request.reference):
            check_dates(request, now.astimezone(SAST).date(), fno=client.name)
        if not client.supports(Capability.ORDER):
            raise FNOUnsupportedError(
                "orders are not possible", fno=client.name, hint="Order with the operator"
            )
        if request.type.value not in client.describe().order_types:
            raise FNOUnsupportedError(
                f"orders of type {request.type.value} are not possible",
                fno=client.name,
                hint=f"It takes: {', '.join(client.describe().order_types)}",
            )
        request = await require_verified(request, self._register, fno=client.name, now=now)
        record = await self._reserve(client.name, request)
        if not await self.store.claim(request.reference, now):
            return (await self.present(request.reference)).order
        return await self._send(client, await self.present(record.order.id))

    async def _has_gone_out(self, reference: str) -> bool:
        """Whether to ask again means to read: the day that was asked for may have passed by then."""
        record = await self.store.get(reference)
        return record is not None and record.order.outcome is not Outcome.NOT_SENT

    async def _reserve(self, fno: str, request: OrderRequest) -> OrderRecord:
        order = FNOOrder(
            id=request.reference,
            fno=fno,
            customer_id=request.customer_id,
            address=request.address,
            package=request.package,
            status=OrderStatus.PENDING,
            rica_verified=request.rica_verified,
            notes=request.notes,
            type=request.type,
            outcome=Outcome.NOT_SENT,
        )
        asked = OrderRecord(order, request)
        stored = await self.store.add(asked)
        if stored.fingerprint != asked.fingerprint:
            raise FNODuplicateError(
                f"the reference {request.reference} belongs to another order",
                fno=fno,
                hint="Use a new reference for a new order",
            )
        return stored

    async def _send(self, client: FNOClient, record: OrderRecord) -> FNOOrder:
        try:
            answer = await client.create_order(_wire(record.request))
            _check_taken(answer, client.name)
        except asyncio.CancelledError:
            await asyncio.shield(self._mark(record, Outcome.UNKNOWN, "cancelled while sending"))
            raise
        except _UNCERTAIN as error:
            if isinstance(error, FNOUnavailableError) and not error.sent:
                await self._mark(record, Outcome.NOT_SENT, error.code)
                raise
            return await self._look_up_after(client, record, error)
        except FNOError as error:
            await self._refused(record, error)
            raise
        return await self._taken(record, answer, EventSource.SUBMIT)

    async def _look_up_after(self, client: FNOClient, record: OrderRecord, error: FNOError) -> FNOOrder:
        await self._mark(record, Outcome.UNKNOWN, error.code)
        record = await self.present(record.order.id)
        try:
            found = await client.find_order(record.order.id)
        except FNOError:
            found = None
        if found is not None:
            return await self._taken(record, found, EventSource.LOOKUP)
        raise FNOUnknownOutcomeError(
            f"order {record.order.id} was sent, but its outcome is unknown ({error.code})",
            fno=client.name,
            hint="It is not sent again; settle_order looks it up, or a person asks the operator",
        ) from error

    async def settle(self, client: FNOClient, reference: str) -> FNOOrder:
        """Find out about an order whose outcome is unknown, or whose sender died.

        Found at the operator: known. Not found before the time to settle is over: unknown. Not found after it: it was
        never taken, and is sent now, for the first time as far as the operator is concerned.

        Raises:
            FNONotFoundError: we have no such order. FNOUnsupportedError: this operator has no look-up; `confirm` it.
        """
        record = await self.present(reference)
        if record.order.outcome is Outcome.KNOWN:
            return record.order
        if record.order.outcome is Outcome.NOT_SENT:
            return await self._send_if_first(client, record)
        found = await client.find_order(reference)
        if found is not None:
            return await self._taken(record, found, EventSource.LOOKUP)
        now = self._clock()
        if record.sent_at is not None and now - record.sent_at < self._settle:
            if record.order.outcome is Outcome.UNKNOWN:
                return record.order
            return record.order.model_copy(update={"outcome": Outcome.UNKNOWN})
        # As if never sent: a process that dies here leaves it to the next one's `recover`.
        await self._mark(replace(record, sent_at=None), Outcome.NOT_SENT, "the operator has no such order")
        return await self._send_if_first(client, await self.present(reference))

    async def _send_if_first(self, client: FNOClient, record: OrderRecord) -> FNOOrder:
        if not await self.store.claim(record.order.id, self._clock()):
            return (await self.present(record.order.id)).order
        return await self._send(client, await self.present(record.order.id))

    async def confirm(self, reference: str, fno_reference: str | None, by: str) -> FNOOrder:
        """A person has asked the operator: the order's number there, or None where it was not taken.

        Raises:
            FNONotFoundError, FNOTransitionError: no such order, or its outcome is known.
        """
        record = await self.present(reference)
        if record.order.outcome is Outcome.KNOWN:
            raise FNOTransitionError(
                f"the outcome of order {reference} is known",
                fno=record.order.fno,
                hint="Nothing is to be confirmed",
            )
        if fno_reference:
            answer = {"fno_reference": fno_reference, "status": "submitted", "confirmed_by": by}
            return await self._taken(record, answer, EventSource.PERSON)
        await self._mark(record, Outcome.NOT_SENT, f"{by}: the operator has no such order")
        return (await self.present(reference)).order

    async def refresh(self, client: FNOClient, reference: str) -> FNOOrder:
        """Ask the operator for the order's state, and log what is new.

        Raises:
            FNONotFoundError: no such order. FNOUnknownOutcomeError: the operator's number is not known; settle first.
        """
        record = await self.present(reference)
        number = self.number_of(record)
        return await self._told(record, await client.get_order_status(number))

    async def take_changes(self, client: FNOClient) -> list[FNOOrder]:
        """Read the operator's feed of changes; answers the orders of ours that it told of. Others' are left alone.

        Raises:
            FNOUnsupportedError: the operator has no feed. FNORateLimitError: it may not be read yet.
        """
        await self._check_feed(client)
        changes = await client.list_changes()
        await self.store.keep_keys(client.name, _FEED, {"read_at": self._clock().isoformat()})
        orders = []
        for change in changes:
            record = await self.store.find(client.name, str(change["fno_reference"]))
            if record is not None:
                orders.append(await self._told(record, change))
        return orders

    async def _check_feed(self, client: FNOClient) -> None:
        """The operator counts our readings, whichever of our processes does them."""
        every_s = client.describe().changes_every_s
        read_at = _time((await self.store.keys(client.name, _FEED)).get("read_at"))
        passed_s = (self._clock() - read_at).total_seconds() if read_at else every_s
        if 0 <= passed_s < every_s:
            raise FNORateLimitError(
                f"the feed of changes may be read once in {every_s / 60:g} minutes",
                fno=client.name,
                hint=f"Read it again in {every_s - passed_s:.0f} s",
                sent=False,
                ours=True,
            )

    async def _told(self, record: OrderRecord, answer: dict[str, Any]) -> FNOOrder:
        """Log what a poll or a feed says of an order, where it is new."""
        reference = record.order.id
        status, day = _status(answer, record.order.fno), _text(answer.get("scheduled_date"))
        if status is record.order.status and (day is None or day == record.order.scheduled_date):
            return record.order
        event = self._event(
            record.order,
            EventSource.POLL,
            # The state may come round again (held, going on, held), so the key counts the changes.
            f"poll:{reference}:{record.version}:{status.value}:{day}",
            status=status,
            scheduled_date=day,
            occurred_at=_time(answer.get("occurred_at")),
            evidence=answer,
        )
        return await self.apply(event, completed_date=_text(answer.get("completed_date")))

    async def apply(self, event: OrderEvent, *, completed_date: str | None = None) -> FNOOrder:
        """Log an event and let it change the order where that is legal; repeated, late and illegal ones do no harm.

        Raises:
            FNONotFoundError: no such order.
        """
        for _ in range(_ATTEMPTS):
            record = await self.present(event.reference)
            if await self.store.has_event(event.fno, event.dedupe_key):
                return record.order
            order, note = await self._advance(record.order, event, completed_date)
            if order is None:
                await self.store.append(event.model_copy(update={"applied": False, "note": note}))
                return record.order
            applied = event.model_copy(update={"applied": True, "note": note})
            if await self.store.save(replace(record, order=order), applied):
                return order
        raise FNOOrderError(
            f"order {event.reference} is changed by too many at once", fno=event.fno, hint="Try again"
        )

    async def _advance(
        self, order: FNOOrder, event: OrderEvent, completed_date: str | None
    ) -> tuple[FNOOrder | None, str]:
        status = event.status or order.status
        changes: dict[str, Any] = {"status": status}
        if event.scheduled_date:
            changes["scheduled_date"] = event.scheduled_date
        if status is OrderStatus.COMPLETED:
            day = _moment(event) or event.recorded_at
            changes["completed_date"] = completed_date or day.astimezone(SAST).date().isoformat()
        if status is OrderStatus.CANCELLED and order.cancellation:
            changes["cancellation"] = Cancellation.COMPLETED
        if is_final(order.status):
            return None, f"late: the order is {order.status.value}"
        if await self._is_older(event):
            return None, "late: news of a later time is known"
        if status is not order.status and not may_follow(order.status, status):
            return None, f"illegal: {order.status.value} is not followed by {status.value}"
        changed = order.model_copy(update=changes)
        return (None, "nothing new") if changed == order else (changed, "")

    async def _is_older(self, event: OrderEvent) -> bool:
        moment = _moment(event)
        if moment is None:
            return False
        log = await self.store.list_events(event.reference)
        known = [then for one in log if one.applied and (then := _moment(one)) is not None]
        return bool(known) and moment < max(known)

    async def cancel(self, client: FNOClient, reference: str, reason: str) -> FNOOrder:
        """Ask the operator to cancel. One that is refused leaves the order's state as it was, and `cancellation` rejected.

        Raises:
            FNOTransitionError: the order is at its end, or a cancellation is under way.
        """
        record = await self.present(reference)
        if record.order.outcome is Outcome.NOT_SENT:
            return await self._note_cancellation(record, Cancellation.COMPLETED)
        self.number_of(record)
        if not may_follow(record.order.status, OrderStatus.PENDING_CANCELLATION):
            raise FNOTransitionError(
                f"an order that is {record.order.status.value} cannot be cancelled",
                fno=client.name,
                hint="A working service ends by an order of type cancellation",
            )
        # Stored before it is sent: a process that dies here leaves a cancellation of unknown outcome, which a poll settles.
        before = record.order.cancellation
        await self._set(record, {"cancellation": Cancellation.UNKNOWN}, "the cancellation is being sent")
        record = await self.present(reference)
        try:
            answer = await client.cancel_order(self.number_of(record), redact_text(reason))
        except FNOOrderError as error:
            return await self._set(
                record, {"cancellation": Cancellation.REJECTED}, f"cancellation rejected: {error.message}"
            )
        except FNOError as error:
            if not isinstance(error, _UNCERTAIN) or not getattr(error, "sent", True):
                await self._set(record, {"cancellation": before}, f"cancellation not sent: {error.code}")
            raise
        return await self._note_cancellation(record, _cancellation(answer, client.name))

    async def _note_cancellation(self, record: OrderRecord, cancellation: Cancellation) -> FNOOrder:
        changes: dict[str, Any] = {"cancellation": cancellation}
        if cancellation is Cancellation.COMPLETED:
            changes |= {"status": OrderStatus.CANCELLED, "outcome": Outcome.KNOWN}
        elif cancellation is not Cancellation.REJECTED:
            changes |= {"status": OrderStatus.PENDING_CANCELLATION}
        return await self._set(record, changes, f"cancellation {cancellation.value}")

    async def _set(self, record: OrderRecord, changes: dict[str, Any], note: str) -> FNOOrder:
        order = record.order.model_copy(update=changes)
        event = self._event(
            order, EventSource.SUBMIT, f"cancel:{order.id}:{record.version}", status=order.status, note=note
        ).model_copy(update={"applied": True})
        if not await self.store.save(replace(record, order=order), event):
            raise FNOOrderError(
                f"order {order.id} was changed meanwhile", fno=order.fno, hint="Read it and try again"
            )
        return order

    async def book(self, client: FNOClient, reference: str, slot: str) -> FNOOrder:
        """Book a date for the technician's visit.

        Raises:
            FNOValidationError: no date, or a past one.
        """
        try:
            day = datetime.fromisoformat(slot).date()
        except (TypeError, ValueError):
            raise FNOValidationError(
                "the appointment is no date",
                fno=client.name,
                hint="Take one of list_appointments, as 2026-12-01",
            ) from None
        check_not_past(day, self._clock().astimezone(SAST).date(), fno=client.name, what="the appointment")
        record = await self.present(reference)
        answer = await client.book_appointment(self.number_of(record), slot)
        event = self._event(
            record.order,
            EventSource.SUBMIT,
            f"appointment:{reference}:{record.version}:{slot}",
            status=_status(answer, client.name),
            scheduled_date=slot,
            evidence=answer,
        )
        return await self.apply(event)

    async def receive(self, client: FNOClient, payload: dict[str, Any]) -> FNOOrder:
        """Apply a call from the operator, already proven to be the operator's."""
        news = client.read_webhook(payload)
        record = await self.store.find(client.name, str(news["fno_reference"]))
        if record is None:
            raise FNONotFoundError(
                f"no order of ours has the number {news['fno_reference']}",
                fno=client.name,
                hint="Settle unknown orders",
            )
        event = self._event(
            record.order,
            EventSource.WEBHOOK,
            f"webhook:{news['event_id']}",
            status=_status(news, client.name),
            scheduled_date=_text(news.get("scheduled_date")),
            occurred_at=_time(news.get("occurred_at")),
            evidence=payload,
        )
        return await self.apply(event)

    async def _taken(self, record: OrderRecord, answer: dict[str, Any], source: EventSource) -> FNOOrder:
        number, status = _check_taken(answer, record.order.fno)
        changes = {
            "fno_reference": number,
            "status": OrderStatus.SUBMITTED if status is OrderStatus.PENDING else status,
            "outcome": Outcome.KNOWN,
            "scheduled_date": _text(answer.get("scheduled_date")),
            "completed_date": _text(answer.get("completed_date")),
        }
        order = record.order.model_copy(update=changes)
        event = self._event(
            order,
            source,
            f"taken:{order.id}",
            status=order.status,
            evidence=answer,
            scheduled_date=order.scheduled_date,
        ).model_copy(update={"applied": True})
        try:
            kept = await self.store.save(replace(record, order=order), event)
        except FNODuplicateError as error:
            await self._mark(record, Outcome.UNKNOWN, error.code)
            raise
        # Where it was not kept, another process settled it at the same time: what it stored holds.
        return order if kept else (await self.present(order.id)).order

    async def _refused(self, record: OrderRecord, error: FNOError) -> None:
        if isinstance(error, FNOOrderError):
            changes: dict[str, Any] = {"status": OrderStatus.REJECTED, "outcome": Outcome.KNOWN}
        else:
            changes = {"outcome": Outcome.NOT_SENT}
        order = record.order.model_copy(update=changes)
        event = self._event(
            order,
            EventSource.SUBMIT,
            f"refused:{order.id}:{record.version}",
            status=order.status,
            note=error.code,
            evidence=error.to_dict(),
        ).model_copy(update={"applied": True})
        await self.store.save(replace(record, order=order), event)

    async def _mark(self, record: OrderRecord, outcome: Outcome, note: str) -> None:
        order = record.order.model_copy(update={"outcome": outcome})
        event = self._event(
            order,
            EventSource.SUBMIT,
            f"{outcome.value}:{order.id}:{record.version}",
            status=order.status,
            note=note,
        ).model_copy(update={"applied": True})
        await self.store.save(replace(record, order=order), event)

    async def present(self, reference: str) -> OrderRecord:
        """The stored order.

        Raises:
            FNONotFoundError: there is none.
        """
        record = await self.store.get(reference)
        if record is None:
            raise FNONotFoundError(
                f"there is no order {reference}", hint="Check the reference (ours, not the operator's)"
            )
        return record

    def number_of(self, record: OrderRecord) -> str:
        """The operator's number of the order.

        Raises:
            FNOUnknownOutcomeError: it is not known.
        """
        number = record.order.fno_reference
        if number is None:
            raise FNOUnknownOutcomeError(
                f"the operator's number of order {record.order.id} is not known",
                fno=record.order.fno,
                hint="Settle the order first (settle_order)",
            )
        return number

    def _event(
        self,
        order: FNOOrder,
        source: EventSource,
        key: str,
        *,
        evidence: dict[str, Any] | None = None,
        **fields: Any,
    ) -> OrderEvent:
        return OrderEvent(
            reference=order.id,
            fno=order.fno,
            source=source,
            dedupe_key=key,
            recorded_at=self._clock(),
            evidence=redact(evidence or {}),
            **fields,
        )


def _wire(request: OrderRequest) -> dict[str, Any]:
    """What an operator is told: everything asked, and of the identity only that it is verified and the evidence's hash."""
    fields = request.model_dump(mode="json", exclude={"rica"}, exclude_none=True)
    evidence = request.rica.evidence_hash if request.rica else None
    return {**fields, "rica_verified": request.rica_verified, "rica_evidence_hash": evidence}


def _check_taken(answer: Any, fno: str) -> tuple[str, OrderStatus]:
    """The operator's number and the state, without which an order cannot be followed."""
    number = isinstance(answer, dict) and (answer.get("fno_reference") or answer.get("id"))
    if not number:
        raise FNOProtocolError("the answer has no order number", fno=fno, hint="Look the order up")
    return str(number), _status(answer, fno)


def _cancellation(answer: dict[str, Any], fno: str) -> Cancellation:
    word = answer.get("cancellation", "requested")
    try:
        return Cancellation(word)
    except ValueError:
        raise FNOProtocolError(
            f"the cancellation's state {word!r} is not known",
            fno=fno,
            hint="Map it in the driver; a poll tells the order's own state",
        ) from None


def _text(value: Any) -> str | None:
    """As it is stored: an operator may write 20261201 as a number."""
    return None if value is None else str(value)


def _moment(event: OrderEvent) -> datetime | None:
    """When it happened, and never after we heard of it: a sender's wrong clock would make all later news look old."""
    return None if event.occurred_at is None else min(event.occurred_at, event.recorded_at)


def _status(answer: dict[str, Any], fno: str) -> OrderStatus:
    try:
        return OrderStatus(answer.get("status", OrderStatus.SUBMITTED))
    except ValueError:
        raise FNOProtocolError(
            f"the state {answer.get('status')!r} is not known", fno=fno, hint="Map it in the driver"
        ) from None


def _time(text: Any) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=SAST)
