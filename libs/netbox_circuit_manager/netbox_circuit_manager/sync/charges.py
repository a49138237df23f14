"""Lines of carriers' bills, against what the circuits' costs made us expect on the line's first day."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from circuits.models import Circuit
from django.utils import timezone

from ..choices import ChargeKindChoices, DisputeStatusChoices
from ..models import CarrierCharge, CircuitCostHistory
from ..providers.errors import RowRefused
from ..providers.records import ChargeRecord, check_order
from .changes import Edit, create, update
from .matching import Keys, Matcher
from .report import Report
from .writer import Writer

if TYPE_CHECKING:
    from ..models import ProviderAPIConfig

# (from, nrc, mrc, currency), the newest first
Amounts = tuple[date, Decimal | None, Decimal | None, str]
Named = tuple[ChargeRecord, Circuit]


def write_charges(
    writer: Writer,
    report: Report,
    config: "ProviderAPIConfig",
    records: Sequence[ChargeRecord],
    only: Circuit | None = None,
) -> None:
    """Writes some bill lines, in the transaction that the caller opened."""
    named = _find_circuits(report, config, records, only, writer.context.identified)
    known = _load(named)
    history = _history({circuit.pk for _record, circuit in named})
    edits = [edit for each in named if (edit := _edit(config, known, history, each)) is not None]

    def refuse(edit: Edit, reason: str) -> None:
        report.refused(str(edit.instance), "invalid", f"bill line: {reason}", edit.circuit)

    report.changed(writer.write(edits, refuse))
    report.counts["charges"] += len(named)


def expected_amount(record: ChargeRecord, history: Sequence[Amounts]) -> Decimal | None:
    """What we expected the line to be: the MRC or NRC that held when its period began.

    None where nothing was known, where the currencies differ, and for usage and credits, which nothing foretells.
    """
    if record.kind not in (ChargeKindChoices.RECURRING, ChargeKindChoices.NON_RECURRING):
        return None
    day = record.period_start or timezone.localdate()
    # Before the first entry, the oldest amount is the best that is known.
    entry = next((each for each in history if each[0] <= day), history[-1] if history else None)
    if entry is None or entry[3] != record.currency:
        return None
    return entry[2] if record.kind == ChargeKindChoices.RECURRING else entry[1]


def _find_circuits(
    report: Report,
    config: "ProviderAPIConfig",
    records: Sequence[ChargeRecord],
    only: Circuit | None,
    identified: Mapping[str, int],
) -> list[Named]:
    matcher = Matcher(config, [Keys(record.circuit, record.circuit) for record in records], identified)
    named: dict[tuple[int, str, str], Named] = {}
    for record in records:
        try:
            circuit = _circuit_of(matcher, record)
        except RowRefused as error:
            if only is None:
                report.refused(f"bill {record.bill_number} line {record.line}", error.code, str(error))
            continue
        if only is None or circuit.pk == only.pk:
            named[circuit.pk, record.bill_number, record.line] = (record, circuit)
    return list(named.values())


def _circuit_of(matcher: Matcher, record: ChargeRecord) -> Circuit:
    if not record.bill_number or not record.line:
        raise RowRefused("a bill line without the bill's number or its own id", "line")
    if not record.currency:
        raise RowRefused("an amount without a currency", "currency")
    check_order(record.period_start, record.period_end)
    circuit = matcher.refer(record.circuit)
    if circuit is None:
        raise RowRefused(f"is about {record.circuit or 'no circuit'}, which NetBox does not know", "circuit")
    return circuit


def _load(named: Sequence[Named]) -> dict[tuple[int, str, str], CarrierCharge]:
    circuits = {circuit.pk: circuit for _record, circuit in named}
    bills = {record.bill_number for record, _circuit in named}
    known = CarrierCharge.objects.filter(circuit__in=circuits, bill_number__in=bills)
    charges = {}
    for charge in known:
        charge.circuit = circuits[charge.circuit_id]
        charges[charge.circuit_id, charge.bill_number, charge.line_reference] = charge
    return charges


def _history(circuits: set[int]) -> dict[int, list[Amounts]]:
    rows = CircuitCostHistory.objects.filter(circuit__in=circuits).order_by("circuit", "-effective_on")
    history: dict[int, list[Amounts]] = {}
    for circuit, *amounts in rows.values_list("circuit", "effective_on", "nrc", "mrc", "currency"):
        history.setdefault(circuit, []).append(tuple(amounts))
    return history


def _edit(
    config: "ProviderAPIConfig",
    known: dict[tuple[int, str, str], CarrierCharge],
    history: dict[int, list[Amounts]],
    named: Named,
) -> Edit | None:
    record, circuit = named
    billed = -record.amount if record.kind == ChargeKindChoices.CREDIT else record.amount
    values: dict[str, Any] = {
        "kind": record.kind,
        "billed": billed,
        "currency": record.currency,
        "period_start": record.period_start,
        "period_end": record.period_end,
    }
    charge = known.get((circuit.pk, record.bill_number, record.line))
    if charge is not None:
        # What was expected then, and how a dispute stands, is not the carrier's to change.
        return update(charge, circuit, **values)
    expected = expected_amount(record, history.get(circuit.pk, []))
    disputed = expected is not None and billed > expected
    return create(
        CarrierCharge,
        circuit,
        config=config,
        bill_number=record.bill_number,
        line_reference=record.line,
        expected=expected,
        dispute_status=DisputeStatusChoices.OPEN if disputed else DisputeStatusChoices.NONE,
        notes=record.description or None,
        **values,
    )
