"""State machines as data: a status changes only through its table, and every change is kept (ADR 0004)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import Table

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, NotFound
from demarc.kernel.tables import status_change

S = TypeVar("S", bound=StrEnum)
R = TypeVar("R")


@dataclass(frozen=True)
class StateMachine(Generic[S]):
    """`moves` maps each status to those that may follow it."""

    entity: str
    moves: Mapping[S, frozenset[S]]

    def check(self, current: S, target: S) -> None:
        """Raises `Conflict` that names both states and what is allowed."""
        if target in self.moves[current]:
            return
        allowed = ", ".join(sorted(self.moves[current])) or "nothing: it is final"
        article = "an" if self.entity[0] in "aeio" else "a"  # a usage record
        raise Conflict(
            f"{article} {self.entity} that is {current.value} cannot become {target.value}; "
            f"allowed from here: {allowed}",
            code="ILLEGAL_STATE_CHANGE",
        )

    def can(self, current: S, target: S) -> bool:
        return target in self.moves[current]


class _Nothing:
    """Row type of statements whose row is not looked at."""

    def __init__(self, **_: Any) -> None:
        pass


async def record_status_change(
    tx: Tx, *, entity: str, entity_id: int, from_status: str | None, to_status: str, reason: str = ""
) -> None:
    """Write one line of an entity's history; `from_status` None means that it was made."""
    await tx.insert(
        status_change,
        _Nothing,
        entity=entity,
        entity_id=entity_id,
        from_status=from_status,
        to_status=to_status,
        reason=reason,
        actor=tx.actor.name,
        changed_at=tx.now,
    )


async def change_status(
    tx: Tx,
    machine: StateMachine[S],
    table: Table,
    row: type[R],
    *,
    entity_id: int,
    current: S,
    target: S,
    reason: str = "",
    **values: Any,
) -> R:
    """Move one row from `current` to `target`, with its history.

    Raises:
        Conflict: the move is illegal, or somebody else moved the row meanwhile.
    """
    machine.check(current, target)
    keys = {"id": entity_id, "status": current.value}
    try:
        changed = await tx.update(table, row, keys, status=target.value, updated_at=tx.now, **values)
    except NotFound:
        raise Conflict(f"the {machine.entity} was changed by someone else meanwhile; read it again") from None
    await record_status_change(
        tx,
        entity=machine.entity,
        entity_id=entity_id,
        from_status=current.value,
        to_status=target.value,
        reason=reason,
    )
    return changed
