"""`/api/data-caps`: what a service may carry in a month, what it has carried, top-ups."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field

from demarc.kernel.clock import next_month_start
from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.kernel.paging import Page
from demarc.modules.access.queries import list_open_policies
from demarc.modules.access.states import PolicyKind
from demarc.modules.catalog.states import CapAction
from demarc.modules.customers.queries import uids_of as customer_uids_of
from demarc.modules.services.queries import get_service
from demarc.modules.services.queries import uids_of as service_uids_of
from demarc.modules.subscriptions.queries import refs_of as subscription_refs_of
from demarc.modules.usage.caps import (
    CapStanding,
    Crossing,
    DataPeriod,
    TopUp,
    current_month,
    get_cap,
    list_caps,
    list_crossings,
    list_periods,
    list_top_ups,
)
from demarc.modules.usage.rules import octets_to_gb
from demarc.modules.usage.states import CrossingOutcome
from demarc.web.bss.parameters import Listed, SortParam, WindowDep, counts
from demarc.web.bss.plans.data_limits import data_cap_of
from demarc.web.bss.plans.schemas import DataPolicyIn, DataPolicyOut, LimitGb, policy_out
from demarc.web.bss.references import customer_key, service_key
from demarc.web.routing import ApiRouter, TxDep
from demarc.workflows.data_caps import cap_service, top_up, uncap_service

router = ApiRouter(prefix="/api/data-caps", tag="usage")
WARNED_PERCENT = 80


class CapState(StrEnum):
    """`warned`: 80 % of the allowance is used."""

    OK = "ok"
    WARNED = "warned"
    USED_UP = "used_up"


class LineState(StrEnum):
    """What used-up data has done to the line."""

    FULL = "full"
    THROTTLED = "throttled"
    BLOCKED = "blocked"


class CapIn(BaseModel):
    """How much a service may carry in a month, and what follows."""

    data_limit_gb: LimitGb
    data_limit_policy: DataPolicyIn | None = None


class TopUpIn(BaseModel):
    """More data for this month: bought at the plan's usage price `data_topup`, on the next invoice, or given with `grant`."""

    gb: Decimal = Field(gt=0, le=10**8, decimal_places=6, allow_inf_nan=False, examples=[10])
    grant: bool = False
    reason: str = Field("", max_length=500)


class CapOut(BaseModel):
    """A service's cap and its current month; GB of 2^30 octets, both directions."""

    service_id: UUID
    subscription_id: str
    customer_id: UUID
    data_limit_gb: float
    data_limit_policy: DataPolicyOut
    period_start: date
    period_end: datetime = Field(description="the count begins anew")
    used_octets: int
    used_gb: float
    top_up_gb: float
    allowance_gb: float
    remaining_gb: float
    used_percent: float
    state: CapState
    updated_at: datetime


class CapDetail(CapOut):
    """With what became of the line."""

    line: LineState


class CapList(Listed):
    """A window of the list."""

    data_caps: list[CapOut]


class PeriodOut(BaseModel):
    """One month."""

    period_start: date
    used_octets: int
    used_gb: float
    data_limit_gb: float
    top_up_gb: float
    used_percent: float
    updated_at: datetime


class PeriodList(Listed):
    """A window of the list."""

    periods: list[PeriodOut]


class AlertOut(BaseModel):
    """A threshold that was reached, and what came of it: `told` the customer, or not."""

    period_start: date
    threshold_percent: int
    allowance_gb: float
    used_gb: float
    reached_at: datetime
    outcome: CrossingOutcome
    handled_at: datetime | None


class AlertList(Listed):
    """A window of the list."""

    alerts: list[AlertOut]


class TopUpOut(BaseModel):
    """A top-up; `bought`: on the next invoice."""

    id: UUID
    period_start: date
    gb: float
    bought: bool
    reason: str
    placed_by: str
    created_at: datetime


