"""Money that goes back: credit notes, reversed payments, refunds; and due dates that move."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarc.kernel.errors import Conflict, Invalid
from demarc.modules.billing.inputs import Credit, NewCreditNote, NewInvoice, NewLine, NewRefund
from demarc.modules.billing.queries import customer_balance, get_payment, lifetime_value, overdue_balance
from demarc.modules.billing.rules import credited_tax_minor, releases, spread_credit
from demarc.modules.billing.service import create_invoice, mark_overdue, set_tax_rule, update_invoice
from demarc.modules.billing.states import PAYMENT, PaymentStatus

from .test_money import check_books

BASE = "/api/billing"


@given(st.integers(1, 10**7), st.integers(0, 10**6), st.lists(st.integers(1, 10**6), max_size=8))
def test_parts_give_back_exactly_the_tax_of_the_whole(subtotal, tax, parts):
    gone, returned = 0, 0
    for part in [*parts, subtotal]:
        credit = min(part, subtotal - gone)
        given_back = credited_tax_minor(
            tax, subtotal, credited_before_minor=gone, credit_minor=credit, currency="USD"
        )
        assert given_back >= 0
        gone, returned = gone + credit, returned + given_back
    assert (gone, returned) == (subtotal, tax)


@given(st.lists(st.integers(0, 500), max_size=6), st.integers(0, 4000))
def test_a_credit_uses_up_line_after_line(left, amount):
    spread = spread_credit(amount, enumerate(left, start=1))
    assert sum(part.amount_minor for part in spread) == min(amount, sum(left))
    assert all(0 < part.amount_minor <= left[part.position - 1] for part in spread)
    assert all(part.amount_minor == left[part.position - 1] for part in spread[:-1])


@given(st.lists(st.integers(1, 500), max_size=6), st.integers(0, 4000))
def test_the_last_payment_gives_back_first(allocated, excess):
    freed = releases(list(enumerate(allocated)), excess)
    assert sum(amount for _, amount in freed) == min(excess, sum(allocated))
    assert [payment for payment, _ in freed] == list(range(len(allocated)))[::-1][: len(freed)]


async def with_tax(books):
    async with books.tx() as tx:
        await set_tax_rule(tx, name="sales tax", rate=Decimal("0.08"), effective_on=date(2020, 1, 1))


async def test_part_of_an_open_invoice_and_then_the_rest(books):
    await with_tax(books)
    made = await books.bill(7999)  # and 640 of tax
    first = await books.credit(made, 2500)
    assert (first.subtotal_minor, first.tax_minor, first.number[:3]) == (2500, 200, "CN-")
    after = await books.reload(made)
    assert (after.status, after.credited_minor, after.open_minor) == ("pending", 2700, 5939)
    assert (await check_books(books)).balance_minor == 5939
    for refused in (5500, 10**9):
        with pytest.raises(Conflict) as error:
            await books.credit(made, refused)
        assert (error.value.code, "5499" in error.value.message) == ("CREDIT_EXCEEDS_INVOICE", True)
    with pytest.raises(Conflict) as error:
        await books.void(made)
    assert error.value.code == "INVOICE_CREDITED"
    rest = await books.credit(made)
    assert (rest.subtotal_minor, first.tax_minor + rest.tax_minor) == (5499, 640)
    assert (await books.reload(made)).status == "refunded"
    with pytest.raises(Conflict):
        await books.credit(made)
    assert (await check_books(books)).balance_minor == 0


async def test_lines_are_credited_up_to_what_is_left_of_each(books):
    async with books.tx() as tx:
        made = await create_invoice(
            tx,
            NewInvoice(
                customer_id=books.sold.customer.id,
                lines=(NewLine("Fiber", 5000), NewLine("Visit", 2000)),
                due_on=date(2035, 1, 1),
            ),
        )
    await books.credit(made, lines=(Credit(2, 1500),))
    with pytest.raises(Conflict) as error:
        await books.credit(made, lines=(Credit(1, 1), Credit(2, 501)))
    assert "line 2" in error.value.message
    for wrong in ({"lines": (Credit(3, 1),)}, {"currency": "EUR", "amount": 1}):
        with pytest.raises(Invalid):
            await books.credit(made, **wrong)
    note = await books.credit(made, 5100)
    assert (note.total_minor, (await books.reload(made)).open_minor) == (5100, 400)
    await check_books(books)


@pytest.mark.parametrize(
    "bad",
    [{"amount_minor": 0}, {"reason": " "}, {"amount_minor": 5, "lines": (Credit(1, 4),)},
     {"lines": (Credit(1, 1), Credit(1, 2))}, {"lines": (Credit(1, 0),)}],
)  # fmt: skip
def test_inputs_refuse_nonsense(bad):
    with pytest.raises(Invalid):
        NewCreditNote(**{"reason": "test", **bad})
    with pytest.raises(Invalid):
        NewRefund(" ")


async def test_credit_of_a_paid_invoice_pays_the_next_one_and_the_rest_goes_back(books, tx):
    made = await books.bill(1000)
    await books.pay(600, invoice=made)
    last = await books.pay(400, invoice=made)
    other = await books.bill(150)
    await books.credit(made, 300)
    after = await books.reload(made)
    assert (after.status, after.paid_minor, after.credited_minor) == ("paid", 700, 300)
    assert (await books.reload(other)).status == "paid"
    summary = await check_books(books)
    assert (summary.credit_minor, summary.balance_minor) == (150, -150)
    for refused in (151, 10**9):
        with pytest.raises(Conflict) as error:
            await books.refund(last, refused)
        assert error.value.code == "REFUND_EXCEEDS_PAYMENT"
    first, is_new = await books.refund(last, 100, "r1")
    assert is_new
    assert await books.refund(last, 100, "r1") == (first, False)
    with pytest.raises(Conflict):
        await books.refund(last, 50, "r1")
    await books.refund(last)
    assert (await check_books(books)).balance_minor == 0
    assert await lifetime_value(tx, books.sold.customer.id) == 850
    await books.credit(made)
    assert (await books.reload(made)).status == "refunded"
    assert (await check_books(books)).credit_minor == 700


async def test_a_payment_that_is_paid_back_whole_is_refunded(books):
    paid = await books.pay(500)
    await books.refund(paid)
    async with books.tx() as tx:
        assert (await get_payment(tx, paid.uid)).status == "refunded"
    for action in (books.refund(paid), books.reverse(paid)):
        with pytest.raises(Conflict):
            await action
    assert (await books.bill(100)).paid_minor == 0
    await check_books(books)


async def test_a_chargeback_opens_what_it_had_paid(books, tx):
    late, soon = await books.bill(500, due_in=-3), await books.bill(300, due_in=20)
    paid = await books.pay(900)
    assert [(await books.reload(row)).status for row in (late, soon)] == ["paid", "paid"]
    await books.refund(paid, 60)
    reversed_ = await books.reverse(paid)
    assert (reversed_.status, reversed_.allocated_minor, reversed_.free_minor) == ("reversed", 0, 0)
    assert [(await books.reload(row)).status for row in (late, soon)] == ["overdue", "pending"]
    summary = await check_books(books)
    assert (summary.balance_minor, summary.credit_minor) == (800, 0)
    event = await tx.connection.fetchval("SELECT payload FROM outbox_event WHERE name = 'payment.reversed'")
    assert event["invoice_ids"] == [late.id, soon.id]
    assert event["subscription_ids"] == [books.sold.subscription.id]
    assert await lifetime_value(tx, books.sold.customer.id) == 0
    for action in (books.reverse(paid), books.refund(paid, 1)):
        with pytest.raises(Conflict):
            await action


async def test_other_credit_pays_what_a_chargeback_opens(books):
    made = await books.bill(500)
    paid = await books.pay(500, invoice=made)
    await books.pay(200)
    await books.reverse(paid)
    after = await books.reload(made)
    assert (after.status, after.paid_minor) == ("pending", 200)
    assert (await check_books(books)).credit_minor == 0


async def test_at_once_no_more_is_credited_or_paid_back_than_there_is(books):
    made = await books.bill(1000)
    paid = await books.pay(1000)
    results = await asyncio.gather(*(books.credit(made, 300) for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(result, Conflict) for result in results) == 3
    results = await asyncio.gather(
        *(books.refund(paid, 400) for _ in range(5)), books.reverse(paid), return_exceptions=True
    )
    assert all(not isinstance(result, Exception) or isinstance(result, Conflict) for result in results)
    await check_books(books)


async def test_a_due_date_that_is_put_off(books):
    made = await books.bill(1000, due_in=3)
    await books.advance(days=5)
    async with books.tx() as tx:
        assert await mark_overdue(tx) == 1
        later = tx.now.date() + timedelta(days=10)
    async with books.tx() as tx:
        moved = await update_invoice(tx, made.ref, due_on=later, notes="promised by phone")
        assert (moved.status, moved.due_on, moved.notes) == ("pending", later, "promised by phone")
        assert await overdue_balance(tx, books.sold.subscription.id) == 0
    await books.pay(1000)
    async with books.tx() as tx:
        with pytest.raises(Conflict) as error:
            await update_invoice(tx, made.ref, due_on=later)
        assert error.value.code == "INVOICE_NOT_OPEN"
        assert (await update_invoice(tx, made.ref, notes="")).notes == ""


@pytest.mark.parametrize("current", PaymentStatus)
@pytest.mark.parametrize("target", PaymentStatus)
def test_the_transition_table_of_payments(current, target):
    legal = {("received", "reversed"), ("received", "refunded")}
    if (current, target) in legal:
        PAYMENT.check(current, target)
    else:
        with pytest.raises(Conflict, match=current):
            PAYMENT.check(current, target)


async def test_credit_notes_on_the_surface(admin, callers, books, seller):
    made = await books.bill(1000, ref="in_a")
    other = await seller("sub_other")
    await books.bill(50, ref="in_b", customer=other.customer.id, subscription=False)
    path = f"{BASE}/invoices/in_a/credit-notes"
    for body, status, field in (
        ({}, 422, "reason"),
        ({"reason": "x", "amount": 0}, 422, "amount"),
        ({"reason": "x", "amount": 1.5}, 422, "amount"),
        ({"reason": "x", "currency": "EUR"}, 422, "currency"),
        ({"reason": "x", "line_items": [{"position": 9, "amount": 1}]}, 422, "line_items"),
        ({"reason": "x", "amount": 1001}, 409, None),
        ({"reason": "x", "line_items": [{"position": 1, "amount": 1001}]}, 409, None),
    ):
        answer = await admin.post(path, body)
        assert answer.status_code == status, answer.text
        if field:
            assert field in [detail["field"] for detail in answer.json()["error"]["details"]]
    first = await admin.post(
        path, {"reason": "Line was down", "line_items": [{"position": 1, "amount": 250}]}, idempotency_key="k"
    )
    assert first.status_code == 201, first.text
    body = first.json()
    assert (body["total_amount"], body["invoice_id"], body["line_items"][0]["description"]) == (
        250,
        "in_a",
        "Fiber",
    )
    assert (await admin.get(f"{BASE}/credit-notes/{body['id']}")).json() == body
    second = await admin.post(f"{BASE}/invoices/in_b/credit-notes", {"reason": "all of it"})
    shown = (await admin.get(f"{BASE}/invoices/in_b")).json()
    assert (shown["status"], shown["amount_credited"], shown["amount_due"]) == ("refunded", 50, 0)

    async def found(**query):
        return [
            row["id"] for row in (await admin.get(f"{BASE}/credit-notes", **query)).json()["credit_notes"]
        ]

    ids = [body["id"], second.json()["id"]]
    assert await found() == ids
    assert await found(sort="-total_amount") == ids
    assert await found(invoice_id="in_b") == ids[1:]
    assert await found(invoice_id="in_nobody") == []
    assert await found(customer_id=str(books.sold.customer.uid)) == ids[:1]
    assert await found(number=second.json()["number"]) == ids[1:]
    assert await found(skip=1, limit=1) == ids[1:]
    beta = await callers("beta", "admin")
    assert (await beta.get(f"{BASE}/credit-notes/{ids[0]}")).status_code == 404
    assert (await beta.post(path, {"reason": "x"})).status_code == 404
    support = await callers("alpha", "support")
    assert (await support.post(path, {"reason": "x"})).status_code == 403
    assert (await books.reload(made)).credited_minor == 250


async def test_payments_go_back_on_the_surface_and_the_statement_adds_up(admin, books):
    made = await books.bill(1000, ref="in_a")
    paid = (
        await admin.post(f"{BASE}/payments", {"invoice_id": "in_a", "amount": 1200, "method": "card"})
    ).json()
    back = await admin.post(
        f"{BASE}/payments/{paid['id']}/refunds", {"reason": "Overpaid", "reference": "b1"}
    )
    assert (back.status_code, back.json()["refunded_amount"], back.json()["unallocated_amount"]) == (
        201,
        200,
        0,
    )
    again = await admin.post(
        f"{BASE}/payments/{paid['id']}/refunds", {"reason": "Overpaid", "reference": "b1"}
    )
    assert (again.status_code, again.json()["refunds"]) == (200, back.json()["refunds"])
    refused = await admin.post(f"{BASE}/payments/{paid['id']}/refunds", {"reason": "More", "amount": 1})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "REFUND_EXCEEDS_PAYMENT")
    reversed_ = await admin.post(f"{BASE}/payments/{paid['id']}/reverse", {"reason": "Chargeback"})
    assert (reversed_.status_code, reversed_.json()["status"], reversed_.json()["allocations"]) == (
        200,
        "reversed",
        [],
    )
    assert (await admin.post(f"{BASE}/payments/{paid['id']}/reverse", {"reason": "x"})).status_code == 409
    assert (await admin.get(f"{BASE}/payments", status="reversed")).json()["total"] == 1
    assert (await admin.get(f"{BASE}/payments", status="received")).json()["total"] == 0
    assert (await admin.get(f"{BASE}/invoices/in_a")).json()["amount_due"] == 1000

    account = f"{BASE}/accounts/{books.sold.customer.uid}/statement"
    whole = (await admin.get(account)).json()
    assert [(row["kind"], row["amount"], row["balance"]) for row in whole["entries"]] == [
        ("invoice.generated", 1000, 1000),
        ("payment.received", -1200, -200),
        ("payment.refunded", 200, 0),
        ("payment.reversed", 1000, 1000),
    ]
    assert (whole["opening_balance"], whole["closing_balance"], whole["total"]) == (0, 1000, 4)
    async with books.tx() as tx:
        assert await customer_balance(tx, books.sold.customer.id) == 1000
    newest = (await admin.get(account, sort="-posted_at", limit=1)).json()
    assert (newest["entries"][0]["kind"], newest["total"]) == ("payment.reversed", 4)
    only = (await admin.get(account, kind="payment.refunded")).json()
    assert [(row["amount"], row["balance"]) for row in only["entries"]] == [(200, 0)]
    third = whole["entries"][2]["posted_at"]
    before = (await admin.get(account, end=third)).json()
    assert ([row["kind"] for row in before["entries"]], before["closing_balance"]) == (
        ["invoice.generated", "payment.received"],
        -200,
    )
    after = (await admin.get(account, start=third)).json()
    assert (after["opening_balance"], after["entries"][0]["balance"], after["total"]) == (-200, 0, 2)
    assert (await admin.get(account, currency="JPY")).json()["entries"] == []
    assert (await admin.get(account, sort="amount")).status_code == 422
    assert made.total_minor == 1000


async def test_patching_an_invoice_on_the_surface(admin, callers, books, seller):
    await books.bill(1000, ref="in_a")
    answer = await admin.patch(f"{BASE}/invoices/in_a", {"due_date": "2035-02-31", "notes": "by phone"})
    assert (answer.status_code, answer.json()["due_date"], answer.json()["notes"]) == (
        200,
        "2035-02-28",
        "by phone",
    )
    assert (await admin.get(f"{BASE}/invoices", number=answer.json()["number"])).json()["total"] == 1
    assert (await admin.get(f"{BASE}/invoices", number="INV-2000-000001")).json()["total"] == 0
    issued = answer.json()["issue_date"]
    assert (await admin.get(f"{BASE}/invoices", issued_from=issued, issued_to=issued)).json()["total"] == 1
    assert (await admin.get(f"{BASE}/invoices", issued_to="2020-01-01")).json()["total"] == 0
    assert (await admin.get(f"{BASE}/invoices", issued_from="2100-01-01")).json()["total"] == 0
    sold = await seller("sub_beta", tenant=2)
    beta = await callers("beta", "admin")
    new = {"customer_id": str(sold.customer.uid), "amount": 10, "due_date": "2100-01-01"}
    ref = (await beta.post(f"{BASE}/invoices", new)).json()["id"]
    past = await beta.patch(f"{BASE}/invoices/{ref}", {"due_date": "2020-01-01"})
    assert (past.status_code, past.json()["error"]["details"][0]["field"]) == (422, "due_date")
    assert (await beta.patch(f"{BASE}/invoices/in_a", {"notes": "x"})).status_code == 404
