"""`/api/billing/runs` and `/api/billing/tax-rules`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from demarc.kernel.db import Tx
from demarc.modules.billing.queries import Run, get_run, list_runs, list_tax_rules
from demarc.modules.billing.rules import Month
from demarc.modules.billing.service import set_tax_rule
from demarc.modules.billing.states import RunStatus
from demarc.modules.subscriptions.queries import Subscription, get_subscription, refs_of
from demarc.web.bss.billing.schemas import (
    PreviewOut,
    RunFailure,
    RunIn,
    RunList,
    RunOut,
    TaxRuleIn,
    TaxRuleList,
    TaxRuleOut,
    line_out,
)
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.routing import ApiRouter, TxDep
from demarc.workflows.monthly_billing import Preview, count_run, preview_run, start_run

router = ApiRouter(prefix="/api/billing", tag="invoices")


@router.on("POST", "/runs", permission="billing.write", status=201, also=(200, 202), problem=(404,))
async def create(body: RunIn, tx: TxDep, response: Response) -> RunOut:
    """Bill a month. 201: done; 202: going on, see `remaining`; a dry run is 200 and writes nothing."""
    period = Month.parse(body.period)
    subscription = await get_subscription(tx, body.subscription_id) if body.subscription_id else None
    if body.dry_run:
        response.status_code = 200
        return await _dry_run(tx, period, subscription, body.skip)
    run = await start_run(tx, period, subscription)
    response.status_code = 202 if run.status == RunStatus.RUNNING.value else 201
    return (await _runs_out(tx, [run]))[0]


@router.on("GET", "/runs", permission="billing.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    period: Annotated[str | None, Query(max_length=10, examples=["2025-10"])] = None,
    sort: SortParam = None,
) -> RunList:
    """Runs, the newest first."""
    month_on = Month.parse(period).first_day if period is not None else None
    page = await list_runs(tx, window, sort=sort, month_on=month_on)
    return RunList(runs=await _runs_out(tx, page.rows), **counts(page))


@router.on("GET", "/runs/{run_id}", permission="billing.read", problem=(404,))
async def get(run_id: UUID, tx: TxDep) -> RunOut:
    """One run and its progress."""
    return (await _runs_out(tx, [await get_run(tx, run_id)]))[0]


@router.on("POST", "/tax-rules", permission="billing.write", status=201, problem=(409,))
async def create_tax_rule(body: TaxRuleIn, tx: TxDep) -> TaxRuleOut:
    """Set a tax from a day on."""
    made = await set_tax_rule(tx, name=body.name, rate=body.rate, effective_on=body.effective_on)
    return TaxRuleOut(name=made.name, rate=float(made.rate), effective_on=made.effective_on)


@router.on("GET", "/tax-rules", permission="billing.read")
async def list_taxes(tx: TxDep, window: WindowDep, sort: SortParam = None) -> TaxRuleList:
    """All rules, past and to come; of each name the latest that has begun is in force."""
    page = await list_tax_rules(tx, window, sort=sort)
    rules = [TaxRuleOut(name=r.name, rate=float(r.rate), effective_on=r.effective_on) for r in page.rows]
    return TaxRuleList(tax_rules=rules, **counts(page))


async def _dry_run(tx: Tx, period: Month, subscription: Subscription | None, skip: int) -> RunOut:
    previews = await preview_run(tx, period, subscription, skip=skip)
    count = 1 if subscription else await count_run(tx, period)
    billable = [preview for preview in previews if preview.lines]
    failures = [RunFailure(**preview.failure) for preview in previews if preview.failure]
    return RunOut(
        id=None,
        period=str(period),
        subscription_id=subscription.ref if subscription else None,
        dry_run=True,
        status=RunStatus.COMPLETED,
        subscriptions=count,
        billed=len(billable),
        unchanged=len(previews) - len(billable) - len(failures),
        failed=len(failures),
        remaining=max(count - skip - len(previews), 0),
        total_amount=sum(preview.subtotal_minor + preview.tax_minor for preview in billable),
        failures=failures,
        preview=[_preview_out(preview) for preview in billable],
        created_at=tx.now,
        updated_at=tx.now,
    )


def _preview_out(preview: Preview) -> PreviewOut:
    return PreviewOut(
        subscription_id=preview.subscription.ref,
        currency=preview.subscription.currency,
        amount=preview.subtotal_minor,
        tax_amount=preview.tax_minor,
        total_amount=preview.subtotal_minor + preview.tax_minor,
        line_items=[line_out(line) for line in preview.lines],
    )


async def _runs_out(tx: Tx, rows: list[Run]) -> list[RunOut]:
    refs = await refs_of(tx, {row.subscription_id for row in rows if row.subscription_id is not None})
    return [_run_out(row, refs.get(row.subscription_id or 0)) for row in rows]


def _run_out(row: Run, subscription: str | None) -> RunOut:
    done = row.billed + row.unchanged + row.failed
    running = row.status == RunStatus.RUNNING.value
    return RunOut(
        id=row.uid,
        period=str(Month.of(row.month_on)),
        subscription_id=subscription,
        dry_run=False,
        status=RunStatus(row.status),
        subscriptions=row.subscriptions,
        billed=row.billed,
        unchanged=row.unchanged,
        failed=row.failed,
        remaining=max(row.subscriptions - done, 0) if running else 0,
        total_amount=row.total_minor,
        failures=[RunFailure(**failure) for failure in row.failures],
        preview=None,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