class TopUpList(Listed):
    """A window of the list."""

    top_ups: list[TopUpOut]


async def caps_out(tx: Tx, rows: Sequence[CapStanding]) -> list[CapOut]:
    services = await service_uids_of(tx, {row.service_id for row in rows})
    customers = await customer_uids_of(tx, {row.customer_id for row in rows})
    subscriptions = await subscription_refs_of(tx, {row.subscription_id for row in rows})
    month_on, ends_at = current_month(tx), next_month_start(tx.now, tx.tenant.time_zone)
    return [
        CapOut(
            service_id=services[row.service_id],
            customer_id=customers[row.customer_id],
            subscription_id=subscriptions[row.subscription_id],
            data_limit_gb=_gb(row.limit_octets),
            data_limit_policy=_policy(row),
            period_start=month_on,
            period_end=ends_at,
            used_octets=row.used_octets,
            used_gb=_gb(row.used_octets),
            top_up_gb=_gb(row.bonus_octets),
            allowance_gb=_gb(row.allowance_octets),
            remaining_gb=_gb(max(row.allowance_octets - row.used_octets, 0)),
            used_percent=_percent(row.used_octets, row.allowance_octets),
            state=_state(row),
            updated_at=row.updated_at,
        )
        for row in rows
    ]


async def cap_detail(tx: Tx, row: CapStanding) -> CapDetail:
    shown = (await caps_out(tx, [row]))[0]
    return CapDetail(**shown.model_dump(), line=await _line(tx, row.service_id))


async def _line(tx: Tx, service_id: int) -> LineState:
    for policy in await list_open_policies(tx, service_id):
        if policy.kind == PolicyKind.FAIR_USE and (policy.expires_at is None or policy.expires_at > tx.now):
            return LineState.BLOCKED if policy.blocks else LineState.THROTTLED
    return LineState.FULL


def _policy(row: CapStanding) -> DataPolicyOut:
    shown = policy_out(row.action, row.download_bps, row.upload_bps)
    if shown is None:
        raise AssertionError("a cap has an action")
    return shown


def _state(row: CapStanding) -> CapState:
    if row.is_used_up:
        return CapState.USED_UP
    warned = row.used_octets * 100 >= row.allowance_octets * WARNED_PERCENT
    return CapState.WARNED if warned else CapState.OK


def _gb(octets: int) -> float:
    return float(octets_to_gb(octets))


def _percent(used: int, allowance: int) -> float:
    return round(used * 100 / allowance, 2)


@router.on("GET", "", permission="usage.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    service_id: UUID | None = None,
    customer_id: UUID | None = None,
    action: CapAction | None = None,
    used_up: Annotated[bool | None, Query(description="this month's allowance")] = None,
    sort: SortParam = None,
) -> CapList:
    """Services with a data cap in the order they got it, unless `sort` says otherwise (created_at, limit_gb)."""
    page = await list_caps(
        tx,
        window,
        sort=sort,
        service_id=await service_key(tx, service_id),
        customer_id=await customer_key(tx, customer_id),
        action=action,
        is_used_up=used_up,
    )
    return CapList(data_caps=await caps_out(tx, page.rows), **counts(page))


@router.on("GET", "/{service_id}", permission="usage.read", problem=(404,))
async def get(service_id: UUID, tx: TxDep) -> CapDetail:
    """A service's cap, what it has used this month, and what that did to its line."""
    service = await get_service(tx, service_id)
    return await cap_detail(tx, await get_cap(tx, service.id))


@router.on("PUT", "/{service_id}", permission="usage.write", problem=(404, 409))
async def put(service_id: UUID, body: CapIn, tx: TxDep) -> CapDetail:
    """Cap a service, in place of what it was sold with; its line follows at once."""
    service = await get_service(tx, service_id)
    new = await data_cap_of(tx, body.data_limit_gb, body.data_limit_policy)
    if new is None:
        raise invalid("data_limit_gb", "is missing")
    return await cap_detail(tx, await cap_service(tx, service, new))


