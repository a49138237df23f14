"""The monthly run: what a subscription costs each month and what was used, on one invoice per subscription and month.

A run holds one customer's account at a time, each subscription in a transaction of its own, so that it stands in nobody's way: an
invoice by hand holds the account first and then the counter of numbers, which a run of many in one transaction would hold first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import stamina

from demarc.kernel.clock import local_date
from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, DemarcError, invalid
from demarc.kernel.jobs import Work, defer, job
from demarc.kernel.logs import logger
from demarc.modules.billing.inputs import NewInvoice, NewLine
from demarc.modules.billing.queries import (
    Invoice,
    Run,
    find_month_invoice,
    list_billed_fees,
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
    count_billable,
    get_subscription_by_id,
    list_billable,
    list_terms,
)
from demarc.modules.usage.inputs import Span
from demarc.modules.usage.queries import UsageLine, list_left_over, list_lines
from demarc.modules.usage.service import bill_claimed, claim_pending

_LOG = logger(__name__)
BATCH = 100
AT_ONCE = 10
"""So many subscriptions are billed within the request that starts a run; more are a job's."""
TRIES = 5
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
    owner = await get_subscription_by_id(tx, subscription_id)
    await hold_account(tx, customer_id=owner.customer_id, currency=owner.currency)
    subscription = await get_subscription_by_id(tx, subscription_id)  # as it is now that nobody else bills it
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
            due_on=today(tx) + payment_terms(tx),
            period_start=period.starts_at(time_zone),
            period_end=period.ends_at(time_zone),
            month_on=period.first_day,
        ),
    )
    await bill_claimed(tx, claimed, invoice_id=made.id, invoice_ref=made.ref)
    return made, True


@dataclass(frozen=True, slots=True)
class Preview:
    """What a month would bill a subscription, if it were billed now; `failure`: why it cannot be."""

    subscription: Subscription
    lines: tuple[NewLine, ...]
    subtotal_minor: int
    tax_minor: int
    failure: dict[str, str] | None = None


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
    return [await _preview_or_failure(tx, one, period) for one in chosen]


async def _preview_or_failure(tx: Tx, subscription: Subscription, period: Month) -> Preview:
    try:
        return await preview_subscription(tx, subscription, period)
    except DemarcError as error:
        return Preview(subscription, (), 0, 0, _told(subscription, error))


async def start_run(tx: Tx, period: Month, subscription: Subscription | None) -> Run:
    """Bill a month: a few subscriptions at once, many as a job.

    Raises:
        Invalid: the month has not begun.
    """
    check_begun(tx, period)
    chosen = [subscription] if subscription else await _batch(tx, period)
    count = 1 if subscription else await count_run(tx, period)
    run = await open_run(
        tx,
        month_on=period.first_day,
        subscription_id=subscription.id if subscription else None,
        subscriptions=count,
    )
    if count > AT_ONCE:
        await defer(tx, continue_run, ContinueRun(run.id), dedupe_key=f"billing.run:{tx.tenant.id}:{run.id}")
        return run
    for owner in sorted({(one.customer_id, one.currency) for one in chosen}):
        await hold_account(tx, customer_id=owner[0], currency=owner[1])
    for one in chosen:
        run = await _bill_next(tx, run, one)
    return await complete_run(tx, run)


class ContinueRun(msgspec.Struct, frozen=True):
    """Which run to go on with."""

    run_id: int


@job("billing.continue_run", ContinueRun)
async def continue_run(work: Work, payload: ContinueRun) -> None:
    """Subscription after subscription, each in its own transaction; after a crash it goes on behind the last one."""
    batch = await _next_batch(work, payload.run_id)
    while batch:
        for subscription in batch:
            await _bill_in_turn(work, payload.run_id, subscription)
        batch = await _next_batch(work, payload.run_id)


async def _next_batch(work: Work, run_id: int) -> list[Subscription]:
    """What the run has still to look at, the next hundred; when that is nothing it is complete."""
    async with work.begin() as tx:
        run = await lock_run(tx, run_id)
        if run.status != RunStatus.RUNNING.value:
            return []
        batch = await _batch(tx, Month.of(run.month_on), after_id=run.after_subscription_id)
        if not batch:
            await complete_run(tx, run)
        return batch


async def _bill_in_turn(work: Work, run_id: int, subscription: Subscription) -> None:
    try:
        await _bill_unless_done(work, run_id, subscription)
    except DemarcError:
        raise  # the database is away, or somebody else was faster too often: the job is run again
    except Exception as error:  # noqa: BLE001 - a job's edge: one subscription must not hold up the others
        _LOG.error("a billing run left a subscription out", subscription=subscription.ref, exc_info=error)
        async with work.begin() as tx:
            await _note_unforeseen(tx, await lock_run(tx, run_id), subscription)


async def _note_unforeseen(tx: Tx, run: Run, subscription: Subscription) -> None:
    unforeseen = DemarcError(
        "an error that nobody foresaw; the log of the worker has it", code="INTERNAL_ERROR"
    )
    if run.after_subscription_id < subscription.id:
        failures = _failures(run, subscription, unforeseen)
        await advance_run(
            tx, run, after_subscription_id=subscription.id, failed=run.failed + 1, failures=failures
        )


async def _bill_unless_done(work: Work, run_id: int, subscription: Subscription) -> None:
    """Unless another worker has; once more when somebody changed the same rows at the same time."""
    async for attempt in stamina.retry_context(on=_is_outrun, attempts=TRIES, timeout=None):
        with attempt:
            async with work.begin() as tx:
                run = await lock_run(tx, run_id)
                if run.after_subscription_id < subscription.id:
                    await _bill_next(tx, run, subscription)


