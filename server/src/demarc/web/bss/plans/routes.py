"""`/api/plans`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Path, Query

from demarc.kernel.clock import local_date
from demarc.kernel.db import Tx
from demarc.modules.catalog.queries import (
    Plan,
    get_plan,
    list_plans,
    list_prices,
    list_usage_prices,
    prices_on,
)
from demarc.modules.catalog.service import (
    change_plan_status,
    create_plan,
    set_plan_cap,
    set_price,
    set_usage_price,
    update_plan,
)
from demarc.modules.catalog.states import PlanStatus
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.bss.plans.data_limits import data_cap_of
from demarc.web.bss.plans.schemas import (
    PlanIn,
    PlanList,
    PlanOut,
    PlanPatch,
    PriceIn,
    PriceList,
    PriceOut,
    UsagePriceIn,
    UsagePriceList,
    UsagePriceOut,
    plan_out,
    price_out,
    usage_price_out,
)
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/plans", tag="plans")
PlanRefPath = Annotated[str, Path(max_length=50)]


async def plans_out(tx: Tx, rows: Sequence[Plan]) -> list[PlanOut]:
    """The rows with their prices of today."""
    today = local_date(tx.now, tx.tenant.time_zone)
    prices = await prices_on(tx, [row.id for row in rows], today)
    return [plan_out(row, prices.get(row.id)) for row in rows]


async def one_out(tx: Tx, row: Plan) -> PlanOut:
    return (await plans_out(tx, [row]))[0]


@router.on("POST", "", permission="catalog.write", status=201, problem=(404, 409))
async def create(body: PlanIn, tx: TxDep) -> PlanOut:
    """Put a plan on sale."""
    cap = await data_cap_of(tx, body.data_limit_gb, body.data_limit_policy)
    return await one_out(tx, await create_plan(tx, body.to_plan(cap)))


@router.on("GET", "", permission="catalog.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    status: PlanStatus | None = None,
    service_type: Annotated[str | None, Query(max_length=40)] = None,
    search: Annotated[str | None, Query(max_length=100, description="part of name or plan_id")] = None,
    has_data_cap: bool | None = None,
    sort: SortParam = None,
) -> PlanList:
    """Plans in the order they came, unless `sort` says otherwise (created_at, plan_id, name)."""
    page = await list_plans(
        tx,
        window,
        sort=sort,
        status=status,
        service_type=service_type,
        search=search,
        has_data_cap=has_data_cap,
    )
    return PlanList(plans=await plans_out(tx, page.rows), **counts(page))


@router.on("GET", "/{plan_id}", permission="catalog.read", problem=(404,))
async def get(plan_id: PlanRefPath, tx: TxDep) -> PlanOut:
    """One plan."""
    return await one_out(tx, await get_plan(tx, plan_id))


@router.on("PATCH", "/{plan_id}", permission="catalog.write", problem=(404, 409))
async def patch(plan_id: PlanRefPath, body: PlanPatch, tx: TxDep) -> PlanOut:
    """Change the fields given, retire the plan or put it on sale again; what was sold stays as it was sold."""
    changed = await update_plan(tx, plan_id, body.changes())
    if "data_limit_gb" in body.model_fields_set:
        cap = await data_cap_of(tx, body.data_limit_gb, body.data_limit_policy)
        changed = await set_plan_cap(tx, plan_id, cap)
    if body.status is not None:
        changed = await change_plan_status(tx, plan_id, body.status)
    return await one_out(tx, changed)


@router.on("POST", "/{plan_id}/prices", permission="catalog.write", status=201, problem=(404, 409))
async def create_price(plan_id: PlanRefPath, body: PriceIn, tx: TxDep) -> PriceOut:
    """Set the price from a day on; who has bought keeps the price of then."""
    plan = await get_plan(tx, plan_id)
    return price_out(await set_price(tx, plan.id, body.to_input()))


@router.on("GET", "/{plan_id}/prices", permission="catalog.read", problem=(404,))
async def prices(plan_id: PlanRefPath, tx: TxDep, window: WindowDep, sort: SortParam = None) -> PriceList:
    """Past, present and coming prices, by `effective_on`."""
    plan = await get_plan(tx, plan_id)
    page = await list_prices(tx, plan.id, window, sort=sort)
    return PriceList(prices=[price_out(row) for row in page.rows], **counts(page))


@router.on("POST", "/{plan_id}/usage-prices", permission="catalog.write", status=201, problem=(404, 409))
async def create_usage_price(plan_id: PlanRefPath, body: UsagePriceIn, tx: TxDep) -> UsagePriceOut:
    """Set what a unit of usage costs from a day on."""
    plan = await get_plan(tx, plan_id)
    return usage_price_out(await set_usage_price(tx, plan.id, body.to_input()))


@router.on("GET", "/{plan_id}/usage-prices", permission="catalog.read", problem=(404,))
async def usage_prices(
    plan_id: PlanRefPath,
    tx: TxDep,
    window: WindowDep,
    usage_type: Annotated[str | None, Query(max_length=40)] = None,
    sort: SortParam = None,
) -> UsagePriceList:
    """Past, present and coming usage prices, by `effective_on` (or usage_type)."""
    plan = await get_plan(tx, plan_id)
    page = await list_usage_prices(tx, plan.id, window, sort=sort, usage_type=usage_type)
    return UsagePriceList(usage_prices=[usage_price_out(row) for row in page.rows], **counts(page))
