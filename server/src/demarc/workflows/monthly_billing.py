"""The monthly run: what a subscription costs each month and what was used, on one invoice per subscription and month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from demarc.kernel.clock import local_date
from demarc.kernel.db import Tx
from demarc.kernel.errors import DemarcError, invalid
from demarc.kernel.jobs import Work, defer, job
from demarc.modules.billing.inputs import NewInvoice, NewLine
from demarc.modules.billing.queries import (
    Invoice,
    Run,
    find_month_invoice,
    lock_run,
    rules_in_force,
    today,
)
from demarc.modules.billing.rules import Month, prorated_minor, proration_factor, tax_minor
from demarc.modules.billing.service import (
    advance_run,
    complete_run,
    create_invoice,
    hold_account,
    open_run,
    usage_line,
)
from demarc.modules.billing.states import LineKind, RunStatus
from demarc.modules.catalog.queries import get_plan_by_id, price_on
from demarc.modules.subscriptions.queries import (
    Subscription,
    Term,
    count_billable,
    get_subscription_by_id,
    list_billable,
    list_terms,
)
from demarc.modules.usage.inputs import Span
from demarc.modules.usage.queries import UsageLine, list_lines
from demarc.modules.usage.service import bill_claimed, claim_pending

BATCH = 100
FAILURES_KEPT = 100
PAYMENT_TERMS_DAYS = 14
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


async def bill_subscription(tx: Tx, subscription_id: int, period: Month) -> tuple[Invoice | None, bool]:
    """Bill one subscription for one month; the second value tells whether the invoice is new.

    Usage of the month and what was left unbilled before it goes on the invoice and is marked billed in the same
    transaction. The month again is the invoice that was made first; None: nothing is to be billed.

    Raises:
        NotFound: no such subscription.
        Invalid: the month has not begun.
    """
    check_begun(tx, period)
    subscription = await get_subscription_by_id(tx, subscription_id)
    await hold_account(tx, customer_id=subscription.customer_id, currency=subscription.currency)
    existing = await find_month_invoice(tx, subscription_id, period.first_day)
    if existing is not None:
        return existing, False
    claimed = await claim_pending(tx, subscription_id=subscription_id, span=_until_end(tx, period))
    lines = await _lines(tx, subscription, period, claimed.lines)
    if not lines:
        return None, False
    time_zone = tx.tenant.time_zone
    made = await create_invoice(
        tx,
        NewInvoice(
            customer_id=subscription.customer_id,
            subscription_id=subscription.id,
            currency=subscription.currency,
            lines=lines,
            due_on=today(tx) + _payment_terms(tx),
            period_start=period.starts_at(time_zone),
            period_end=period.ends_at(time_zone),
            month_on=period.first_day,
        ),
    )
    await bill_claimed(tx, claimed, invoice_id=made.id, invoice_ref=made.ref)
    return made, True


@dataclass(frozen=True, slots=True)
class Preview:
    """What a month would bill a subscription, if it were billed now."""

    subscription: Subscription
    lines: tuple[NewLine, ...]
    subtotal_minor: int
    tax_minor: int


async def preview_subscription(tx: Tx, subscription: Subscription, period: Month) -> Preview:
    """What `bill_subscription` would put on the invoice; nothing is written. No lines: billed already, or nothing to bill."""
    lines: tuple[NewLine, ...] = ()
    if await find_month_invoice(tx, subscription.id, period.first_day) is None:
        usage = await list_lines(tx, subscription_id=subscription.id, span=_until_end(tx, period))
        lines = await _lines(tx, subscription, period, usage)
    subtotal = sum(line.amount_minor for line in lines)
    rates = [rule.rate for rule in await rules_in_force(tx, today(tx))]
    return Preview(subscription, lines, subtotal, tax_minor(subtotal, rates, subscription.currency))


async def preview_run(
    tx: Tx, period: Month, subscription: Subscription | None, *, skip: int = 0
) -> list[Preview]:
    """What a run would bill, a hundred subscriptions at a time, in order of subscription."""
    check_begun(tx, period)
    chosen = [subscription] if subscription else await _batch(tx, period, skip=skip)
    return [await preview_subscription(tx, one, period) for one in chosen]


async def start_run(tx: Tx, period: Month, subscription: Subscription | None) -> Run:
    """Bill a month: the first hundred subscriptions at once, the rest as a job.

    Raises:
        Invalid: the month has not begun.
    """
    check_begun(tx, period)
    count = 1 if subscription else await count_run(tx, period)
    run = await open_run(
        tx,
        month_on=period.first_day,
        subscription_id=subscription.id if subscription else None,
        subscriptions=count,
    )
    run = await run_batch(tx, run)
    if run.status == RunStatus.RUNNING.value:
        await defer(tx, continue_run, ContinueRun(run.id), dedupe_key=f"billing.run:{tx.tenant.id}:{run.id}")
    return run


async def run_batch(tx: Tx, run: Run) -> Run:
    """Bill the next batch of a run that the transaction holds; a subscription that fails is noted and left out."""
    period = Month.of(run.month_on)
    if run.subscription_id is not None:
        batch = [await get_subscription_by_id(tx, run.subscription_id)]
    else:
        batch = await _batch(tx, period, after_id=run.after_subscription_id)
    progress: dict[str, Any] = {
        "billed": run.billed,
        "unchanged": run.unchanged,
        "failed": run.failed,
        "failures": list(run.failures),
        "total_minor": run.total_minor,
    }
    for subscription in batch:
        await _bill_one(tx, subscription, period, progress)
    if batch:
        progress["after_subscription_id"] = batch[-1].id
    run = await advance_run(tx, run, **progress)
    if run.subscription_id is not None or len(batch) < BATCH:
        run = await complete_run(tx, run)
    return run


class ContinueRun(msgspec.Struct, frozen=True):
    """Which run to go on with."""

    run_id: int


@job("billing.continue_run", ContinueRun)
async def continue_run(work: Work, payload: ContinueRun) -> None:
    """Batch after batch, each in its own transaction; after a crash it goes on behind the last one."""
    status = RunStatus.RUNNING.value
    while status == RunStatus.RUNNING.value:
        async with work.begin() as tx:
            run = await lock_run(tx, payload.run_id)
            if run.status == RunStatus.RUNNING.value:
                run = await run_batch(tx, run)
            status = run.status


async def count_run(tx: Tx, period: Month) -> int:
    """How many subscriptions a run of the month looks at."""
    return await count_billable(tx, **_bounds(tx, period))


def check_begun(tx: Tx, period: Month) -> None:
    """Raises `Invalid` for a month that has not begun by the tenant's clock."""
    if period.first_day > today(tx):
        raise invalid("period", f"{period} has not begun")


