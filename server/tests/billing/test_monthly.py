"""The monthly run: proration, idempotence, batches, crashes; octets sent are octets billed."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarc.kernel.errors import Invalid
from demarc.modules.billing.inputs import NewInvoice, NewLine
from demarc.modules.billing.queries import list_invoice_lines
from demarc.modules.billing.rules import Month, days_overdue, prorated_minor, proration_factor
from demarc.modules.billing.service import create_invoice, hold_account
from demarc.modules.subscriptions.queries import get_subscription_by_id
from demarc.modules.subscriptions.service import change_plan
from demarc.modules.usage.metering import raise_usage
from demarc.modules.usage.rules import GB_OCTETS
from demarc.workflows import monthly_billing
from demarc.workflows.monthly_billing import ContinueRun, bill_subscription, continue_run, start_run

from ..usage.shop import ALPHA  # noqa: TID252 - the tests' own shop


async def started(books, day, canceled=None):
    async with books.tx() as tx:
        await tx.connection.execute(
            "UPDATE subscription SET started_at = $1, canceled_at = $2", day, canceled
        )


async def lines_of(books, invoice):
    async with books.tx() as tx:
        return (await list_invoice_lines(tx, [invoice.id]))[invoice.id]


async def bill(books, month):
    async with books.tx() as tx:
        return await bill_subscription(tx, books.sold.subscription.id, Month.parse(month))


async def test_the_first_month_is_prorated_and_the_next_is_whole(books):
    await started(books, datetime(2025, 10, 11, 9, tzinfo=UTC))
    assert await bill(books, "2025-09") == (None, False)
    october, is_new = await bill(books, "2025-10")
    assert is_new
    [line] = await lines_of(books, october)
    assert (line.quantity, line.amount_minor) == (Decimal("0.677400"), 3386)  # 21 of 31 days of 49.99
    november, _ = await bill(books, "2025-11")
    assert november.subtotal_minor == 4999
    assert (november.month_on, november.period_start) == (
        date(2025, 11, 1),
        datetime(2025, 11, 1, tzinfo=UTC),
    )


async def test_a_month_is_billed_once_whoever_asks(books):
    await started(books, datetime(2025, 10, 1, tzinfo=UTC))
    made = await asyncio.gather(*(bill(books, "2025-10") for _ in range(6)))
    assert sum(is_new for _, is_new in made) == 1
    assert len({invoice.id for invoice, _ in made}) == 1


async def test_a_month_with_two_plans_is_billed_in_two_parts(books, seller):
    """The old plan to the day before the change, the new one from it on; of two changes on a day the last counts."""
    await started(books, datetime(2025, 10, 1, tzinfo=UTC))
    others = [await seller(ref, monthly=price) for ref, price in (("sub_b", 12345), ("sub_c", 9999))]
    async with books.tx() as tx:
        month = Month.of(tx.now.date()).next()
        the_11th = datetime(month.year, month.month, 11, 12, tzinfo=UTC)
        away = the_11th - tx.now
    await books.advance(seconds=away.total_seconds())
    async with books.tx() as tx:
        for other in others:
            await change_plan(
                tx, subscription_id=books.sold.subscription.id, plan_id=other.subscription.plan_id
            )
    made, _ = await bill(books, str(month))
    lines = await lines_of(books, made)
    old = (Decimal(10) / month.days).quantize(Decimal("0.0001"), ROUND_HALF_UP)
    new = (Decimal(month.days - 10) / month.days).quantize(Decimal("0.0001"), ROUND_HALF_UP)
    expected = [
        int((old * 4999).quantize(Decimal(1), ROUND_HALF_UP)),
        int((new * 9999).quantize(Decimal(1), ROUND_HALF_UP)),
    ]
    assert [(line.quantity, line.amount_minor) for line in lines] == [(old, expected[0]), (new, expected[1])]
    await books.advance(days=31)
    whole, _ = await bill(books, str(month.next()))
    assert whole.subtotal_minor == 9999


async def test_a_canceled_subscription_pays_to_its_last_day(books):
    await started(books, datetime(2025, 10, 1, tzinfo=UTC), datetime(2025, 11, 15, 12, tzinfo=UTC))
    november, _ = await bill(books, "2025-11")
    assert november.subtotal_minor == 2500  # half of 49.99, half up
    assert await bill(books, "2025-12") == (None, False)


async def test_a_month_that_has_not_begun_is_refused(books):
    with pytest.raises(Invalid):
        await bill(books, "2999-01")


async def test_the_activation_fee_is_charged_in_the_first_month(books, seller):
    fresh = await seller("sub_fresh", activation=2500, monthly=0)
    async with books.tx() as tx:
        subscription = await get_subscription_by_id(tx, fresh.subscription.id)
        invoice, _ = await bill_subscription(tx, subscription.id, Month.of(subscription.started_at.date()))
        assert invoice.subtotal_minor == 2500


async def meter(ingest, sold, session, at, octets):
    async with ingest.transaction():
        await ingest.execute("TRUNCATE accounting_delta")
        await ingest.execute(
            "INSERT INTO accounting_delta VALUES ($1, $2, 7, $3, $4, $5, 0)",
            ALPHA, session, sold.service.id, at, octets,
        )  # fmt: skip
        await raise_usage(ingest)


async def test_octets_metered_are_octets_billed(books, scratch):
    """Over a month boundary, with late octets after the bill: every octet is on exactly one invoice."""
    await started(books, datetime(2025, 10, 1, tzinfo=UTC))
    ingest = await asyncpg.connect(scratch.dsn("demarc_ingest"))
    await ingest.execute(
        "CREATE TEMP TABLE accounting_delta (tenant_id int, session_id uuid, subscriber_id bigint, service_id bigint, "
        "event_at timestamptz, input_octets bigint, output_octets bigint)"
    )
    sessions = [uuid.uuid4() for _ in range(4)]
    sent = [GB_OCTETS // 3 + n for n in range(4)]
    for session, octets in zip(sessions, sent, strict=True):
        await meter(ingest, books.sold, session, datetime(2025, 10, 31, 23, tzinfo=UTC), octets)
        await meter(ingest, books.sold, session, datetime(2025, 11, 1, 1, tzinfo=UTC), 5 * octets)
    october, _ = await bill(books, "2025-10")
    [fee, usage] = await lines_of(books, october)
    assert (fee.kind, usage.octets) == ("recurring", sum(sent))
    assert usage.amount_minor == 7  # 4/3 GB at 0.05 is 6.67 cents, four records of 1.67 each rounded once
    await meter(ingest, books.sold, sessions[0], datetime(2025, 10, 31, 23, 30, tzinfo=UTC), 11)
    november, _ = await bill(books, "2025-11")
    assert {line.description: line.octets for line in await lines_of(books, november) if line.octets} == {
        "bandwidth_gb, 2025-10": 11,
        "bandwidth_gb, 2025-11": 5 * sum(sent),
    }
    assert await bill(books, "2025-11") == (november, False)
    await ingest.close()


async def test_a_run_goes_on_batch_by_batch_after_a_crash(books, seller, monkeypatch, tx):
    monkeypatch.setattr(monthly_billing, "BATCH", 2)
    monkeypatch.setattr(monthly_billing, "AT_ONCE", 2)
    for number in range(4):
        await seller(f"sub_{number}")
    async with books.tx() as own:
        run = await start_run(own, Month.of(own.now.date()), None)
    assert (run.status, run.billed, run.subscriptions) == ("running", 0, 5)
    queued = await tx.connection.fetchval(
        "SELECT count(*) FROM pgqueuer WHERE entrypoint = 'billing.continue_run'"
    )
    assert queued == 1

    class Killed(BaseException):
        pass

    class DyingDatabase:
        """The process dies when the fifth transaction begins: in the middle of the second batch."""

        def __init__(self):
            self.begun = 0

        def begin(self, *args, **kwargs):
            self.begun += 1
            if self.begun > 4:
                raise Killed
            return books.database.begin(*args, **kwargs)

    work = books.work()
    dying = type(work)(DyingDatabase(), *(getattr(work, name) for name in work.__slots__[1:]))
    with pytest.raises(Killed):
        await continue_run.handler(dying, ContinueRun(run.id))
    assert await tx.connection.fetchval("SELECT billed FROM billing_run WHERE id = $1", run.id) == 2
    await continue_run.handler(work, ContinueRun(run.id))
    await continue_run.handler(work, ContinueRun(run.id))  # delivered twice
    stored = await tx.connection.fetchrow("SELECT * FROM billing_run WHERE id = $1", run.id)
    assert (stored["status"], stored["billed"], stored["failed"]) == ("completed", 5, 0)
    assert await tx.connection.fetchval("SELECT count(*) FROM invoice") == 5


async def test_a_run_and_invoices_by_hand_do_not_wait_for_each_other_in_a_circle(
    books, seller, monkeypatch, tx
):
    """An invoice holds its customer's account, then the counter of numbers; a run never comes from the other side."""
    monkeypatch.setattr(monthly_billing, "AT_ONCE", 0)
    sold = [await seller(f"sub_{number}") for number in range(3)]
    async with books.tx() as own:
        run = await start_run(own, Month.of(own.now.date()), None)
    async with books.tx() as by_hand:
        await hold_account(by_hand, customer_id=sold[-1].customer.id, currency="USD")
        going = asyncio.create_task(continue_run.handler(books.work(), ContinueRun(run.id)))
        async with asyncio.timeout(30):
            while await tx.connection.fetchval("SELECT count(*) FROM invoice") < 3:
                await asyncio.sleep(0.02)
        new = NewInvoice(sold[-1].customer.id, (NewLine("By hand", 1),), by_hand.now.date())
        async with asyncio.timeout(30):
            made = await create_invoice(by_hand, new)
    await going
    stored = await tx.connection.fetchrow("SELECT * FROM billing_run WHERE id = $1", run.id)
    assert (stored["status"], stored["billed"], stored["failed"]) == ("completed", 4, 0)
    assert made.number.endswith("-000004")


