"""The documented FNOMasterPortal: every operator behind one face."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Dict, List, Self  # noqa: UP035 - the documented signatures say Dict and List

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fno_portal.audit import AuditSink
from fno_portal.base import Capability, FNOClient
from fno_portal.channel import Channel
from fno_portal.config import SecretsProvider, check_settings, fill_secrets, limits_of, read_environment
from fno_portal.coverage import CoverageCache, MemoryCoverageCache, check_all, place_of
from fno_portal.errors import (
    FNOCoverageError,
    FNOError,
    FNONotConfiguredError,
    FNOPackageError,
    FNOUnknownOperatorError,
    FNOValidationError,
)
from fno_portal.guard import GuardedClient
from fno_portal.mail.parser import FNOEmailParser, MailReading
from fno_portal.mail.patterns import STATUS, Finding
from fno_portal.models import (
    Address,
    CoverageAnswer,
    CoverageResult,
    EventSource,
    FNOOrder,
    OrderEvent,
    Outcome,
    Severity,
    UnmatchedMessage,
)
from fno_portal.operators import FNO, operator_name
from fno_portal.orders.desk import OrderDesk, utc_now
from fno_portal.orders.intake import invalid
from fno_portal.orders.store import MemoryStore, OrderRecord, OrderStore
from fno_portal.redaction import contains_id_number, redact_text
from fno_portal.registry import Workshop, build_client, with_browser
from fno_portal.rica import RicaRegister
from fno_portal.transitions import is_final
from fno_portal.webhooks import read_signed


class FaultReport(BaseModel):
    """A fault: whose order or service, how bad, what is seen."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    description: str = Field(min_length=1)
    severity: Severity = Severity.MEDIUM
    order_id: str | None = None
    reference: str | None = None


