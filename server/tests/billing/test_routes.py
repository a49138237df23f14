"""`/api/billing`: invoices, payments, ledger, runs, as document 002 uses them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from demarc.modules.billing.rules import Month, prorated_minor, proration_factor

BASE = "/api/billing"


async def bill_month(admin, year, month):
    """Workflow 2 of document 002, as printed."""
    window = {"subscription_id": "sub_abc123", "period_start": f"{year}-{month:02d}-01T00:00:00Z"}
    pending = (
        await admin.get(f"{BASE}/usage/pending", **window, period_end=f"{year}-{month:02d}-31T23:59:59Z")
    ).json()
    report = (
        await admin.post(
            f"{BASE}/usage/reports",
            {
                **window,
                "period_start": f"{year}-{month:02d}-01T00:00:00",
                "period_end": f"{year}-{month:02d}-31T23:59:59",
                "include_breakdown": True,
            },
        )
    ).json()
    invoice = await admin.post(
        f"{BASE}/invoices",
        {
            "subscription_id": "sub_abc123",
            "amount": pending["total_amount"],
            "due_date": f"{year}-{month:02d}-15",
            "line_items": report["usage_by_type"],
        },
    )
    for record in pending["records"]:
        marked = await admin.post(
            f"{BASE}/usage/records/{record['id']}/mark-billed", {"invoice_id": invoice.json()["id"]}
        )
        assert marked.status_code == 200, marked.text
    return pending, invoice


async def test_the_documents_monthly_billing_twice_bills_once(admin, books):
    await admin.post(f"{BASE}/usage/records", books.sold.usage(quantity=60))
    await admin.post(f"{BASE}/usage/records", books.sold.usage(quantity=0.1, usage_type="data_transfer"))
    pending, first = await bill_month(admin, 2025, 10)
    assert (len(pending["records"]), pending["total_amount"]) == (2, 301)
    body = first.json()
    assert first.status_code == 201, first.text
    assert (body["amount"], body["status"], body["subscription_id"]) == (301, "pending", "sub_abc123")
    assert [(line["kind"], line["usage_type"], line["amount"]) for line in body["line_items"]] == [
        ("usage", "bandwidth_gb", 300), ("usage", "data_transfer", 1),
    ]  # fmt: skip
    assert body["period_start"] == "2025-10-01T00:00:00Z"
    again, second = await bill_month(admin, 2025, 10)
    assert (again["records"], again["total_amount"]) == ([], 0)
    assert (second.status_code, second.json()["id"]) == (200, body["id"])
    assert (await admin.get(f"{BASE}/invoices")).json()["total"] == 1
    nothing = await admin.post(
        f"{BASE}/invoices",
        {"subscription_id": "sub_abc123", "amount": 0, "due_date": "2025-06-31", "line_items": {}},
    )
    assert (nothing.status_code, nothing.json()["error"]["code"]) == (409, "NOTHING_TO_BILL")


async def test_an_invoice_from_lines(admin, books):
    lines = [
        {"description": "Fiber", "amount": 4999},
        {"description": "Half a month", "unit_price": 10.01, "proration_factor": 0.5},
        {"description": "Visits", "unit_price": 20, "quantity": 2},
    ]
    new = {"subscription_id": "sub_abc123", "amount": 9500, "due_date": "2025-10-15", "line_items": lines}
    made = await admin.post(f"{BASE}/invoices", new)
    assert made.status_code == 201, made.text
    body = made.json()
    assert [line["amount"] for line in body["line_items"]] == [4999, 501, 4000]
    assert (body["amount"], body["total_amount"], body["amount_due"]) == (9500, 9500, 9500)
    assert body["id"].startswith("in_")
    assert (await admin.get(f"{BASE}/invoices/{body['id']}")).json() == body
    wrong = await admin.post(f"{BASE}/invoices", {**new, "amount": 9499})
    assert (wrong.status_code, wrong.json()["error"]["details"][0]["field"]) == (422, "amount")


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"subscription_id": "sub_nobody"}, 404, None),
        ({"subscription_id": None}, 422, "subscription_id"),
        ({"due_date": "soon"}, 422, "due_date"),
        ({"due_date": None}, 422, "due_date"),
        ({"amount": -1}, 422, "amount"),
        ({"amount": 10.5}, 422, "amount"),
        ({"amount": True}, 422, "amount"),
        ({"amount": "100"}, 422, "amount"),
        ({"period_start": "2025-10-02", "period_end": "2025-10-01"}, 422, "period_end"),
        ({"amount": None}, 422, "amount"),
        ({"currency": "EUR"}, 422, "currency"),
        ({"currency": "???"}, 422, "currency"),
        ({"line_items": [{"description": "x"}]}, 422, "line_items.lines.0"),
        ({"line_items": [{"amount": 1}]}, 422, "line_items.lines.0.description"),
        ({"line_items": "all"}, 422, "line_items.lines"),
        ({"customer_id": "7b0c8f0e-0000-4000-8000-000000000000"}, 404, None),
    ],
)
async def test_bad_invoices_name_the_field(admin, books, change, status, field):
    new = {"subscription_id": "sub_abc123", "amount": 100, "due_date": "2025-10-15", **change}
    answer = await admin.post(f"{BASE}/invoices", new)
    assert answer.status_code == status, answer.text
    if field:
        assert field in [detail["field"] for detail in answer.json()["error"]["details"]], answer.text
    assert (await admin.get(f"{BASE}/invoices")).json()["total"] == 0


async def test_only_a_sandbox_takes_a_past_due_date(callers, seller):
    await seller("sub_beta", tenant=2)
    beta = await callers("beta", "admin")
    new = {"subscription_id": "sub_beta", "amount": 100, "due_date": "2025-10-15"}
    refused = await beta.post(f"{BASE}/invoices", new)
    assert (refused.status_code, refused.json()["error"]["details"][0]["field"]) == (422, "due_date")
    made = await beta.post(f"{BASE}/invoices", {**new, "due_date": "2099-02-31"})
    assert (made.status_code, made.json()["due_date"], made.json()["currency"]) == (201, "2099-02-28", "EUR")


async def test_paying_over_the_api(admin, books):
    late = await books.bill(1000, due_in=-10, ref="in_late")
    listed = (await admin.get(f"{BASE}/invoices", overdue="true")).json()
    assert [row["id"] for row in listed["invoices"]] == ["in_late"]
    assert (await admin.get(f"{BASE}/invoices", overdue="false")).json()["total"] == 0
    assert listed["invoices"][0]["days_overdue"] == 0  # issued today: it counts from the later of the two
    await books.advance(days=5)
    assert (await admin.get(f"{BASE}/invoices/in_late")).json()["days_overdue"] == 5
    pay = {"invoice_id": "in_late", "amount": 1500, "method": "bank_transfer", "reference": "TRX-1"}
    first = await admin.post(f"{BASE}/payments", pay)
    assert first.status_code == 201, first.text
    body = first.json()
    assert body["allocations"] == [{"invoice_id": "in_late", "amount": 1000}]
    assert (body["unallocated_amount"], body["customer_id"]) == (500, str(books.sold.customer.uid))
    again = await admin.post(f"{BASE}/payments", pay)
    assert (again.status_code, again.json()) == (200, body)
    other = await admin.post(f"{BASE}/payments", {**pay, "amount": 1501})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "PAYMENT_DIFFERS")
    assert (await admin.get(f"{BASE}/payments/{body['id']}")).json() == body
    assert (await admin.get(f"{BASE}/payments", invoice_id="in_late")).json()["total"] == 1
    assert (await admin.get(f"{BASE}/invoices/{late.ref}")).json()["status"] == "paid"
    owed = (await admin.get(f"{BASE}/accounts/{books.sold.customer.uid}/balance")).json()
    assert (owed["balance"], owed["credit"], owed["lifetime_value"]) == (-500, 500, 1500)
    ledger = (await admin.get(f"{BASE}/ledger", customer_id=str(books.sold.customer.uid))).json()
    assert (ledger["sum"], ledger["total"]) == (0, 4)
    assert {row["account"]: row["balance"] for row in ledger["balances"]} == {
        f"receivable:{books.sold.customer.id}": -500, "income": -1000, "cash": 1500,
    }  # fmt: skip
    whole = (await admin.get(f"{BASE}/ledger")).json()
    assert (whole["sum"], {row["account"]: row["balance"] for row in whole["balances"]}) == (
        0, {"receivable": -500, "income": -1000, "cash": 1500},
    )  # fmt: skip
    paid = (await admin.get(f"{BASE}/ledger", kind="payment.received")).json()
    assert (paid["total"], paid["sum"], len(paid["balances"])) == (2, 0, 2)
    since = (await admin.get(f"{BASE}/ledger", start=body["received_at"])).json()
    until = (await admin.get(f"{BASE}/ledger", end=body["received_at"])).json()
    assert (since["entries"], until["total"]) == (paid["entries"], 2)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"amount": 100, "method": "card"}, 422, "customer_id"),
        ({"invoice_id": "in_1", "amount": 0, "method": "card"}, 422, "amount"),
        ({"invoice_id": "in_1", "amount": True, "method": "card"}, 422, "amount"),
        ({"invoice_id": "in_1", "amount": 100}, 422, "method"),
        ({"invoice_id": "in_1", "amount": 100, "method": "card", "currency": "EUR"}, 422, "currency"),
        ({"invoice_id": "in_nothing", "amount": 100, "method": "card"}, 404, None),
    ],
)
async def test_bad_payments_name_the_field(admin, books, body, status, field):
    await books.bill(100, ref="in_1")
    answer = await admin.post(f"{BASE}/payments", body)
    assert answer.status_code == status, answer.text
    if field:
        assert field in [detail["field"] for detail in answer.json()["error"]["details"]]
    assert (await admin.get(f"{BASE}/payments")).json()["total"] == 0


async def test_voiding_over_the_api_makes_usage_unbilled_again(admin, books):
    await admin.post(f"{BASE}/usage/records", books.sold.usage(quantity=60))
    _, made = await bill_month(admin, 2025, 10)
    path = f"{BASE}/invoices/{made.json()['id']}/void"
    assert (await admin.post(path, {})).status_code == 422
    voided = await admin.post(path, {"reason": "wrong month"})
    assert (voided.status_code, voided.json()["status"], voided.json()["amount_due"]) == (200, "void", 0)
    again = await admin.post(path, {"reason": "wrong month"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "ILLEGAL_STATE_CHANGE")
    pending, second = await bill_month(admin, 2025, 10)
    assert (len(pending["records"]), second.status_code) == (1, 201)


async def test_another_tenants_money_does_not_exist(admin, callers, books):
    await books.bill(100, ref="in_mine")
    paid = await books.pay(40)
    beta = await callers("beta", "admin")
    for path in ("invoices/in_mine", f"payments/{paid.uid}", f"accounts/{books.sold.customer.uid}/balance"):
        assert (await beta.get(f"{BASE}/{path}")).status_code == 404, path
    theirs = await beta.get(f"{BASE}/ledger", customer_id=str(books.sold.customer.uid))
    assert theirs.status_code == 404
    assert (await beta.post(f"{BASE}/invoices/in_mine/void", {"reason": "x"})).status_code == 404
    pay = {"invoice_id": "in_mine", "amount": 1, "method": "card"}
    assert (await beta.post(f"{BASE}/payments", pay)).status_code == 404
    for path in ("invoices", "payments", "ledger", "runs"):
        assert (await beta.get(f"{BASE}/{path}")).json()["total"] == 0
    reader = await callers("alpha", "read_only")
    assert (await reader.post(f"{BASE}/payments", pay)).status_code == 403
    technician = await callers("alpha", "technician")
    assert (await technician.get(f"{BASE}/invoices")).status_code == 403


async def test_taxes_are_set_from_a_day_on(admin, books):
    assert (await admin.get(f"{BASE}/tax-rules")).json()["tax_rules"] == []
    for rate, day in ((0.08, "2020-01-01"), (0.1, "2099-01-01")):
        made = await admin.post(f"{BASE}/tax-rules", {"name": "sales tax", "rate": rate, "effective_on": day})
        assert made.status_code == 201, made.text
    taken = await admin.post(
        f"{BASE}/tax-rules", {"name": "sales tax", "rate": 0.08, "effective_on": "2020-01-01"}
    )
    assert taken.status_code == 409
    assert [rule["rate"] for rule in (await admin.get(f"{BASE}/tax-rules")).json()["tax_rules"]] == [
        0.08,
        0.1,
    ]
    assert (await books.bill(7999)).tax_minor == 640


async def run(admin, **body):
    answer = await admin.post(f"{BASE}/runs", body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


async def test_a_monthly_run_bills_fees_and_usage_once(admin, books, tx):
    this = Month.of(tx.now.date())
    before = (tx.now - timedelta(days=1)).isoformat()
    usage = books.sold.usage(quantity=10, period_start=before, period_end=before)
    assert (await admin.post(f"{BASE}/usage/records", usage)).status_code == 201
    dry = await run(admin, period=str(this), dry_run=True)
    assert (dry["dry_run"], dry["billed"], dry["subscriptions"]) == (True, 1, 1)
    assert (await admin.get(f"{BASE}/invoices")).json()["total"] == 0
    done = await run(admin, period=str(this), subscription_id="sub_abc123")
    assert (done["status"], done["billed"], done["remaining"]) == ("completed", 1, 0)
    assert done["total_amount"] == dry["total_amount"]
    [invoice] = (await admin.get(f"{BASE}/invoices")).json()["invoices"]
    factor = proration_factor(this, tx.now.date(), None)
    fee = prorated_minor(4999, factor, "USD")
    assert [(line["kind"], line["amount"]) for line in invoice["line_items"]] == [
        ("recurring", fee),
        ("usage", 50),
    ]
    assert invoice["line_items"][0]["quantity"] == float(factor)
    assert invoice["amount"] == fee + 50
    records = (await admin.get(f"{BASE}/usage/records", invoice_id=invoice["id"])).json()
    assert records["total"] == 1
    for body in ({"subscription_id": "sub_abc123"}, {}):
        again = await run(admin, period=str(this), **body)
        assert (again["billed"], again["unchanged"]) == (0, 1)
    assert (await admin.get(f"{BASE}/invoices")).json()["total"] == 1
    assert (await run(admin, period=str(this), dry_run=True))["billed"] == 0
    assert (await admin.get(f"{BASE}/runs/{done['id']}")).json() == done
    assert (await admin.get(f"{BASE}/runs", period=str(this))).json()["total"] == 3


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"period": "2025-13"}, 422), ({"period": "october"}, 422), ({}, 422), ({"period": "2025-1"}, 422),
        ({"period": "2025-10", "subscription_id": "sub_nobody"}, 404), ({"period": "2999-01"}, 422),
    ],
)  # fmt: skip
async def test_bad_runs(admin, body, status):
    answer = await admin.post(f"{BASE}/runs", body)
    assert answer.status_code == status, answer.text
