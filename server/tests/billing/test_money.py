"""Ledger, payments and credit: whatever happens, the books sum to zero and nobody pays twice."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import date
from decimal import Decimal

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demarc.kernel.errors import Conflict, Invalid
from demarc.kernel.paging import Window
from demarc.modules.billing.inputs import NewInvoice, NewLine, NewPayment
from demarc.modules.billing.queries import (
    account_summary,
    customer_balance,
    lifetime_value,
    list_balances,
    list_ledger_entries,
    list_payments,
    overdue_balance,
)
from demarc.modules.billing.rules import allocate, tax_minor
from demarc.modules.billing.service import create_invoice, mark_overdue, record_payment, set_tax_rule
from demarc.modules.billing.states import INVOICE, RUN, InvoiceStatus, RunStatus


async def check_books(books):
    """What holds after every step: zero sums, the ledger equals the invoices less credit, no credit beside a debt."""
    async with books.tx() as tx:
        assert (
            await tx.connection.fetchval(
                "SELECT count(*) FROM (SELECT transaction_id FROM ledger_entry GROUP BY 1 HAVING sum(amount_minor) <> 0) bad"
            )
            == 0
        )
        balances = await list_balances(tx)
        assert sum(row.balance_minor for row in balances) == 0
        summary = await account_summary(tx, books.sold.customer.id)
        assert summary.balance_minor == summary.open_minor - summary.credit_minor
        assert not (summary.open_minor and summary.credit_minor)
        assert (
            await tx.connection.fetchval(
                """SELECT count(*) FROM invoice i WHERE paid_minor <> (SELECT coalesce(sum(a.amount_minor), 0)
                   FROM payment_allocation a WHERE a.invoice_id = i.id)
                   OR credited_minor <> (SELECT coalesce(sum(c.total_minor), 0) FROM credit_note c WHERE c.invoice_id = i.id)
                   OR (status = 'refunded') <> (credited_minor = total_minor AND total_minor > 0)
                   OR (status = 'paid')
                      <> (paid_minor + credited_minor = total_minor AND status NOT IN ('void', 'refunded'))"""
            )
            == 0
        )
        assert (
            await tx.connection.fetchval(
                """SELECT count(*) FROM payment p WHERE allocated_minor <> (SELECT coalesce(sum(a.amount_minor), 0)
                   FROM payment_allocation a WHERE a.payment_id = p.id)"""
            )
            == 0
        )
        return summary


async def test_an_invoice_debits_the_customer_and_credits_income_and_tax(books):
    async with books.tx() as tx:
        await set_tax_rule(tx, name="sales tax", rate=Decimal("0.08"), effective_on=date(2020, 1, 1))
    made = await books.bill(7999)
    assert (made.subtotal_minor, made.tax_minor, made.total_minor) == (7999, 640, 8639)
    async with books.tx() as tx:
        entries = (await list_ledger_entries(tx, Window(), books.sold.customer.id)).rows
    account = f"receivable:{books.sold.customer.id}"
    assert {entry.account: entry.amount_minor for entry in entries} == {
        account: 8639, "income": -7999, "tax_payable": -640,
    }  # fmt: skip
    assert (await check_books(books)).balance_minor == 8639


async def test_a_full_payment_pays_and_says_so(books, tx):
    made = await books.bill(1000)
    await books.pay(400, invoice=made)
    assert (await books.reload(made)).status == "pending"
    await books.pay(600, invoice=made)
    assert (await books.reload(made)).status == "paid"
    events = await tx.connection.fetch(
        "SELECT name, payload FROM outbox_event WHERE name LIKE 'payment.%' OR name LIKE 'invoice.%' ORDER BY id"
    )
    assert [event["name"] for event in events] == [
        "invoice.generated", "payment.received", "invoice.paid", "payment.received",
    ]  # fmt: skip
    received = events[-1]["payload"]
    assert received["customer_id"] == books.sold.customer.id
    assert received["subscription_ids"] == [books.sold.subscription.id]
    assert await lifetime_value(tx, books.sold.customer.id) == 1000
    await check_books(books)


async def test_the_oldest_due_is_paid_first_and_the_rest_is_credit(books):
    late, early = await books.bill(500, due_in=20), await books.bill(300, due_in=10)
    await books.pay(400)
    assert [(await books.reload(row)).paid_minor for row in (early, late)] == [300, 100]
    await books.pay(1000)
    assert [(await books.reload(row)).status for row in (early, late)] == ["paid", "paid"]
    assert (await check_books(books)).credit_minor == 600
    following = await books.bill(250)
    assert (following.status, following.paid_minor) == ("paid", 250)
    partly = await books.bill(1000)
    assert (partly.status, partly.paid_minor) == ("pending", 350)
    assert (await check_books(books)).balance_minor == 650


async def test_the_invoice_named_comes_first(books):
    first, second = await books.bill(500, due_in=1), await books.bill(300, due_in=2)
    await books.pay(350, invoice=second)
    assert [(await books.reload(row)).paid_minor for row in (first, second)] == [50, 300]
    await check_books(books)


async def test_twenty_payments_of_one_invoice_at_once_pay_it_once(books):
    made = await books.bill(1000)
    await asyncio.gather(*(books.pay(1000, invoice=made, reference=f"p{n}") for n in range(20)))
    assert (await books.reload(made)).paid_minor == 1000
    summary = await check_books(books)
    assert (summary.credit_minor, summary.balance_minor) == (19_000, -19_000)


async def test_the_same_payment_many_times_at_once_is_one(books):
    made = await books.bill(1000)
    payments = await asyncio.gather(*(books.pay(600, invoice=made, reference="once") for _ in range(10)))
    assert len({payment.id for payment in payments}) == 1
    assert (await check_books(books)).balance_minor == 400


async def test_a_reference_says_one_thing(books):
    made = await books.bill(1000)
    await books.pay(600, reference="r1")
    for wrong in ({"amount": 601}, {"amount": 600, "invoice": made}):
        with pytest.raises(Conflict) as refused:
            await books.pay(**wrong, reference="r1")
        assert refused.value.code == "PAYMENT_DIFFERS"
    await books.pay(600, reference="r1", method="cash")
    assert (await check_books(books)).credit_minor == 200


async def test_paying_while_the_sweep_marks_overdue(books):
    """The two meet on one invoice from both sides; neither fails and it ends paid."""
    for number in range(5):
        made = await books.bill(100, due_in=-1, ref=f"late{number}")

        async def sweep():
            async with books.tx() as tx:
                return await mark_overdue(tx)

        await asyncio.gather(sweep(), books.pay(100, invoice=made), sweep())
        assert (await books.reload(made)).status == "paid"
    await check_books(books)


async def test_parallel_invoices_have_numbers_without_gaps(books):
    made = await asyncio.gather(*(books.bill(10) for _ in range(15)), return_exceptions=True)
    async with books.tx() as tx:
        with pytest.raises(Invalid):
            await create_invoice(
                tx,
                NewInvoice(
                    customer_id=books.sold.customer.id + 1, subscription_id=books.sold.subscription.id,
                    lines=(NewLine("x", 1),), due_on=date(2030, 1, 1),
                ),
            )  # fmt: skip
    made.append(await books.bill(10))
    year = made[0].issued_on.year
    assert sorted(row.number for row in made) == [f"INV-{year}-{n:06}" for n in range(1, 17)]


async def test_a_rolled_back_invoice_leaves_no_gap(books):
    new = NewInvoice(customer_id=books.sold.customer.id, lines=(NewLine("x", 1),), due_on=date(2030, 1, 1))

    async def change_of_mind():
        async with books.tx() as tx:
            await create_invoice(tx, new)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await change_of_mind()
    assert (await books.bill(1)).number.endswith("-000001")


async def test_voiding_reverses_and_frees_the_money(books):
    first, second = await books.bill(1000, due_in=1), await books.bill(400, due_in=2)
    await books.pay(700, invoice=first)
    voided = await books.void(first)
    assert (voided.status, voided.paid_minor) == ("void", 0)
    assert (await books.reload(second)).status == "paid"
    summary = await check_books(books)
    assert (summary.open_minor, summary.credit_minor) == (0, 300)
    with pytest.raises(Conflict) as refused:
        await books.void(second)
    assert refused.value.code == "ILLEGAL_STATE_CHANGE"
    with pytest.raises(Conflict):
        await books.pay(1, invoice=first)


async def test_overdue_is_by_the_tenants_calendar(books, tx):
    made = await books.bill(1000, due_in=3)
    await books.pay(100, invoice=made)
    subscription = books.sold.subscription.id
    async with books.tx() as later:
        assert (await mark_overdue(later), await overdue_balance(later, subscription)) == (0, 0)
    await books.advance(days=4)
    async with books.tx() as later:
        assert await overdue_balance(later, subscription) == 900  # before the sweep has run
        assert await mark_overdue(later) == 1
        assert await mark_overdue(later) == 0
    assert (await books.reload(made)).status == "overdue"
    history = await tx.connection.fetch(
        "SELECT to_status FROM status_change WHERE entity = 'invoice' AND entity_id = $1 ORDER BY id", made.id
    )
    assert [row["to_status"] for row in history] == ["pending", "overdue"]
    assert (
        await tx.connection.fetchval("SELECT count(*) FROM outbox_event WHERE name = 'invoice.overdue'") == 1
    )
    await books.pay(900)
    async with books.tx() as later:
        assert await overdue_balance(later, subscription) == 0
    assert (await books.reload(made)).status == "paid"


async def test_two_sweeps_at_once_mark_each_invoice_once(books, tx):
    for _ in range(10):
        await books.bill(100, due_in=-1)

    async def sweep():
        async with books.tx() as own:
            return await mark_overdue(own)

    assert sum(await asyncio.gather(sweep(), sweep(), sweep())) == 10
    assert (
        await tx.connection.fetchval("SELECT count(*) FROM outbox_event WHERE name = 'invoice.overdue'") == 10
    )


async def test_another_currency_has_books_of_its_own(books):
    async with books.tx() as tx:
        await create_invoice(
            tx,
            NewInvoice(
                customer_id=books.sold.customer.id,
                lines=(NewLine("x", 500),),
                due_on=date(2030, 1, 1),
                currency="JPY",
            ),
        )
    await books.pay(300)
    async with books.tx() as tx:
        assert await customer_balance(tx, books.sold.customer.id, "JPY") == 500
        assert await customer_balance(tx, books.sold.customer.id) == -300
        sums = {}
        for row in await list_balances(tx):
            sums[row.currency] = sums.get(row.currency, 0) + row.balance_minor
        assert sums == {"JPY": 0, "USD": 0}


async def test_the_ledger_refuses_what_does_not_sum_to_zero_and_is_never_changed(books):
    await books.bill(100)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        async with books.tx() as tx:
            await tx.connection.execute(
                "INSERT INTO ledger_entry (tenant_id, transaction_id, account_id, amount_minor) "
                "SELECT tenant_id, transaction_id, account_id, 1 FROM ledger_entry LIMIT 1"
            )
    for statement in ("UPDATE ledger_entry SET amount_minor = 1", "DELETE FROM ledger_transaction"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with books.tx() as tx:
                await tx.connection.execute(statement)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("bill"), st.integers(0, 5000), st.integers(-5, 30)),
        st.tuples(st.just("pay"), st.integers(1, 6000), st.none() | st.integers(0, 9)),
        st.tuples(st.just("void"), st.integers(0, 9)),
        st.tuples(st.just("credit"), st.integers(0, 9), st.none() | st.integers(1, 3000)),
        st.tuples(st.just("reverse"), st.integers(0, 9)),
        st.tuples(st.just("refund"), st.integers(0, 9), st.none() | st.integers(1, 3000)),
        st.tuples(st.just("sweep")),
    ),
    min_size=4,
    max_size=14,
)


async def unless_refused(action):
    """A refusal is an answer, too: what it must not do is change the books."""
    with suppress(Conflict):
        await action


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(STEPS)
async def test_whatever_happens_the_books_are_right(books, steps):
    issued, paid = [], []
    for step in steps:
        match step:
            case ("bill", amount, due_in):
                issued.append(await books.bill(amount, due_in=due_in))
            case ("pay", amount, which):
                named = issued[which] if which is not None and which < len(issued) else None
                if named is not None and (await books.reload(named)).status == "void":
                    named = None
                paid.append(await books.pay(amount, invoice=named))
            case ("credit", which, amount) if which < len(issued):
                await unless_refused(books.credit(issued[which], amount))
            case ("reverse", which) if which < len(paid):
                await unless_refused(books.reverse(paid[which]))
            case ("refund", which, amount) if which < len(paid):
                await unless_refused(books.refund(paid[which], amount))
            case ("void", which):
                if which < len(issued):
                    await unless_refused(books.void(issued[which]))
            case _:
                async with books.tx() as tx:
                    await mark_overdue(tx)
    await check_books(books)


@given(st.lists(st.integers(1, 1000), max_size=6), st.lists(st.integers(1, 1000), max_size=6))
def test_allocation_uses_up_one_side_in_order(credits_, debts):
    shares = allocate(list(enumerate(credits_)), list(enumerate(debts)))
    total = sum(share.amount_minor for share in shares)
    assert total == min(sum(credits_), sum(debts))
    assert all(share.amount_minor > 0 for share in shares)
    for index, debt in enumerate(debts):
        got = sum(share.amount_minor for share in shares if share.invoice_id == index)
        before = sum(debts[:index])
        assert got == max(min(debt, total - before), 0)
    for index, credit in enumerate(credits_):
        assert sum(share.amount_minor for share in shares if share.payment_id == index) <= credit
    assert len({(share.payment_id, share.invoice_id) for share in shares}) == len(shares)


@given(st.integers(0, 10**12), st.decimals(0, Decimal("0.999999"), places=6))
def test_tax_is_rounded_half_up_once(subtotal, rate):
    exact = subtotal * rate
    assert abs(tax_minor(subtotal, [rate], "USD") - exact) <= Decimal("0.5")
    assert tax_minor(7999, [Decimal("0.08")], "USD") == 640
    assert tax_minor(50, [Decimal("0.05"), Decimal("0.05")], "USD") == 5


@pytest.mark.parametrize(("machine", "states"), [(INVOICE, InvoiceStatus), (RUN, RunStatus)])
def test_the_whole_tables_of_states(machine, states):
    assert set(machine.moves) == set(states)
    for current in states:
        for target in states:
            if target in machine.moves[current]:
                machine.check(current, target)
                continue
            with pytest.raises(Conflict) as refused:
                machine.check(current, target)
            assert current.value in refused.value.message
            assert target.value in refused.value.message


@pytest.mark.parametrize(
    "bad",
    [
        lambda: NewPayment(1, 0, "card"),
        lambda: NewPayment(1, 10**16, "card"),
        lambda: NewPayment(1, 1, " "),
        lambda: NewPayment(1, 1, "card", reference=""),
        lambda: NewPayment(1, 1, "card", currency="XXZ"),
        lambda: NewLine("", 1),
        lambda: NewLine("x", -1),
        lambda: NewLine("x", 1, quantity=Decimal(10**12)),
        lambda: NewInvoice(1, (), date(2030, 1, 1)),
        lambda: NewInvoice(1, (NewLine("x", 1),), date(2030, 1, 1), ref="a b"),
        lambda: NewInvoice(1, (NewLine("x", 1),), date(2030, 1, 1), ref="x" * 51),
    ],
)
def test_bad_inputs_cannot_exist(bad):
    with pytest.raises(Invalid):
        bad()


async def test_payments_are_found_by_what_they_paid(books):
    made = await books.bill(100)
    await books.pay(60, invoice=made)
    await books.pay(5, method="cash")
    async with books.tx() as tx:
        assert (await list_payments(tx, Window(), invoice_id=made.id)).total == 2
        assert (await list_payments(tx, Window(), method="cash")).total == 1


async def test_record_payment_refuses_another_customers_invoice(books, seller):
    other = await seller("sub_other")
    made = await books.bill(100)
    async with books.tx() as tx:
        with pytest.raises(Invalid):
            await record_payment(tx, NewPayment(other.customer.id, 100, "card", invoice_id=made.id))