async def test_usage_that_comes_after_a_subscription_ended_is_billed(books, admin):
    """By the next run, though nothing of the subscription ran in its month."""
    ref = books.sold.subscription.ref
    async with books.tx() as tx:
        await tx.connection.execute(
            "UPDATE subscription SET status = 'canceled', started_at = '2025-09-01', canceled_at = '2025-10-20'"
        )
    assert (await bill(books, "2025-10"))[1]
    late = books.sold.usage(quantity=40, unit_price=0.05)
    assert (await admin.post("/api/billing/usage/records", late)).status_code == 201
    dry = (await admin.post("/api/billing/runs", {"period": "2025-11", "dry_run": True})).json()
    assert [(one["subscription_id"], one["amount"]) for one in dry["preview"]] == [(ref, 200)]
    run = (await admin.post("/api/billing/runs", {"period": "2025-11"})).json()
    assert (run["status"], run["subscriptions"], run["billed"], run["total_amount"]) == (
        "completed", 1, 1, 200,
    )  # fmt: skip
    again = (await admin.post("/api/billing/runs", {"period": "2025-12"})).json()
    assert (again["subscriptions"], again["billed"]) == (0, 0)


async def test_one_that_cannot_be_billed_does_not_stop_the_others(books, seller, monkeypatch):
    from demarc.kernel.errors import Conflict

    await seller("sub_good")
    real = monthly_billing.bill_subscription

    async def failing(tx, subscription_id, period):
        made = await real(tx, subscription_id, period)
        if subscription_id == books.sold.subscription.id:
            raise Conflict("cannot be billed", code="BROKEN")
        return made

    monkeypatch.setattr(monthly_billing, "bill_subscription", failing)
    async with books.tx() as tx:
        run = await start_run(tx, Month.of(tx.now.date()), None)
        assert (run.billed, run.failed) == (1, 1)
        assert run.failures == [
            {"subscription_id": "sub_abc123", "code": "BROKEN", "message": "cannot be billed"}
        ]
        assert await tx.connection.fetchval("SELECT count(*) FROM invoice") == 1
        assert await tx.connection.fetchval("SELECT last FROM document_number") == 1


