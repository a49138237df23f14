"""Trouble tickets of a carrier, written batch by batch, and closed when the carrier no longer names them."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from circuits.models import Circuit
from django.utils import timezone

from ..choices import FINISHED_TICKETS, TicketStatusChoices, VanishedTicketChoices
from ..models import CircuitTicket
from ..providers.errors import RowRefused
from ..providers.records import TicketRecord, check_order
from .changes import Edit, create, update
from .matching import Keys, Matcher
from .report import Report
from .writer import Writer

if TYPE_CHECKING:
    from ..models import ProviderAPIConfig


def write_tickets(
    writer: Writer,
    report: Report,
    config: "ProviderAPIConfig",
    records: Sequence[TicketRecord],
    only: Circuit | None = None,
) -> None:
    """Writes some tickets, in the transaction that the caller opened."""
    named = _find_circuits(report, config, records, only, writer.context.identified)
    known = _load(named)
    edits = [edit for record, circuit in named if (edit := _edit(config, known, record, circuit)) is not None]

    def refuse(edit: Edit, reason: str) -> None:
        report.refused(edit.instance.ticket_number, "invalid", f"ticket: {reason}", edit.circuit)

    report.changed(writer.write(edits, refuse))
    report.counts["tickets"] += len(named)


def close_vanished(
    writer: Writer, report: Report, config: "ProviderAPIConfig", listed: Collection[str], batch: int
) -> None:
    """Closes open tickets that earlier runs brought and that a complete list no longer names."""
    if config.vanished_tickets != VanishedTicketChoices.CLOSE:
        return
    open_tickets = CircuitTicket.objects.filter(_config=config).exclude(status__in=FINISHED_TICKETS)
    gone = [pk for pk, number in open_tickets.values_list("pk", "ticket_number") if number not in listed]
    for first in range(0, len(gone), batch):
        with writer.context.transaction():
            _close(writer, report, gone[first : first + batch])
        report.flush()


def _close(writer: Writer, report: Report, keys: Sequence[int]) -> None:
    tickets = CircuitTicket.objects.filter(pk__in=keys).select_related("circuit")
    now = timezone.now()
    edits = [
        update(
            ticket,
            ticket.circuit,
            status=TicketStatusChoices.CLOSED,
            closed_date=max(now, ticket.opened_date),
        )
        for ticket in tickets
    ]

    def refuse(edit: Edit, reason: str) -> None:
        report.refused(edit.instance.ticket_number, "invalid", f"ticket: {reason}", edit.circuit)

    report.changed(writer.write([edit for edit in edits if edit is not None], refuse))


def _find_circuits(
    report: Report,
    config: "ProviderAPIConfig",
    records: Sequence[TicketRecord],
    only: Circuit | None,
    identified: Mapping[str, int],
) -> list[tuple[TicketRecord, Circuit]]:
    matcher = Matcher(config, [Keys(record.circuit, record.circuit) for record in records], identified)
    named: dict[tuple[int, str], tuple[TicketRecord, Circuit]] = {}
    for record in records:
        try:
            circuit = _circuit_of(matcher, record)
        except RowRefused as error:
            if only is None:
                report.refused(f"ticket {record.number}", error.code, str(error))
            continue
        if only is None or circuit.pk == only.pk:
            named[circuit.pk, record.number] = (record, circuit)
    return list(named.values())


def _circuit_of(matcher: Matcher, record: TicketRecord) -> Circuit:
    if not record.number:
        raise RowRefused("a ticket without number", "number")
    if record.opened_at and record.closed_at:
        check_order(record.opened_at, record.closed_at)
    circuit = matcher.refer(record.circuit)
    if circuit is None:
        raise RowRefused(f"is about {record.circuit or 'no circuit'}, which NetBox does not know", "circuit")
    return circuit


def _load(named: Sequence[tuple[TicketRecord, Circuit]]) -> dict[tuple[int, str], CircuitTicket]:
    circuits = {circuit.pk: circuit for _record, circuit in named}
    numbers = {record.number for record, _circuit in named}
    known = CircuitTicket.objects.filter(circuit__in=circuits, ticket_number__in=numbers)
    tickets = {}
    for ticket in known:
        ticket.circuit = circuits[ticket.circuit_id]
        tickets[ticket.circuit_id, ticket.ticket_number] = ticket
    return tickets


def _edit(
    config: "ProviderAPIConfig",
    known: dict[tuple[int, str], CircuitTicket],
    record: TicketRecord,
    circuit: Circuit,
) -> Edit | None:
    ticket = known.get((circuit.pk, record.number))
    values: dict[str, Any] = {
        "subject": record.subject or None,
        "status": record.status,
        "priority": record.priority,
        "opened_date": record.opened_at,
        "closed_date": record.closed_at,
        "description": record.description or None,
        "resolution": record.resolution or None,
        "external_url": record.url or None,
    }
    if record.status not in FINISHED_TICKETS:
        values["closed_date"] = None
    elif record.closed_at is None and (ticket is None or ticket.closed_date is None):
        values["closed_date"] = timezone.now()
    if ticket is None:
        subject = record.subject or f"Ticket {record.number}"
        return create(
            CircuitTicket,
            circuit,
            ticket_number=record.number,
            _config=config,
            **{**values, "subject": subject},
        )
    clear = () if record.status in FINISHED_TICKETS else ("closed_date",)
    return update(ticket, circuit, clear=clear, **values)
