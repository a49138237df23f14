"""Reads of executions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Integer,
    String,
    any_,
    bindparam,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.dunning.inputs import Action
from demarc.modules.dunning.models import dunning_execution
from demarc.modules.dunning.queries.campaigns import read_actions
from demarc.modules.dunning.states import RUNNING, ExecutionStatus

_STEPPING = (ExecutionStatus.PENDING, ExecutionStatus.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class Execution:
    """One row. `current_step` counts the steps that are behind it."""

    tenant_id: int
    id: int
    uid: UUID
    campaign_id: int
    subscription_id: int
    customer_id: int
    invoice_id: int
    outstanding_minor: int
    recovered_minor: int
    status: str
    actions: list[dict[str, Any]]
    current_step: int
    retries: int
    max_retries: int
    retry_interval_days: int
    failures: int
    next_action_at: datetime | None
    started_at: datetime
    paused_at: datetime | None
    completed_at: datetime | None
    released_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def steps(self) -> tuple[Action, ...]:
        return read_actions(self.actions)

    @property
    def is_running(self) -> bool:
        return self.status in RUNNING


@dataclass(frozen=True, slots=True)
class ExecutionCounts:
    """Executions by fate; `successful` are those with money recovered."""

    total: int
    running: int
    completed: int
    canceled: int
    failed: int
    successful: int
    recovered_minor: int


_E = dunning_execution.c


def _among(statuses: Collection[ExecutionStatus]) -> ColumnElement[bool]:
    """The statuses as constants of the statement, so that the planner sees that a partial index fits."""
    return _E.status.in_([literal_column(f"'{status.value}'") for status in statuses])


_EXECUTION = select(dunning_execution).where(mine(dunning_execution), _E.uid == bindparam("uid"))

_EXECUTION_BY_UID = Query(_EXECUTION)

_EXECUTION_LOCKED = Query(_EXECUTION.with_for_update())

_EXECUTION_OF_ID = select(dunning_execution).where(mine(dunning_execution), _E.id == bindparam("id"))

_EXECUTION_BY_ID = Query(_EXECUTION_OF_ID)

_EXECUTION_BY_ID_LOCKED = Query(_EXECUTION_OF_ID.with_for_update())

_RUNNING_OF = select(dunning_execution).where(
    mine(dunning_execution),
    _E.subscription_id == bindparam("subscription_id", type_=BigInteger),
    _among(RUNNING),
)

_RUNNING_OF_SUBSCRIPTION = Query(_RUNNING_OF)

_RUNNING_OF_SUBSCRIPTION_LOCKED = Query(_RUNNING_OF.with_for_update())

_DUE_EXECUTIONS = (
    select(dunning_execution)
    .where(
        mine(dunning_execution),
        _among(_STEPPING),
        _E.next_action_at <= bindparam("now", type_=DateTime(timezone=True)),
    )
    .order_by(_E.next_action_at, _E.id)
)

_DUE = Query(_DUE_EXECUTIONS.limit(bindparam("batch", type_=Integer)).with_for_update(skip_locked=True))

_DUE_IDS = Query(_DUE_EXECUTIONS.with_only_columns(_E.id))

_DUE_ONE = Query(_DUE_EXECUTIONS.where(_E.id == bindparam("id")).with_for_update(skip_locked=True))

_TAKEN_INVOICES = Query(
    select(_E.invoice_id).where(
        mine(dunning_execution),
        _E.invoice_id == any_(bindparam("ids", type_=ARRAY(BigInteger))),
        _E.released_at.is_(None),
    )
)

_TAKEN_SUBSCRIPTIONS = Query(
    select(_E.subscription_id).where(
        mine(dunning_execution),
        _among(RUNNING),
        _E.subscription_id == any_(bindparam("ids", type_=ARRAY(BigInteger))),
    )
)

_FATES = {
    "running": _among(RUNNING),
    "completed": _E.status == ExecutionStatus.COMPLETED.value,
    "canceled": _E.status == ExecutionStatus.CANCELED.value,
    "failed": _E.status == ExecutionStatus.FAILED.value,
    "successful": _E.recovered_minor > 0,
}

_COUNT_EXECUTIONS = select(
    func.count().label("total"),
    *(func.count().filter(condition).label(name) for name, condition in _FATES.items()),
    func.coalesce(func.sum(_E.recovered_minor), 0).cast(BigInteger).label("recovered_minor"),
).where(mine(dunning_execution))

_COUNT_ALL = Query(_COUNT_EXECUTIONS)

_COUNT_OF_CAMPAIGN = Query(
    _COUNT_EXECUTIONS.where(_E.campaign_id == bindparam("campaign_id", type_=BigInteger))
)

EXECUTIONS = Listing(
    dunning_execution,
    filters={
        "status": _E.status == bindparam("status", type_=String),
        "campaign_id": _E.campaign_id == bindparam("campaign_id", type_=BigInteger),
        "subscription_id": _E.subscription_id == bindparam("subscription_id", type_=BigInteger),
        "customer_id": _E.customer_id == bindparam("customer_id", type_=BigInteger),
        "invoice_id": _E.invoice_id == bindparam("invoice_id", type_=BigInteger),
    },
    sorts={
        "started_at": _E.started_at,
        "next_action_at": _E.next_action_at,
        "outstanding_amount": _E.outstanding_minor,
    },
    default_sort="-started_at",
)


async def get_execution(tx: Tx, uid: UUID) -> Execution:
    """Raises `NotFound`."""
    return _execution(await tx.find(_EXECUTION_BY_UID, Execution, uid=uid), uid)


async def get_execution_to_change(tx: Tx, uid: UUID) -> Execution:
    """As `get_execution`, and the row is ours until the transaction ends."""
    return _execution(await tx.find(_EXECUTION_LOCKED, Execution, uid=uid), uid)


async def get_execution_by_id(tx: Tx, execution_id: int) -> Execution:
    """Raises `NotFound`."""
    return _execution(await tx.find(_EXECUTION_BY_ID, Execution, id=execution_id), execution_id)


async def get_execution_by_id_to_change(tx: Tx, execution_id: int) -> Execution:
    """Raises `NotFound`; the row is ours until the transaction ends."""
    return _execution(await tx.find(_EXECUTION_BY_ID_LOCKED, Execution, id=execution_id), execution_id)


def _execution(found: Execution | None, key: UUID | int) -> Execution:
    if found is None:
        raise NotFound(f"no dunning execution {key}")
    return found


async def find_running_execution(tx: Tx, subscription_id: int) -> Execution | None:
    """The one that has not ended."""
    return await tx.find(_RUNNING_OF_SUBSCRIPTION, Execution, subscription_id=subscription_id)


async def find_running_execution_to_change(tx: Tx, subscription_id: int) -> Execution | None:
    """As `find_running_execution`, and the row is ours until the transaction ends."""
    return await tx.find(_RUNNING_OF_SUBSCRIPTION_LOCKED, Execution, subscription_id=subscription_id)


async def claim_due_executions(tx: Tx, *, batch: int) -> list[Execution]:
    """Executions whose next action is due at `tx.now`, the longest due first; those that another worker holds are left out."""
    return await tx.fetch(_DUE, Execution, now=tx.now, batch=batch)


async def list_due_execution_ids(tx: Tx) -> list[int]:
    """Executions whose next action is due at `tx.now`, the longest due first."""
    rows = await tx.connection.fetch(
        _DUE_IDS.sql, *_DUE_IDS.arguments({"tenant_id": tx.tenant.id, "now": tx.now})
    )
    return [row[0] for row in rows]


async def claim_due_execution(tx: Tx, execution_id: int) -> Execution | None:
    """One of them, locked; None when another worker holds it or it is due no longer."""
    return await tx.find(_DUE_ONE, Execution, id=execution_id, now=tx.now)


async def taken_invoices(tx: Tx, ids: Collection[int]) -> set[int]:
    """Those of the invoices that an execution was ever started for, unless it was let go (`release_invoices`)."""
    return await _ids(tx, _TAKEN_INVOICES, ids)


async def taken_subscriptions(tx: Tx, ids: Collection[int]) -> set[int]:
    """Those of the subscriptions that have a running execution."""
    return await _ids(tx, _TAKEN_SUBSCRIPTIONS, ids)


async def _ids(tx: Tx, query: Query, ids: Collection[int]) -> set[int]:
    rows = await tx.connection.fetch(query.sql, *query.arguments({"tenant_id": tx.tenant.id, "ids": [*ids]}))
    return {row[0] for row in rows}


async def list_executions(
    tx: Tx, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[Execution]:
    """Newest first. Filters: status, campaign_id, subscription_id, customer_id, invoice_id (ids of the rows)."""
    return await EXECUTIONS.page(tx, Execution, window, sort=sort, **filters)


async def count_executions(tx: Tx, *, campaign_id: int | None = None) -> ExecutionCounts:
    """Of one campaign, or of all."""
    query, keys = (
        (_COUNT_ALL, {}) if campaign_id is None else (_COUNT_OF_CAMPAIGN, {"campaign_id": campaign_id})
    )
    counts = await tx.find(query, ExecutionCounts, **keys)
    return counts or ExecutionCounts(0, 0, 0, 0, 0, 0, 0)
