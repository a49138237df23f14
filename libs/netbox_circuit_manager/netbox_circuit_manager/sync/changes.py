"""What a sync would change: compared before anything is written, and told in words afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from circuits.models import Circuit
from django.db import connection, models

from ..models import ProviderSyncRun, SyncChange

# A path or a description is cut in the report
LONGEST_TEXT = 2_000
LONGEST_NAME = 200


@dataclass(slots=True)
class Edit:
    """One object to create or update.

    Args:
        instance: a new object with its values, or a stored one as it is until `apply()`.
        values: the new value of each field that changes; for a new object of every stated field.
        before: the old values, once applied.
    """

    instance: Any
    circuit: Circuit
    created: bool
    values: dict[str, Any]
    before: dict[str, Any] = field(default_factory=dict)

    def apply(self) -> None:
        """Sets the new values on a stored object whose snapshot then holds the old ones."""
        if self.created or self.before:
            return
        self.instance.snapshot()
        self.before = {name: getattr(self.instance, name) for name in self.values}
        for name, value in self.values.items():
            setattr(self.instance, name, value)

    @property
    def model(self) -> type[models.Model]:
        """The model of the instance."""
        return type(self.instance)

    def describe(self) -> "list[Change]":
        """A row of the report for each field."""
        name, told = self.instance._meta.model_name, str(self.instance)
        return [
            Change(
                circuit_id=self.circuit.pk,
                model=name,
                object_repr=told,
                field=field_name,
                before=None if self.created else to_text(self.before[field_name]),
                after=to_text(getattr(self.instance, field_name)),
            )
            for field_name in self.values
        ]


class Change(NamedTuple):
    """A row of the report, in the order of `SyncChange`'s columns after the run."""

    circuit_id: int
    model: str
    object_repr: str
    field: str
    before: str | None
    after: str | None


def store_changes(run: ProviderSyncRun, changes: Sequence[Change]) -> None:
    """Adds rows to a run's report, by COPY: a first sync has several for each circuit."""
    if not changes:
        return
    columns = ("run_id", *Change._fields)
    quoted = ", ".join(connection.ops.quote_name(name) for name in columns)
    table = connection.ops.quote_name(SyncChange._meta.db_table)
    statement = f"COPY {table} ({quoted}) FROM STDIN"
    with connection.cursor() as cursor, connection.wrap_database_errors, cursor.copy(statement) as copy:
        for change in changes:
            copy.write_row((run.pk, *change._replace(object_repr=change.object_repr[:LONGEST_NAME])))


def create(model: type[models.Model], circuit: Circuit, **values: Any) -> Edit:
    """An edit that creates an object of a circuit; what is None is left to the model's defaults."""
    stated = {name: value for name, value in values.items() if value is not None}
    instance = model(circuit=circuit, **stated)
    return Edit(instance, circuit, created=True, values=stated)


def update(instance: Any, circuit: Circuit, *, clear: tuple[str, ...] = (), **values: Any) -> Edit | None:
    """An edit that updates the fields which differ, None when none does.

    What is None was not stated and stays; only the fields named in `clear` are emptied.
    """
    changed = {
        name: value
        for name, value in values.items()
        if value is not None and not same(getattr(instance, name), value)
    }
    changed |= {name: None for name in clear if getattr(instance, name) is not None}
    return Edit(instance, circuit, created=False, values=changed) if changed else None


def same(old: Any, new: Any) -> bool:
    """Whether two values are stored alike."""
    return bool(old == new) or (old in (None, "") and new in (None, ""))


def to_text(value: Any) -> str | None:
    """A value for the report."""
    if value is None:
        return None
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    text = str(value)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
