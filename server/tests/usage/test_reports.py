"""Pending, reports, aggregates: one rule of membership, amounts rounded once per line."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarc.kernel.errors import Conflict, Invalid
from demarc.modules.usage.inputs import Span, span
from demarc.modules.usage.rules import GB_OCTETS, UsageLine, overall, reading_minor, totals_by_type
from demarc.modules.usage.states import BILLING, BilledStatus

BASE = "/api/billing/usage"
OCTOBER = {"period_start": "2025-10-01T00:00:00", "period_end": "2025-10-31T23:59:59"}


async def post(admin, sold, **changes):
    """A record of its own, whatever else says the same."""
    answer = await admin.post(f"{BASE}/records", sold.usage(source_record_id=uuid4().hex, **changes))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def report(admin, **body):
    answer = await admin.post(f"{BASE}/reports", {**OCTOBER, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_amounts_are_rounded_once_per_line(admin, sold):
    for _ in range(3):
        record = await post(admin, sold, quantity=0.09, unit_price=0.05)  # 0.45 cents each
        assert record["total_amount"] == 0
    pending = (await admin.get(f"{BASE}/pending", subscription_id="sub_abc123")).json()
    assert (pending["total_amount"], len(pending["records"]), pending["total"]) == (1, 3, 3)
    found = await report(admin, subscription_id="sub_abc123")
    assert found["total_amount"] == 1
    assert found["usage_by_type"]["bandwidth_gb"]["total_quantity"] == 0.27
    aggregate = await admin.post(f"{BASE}/aggregate", OCTOBER)
    assert aggregate.json()["total_amount"] == 1


async def test_lines_are_per_subscription_type_price_and_month(admin, sold, seller):
    other = await seller("sub_other")
    november = {"period_start": "2025-11-01T00:00:00Z", "period_end": "2025-11-01T01:00:00Z"}
    for who, changes in (
        (sold, {}),
        (sold, {"unit_price": 0.06}),
        (sold, november),
        (other, {}),
        (sold, {"usage_type": "voice_minutes", "unit": "min"}),
    ):
        await post(admin, who, quantity=0.1, **{"unit_price": 0.05, **changes})
    found = await report(admin, period_end="2025-12-01T00:00:00", include_breakdown=True)
    assert len(found["breakdown"]) == 5
    assert [line["amount"] for line in found["breakdown"]] == [1, 1, 1, 1, 1]
    assert found["total_amount"] == 5  # each half a cent, but for one: rounded up line by line
    assert found["usage_by_type"]["bandwidth_gb"] == {
        "total_quantity": 0.4, "unit": "GB", "total_amount": 4, "record_count": 4,
        "period_start": "2025-10-01T00:00:00Z", "period_end": "2025-12-01T00:00:00Z",
    }  # fmt: skip
    one = await report(admin, usage_type="voice_minutes")
    assert list(one["usage_by_type"]) == ["voice_minutes"]
    assert one["breakdown"] is None


async def test_windows_hold_their_start_and_not_their_end(admin, sold):
    for moment in (
        "2025-09-30T23:59:59Z",
        "2025-10-01T00:00:00Z",
        "2025-10-31T23:59:59.5Z",
        "2025-11-01T00:00:00Z",
    ):
        await post(
            admin, sold, period_start=moment, period_end="2025-12-01T00:00:00Z", quantity=1, unit_price=1
        )
    for end in ("2025-10-31T23:59:59Z", "2025-11-01T00:00:00Z", "2025-10-31T23:59:59.999999Z"):
        window = {"period_start": "2025-10-01T00:00:00Z", "period_end": end}
        pending = (await admin.get(f"{BASE}/pending", **window)).json()
        assert (pending["total"], pending["total_amount"]) == (2, 200), end
        assert (await report(admin, **window))["total_amount"] == 200
        assert (await admin.post(f"{BASE}/aggregate", window)).json()["total_amount"] == 200
        assert (await admin.get(f"{BASE}/records", **window)).json()["total"] == 2


async def test_day_31_of_a_short_month_is_its_last_day(admin, sold):
    await post(admin, sold, period_start="2025-02-28T20:00:00Z", period_end="2025-02-28T21:00:00Z")
    window = {"period_start": "2025-02-01T00:00:00Z", "period_end": "2025-02-31T23:59:59Z"}
    assert (await admin.get(f"{BASE}/pending", **window)).json()["total"] == 1
    assert (await report(admin, **window))["period_end"] == "2025-03-01T00:00:00Z"
    bad = await admin.get(f"{BASE}/pending", period_start="2025-02-32T00:00:00Z")
    assert (bad.status_code, bad.json()["error"]["details"][0]["field"]) == (422, "period_start")
    backwards = await admin.get(f"{BASE}/pending", period_start="2025-03-01", period_end="2025-02-01")
    assert backwards.status_code == 422


async def test_aggregates_step_by_the_tenants_clock(admin, sold):
    for day, hour in ((14, 8), (14, 20), (15, 1)):
        start = f"2025-10-{day}T{hour:02}:00:00Z"
        await post(admin, sold, period_start=start, period_end=f"2025-10-{day}T23:00:00Z", quantity=2)
    body = {
        "subscription_id": "sub_abc123", "period_type": "daily",
        "period_start": "2025-10-14T00:00:00Z", "period_end": "2025-10-14T23:59:59Z",
    }  # fmt: skip
    answer = (await admin.post(f"{BASE}/aggregate", body)).json()
    assert (answer["usage_type"], answer["total_quantity"], answer["unit"]) == ("bandwidth_gb", 4.0, "GB")
    assert (answer["total_amount"], answer["record_count"], answer["period_type"]) == (20, 2, "daily")
    assert [(p["period_start"], p["total_quantity"]) for p in answer["periods"]] == [
        ("2025-10-14T00:00:00Z", 4.0)
    ]
    hourly = (await admin.post(f"{BASE}/aggregate", {**body, **OCTOBER, "period_type": "hourly"})).json()
    assert len(hourly["periods"]) == 3
    await post(admin, sold, usage_type="voice_minutes", unit="min", unit_price=0.1, quantity=5)
    mixed = (await admin.post(f"{BASE}/aggregate", body)).json()
    assert (mixed["usage_type"], mixed["total_quantity"], mixed["unit"]) == ("mixed", None, "mixed")
    assert (mixed["total_amount"], [t["usage_type"] for t in mixed["by_type"]]) == (
        70,
        ["bandwidth_gb", "voice_minutes"],
    )
    only = (await admin.post(f"{BASE}/aggregate", {**body, "usage_type": "voice_minutes"})).json()
    assert (only["usage_type"], only["total_amount"]) == ("voice_minutes", 50)


async def test_no_data_gives_zeros(admin, sold):
    empty = (await admin.post(f"{BASE}/aggregate", {**OCTOBER, "usage_type": "voice_minutes"})).json()
    assert (empty["usage_type"], empty["total_quantity"], empty["total_amount"]) == ("voice_minutes", 0, 0)
    assert (empty["record_count"], empty["by_type"], empty["periods"]) == (0, [], [])
    found = await report(admin)
    assert (found["usage_by_type"], found["total_amount"]) == ({}, 0)
    pending = (await admin.get(f"{BASE}/pending")).json()
    assert (pending["records"], pending["total_amount"], pending["currency"]) == ([], 0, "USD")


async def test_reports_leave_billed_usage_out_unless_asked(admin, sold):
    record = await post(admin, sold)
    invoice = await admin.post(
        "/api/billing/invoices",
        {"subscription_id": "sub_abc123", "amount": 30, "due_date": "2025-10-15",
         "line_items": [{"description": "Usage", "amount": 30}]},
    )  # fmt: skip
    path = f"{BASE}/records/{record['id']}/mark-billed"
    marked = await admin.post(path, {"invoice_id": invoice.json()["id"]})
    assert (marked.status_code, marked.json()["billed_status"]) == (200, "billed")
    assert (await admin.post(path, {"invoice_id": invoice.json()["id"]})).json() == marked.json()
    assert (await report(admin))["total_amount"] == 0
    assert (await report(admin, include_billed=True))["total_amount"] == 30
    assert (await admin.get(f"{BASE}/pending")).json()["total"] == 0
    assert (await admin.post(f"{BASE}/aggregate", OCTOBER)).json()["total_amount"] == 30
    unbilled = await admin.post(f"{BASE}/aggregate", {**OCTOBER, "include_billed": False})
    assert unbilled.json()["total_amount"] == 0
    listed = (await admin.get(f"{BASE}/records", invoice_id=invoice.json()["id"])).json()
    assert [row["id"] for row in listed["records"]] == [record["id"]]


async def test_a_record_is_on_one_invoice(admin, sold, seller):
    other = await seller("sub_other")
    record = await post(admin, sold)
    path = f"{BASE}/records/{record['id']}/mark-billed"

    async def invoice(subscription):
        body = {"subscription_id": subscription, "amount": 30, "due_date": "2025-10-15"}
        return (await admin.post("/api/billing/invoices", body)).json()["id"]

    first, second = await invoice("sub_abc123"), await invoice("sub_abc123")
    theirs = await invoice(other.subscription.ref)
    assert (await admin.post(path, {"invoice_id": theirs})).status_code == 422
    assert (await admin.post(path, {"invoice_id": "in_nothing"})).status_code == 404
    assert (await admin.post(path, {})).status_code == 422
    await admin.post(f"/api/billing/invoices/{second}/void", {"reason": "mistake"})
    assert (await admin.post(path, {"invoice_id": second})).json()["error"]["code"] == "INVOICE_VOID"
    assert (await admin.post(path, {"invoice_id": first})).status_code == 200
    refused = await admin.post(path, {"invoice_id": await invoice("sub_abc123")})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "ALREADY_BILLED")


async def test_an_unknown_subscription_is_404(admin, sold):
    assert (await admin.get(f"{BASE}/pending", subscription_id="sub_nobody")).status_code == 404
    for path in ("reports", "aggregate"):
        answer = await admin.post(f"{BASE}/{path}", {**OCTOBER, "subscription_id": "sub_nobody"})
        assert answer.status_code == 404


@pytest.mark.parametrize("current", BilledStatus)
@pytest.mark.parametrize("target", BilledStatus)
def test_the_whole_table_of_billed_statuses(current, target):
    if target in BILLING.moves[current]:
        BILLING.check(current, target)
        return
    with pytest.raises(Conflict) as refused:
        BILLING.check(current, target)
    assert current.value in refused.value.message
    assert target.value in refused.value.message


quantities = st.decimals(0, 10**9, places=6)
prices = st.decimals(0, 10**4, places=6)


def line(posted=Decimal(0), octets=None, price=Decimal(1), currency="USD", usage_type="t", unit="GB"):
    return UsageLine(1, "s", usage_type, unit, price, currency, datetime(2025, 10, 1), 1, posted, octets)  # noqa: DTZ001


@given(quantities, st.integers(0, 2**62), prices, st.sampled_from(["USD", "JPY", "KWD"]))
def test_a_line_is_the_exact_amount_rounded_half_up_once(posted, octets, price, currency):
    scale = {"USD": 100, "JPY": 1, "KWD": 1000}[currency]
    exact = (Fraction(posted) + Fraction(octets, GB_OCTETS)) * Fraction(price) * scale
    half_up = (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)
    assert line(posted, octets, price, currency).amount_minor == half_up
    assert reading_minor(posted, None, price, currency) == line(posted, None, price, currency).amount_minor


@given(st.lists(st.tuples(quantities, prices, st.sampled_from("ab")), max_size=8))
def test_totals_are_the_sums_of_lines(parts):
    lines = [line(q, None, p, usage_type=t) for q, p, t in parts]
    assert sum(t.amount_minor for t in totals_by_type(lines)) == sum(one.amount_minor for one in lines)
    assert overall(lines, None).amount_minor == sum(one.amount_minor for one in lines)


def test_a_span_does_not_run_backwards():
    start = datetime(2025, 10, 1, tzinfo=UTC)
    assert span(start, datetime(2025, 10, 31, 23, 59, 59, 999, tzinfo=UTC)).end == datetime(
        2025, 11, 1, tzinfo=UTC
    )
    assert span(start, datetime(2025, 10, 31, 23, 59, 58, tzinfo=UTC)).end.second == 58
    with pytest.raises(Invalid):
        Span(start, datetime(2025, 9, 30, tzinfo=UTC))
