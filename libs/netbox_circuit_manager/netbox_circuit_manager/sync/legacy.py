"""Providers written after the guide: circuit by circuit, through their own methods, each in its own transaction.

What such code does when it goes wrong is known: it swallows exceptions, returns something empty, and may write a cost
of zero. So a failed request is a failure whatever the method returned; and what a method wrote is looked at before it
is committed: an amount that turned into zero or nothing is rolled back, and so is a save that changed nothing.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from circuits.models import Circuit
from core.models import ObjectChange
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from django.utils import timezone

from ..models import CarrierCircuit, CircuitCost, CircuitPath, CircuitTicket
from ..providers.errors import ProviderError, RowRefused
from ..providers.records import CircuitRecord
from .changes import Change, to_text
from .circuits import Found, remember
from .matching import Keys, Matcher, UnknownCircuit, match_row
from .report import Report
from .silence import Silence
from .watched import Watched
from .writer import ChangeContext

if TYPE_CHECKING:
    from ..models import ProviderAPIConfig

METHODS = ("sync_circuit_costs", "sync_circuit_tickets", "sync_circuit_path")
WATCHED = (CircuitCost, CircuitTicket, CircuitPath)
# A save that moves only these changed nothing.
IMMATERIAL = frozenset({"last_updated", "last_updated_date"})
AMOUNTS = ("nrc", "mrc")

State = dict[tuple[type, int], Any]


class Unchanged(Exception):
    """Rolls back a save without a change."""


class LegacyRow:
    """One circuit of a provider's list."""

    def __init__(
        self, watched: Watched, config: "ProviderAPIConfig", context: ChangeContext, report: Report
    ) -> None:
        self.watched = watched
        self.config = config
        self.context = context
        self.report = report

    def sync(self, row: dict[str, Any], only: Circuit | None) -> None:
        """Syncs one row. Raises `ProviderError` when it could not be."""
        keys = Keys.of_row(row)
        circuit = self._match(row, keys)
        if only is not None and circuit.pk != only.pk:
            return
        details = self.watched.get_circuit_details(keys.carrier_id)
        self._write(circuit, keys, details)
        self.report.counts["success"] += 1

    def _match(self, row: dict[str, Any], keys: Keys) -> Circuit:
        if not keys.carrier_id:
            raise RowRefused("a circuit without id", "id")
        has_own = hasattr(self.watched.provider, "_match_circuit")
        circuit = self.watched.match(row) if has_own else match_row(self.config, row)
        if circuit is None:
            raise UnknownCircuit(f"NetBox has no circuit {keys.cid or keys.carrier_id} of this provider")
        if circuit.provider_id != self.config.provider_id:
            raise RowRefused(f"{circuit.cid} belongs to another provider", "provider")
        return circuit

    def _write(self, circuit: Circuit, keys: Keys, details: dict[str, Any]) -> None:
        changes: list[Change] = []
        try:
            with self.context.transaction():
                changes = self._write_watched(circuit, details)
                self._remember(circuit, keys)
        except Unchanged:
            self.report.counts["unchanged"] += 1
            if not self.context.dry_run:
                with transaction.atomic():
                    self._remember(circuit, keys)
            return
        except (ValidationError, DatabaseError) as error:
            reason = (
                "; ".join(error.messages)
                if isinstance(error, ValidationError)
                else str(error).partition("\n")[0]
            )
            raise RowRefused(f"what the provider's code wrote is not valid: {reason}") from error
        for change in changes:
            self.report.noted(change)
        self.report.counts["updated"] += 1

    def _write_watched(self, circuit: Circuit, details: dict[str, Any]) -> list[Change]:
        """Runs the provider's methods and looks at what they did. Raises to roll it back."""
        before = _state(circuit)
        for method in METHODS:
            self.watched.sync(method, circuit, details)
        after = _state(circuit)
        changes = _compare(circuit, before, after)
        if not changes:
            raise Unchanged
        _refuse_lost_amounts(before, after)
        touched = {key: instance for key, instance in after.items() if _is_touched(key, before, after)}
        for instance in touched.values():
            instance.full_clean()
        self._complete_change_log({key: before[key] for key in touched if key in before})
        return changes

    def _complete_change_log(self, before: State) -> None:
        """`update_or_create` takes no snapshot, so its entry in the change log lacks what was there before."""
        for (model, pk), instance in before.items():
            entries = ObjectChange.objects.filter(
                request_id=self.context.request_id,
                changed_object_type=ContentType.objects.get_for_model(model),
                changed_object_id=pk,
                prechange_data__isnull=True,
            )
            entries.update(prechange_data=instance.serialize_object(exclude=["last_updated"]))

    def _remember(self, circuit: Circuit, keys: Keys) -> None:
        known = CarrierCircuit.objects.filter(config=self.config, carrier_id=keys.carrier_id, circuit=circuit)
        if known.update(last_seen_at=timezone.now(), vanished_at=None):
            return
        matcher = Matcher(self.config, [keys])
        if keys.carrier_id not in matcher.mappings:
            record = CircuitRecord(carrier_id=keys.carrier_id, cid=keys.cid)
            remember(self.config, [Found(record, circuit)], matcher, timezone.now())