class FNOMasterPortal:
    """Unified interface for all FNO operations."""

    def __init__(
        self,
        config: Dict[str, Any],  # noqa: UP006
        *,
        store: OrderStore | None = None,
        audit: AuditSink | None = None,
        cache: CoverageCache | None = None,
        register: RicaRegister | None = None,
        secrets: SecretsProvider | None = None,
        workshop: Workshop | None = None,
        settle: timedelta = timedelta(minutes=2),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Make a client for each configured operator; nothing is sent.

        Args:
            config: settings by operator's name: `base_url` and `api_key`, `portal_url` with `username` and `password`.
            store: where orders live; in memory when missing, which forgets them with the process.
            audit: where the record of each interaction goes; the logger `fno_portal.audit` when missing.
            cache: of coverage; six hours in memory when missing.
            register: where verifications of customers are looked up.
            secrets: a vault for what the configuration leaves out.
            workshop: the browser that portals share, and the hook for a person.
            settle: see OrderDesk.
            clock: gives the present in UTC.

        Raises:
            FNOConfigError: settings that cannot work.
        """
        self.clients: dict[FNO | str, FNOClient] = {}
        self.store: OrderStore = store if store is not None else MemoryStore()
        self.cache: CoverageCache = cache if cache is not None else MemoryCoverageCache()
        self._desk = OrderDesk(self.store, register=register, settle=settle, clock=clock)
        self._audit, self._clock = audit, clock
        self._channels: dict[str, Channel] = {}
        self._webhook_secrets: dict[str, str] = {}
        self._workshop = workshop or Workshop()
        self._initialize_clients(_with_secrets(config, secrets))

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str] | None = None,
        secrets: SecretsProvider | None = None,
        **options: Any,
    ) -> Self:
        """Configure by `FNO_…` variables; see `config.read_environment`."""
        return cls(read_environment(environment, secrets), **options)

    def _initialize_clients(self, config: Dict[str, Any]) -> None:  # noqa: UP006
        """Initialize FNO clients based on configuration."""
        for key, settings in config.items():
            check_settings(operator_name(key), settings or {})
        if any(settings and settings.get("portal_url") for settings in config.values()):
            self._workshop = with_browser(self._workshop)
        for key, settings in config.items():
            name = operator_name(key)
            if name == "mail" or not settings:
                continue
            channel = Channel(name, limits_of(settings), self._audit)
            self._channels[name] = channel
            self.clients[_key(name)] = build_client(name, settings, channel, self._workshop)
            if secret := settings.get("webhook_secret"):
                self._webhook_secrets[name] = secret

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every client."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close every client."""
        await asyncio.gather(*(client.aclose() for client in self.clients.values()))

    def describe(self) -> list[dict[str, Any]]:
        """What each configured operator's driver is, can do and rests on."""
        return [client.describe().to_dict() for client in self.clients.values()]

    def client(self, fno: FNO | str) -> GuardedClient:
        """One operator's driver, behind deadline, breaker and audit.

        Raises:
            FNOUnknownOperatorError: no such operator. FNONotConfiguredError: known, but not configured.
        """
        name = operator_name(fno)
        client = self.clients.get(_key(name))
        if client is not None:
            channel = self._channels.setdefault(name, Channel(name, sink=self._audit))
            return GuardedClient(client, name, channel)
        if name not in {one.value for one in FNO}:
            raise FNOUnknownOperatorError(
                f"there is no operator {name!r}",
                hint=f"Known: {', '.join(one.value for one in FNO)}, and those configured",
            )
        raise FNONotConfiguredError(
            f"FNO {name} not configured",
            fno=name,
            hint=f"Set FNO_{name.upper()}_BASE_URL and _API_KEY, or _PORTAL_URL, _USERNAME and _PASSWORD",
        )

    async def check_all_coverage(self, address: str) -> List[CoverageResult]:  # noqa: UP006
        """Check coverage across all FNOs: those that answered. For the others too: check_all_coverage_detailed."""
        answers = await self.check_all_coverage_detailed(address)
        return [one.result for one in answers if one.result is not None]

    async def check_all_coverage_detailed(
        self, address: str, fnos: Iterable[FNO | str] | None = None
    ) -> list[CoverageAnswer]:
        """Check coverage at all operators, or those named, at once: covered, not covered, or unknown with the reason.

        Raises:
            FNOValidationError: the address is empty. FNOUnknownOperatorError, FNONotConfiguredError: of those named.
        """
        place = Address.of(address)
        names = [operator_name(one) for one in (self.clients if fnos is None else fnos)]
        return await check_all({name: self.client(name) for name in names}, place, self.cache, self.store)

    async def create_order(self, fno: FNO | str, order_data: Dict[str, Any]) -> FNOOrder:  # noqa: UP006
        """Create order with specific FNO, once per `reference`.

        `order_data` has the fields of OrderRequest. See OrderDesk.order for the errors.
        """
        client = self.client(fno)
        place = _place(order_data, client.name)
        stored = await self.store.get(str(order_data.get("reference") or order_data.get("id")))
        if stored is None and (known := self.cache.get(client.name, place)) is not None:
            _check_offer(known, str(order_data.get("package") or ""), client.name)
        # What was asked the first time: keys that were learnt since then do not make it another order.
        kept = stored.request.address_keys if stored else await self._keys_of(client.name, place)
        keys = {**kept, **(order_data.get("address_keys") or {})}
        return await self._desk.order(client, {**order_data, **({"address_keys": keys} if keys else {})})

    async def _keys_of(self, fno: str, place: Address) -> dict[str, str]:
        return {**await self.store.keys(fno, place_of(place)), **place.keys}

    async def get_order(self, reference: str) -> FNOOrder:
        """An order of ours as last known; nobody is asked.

        Raises:
            FNONotFoundError: no such order.
        """
        return (await self._record(reference)).order

    async def list_orders(self, fno: FNO | str | None = None) -> list[FNOOrder]:
        """Orders of ours, oldest first."""
        name = operator_name(fno) if fno is not None else None
        return [one.order for one in await self.store.list_orders(fno=name)]

    async def list_events(self, reference: str) -> list[OrderEvent]:
        """The order's log."""
        await self._record(reference)
        return await self.store.list_events(reference)

    async def refresh_order(self, reference: str) -> FNOOrder:
        """Ask the operator for the order's state."""
        record = await self._record(reference)
        return await self._desk.refresh(self.client(record.order.fno), reference)

    async def poll_orders(self) -> dict[str, FNOOrder | FNOError]:
        """Ask for every order that is not at its end; by reference, the order or why it could not be asked."""
        waiting = [
            one.order
            for one in await self.store.list_orders(outcome=Outcome.KNOWN)
            if one.order.fno_reference and not is_final(one.order.status)
        ]
        return await self._each(waiting, self.refresh_order)

    async def poll_changes(self) -> dict[str, list[FNOOrder] | FNOError]:
        """Read the feed of every operator that has one; by operator, the orders it told of, or why it was not read.

        One call for all orders in the stead of one each. A feed tells its news once: poll_orders, now and then, finds
        what was lost between the reading and the storing.
        """
        names = [operator_name(one) for one in self.clients if self.supports(one, Capability.CHANGES)]
        read = await asyncio.gather(*(self._changes_of(name) for name in names))
        return dict(zip(names, read, strict=True))

    async def _changes_of(self, name: str) -> list[FNOOrder] | FNOError:
        try:
            return await self._desk.take_changes(self.client(name))
        except FNOError as error:
            return error

    async def settle_order(self, reference: str) -> FNOOrder:
        """Find out about an order whose outcome is unknown; see OrderDesk.settle."""
        record = await self._record(reference)
        return await self._desk.settle(self.client(record.order.fno), reference)

    async def recover(self) -> dict[str, FNOOrder | FNOError]:
        """After a start: settle every order that was being sent, or of unknown outcome, or stored and never sent.

        An order that certainly did not go out, and whose caller was told so, is left to that caller, who may have ordered
        elsewhere by now.
        """
        open_ones = [
            one.order
            for outcome in (Outcome.SENDING, Outcome.UNKNOWN, Outcome.NOT_SENT)
            for one in await self.store.list_orders(outcome=outcome)
            if outcome is not Outcome.NOT_SENT or one.sent_at is None
        ]
        return await self._each(open_ones, self.settle_order)

    async def _each(
        self, orders: list[FNOOrder], work: Callable[[str], Any]
    ) -> dict[str, FNOOrder | FNOError]:
        async def one(reference: str) -> FNOOrder | FNOError:
            try:
                order: FNOOrder = await work(reference)
            except FNOError as error:
                return error
            return order

        results = await asyncio.gather(*(one(order.id) for order in orders))
        return {order.id: result for order, result in zip(orders, results, strict=True)}

    async def confirm_order(self, reference: str, fno_reference: str | None, by: str) -> FNOOrder:
        """A person tells what became of an order of unknown outcome; see OrderDesk.confirm."""
        return await self._desk.confirm(reference, fno_reference, by)

    async def cancel_order(self, reference: str, reason: str) -> FNOOrder:
        """Ask the operator to cancel an order that is under way."""
        record = await self._record(reference)
        return await self._desk.cancel(self.client(record.order.fno), reference, reason)

    async def list_appointments(self, reference: str) -> list[str]:
        """Free dates for the technician's visit."""
        record = await self._record(reference)
        return await self.client(record.order.fno).list_appointments(self._desk.number_of(record))

    async def book_appointment(self, reference: str, slot: str) -> FNOOrder:
        """Book a date (ISO) for the technician's visit."""
        record = await self._record(reference)
        return await self._desk.book(self.client(record.order.fno), reference, slot)

    async def receive_webhook(self, fno: FNO | str, body: bytes, headers: Mapping[str, str]) -> FNOOrder:
        """Take a call from an operator; see webhooks.py for how it proves itself."""
        client = self.client(fno)
        payload = read_signed(
            client.name, self._webhook_secrets.get(client.name), body, headers, self._clock()
        )
        return await self._desk.receive(client, payload)

    async def submit_fault(self, fno: FNO | str, fault_data: Dict[str, Any]) -> dict[str, Any]:  # noqa: UP006
        """Report a fault: `description`, `severity` (low, medium, high, critical), `order_id`, `reference`.

        Raises:
            FNOValidationError: something is missing. FNOFaultError: the operator refused.
        """
        client = self.client(fno)
        try:
            report = FaultReport.model_validate(fault_data)
        except ValidationError as error:
            raise invalid(error, client.name, "the fault") from None
        if contains_id_number(report.model_dump_json()):
            raise FNOValidationError(
                "the fault holds an identity number", fno=client.name, hint="Take it out"
            )
        return await client.submit_fault(report.model_dump(mode="json", exclude_none=True))

    async def get_fault_status(self, fno: FNO | str, fault_id: str) -> dict[str, Any]:
        """`{"fault_id", "status"}`."""
        return await self.client(fno).get_fault_status(fault_id)

    async def poll_mail(
        self, parser: FNOEmailParser, since: str | date, fnos: Iterable[FNO | str] | None = None
    ) -> list[FNOOrder]:
        """Read the operators' mails and apply them; answers the orders that they are about.

        What cannot be believed, read or placed goes to the queue of unmatched mails. Reading again does no harm.
        """
        names = [operator_name(one) for one in fnos] if fnos is not None else parser.operators
        orders: dict[str, FNOOrder] = {}
        for name in names:
            for reading in await asyncio.to_thread(parser.read, name, since):
                for order in await self._take_mail(reading):
                    orders[order.id] = order
        return list(orders.values())

    async def _take_mail(self, reading: MailReading) -> list[FNOOrder]:
        if reading.problem is not None:
            await self._set_aside(reading, reading.problem)
            return []
        placed = [await self._place_finding(reading, one) for one in reading.findings]
        return [order for order in placed if order is not None]

    async def _place_finding(self, reading: MailReading, finding: Finding) -> FNOOrder | None:
        number = finding.reference
        fault = finding.type.startswith("fault_")
        record = None if number is None or fault else await self._order_of(reading.fno, number)
        if record is None and not fault:
            await self._set_aside(
                reading, f"{finding.type}: no order of ours has the number {number or '(none named)'}"
            )
            return None
        event = OrderEvent(
            reference=record.order.id if record else f"fault:{number}",
            fno=reading.fno,
            source=EventSource.MAIL,
            dedupe_key=f"mail:{reading.message_id}:{finding.type}:{number}:{finding.scheduled_date}",
            status=STATUS.get(finding.type),
            occurred_at=reading.sent_at,
            recorded_at=self._clock(),
            scheduled_date=finding.scheduled_date,
            evidence={"subject": reading.subject, "sender": reading.sender, "text": reading.excerpt},
        )
        if record is None:
            await self.store.append(event)
            return None
        return await self._desk.apply(event)

    async def _order_of(self, fno: str, number: str) -> OrderRecord | None:
        record = await self.store.find(fno, number) or await self.store.get(number)
        return record if record is not None and record.order.fno == fno else None

    async def _set_aside(self, reading: MailReading, reason: str) -> None:
        await self.store.add_unmatched(
            UnmatchedMessage(
                key=reading.key,
                fno=reading.fno,
                reason=redact_text(reason),
                sender=reading.sender,
                subject=reading.subject,
                received_at=reading.sent_at,
                excerpt=reading.excerpt,
            )
        )

    async def _record(self, reference: str) -> OrderRecord:
        return await self._desk.present(reference)

    def supports(self, fno: FNO | str, capability: Capability) -> bool:
        """Whether the operator's driver can do it."""
        return self.client(fno).supports(capability)


def _key(name: str) -> FNO | str:
    return FNO(name) if name in {one.value for one in FNO} else name


def _with_secrets(config: Mapping[str, Any], secrets: SecretsProvider | None) -> dict[str, Any]:
    if secrets is None:
        return dict(config)
    filled = {name: dict(settings or {}) for name, settings in config.items()}
    for name, settings in filled.items():
        fill_secrets(operator_name(name), settings, secrets)
    return filled


def _place(order_data: Mapping[str, Any], fno: str) -> Address:
    if not isinstance(order_data, Mapping):
        raise FNOValidationError("the order is no mapping", fno=fno, hint="Give the fields of OrderRequest")
    given = order_data.get("new_address") or order_data.get("address") or ""
    try:
        return Address.of(given if isinstance(given, str) else str(given))
    except FNOValidationError as error:
        raise FNOValidationError(error.message, fno=fno, hint=error.hint) from None


def _check_offer(known: CoverageResult, package: str, fno: str) -> None:
    if not known.is_covered:
        raise FNOCoverageError("the address is not covered", fno=fno, hint="Choose another operator")
    offered = {one.name for one in known.packages} | {one.product_id for one in known.packages}
    if package and known.packages and package not in offered:
        raise FNOPackageError(
            f"{package!r} is not on offer at that address",
            fno=fno,
            hint=f"On offer: {', '.join(one.name for one in known.packages)}",
        )
