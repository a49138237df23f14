"""What a carrier says of circuits, written batch by batch: costs, contracts, paths, and who is who."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from circuits.models import Circuit
from django.utils import timezone

from ..models import CarrierCircuit, CircuitContract, CircuitCost, CircuitPath
from ..providers.errors import RowRefused
from ..providers.records import CircuitRecord, check_order
from . import vanished
from .changes import Edit, create, update
from .matching import Keys, Matcher
from .report import Report
from .writer import Writer

if TYPE_CHECKING:
    from ..models import ProviderAPIConfig


AMOUNTS = ("nrc", "mrc")
# Computed again from a new path by the model itself
DERIVED_OF_PATH = ("path_distance_km", "map_center_lat", "map_center_lon")


@dataclass(frozen=True, slots=True)
class Found:
    """A record and the circuit that it means."""

    record: CircuitRecord
    circuit: Circuit


def match_records(
    config: "ProviderAPIConfig", records: Sequence[CircuitRecord], report: Report, only: Circuit | None = None
) -> tuple[list[Found], Matcher]:
    """Finds the circuits; what cannot be told apart is reported. With `only`, other circuits are passed over."""
    matcher = Matcher(config, [Keys.of_record(record) for record in records])
    found = []
    for record in records:
        try:
            check_record(record)
            circuit = matcher.find(Keys.of_record(record))
        except RowRefused as error:
            if only is None or only.cid in Keys.of_record(record).names:
                report.counts["failed"] += 1
                report.refused(record.label or "a circuit without id", error.code, str(error))
            continue
        if only is None or circuit.pk == only.pk:
            found.append(Found(record, circuit))
    return found, matcher


def check_record(record: CircuitRecord) -> None:
    """Raises `RowRefused` for what no field can show by itself."""
    if not record.carrier_id:
        raise RowRefused("a circuit without id", "id")
    if record.has_cost and not record.currency:
        raise RowRefused(
            "an amount without a currency; if the carrier never says it, set the parameter currency",
            "currency",
        )
    if record.contract is not None:
        check_order(record.contract.start_date, record.contract.end_date)


class CircuitBatch:
    """The edits for some found circuits, compared against what NetBox has: three queries for any number."""

    def __init__(self, found: Sequence[Found]) -> None:
        self.found = found
        circuits = {each.circuit.pk: each.circuit for each in found}
        self._costs = {cost.circuit_id: cost for cost in CircuitCost.objects.filter(circuit__in=circuits)}
        numbers = {each.record.contract.number for each in found if each.record.contract}
        contracts = CircuitContract.objects.filter(circuit__in=circuits, contract_number__in=numbers)
        self._contracts = (
            {(each.circuit_id, each.contract_number): each for each in contracts} if numbers else {}
        )
        with_path = [each.circuit.pk for each in found if each.record.path]
        paths = CircuitPath.objects.filter(circuit__in=with_path) if with_path else ()
        self._paths = {path.circuit_id: path for path in paths}
        for row in (*self._costs.values(), *self._contracts.values(), *self._paths.values()):
            row.circuit = circuits[row.circuit_id]

    def edits(self) -> list[Edit]:
        """What differs."""
        planned = (plan(each) for each in self.found for plan in (self._cost, self._contract, self._path))
        return [edit for edit in planned if edit is not None]

    def refusals(self) -> list[tuple[Found, str]]:
        """What would put another currency under an amount that the carrier does not restate."""
        return [(each, reason) for each in self.found if (reason := self._torn(each))]

    def _torn(self, found: Found) -> str:
        record, known = found.record, self._costs.get(found.circuit.pk)
        if known is None or not record.has_cost or record.currency == known.currency:
            return ""
        kept = [name for name in AMOUNTS if getattr(record, name) is None and getattr(known, name)]
        if not kept:
            return ""
        # Without the amounts: reports are read by people who may not see costs.
        names = " and ".join(name.upper() for name in kept)
        return f"the carrier now states {record.currency}, and not what has become of the {names} in {known.currency}"

    def confirm_costs(self, written: Sequence[Edit], failed: Collection[int], today: Any) -> None:
        """Moves the day on which unchanged costs were last confirmed: one query, and no change of the circuit."""
        changed = {edit.circuit.pk for edit in written if edit.model is CircuitCost} | set(failed)
        stale = [
            cost.pk
            for each in self.found
            if each.record.has_cost
            and each.circuit.pk not in changed
            and (cost := self._costs.get(each.circuit.pk)) is not None
            and cost.last_updated_date != today
        ]
        if stale:
            CircuitCost.objects.filter(pk__in=stale).update(last_updated_date=today)

    def _cost(self, found: Found) -> Edit | None:
        record, circuit = found.record, found.circuit
        known = self._costs.get(circuit.pk)
        account = record.account or None
        if known is None and not record.has_cost:
            return None
        values: dict[str, Any] = {
            "nrc": record.nrc,
            "mrc": record.mrc,
            # A currency by itself would turn the known amounts into others.
            "currency": record.currency if record.has_cost else None,
            "billing_account": account,
        }
        if known is None:
            return create(CircuitCost, circuit, **values, last_updated_date=timezone.localdate())
        edit = update(known, circuit, **values)
        if edit is not None and record.has_cost and known.last_updated_date != timezone.localdate():
            edit.values["last_updated_date"] = timezone.localdate()
        return edit

    def _contract(self, found: Found) -> Edit | None:
        stated = found.record.contract
        if stated is None:
            return None
        values: dict[str, Any] = {
            "start_date": stated.start_date,
            "end_date": stated.end_date,
            "term_months": stated.term_months,
            "auto_renew": stated.auto_renew,
        }
        known = self._contracts.get((found.circuit.pk, stated.number))
        if known is not None:
            return update(known, found.circuit, **values)
        currency = found.record.currency or None
        return create(
            CircuitContract, found.circuit, contract_number=stated.number, currency=currency, **values
        )

    def _path(self, found: Found) -> Edit | None:
        path = found.record.path
        if path is None:
            return None
        known = self._paths.get(found.circuit.pk)
        if known is None:
            return create(CircuitPath, found.circuit, geojson_data=path)
        # A file that a person uploaded is worth more than the carrier's sketch.
        if known.kmz_file or known.geojson_data == path:
            return None
        return update(known, found.circuit, clear=DERIVED_OF_PATH, geojson_data=path)


def remember(config: "ProviderAPIConfig", found: Sequence[Found], matcher: Matcher, now: datetime) -> None:
    """Keeps which circuit each of the carrier's ids means: at most four queries for any number."""
    fresh, changed, seen = [], [], []
    for each in found:
        record, mapping = each.record, matcher.mappings.get(each.record.carrier_id)
        if mapping is None:
            fresh.append(_mapping(config, each, now))
            continue
        seen.append(mapping.pk)
        account, customer_id = record.account or mapping.account, record.customer_id or mapping.customer_id
        if (mapping.circuit_id, mapping.account, mapping.customer_id) != (
            each.circuit.pk,
            account,
            customer_id,
        ):
            mapping.circuit, mapping.account, mapping.customer_id = each.circuit, account, customer_id
            changed.append(mapping)
    CarrierCircuit.objects.filter(pk__in=seen).update(last_seen_at=now, vanished_at=None)
    replaced = [mapping.circuit_id for mapping in (*fresh, *changed)]
    replaceable = CarrierCircuit.objects.filter(config=config, circuit_id__in=replaced)
    replaceable.filter(vanished_at__isnull=False).exclude(pk__in=seen).delete()
    CarrierCircuit.objects.bulk_create(fresh)
    CarrierCircuit.objects.bulk_update(changed, ["circuit", "account", "customer_id"])