def sync_rows(
    row_sync: LegacyRow,
    rows: Sequence[Any],
    repeated: frozenset[str] | set[str],
    only: Circuit | None,
    silence: Silence,
) -> None:
    """Syncs the rows of a provider's list one by one; a row that fails is reported and the next one tried.

    Raises `ProviderUnavailable` when the carrier stopped answering.
    """
    report = row_sync.report
    for row in rows:
        name = _name(row)
        try:
            if not isinstance(row, dict):
                raise RowRefused("a row of the list is not an object")
            if Keys.of_row(row).carrier_id in repeated:
                raise RowRefused("the carrier lists this id twice, with different data", "id")
            row_sync.sync(row, only)
        except ProviderError as error:
            report.counts["failed"] += 1
            report.refused(name, error.code, str(error))
            silence.failed(error)
        else:
            silence.answered()
        report.flush()


def _name(row: Any) -> str:
    keys = Keys.of_row(row) if isinstance(row, dict) else Keys("")
    return keys.cid or keys.carrier_id or "a circuit without id"


def _state(circuit: Circuit) -> State:
    return {(model, row.pk): row for model in WATCHED for row in model.objects.filter(circuit=circuit)}


def _is_touched(key: tuple[type, int], before: State, after: State) -> bool:
    return key not in before or bool(_differences(before[key], after[key]))


def _differences(old: Any, new: Any) -> list[str]:
    names = [each.attname for each in new._meta.concrete_fields if each.name not in IMMATERIAL]
    return [name for name in names if getattr(old, name) != getattr(new, name)]


def _compare(circuit: Circuit, before: State, after: State) -> list[Change]:
    changes = []
    for key, new in after.items():
        old = before.get(key)
        names = _differences(old, new) if old is not None else _stated(new)
        changes += [
            _change(circuit, new, name, getattr(old, name, None), getattr(new, name)) for name in names
        ]
    for key, old in before.items():
        if key not in after:
            changes.append(_change(circuit, old, "deleted", str(old), None))
    return changes


def _stated(new: Any) -> list[str]:
    skipped = {"id", "created", "last_updated", "custom_field_data", "circuit_id"}
    fields = [each.attname for each in new._meta.concrete_fields if each.attname not in skipped]
    return [name for name in fields if getattr(new, name) not in (None, "")]


def _change(circuit: Circuit, instance: Any, name: str, before: Any, after: Any) -> Change:
    return Change(
        circuit_id=circuit.pk,
        model=instance._meta.model_name,
        object_repr=str(instance),
        field=name,
        before=to_text(before),
        after=to_text(after),
    )


def _refuse_lost_amounts(before: State, after: State) -> None:
    """Raises `RowRefused` when a cost was lost: that is how a provider's code reads an answer it did not understand."""
    for key, new in after.items():
        if not isinstance(new, CircuitCost):
            continue
        old = before.get(key)
        lost = [name for name in AMOUNTS if old is not None and getattr(old, name) and not getattr(new, name)]
        if lost:
            raise RowRefused(
                f"{' and '.join(lost).upper()} would turn from an amount into none; a person has to set that"
            )
        if old is None and not any(getattr(new, name) for name in AMOUNTS):
            raise RowRefused("the provider's code found no amount; a cost of nothing is not written")
    if any(isinstance(row, CircuitCost) and key not in after for key, row in before.items()):
        raise RowRefused("the provider's code deleted the circuit's cost")