async def _bill_one(tx: Tx, subscription: Subscription, period: Month, progress: dict[str, Any]) -> None:
    try:
        async with tx.connection.transaction():
            made, is_new = await bill_subscription(tx, subscription.id, period)
    except DemarcError as error:
        progress["failed"] += 1
        if len(progress["failures"]) < FAILURES_KEPT:
            progress["failures"].append(
                {"subscription_id": subscription.ref, "code": error.code, "message": error.message}
            )
        return
    if made is not None and is_new:
        progress["billed"] += 1
        progress["total_minor"] += made.total_minor
    else:
        progress["unchanged"] += 1


async def _batch(tx: Tx, period: Month, *, after_id: int = 0, skip: int = 0) -> list[Subscription]:
    return await list_billable(tx, **_bounds(tx, period), after_id=after_id, skip=skip, limit=BATCH)


def _bounds(tx: Tx, period: Month) -> dict[str, datetime]:
    time_zone = tx.tenant.time_zone
    return {"running_at": period.starts_at(time_zone), "started_before": period.ends_at(time_zone)}


def _until_end(tx: Tx, period: Month) -> Span:
    """All time up to the month's end: usage that came late is billed with the next month that is."""
    return Span(_EVER, period.ends_at(tx.tenant.time_zone))


def _payment_terms(tx: Tx) -> timedelta:
    """The tenant's setting `payment_terms_days`."""
    days = tx.tenant.settings.get("payment_terms_days", PAYMENT_TERMS_DAYS)
    return timedelta(days=days if isinstance(days, int) else PAYMENT_TERMS_DAYS)


async def _lines(
    tx: Tx, subscription: Subscription, period: Month, usage: list[UsageLine]
) -> tuple[NewLine, ...]:
    fees = await _fees(tx, subscription, period)
    return (*fees, *(usage_line(line) for line in usage))


async def _fees(tx: Tx, subscription: Subscription, period: Month) -> list[NewLine]:
    """The month's fee by the days that each plan ran, and the activation fee in the first month."""
    canceled_on = _local(tx, subscription.canceled_at) if subscription.canceled_at else None
    terms = await list_terms(tx, subscription)
    fees = []
    for term in terms:
        last_on = canceled_on if term.ended_at is None else _local(tx, term.ended_at) - timedelta(days=1)
        factor = proration_factor(period, _local(tx, term.started_at), last_on)
        if factor and term.monthly_minor:
            plan = await get_plan_by_id(tx, term.plan_id)
            amount = prorated_minor(term.monthly_minor, factor, subscription.currency)
            label = f"{plan.name}, {period}"
            fees.append(NewLine(label, amount, kind=LineKind.RECURRING, quantity=factor, unit="month"))
    return [*fees, *await _activation_fee(tx, terms[0], period)]


async def _activation_fee(tx: Tx, first: Term, period: Month) -> list[NewLine]:
    started_on = _local(tx, first.started_at)
    if Month.of(started_on) != period:
        return []
    price = await price_on(tx, first.plan_id, started_on)
    if not price.activation_minor:
        return []
    plan = await get_plan_by_id(tx, first.plan_id)
    return [NewLine(f"{plan.name}, activation", price.activation_minor, quantity=Decimal(1))]


def _local(tx: Tx, moment: datetime) -> date:
    return local_date(moment, tx.tenant.time_zone)