async def test_an_error_that_nobody_foresaw_does_not_hold_up_the_others_either(
    books, seller, monkeypatch, tx
):
    monkeypatch.setattr(monthly_billing, "AT_ONCE", 0)
    await seller("sub_good")
    real = monthly_billing.bill_subscription

    async def broken(tx, subscription_id, period):
        if subscription_id == books.sold.subscription.id:
            await tx.connection.execute("SELECT 1 / 0")
        return await real(tx, subscription_id, period)

    monkeypatch.setattr(monthly_billing, "bill_subscription", broken)
    async with books.tx() as own:
        run = await start_run(own, Month.of(own.now.date()), None)
    await continue_run.handler(books.work(), ContinueRun(run.id))
    stored = await tx.connection.fetchrow("SELECT * FROM billing_run WHERE id = $1", run.id)
    assert (stored["status"], stored["billed"], stored["failed"]) == ("completed", 1, 1)
    assert [failure["code"] for failure in stored["failures"]] == ["INTERNAL_ERROR"]


months = st.builds(Month, st.integers(1970, 2100), st.integers(1, 12))
days = st.dates(date(1970, 1, 1), date(2100, 12, 31))


@given(months, days, st.none() | days)
def test_proration_is_a_share_of_the_months_days(month, start, end):
    factor = proration_factor(month, start, end)
    assert 0 <= factor <= 1
    assert -factor.as_tuple().exponent <= 4
    if start <= month.first_day and (end is None or end >= month.last_day):
        assert factor == 1
    if start > month.last_day or (end is not None and end < month.first_day):
        assert factor == 0


@given(months, st.integers(1, 27), st.integers(0, 10**9))
def test_two_parts_of_a_month_cost_the_month_to_within_their_rounding(month, day, price):
    first = proration_factor(month, month.first_day, date(month.year, month.month, day))
    second = proration_factor(month, date(month.year, month.month, day + 1), None)
    assert abs(first + second - 1) <= Decimal("0.0001")
    parts = prorated_minor(price, first, "USD") + prorated_minor(price, second, "USD")
    assert abs(parts - price) <= price * Decimal("0.0001") + 1


@given(months)
def test_months_parse_what_they_print_and_meet_at_midnight(month):
    assert Month.parse(str(month)) == month
    assert month.ends_at("Europe/Berlin") == month.next().starts_at("Europe/Berlin")


def test_days_overdue_count_from_the_later_of_due_and_issue():
    assert days_overdue(date(2025, 10, 20), date(2025, 10, 15), date(2025, 10, 1)) == 5
    assert days_overdue(date(2025, 10, 20), date(2025, 10, 1), date(2025, 10, 18)) == 2
    assert days_overdue(date(2025, 10, 20), date(2025, 11, 1), date(2025, 10, 1)) == 0
