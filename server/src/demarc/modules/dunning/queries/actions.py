"""Reads of what the steps did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Integer,
    String,
    bindparam,
    func,
    select,
)

from demarc.kernel.db import Tx
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.dunning.models import dunning_action
from demarc.modules.dunning.queries.executions import Execution
from demarc.modules.dunning.states import ActionOutcome, ActionType


@dataclass(frozen=True, slots=True)
class StepLog:
    """What one attempt of one step did."""

    tenant_id: int
    id: int
    execution_id: int
    step: int
    attempt: int
    type: str
    outcome: str
    detail: str
    notification_id: int | None
    acted_at: datetime
    settled_at: datetime | None


_A = dunning_action.c

_ACTION_BY_ID = Query(select(dunning_action).where(mine(dunning_action), _A.id == bindparam("id")))

_ACTION_OF_NOTIFICATION = Query(
    select(dunning_action).where(
        mine(dunning_action), _A.notification_id == bindparam("notification_id", type_=BigInteger)
    )
)

_ACTION_NOW = Query(
    select(dunning_action).where(
        mine(dunning_action),
        _A.execution_id == bindparam("execution_id", type_=BigInteger),
        _A.step == bindparam("step", type_=Integer),
        _A.attempt == bindparam("attempt", type_=Integer),
    )
)

_DONE_OF_TYPE = Query(
    select(func.count()).where(
        mine(dunning_action),
        _A.execution_id == bindparam("execution_id", type_=BigInteger),
        _A.outcome == ActionOutcome.DONE.value,
        _A.type == bindparam("type", type_=String),
    )
)

_COUNT_ACTIONS = Query(
    select(func.count()).where(
        mine(dunning_action), _A.execution_id == bindparam("execution_id", type_=BigInteger)
    )
)

ACTIONS = Listing(
    dunning_action,
    filters={
        "execution_id": _A.execution_id == bindparam("execution_id", type_=BigInteger),
        "outcome": _A.outcome == bindparam("outcome", type_=String),
    },
    sorts={"acted_at": _A.acted_at},
    default_sort="acted_at",
)


async def list_actions(
    tx: Tx, window: Window, *, execution_id: int, sort: str | None = None, **filters: Any
) -> Page[StepLog]:
    """An execution's log in the order in which it acted. Filter: outcome."""
    return await ACTIONS.page(tx, StepLog, window, sort=sort, execution_id=execution_id, **filters)


async def get_action_by_id(tx: Tx, action_id: int) -> StepLog:
    """Raises `NotFound`."""
    return await tx.get(_ACTION_BY_ID, StepLog, f"no dunning action {action_id}", id=action_id)


async def find_action_of_notification(tx: Tx, notification_id: int) -> StepLog | None:
    return await tx.find(_ACTION_OF_NOTIFICATION, StepLog, notification_id=notification_id)


async def find_present_action(tx: Tx, execution: Execution) -> StepLog | None:
    """What the present attempt of the present step did, if it has acted."""
    return await tx.find(
        _ACTION_NOW,
        StepLog,
        execution_id=execution.id,
        step=execution.current_step,
        attempt=execution.retries,
    )


async def count_actions(tx: Tx, execution_id: int) -> int:
    return int(await tx.value(_COUNT_ACTIONS, execution_id=execution_id))


async def has_done(tx: Tx, execution_id: int, kind: ActionType) -> bool:
    """Whether a step of this kind succeeded."""
    return bool(await tx.value(_DONE_OF_TYPE, execution_id=execution_id, type=kind.value))
