"""What a sync would change: compared before anything is written, and told in words afterwards."""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from circuits.models import Circuit
from django.db import models

from ..models import SyncChange


@dataclass(slots=True)
class Edit:
    """One object to create or update.

    Args:
        instance: with the new values set; for an update its snapshot holds the old ones.
        before: the old value of each changed field; for a new object every stated field, with None.
    """

    instance: Any
    circuit: Circuit
    created: bool
    before: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> type[models.Model]:
        """The model of the instance."""
        return type(self.instance)

    def describe(self) -> list[SyncChange]:
        """A row of the report for each field."""
        return [
            SyncChange(
                circuit=self.circuit,
                model=self.instance._meta.model_name,  # noqa: SLF001 - Django's public name for it
                object_repr=str(self.instance)[:200],
                field=name,
                before=None if self.created else to_text(before),
                after=to_text(getattr(self.instance, name)),
            )
            for name, before in self.before.items()
        ]


def create(model: type[models.Model], circuit: Circuit, **values: Any) -> Edit:
    """An edit that creates an object of a circuit; what is None is left to the model's defaults."""
    stated = {name: value for name, value in values.items() if value is not None}
    instance = model(circuit=circuit, **stated)
    return Edit(instance, circuit, created=True, before=dict.fromkeys(stated))


def update(instance: Any, circuit: Circuit, *, clear: tuple[str, ...] = (), **values: Any) -> Edit | None:
    """An edit that updates the fields which differ, None when none does.

    What is None was not stated and stays; only the fields named in `clear` are emptied.
    """
    changed = {
        name: value for name, value in values.items() if value is not None and not same(getattr(instance, name), value)
    }
    changed |= {name: None for name in clear if getattr(instance, name) is not None}
    if not changed:
        return None
    instance.snapshot()
    before = {name: getattr(instance, name) for name in changed}
    for name, value in changed.items():
        setattr(instance, name, value)
    return Edit(instance, circuit, created=False, before=before)


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
    return text if len(text) <= 2_000 else f"{text[:2_000]}…"