@router.on("DELETE", "/{service_id}", permission="usage.write", problem=(404,))
async def delete(service_id: UUID, tx: TxDep) -> CapOut:
    """Take the cap away, and what it did to the line; the answer is the cap as it was."""
    service = await get_service(tx, service_id)
    before = await caps_out(tx, [await get_cap(tx, service.id)])
    await uncap_service(tx, service)
    return before[0]


@router.on("GET", "/{service_id}/periods", permission="usage.read", problem=(404,))
async def periods(service_id: UUID, tx: TxDep, window: WindowDep, sort: SortParam = None) -> PeriodList:
    """Months, the latest first, unless `sort` says otherwise (period, used_gb)."""
    service = await get_service(tx, service_id)
    page: Page[DataPeriod] = await list_periods(tx, service.id, window, sort=sort)
    return PeriodList(periods=[_period_out(row) for row in page.rows], **counts(page))


@router.on("GET", "/{service_id}/alerts", permission="usage.read", problem=(404,))
async def alerts(
    service_id: UUID,
    tx: TxDep,
    window: WindowDep,
    threshold: Annotated[int | None, Query(ge=80, le=100)] = None,
    outcome: CrossingOutcome | None = None,
    sort: SortParam = None,
) -> AlertList:
    """Thresholds that were reached, the latest first, unless `sort` says otherwise (crossed_at)."""
    service = await get_service(tx, service_id)
    page = await list_crossings(tx, service.id, window, sort=sort, threshold=threshold, outcome=outcome)
    return AlertList(alerts=[_alert_out(row) for row in page.rows], **counts(page))


@router.on("GET", "/{service_id}/top-ups", permission="usage.read", problem=(404,))
async def top_ups(
    service_id: UUID,
    tx: TxDep,
    window: WindowDep,
    bought: bool | None = None,
    sort: SortParam = None,
) -> TopUpList:
    """What was bought or given, the latest first, unless `sort` says otherwise (created_at)."""
    service = await get_service(tx, service_id)
    page = await list_top_ups(tx, service.id, window, sort=sort, is_bought=bought)
    return TopUpList(top_ups=[_top_up_out(row) for row in page.rows], **counts(page))


@router.on("POST", "/{service_id}/top-ups", permission="usage.write", status=201, problem=(404, 409))
async def create_top_up(service_id: UUID, body: TopUpIn, tx: TxDep) -> TopUpOut:
    """Buy or give more data for this month; a throttled line gets its full speed back at once, by CoA."""
    service = await get_service(tx, service_id)
    return _top_up_out(await top_up(tx, service, gb=body.gb, is_bought=not body.grant, reason=body.reason))


def _period_out(row: DataPeriod) -> PeriodOut:
    return PeriodOut(
        period_start=row.month_on,
        used_octets=row.used_octets,
        used_gb=_gb(row.used_octets),
        data_limit_gb=_gb(row.limit_octets),
        top_up_gb=_gb(row.bonus_octets),
        used_percent=_percent(row.used_octets, row.allowance_octets),
        updated_at=row.updated_at,
    )


def _alert_out(row: Crossing) -> AlertOut:
    return AlertOut(
        period_start=row.month_on,
        threshold_percent=row.threshold,
        allowance_gb=_gb(row.allowance_octets),
        used_gb=_gb(row.used_octets),
        reached_at=row.crossed_at,
        outcome=CrossingOutcome(row.outcome),
        handled_at=row.handled_at,
    )


def _top_up_out(row: TopUp) -> TopUpOut:
    return TopUpOut(
        id=row.uid,
        period_start=row.month_on,
        gb=_gb(row.octets),
        bought=row.usage_record_id is not None,
        reason=row.reason,
        placed_by=row.placed_by,
        created_at=row.created_at,
    )