def _mapping(config: "ProviderAPIConfig", found: Found, now: datetime) -> CarrierCircuit:
    return CarrierCircuit(
        config=config,
        circuit=found.circuit,
        carrier_id=found.record.carrier_id,
        customer_id=found.record.customer_id,
        account=found.record.account,
        first_seen_at=now,
        last_seen_at=now,
    )


def write_circuits(
    writer: Writer, report: Report, config: "ProviderAPIConfig", found: Sequence[Found], matcher: Matcher
) -> None:
    """Writes what the carrier says of some circuits, in the transaction that the caller opened."""
    batch = CircuitBatch(found)
    failed: set[int] = set()

    def refuse(edit: Edit, reason: str) -> None:
        failed.add(edit.circuit.pk)
        report.refused(
            edit.circuit.cid, "invalid", f"{edit.model._meta.verbose_name}: {reason}", edit.circuit
        )

    for each, reason in batch.refusals():
        failed.add(each.circuit.pk)
        report.refused(each.circuit.cid, "currency", reason, each.circuit)
    edits = [edit for edit in batch.edits() if edit.circuit.pk not in failed]
    written = writer.write(edits, refuse)
    batch.confirm_costs(written, failed, timezone.localdate())
    vanished.tell_reappeared(report, found, matcher)
    remember(config, found, matcher, timezone.now())
    report.changed(written)
    touched = {edit.circuit.pk for edit in written}
    report.counts["failed"] += len(failed)
    report.counts["success"] += len(found) - len(failed)
    report.counts["unchanged"] += sum(each.circuit.pk not in touched | failed for each in found)
