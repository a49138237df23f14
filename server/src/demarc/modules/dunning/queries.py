"""Every read of campaigns and executions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
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
from demarc.modules.customers.states import CustomerTier
from demarc.modules.dunning.inputs import Action, ExclusionRules
from demarc.modules.dunning.models import dunning_action, dunning_campaign, dunning_execution
from demarc.modules.dunning.states import RUNNING, ActionOutcome, ActionType, ExecutionStatus

_STEPPING = (ExecutionStatus.PENDING, ExecutionStatus.IN_PROGRESS)


def _actions(stored: list[dict[str, Any]]) -> tuple[Action, ...]:
    return tuple(Action(**{**step, "type": ActionType(step["type"])}) for step in stored)


@dataclass(frozen=True, slots=True)
class Campaign:
    """One row."""

    tenant_id: int
    id: int
    uid: UUID
    name: str
    description: str
    trigger_after_days: int
    max_retries: int
    retry_interval_days: int
    priority: int
    actions: list[dict[str, Any]]
    exclusion_rules: dict[str, Any]
    is_active: bool
    deleted_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def steps(self) -> tuple[Action, ...]:
        return _actions(self.actions)

    @property
    def exclusions(self) -> ExclusionRules:
        """The stored rules as values."""
        rules = self.exclusion_rules
        return ExclusionRules(
            min_lifetime_minor=rules.get("min_lifetime_minor"),
            customer_tiers=tuple(CustomerTier(tier) for tier in rules.get("customer_tiers", ())),
            customer_tags=tuple(rules.get("customer_tags", ())),
        )


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
        return _actions(self.actions)

    @property
    def is_running(self) -> bool:
        return self.status in RUNNING


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


@dataclass(frozen=True, slots=True)
class CampaignCounts:
    """Campaigns that are not deleted."""

    total: int
    active: int


_C, _E, _A = dunning_campaign.c, dunning_execution.c, dunning_action.c


def _among(statuses: Collection[ExecutionStatus]) -> ColumnElement[bool]:
    """The statuses as constants of the statement, so that the planner sees that a partial index fits."""
    return _E.status.in_([literal_column(f"'{status.value}'") for status in statuses])


_KEPT = mine(dunning_campaign) & _C.deleted_at.is_(None)
_CAMPAIGN = select(dunning_campaign).where(_KEPT, _C.uid == bindparam("uid"))
_CAMPAIGN_BY_UID = Query(_CAMPAIGN)
_CAMPAIGN_SHARED = Query(_CAMPAIGN.with_for_update(read=True))
_CAMPAIGN_LOCKED = Query(_CAMPAIGN.with_for_update())
_CAMPAIGN_BY_ID = Query(select(dunning_campaign).where(mine(dunning_campaign), _C.id == bindparam("id")))
_CAMPAIGN_ID = Query(select(_C.id).where(mine(dunning_campaign), _C.uid == bindparam("uid")))
_ACTIVE_CAMPAIGNS = Query(
    select(dunning_campaign)
    .where(_KEPT, _C.is_active)
    .order_by(_C.priority.desc(), _C.id)
    .with_for_update(read=True)
)
_CAMPAIGN_UIDS = Query(
    select(_C.id, _C.uid).where(
        mine(dunning_campaign), _C.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))
    )
)
_COUNT_CAMPAIGNS = Query(
    select(func.count().label("total"), func.count().filter(_C.is_active).label("active")).where(_KEPT)
)

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

CAMPAIGNS = Listing(
    dunning_campaign,
    filters={
        "kept": _C.deleted_at.is_(None) == bindparam("kept", type_=Boolean),
        "is_active": _C.is_active == bindparam("is_active", type_=Boolean),
        "search": func.strpos(func.lower(_C.name), func.lower(bindparam("search", type_=String))) > 0,
    },
    sorts={
        "rank": -_C.priority,
        "priority": _C.priority,
        "name": _C.name,
        "created_at": _C.created_at,
    },
    default_sort="rank",
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
ACTIONS = Listing(
    dunning_action,
    filters={
        "execution_id": _A.execution_id == bindparam("execution_id", type_=BigInteger),
        "outcome": _A.outcome == bindparam("outcome", type_=String),
    },
    sorts={"acted_at": _A.acted_at},
    default_sort="acted_at",
)


async def get_campaign(tx: Tx, uid: UUID) -> Campaign:
    """Raises `NotFound`, also for one that was deleted."""
    return _found(await tx.find(_CAMPAIGN_BY_UID, Campaign, uid=uid), uid)


async def get_campaign_to_start(tx: Tx, uid: UUID) -> Campaign:
    """As `get_campaign`; it cannot be deleted or edited until the transaction ends."""
    return _found(await tx.find(_CAMPAIGN_SHARED, Campaign, uid=uid), uid)


async def get_campaign_to_change(tx: Tx, uid: UUID) -> Campaign:
    """As `get_campaign`, and the row is ours until the transaction ends."""
    return _found(await tx.find(_CAMPAIGN_LOCKED, Campaign, uid=uid), uid)


def _found(campaign: Campaign | None, uid: UUID) -> Campaign:
    if campaign is None:
        raise NotFound(f"no dunning campaign {uid}")
    return campaign


async def get_campaign_by_id(tx: Tx, campaign_id: int) -> Campaign:
    """Also one that was deleted, since its executions go on.

    Raises:
        NotFound: no such campaign.
    """
    found = await tx.find(_CAMPAIGN_BY_ID, Campaign, id=campaign_id)
    if found is None:
        raise NotFound(f"no dunning campaign {campaign_id}")
    return found


async def find_campaign_id(tx: Tx, uid: UUID) -> int | None:
    """The row of a campaign, deleted or not."""
    found: int | None = await tx.value(_CAMPAIGN_ID, uid=uid)
    return found


async def list_campaigns(
    tx: Tx, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[Campaign]:
    """In the order in which they are tried: highest priority first, then the oldest. Filters: is_active, search."""
    return await CAMPAIGNS.page(tx, Campaign, window, sort=sort, kept=True, **filters)


async def list_active_campaigns(tx: Tx) -> list[Campaign]:
    """In the order in which they are tried; none of them can be deleted until the transaction ends."""
    return await tx.fetch(_ACTIVE_CAMPAIGNS, Campaign)


async def campaign_uids_of(tx: Tx, ids: Collection[int]) -> dict[int, UUID]:
    """The `/api` ids of these campaigns."""
    rows = await tx.connection.fetch(
        _CAMPAIGN_UIDS.sql, *_CAMPAIGN_UIDS.arguments({"tenant_id": tx.tenant.id, "ids": [*ids]})
    )
    return {row["id"]: row["uid"] for row in rows}


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


async def list_actions(
    tx: Tx, window: Window, *, execution_id: int, sort: str | None = None, **filters: Any
) -> Page[StepLog]:
    """An execution's log in the order in which it acted. Filter: outcome."""
    return await ACTIONS.page(tx, StepLog, window, sort=sort, execution_id=execution_id, **filters)


async def get_action_by_id(tx: Tx, action_id: int) -> StepLog:
    """Raises `NotFound`."""
    found = await tx.find(_ACTION_BY_ID, StepLog, id=action_id)
    if found is None:
        raise NotFound(f"no dunning action {action_id}")
    return found


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


async def count_campaigns(tx: Tx) -> CampaignCounts:
    counts = await tx.find(_COUNT_CAMPAIGNS, CampaignCounts)
    return counts or CampaignCounts(0, 0)


async def count_executions(tx: Tx, *, campaign_id: int | None = None) -> ExecutionCounts:
    """Of one campaign, or of all."""
    query, keys = (
        (_COUNT_ALL, {}) if campaign_id is None else (_COUNT_OF_CAMPAIGN, {"campaign_id": campaign_id})
    )
    counts = await tx.find(query, ExecutionCounts, **keys)
    return counts or ExecutionCounts(0, 0, 0, 0, 0, 0, 0)