def _is_outrun(error: Exception) -> bool:
    return isinstance(error, Conflict) and error.code == "CONCURRENT_CHANGE"


async def count_run(tx: Tx, period: Month) -> int:
    """How many subscriptions a run of the month looks at."""
    return await count_billable(tx, **await _bounds(tx, period))


def check_begun(tx: Tx, period: Month) -> None:
    """Raises `Invalid` for a month that has not begun by the tenant's clock."""
    if period.first_day > today(tx):
        raise invalid("period", f"{period} has not begun")


async def _bill_next(tx: Tx, run: Run, subscription: Subscription) -> Run:
    """Bill a run's next subscription; one that fails is noted and left out."""
    period = Month.of(run.month_on)
    try:
        async with tx.connection.transaction():
            made, is_new = await bill_subscription(tx, subscription.id, period)
    except DemarcError as error:
        progress = {"failed": run.failed + 1, "failures": _failures(run, subscription, error)}
    else:
        progress = _billed(run, made) if made is not None and is_new else {"unchanged": run.unchanged + 1}
    return await advance_run(tx, run, after_subscription_id=subscription.id, **progress)


def _billed(run: Run, made: Invoice) -> dict[str, Any]:
    return {"billed": run.billed + 1, "total_minor": run.total_minor + made.total_minor}


def _failures(run: Run, subscription: Subscription, error: DemarcError) -> list[Any]:
    """The first hundred."""
    return [*run.failures, _told(subscription, error)][:FAILURES_KEPT]


def _told(subscription: Subscription, error: DemarcError) -> dict[str, str]:
    return {"subscription_id": subscription.ref, "code": error.code, "message": error.message}


async def _batch(tx: Tx, period: Month, *, after_id: int = 0, skip: int = 0) -> list[Subscription]:
    return await list_billable(tx, **await _bounds(tx, period), after_id=after_id, skip=skip, limit=BATCH)


async def _bounds(tx: Tx, period: Month) -> dict[str, Any]:
    """The month, and who ended before it and has usage that came too late for his last invoice."""
    starts_at, ends_at = period.starts_at(tx.tenant.time_zone), period.ends_at(tx.tenant.time_zone)
    left_over = await list_left_over(tx, canceled_before=starts_at, started_before=ends_at)
    return {"running_at": starts_at, "started_before": ends_at, "left_over": left_over}


def _until_end(tx: Tx, period: Month) -> Span:
    """All time up to the month's end: usage that came late is billed with the next month that is."""
    return Span(_EVER, period.ends_at(tx.tenant.time_zone))


def payment_terms(tx: Tx) -> timedelta:
    """The tenant's setting `payment_terms_days`."""
    days = tx.tenant.settings.get("payment_terms_days", PAYMENT_TERMS_DAYS)
    return timedelta(days=days if isinstance(days, int) else PAYMENT_TERMS_DAYS)


async def _lines(
    tx: Tx, subscription: Subscription, period: Month, usage: list[UsageLine]
) -> tuple[NewLine, ...]:
    billed = await list_billed_fees(
        tx, subscription_id=subscription.id, period_start=period.starts_at(tx.tenant.time_zone)
    )
    fees = less(await month_fees(tx, subscription, period), sum(fee.charged_minor for fee in billed))
    activation = await _activation_fee(tx, subscription, period)
    return (*fees, *activation, *(usage_line(line) for line in usage))


def less(fees: list[NewLine], billed_minor: int) -> list[NewLine]:
    """What is left of fees of which so much is billed already, the last of them first."""
    left = []
    for fee in reversed(fees):
        amount = max(fee.amount_minor - billed_minor, 0)
        billed_minor -= fee.amount_minor - amount
        if amount:
            left.append(replace(fee, amount_minor=amount))
    return left[::-1]


async def month_fees(tx: Tx, subscription: Subscription, period: Month) -> list[NewLine]:
    """The month's fee by the days that each plan ran."""
    canceled_on = _local(tx, subscription.canceled_at) if subscription.canceled_at else None
    fees = []
    for term in await list_terms(tx, subscription):
        last_on = canceled_on if term.ended_at is None else _local(tx, term.ended_at) - timedelta(days=1)
        factor = proration_factor(period, _local(tx, term.started_at), last_on)
        if factor and term.monthly_minor:
            plan = await get_plan_by_id(tx, term.plan_id)
            amount = prorated_minor(term.monthly_minor, factor, subscription.currency)
            label = f"{plan.name}, {period}"
            fees.append(NewLine(label, amount, kind=LineKind.RECURRING, quantity=factor, unit="month"))
    return fees


async def _activation_fee(tx: Tx, subscription: Subscription, period: Month) -> list[NewLine]:
    """In the first month."""
    started_on = _local(tx, subscription.started_at)
    if Month.of(started_on) != period:
        return []
    first = (await list_terms(tx, subscription))[0]
    price = await price_on(tx, first.plan_id, started_on)
    if not price.activation_minor:
        return []
    plan = await get_plan_by_id(tx, first.plan_id)
    return [NewLine(f"{plan.name}, activation", price.activation_minor, quantity=Decimal(1))]


def _local(tx: Tx, moment: datetime) -> date:
    return local_date(moment, tx.tenant.time_zone)
