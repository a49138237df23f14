"""What was agreed changes in a month that a run has billed already: nobody pays too much or too little for it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from demarc.kernel.outbox import Event
from demarc.modules.billing.inputs import Credit, NewCreditNote
from demarc.modules.billing.queries import customer_balance
from demarc.modules.billing.rules import Month
from demarc.modules.billing.service import credit_invoice
from demarc.modules.subscriptions.service import cancel_subscription, change_plan
from demarc.workflows.changed_months import settle_canceled, settle_changed_plan
from demarc.workflows.monthly_billing import bill_subscription

MONTH = Month(2040, 6)  # of 30 days


class June:
    """A subscription of 30.00 a month that was billed for June on the first; what happens on a day of it."""

    def __init__(self, books, subscription):
        self.books = books
        self.subscription = subscription

    async def bill(self):
        async with self.books.tx() as tx:
            tx.now = datetime(2040, 6, 1, 12, tzinfo=UTC)
            return await bill_subscription(tx, self.subscription.id, MONTH)

    async def change_to(self, plan, day):
        now = datetime(2040, 6, day, 12, tzinfo=UTC)
        async with self.books.tx() as tx:
            tx.now = now
            await change_plan(tx, subscription_id=self.subscription.id, plan_id=plan.id)
        return Event(1, "", "subscription", self.subscription.id, {"changed_at": now.isoformat()})

    async def cancel(self, day):
        async with self.books.tx() as tx:
            tx.now = datetime(2040, 6, day, 12, tzinfo=UTC)
            await cancel_subscription(tx, subscription_id=self.subscription.id)
        return Event(1, "", "subscription", self.subscription.id, {})

    async def settle(self, handler, event):
        async with self.books.tx() as tx:
            tx.now = datetime(2040, 6, 30, 12, tzinfo=UTC)
            await handler(tx, event)

    async def owed(self):
        async with self.books.tx() as tx:
            return await customer_balance(tx, self.subscription.customer_id, "USD")


@pytest.fixture
async def june(books, seller):
    sold = await seller("sub_june", monthly=3000)
    async with books.tx() as tx:
        await tx.connection.execute("UPDATE subscription SET started_at = '2030-01-01'")
    return June(books, sold.subscription)


async def test_a_dearer_plan_is_billed_from_its_day_on(june, seller, tx):
    dear = await seller("sub_dear", monthly=6000)
    billed, _ = await june.bill()
    event = await june.change_to(dear.plan, 11)
    await june.settle(settle_changed_plan, event)
    await june.settle(settle_changed_plan, event)  # delivered twice
    assert await june.owed() == 1000 + 4000  # ten days of the one, twenty of the other
    assert await tx.connection.fetchval("SELECT count(*) FROM invoice") == 2
    assert await june.bill() == (billed, False)


async def test_a_cheaper_plan_and_a_cancellation_give_back_what_is_too_much(june, seller, books):
    cheap = await seller("sub_cheap", monthly=1500)
    billed, _ = await june.bill()
    await june.settle(settle_changed_plan, await june.change_to(cheap.plan, 11))
    assert await june.owed() == 1000 + 1000
    event = await june.cancel(20)
    await june.settle(settle_canceled, event)
    await june.settle(settle_canceled, event)
    assert await june.owed() == 1000 + 500
    after = await books.reload(billed)
    assert (after.status, after.credited_minor, after.open_minor) == ("pending", 1500, 1500)


async def test_what_a_person_gave_back_stays_a_gift_and_is_not_given_twice(june, seller, books):
    dear = await seller("sub_dear", monthly=6000)
    billed, _ = await june.bill()
    async with books.tx() as tx:
        gift = NewCreditNote("the line was down", lines=(Credit(1, 2500),))
        await credit_invoice(tx, billed.ref, gift)
    await june.settle(settle_changed_plan, await june.change_to(dear.plan, 11))
    assert await june.owed() == 5000 - 2500
    await june.settle(settle_canceled, await june.cancel(11))
    # Eleven days cost 12.00: the supplement of 20.00 goes, and of the month's own invoice no more than is left of it.
    assert await june.owed() == 0


async def test_a_month_that_is_not_billed_is_left_to_the_run(june, seller, tx):
    dear = await seller("sub_dear", monthly=6000)
    await june.settle(settle_changed_plan, await june.change_to(dear.plan, 11))
    assert await tx.connection.fetchval("SELECT count(*) FROM invoice") == 0
    made, _ = await june.bill()
    assert made.subtotal_minor == 5000


async def test_a_month_that_is_billed_anew_leaves_out_what_a_supplement_bills(june, seller, books):
    dear = await seller("sub_dear", monthly=6000)
    billed, _ = await june.bill()
    await june.settle(settle_changed_plan, await june.change_to(dear.plan, 11))
    await books.void(billed)
    again, is_new = await june.bill()
    assert (is_new, again.subtotal_minor) == (True, 3000)
    assert await june.owed() == 5000
