"""Tiered, volume and package prices: exact over the month, whatever is billed when, and the same in reports, pending and invoices."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarc.kernel.errors import Invalid
from demarc.kernel.money import round_to_minor
from demarc.modules.catalog.inputs import NewUsagePrice, Rate, Tier
from demarc.modules.catalog.states import PriceModel
from demarc.modules.usage.metering import raise_usage
from demarc.modules.usage.rules import GB_OCTETS, UsageLine, rate_lines

ALPHA = 1
BASE = "/api/billing/usage"
SIX = Decimal("0.000001")

prices = st.decimals("0", "5", places=6)
quantities = st.decimals("0", "300", places=6)


@st.composite
def tiers(draw):
    ends = sorted(set(draw(st.lists(st.decimals("0.000001", "200", places=6), max_size=4))))
    return (*(Tier(end, draw(prices)) for end in ends), Tier(None, draw(prices)))


@st.composite
def rates(draw):
    model = draw(st.sampled_from(PriceModel))
    if model in (PriceModel.TIERED, PriceModel.VOLUME):
        chosen = draw(tiers())
        return Rate(model, chosen[0].unit_price, tiers=chosen)
    included = draw(quantities) if model is PriceModel.PACKAGE else Decimal(0)
    return Rate(model, draw(prices), included)


def line(quantity, rate, *, price_id=1, day=1):
    return UsageLine(
        1,
        "s",
        "bandwidth_gb",
        "GB",
        rate.unit_price,
        "USD",
        datetime(2025, 10, day),  # noqa: DTZ001
        1,
        quantity,
        None,
        price_id,
    )


def plain_cost(rate, records, bonus):
    """The month rated record by record, each cut where a tier or the package ends: no total is ever looked at."""
    whole = sum(records, Decimal(0))
    reached, cost = Decimal(0), Decimal(0)
    for quantity in records:
        left = quantity
        while left:
            if rate.model is PriceModel.FLAT:
                end, price = None, rate.unit_price
            elif rate.model is PriceModel.PACKAGE:
                free = rate.included + bonus
                end, price = (free, Decimal(0)) if reached < free else (None, rate.unit_price)
            elif rate.model is PriceModel.TIERED:
                tier = next(t for t in rate.tiers if t.up_to is None or reached < t.up_to)
                end, price = tier.up_to, tier.unit_price
            else:
                end, price = (
                    None,
                    next(t for t in rate.tiers if t.up_to is None or whole <= t.up_to).unit_price,
                )
            part = left if end is None else min(left, end - reached)
            cost += part * price
            reached, left = reached + part, left - part
    return cost


@given(rates(), st.lists(quantities, max_size=12), quantities)
def test_a_month_costs_what_its_records_cost_one_by_one(rate, records, bonus):
    whole = sum(records, Decimal(0))
    assert rate.cost(whole, bonus=bonus) == plain_cost(rate, records, bonus)
    assert rate_lines([line(whole, rate)], {1: rate}, {}, {line(whole, rate).month: bonus})[
        0
    ].exact_amount == plain_cost(rate, records, bonus)


@given(rates(), st.lists(quantities, min_size=1, max_size=12), st.data())
def test_it_does_not_matter_how_a_month_is_parted_into_invoices(rate, records, data):
    """Each invoice bills what it adds to the month: together they are the month, exactly, until each line is rounded."""
    if rate.model is PriceModel.VOLUME:
        first = rate.tiers[0]
        rate = Rate(rate.model, first.unit_price, tiers=(Tier(None, first.unit_price),))
    groups: dict[int, Decimal] = {}
    for quantity in records:
        of = data.draw(st.integers(0, 4))
        groups[of] = groups.get(of, Decimal(0)) + quantity
    billed, amounts = Decimal(0), []
    for quantity in groups.values():
        one = line(quantity, rate)
        amounts.append(rate_lines([one], {1: rate}, {one.month: billed}, {})[0].exact_amount)
        billed += quantity
    assert sum(amounts) == rate.cost(billed)
    days = [line(quantity, rate, day=place + 1) for place, quantity in enumerate(groups.values())]
    assert sum(one.exact_amount for one in rate_lines(days, {1: rate}, {}, {})) == rate.cost(billed)


def test_a_volume_price_that_falls_takes_nothing_back():
    rate = Rate(
        PriceModel.VOLUME, Decimal(1), tiers=(Tier(Decimal(100), Decimal(1)), Tier(None, Decimal("0.5")))
    )
    one = line(Decimal(10), rate)
    assert rate.cost(Decimal(100)) == 100
    assert rate.cost(Decimal(110)) == 55
    assert rate_lines([one], {1: rate}, {one.month: Decimal(100)}, {})[0].amount_minor == 0


def test_a_flat_line_is_left_as_it_is():
    plain = line(Decimal(3), Rate(PriceModel.FLAT, Decimal("0.05")), price_id=None)
    assert rate_lines([plain], {}, {}, {}) == [plain]
    assert plain.amount_minor == 15


BAD = [
    {"model": PriceModel.FLAT},
    {"model": PriceModel.PACKAGE, "included": Decimal(5)},
    {"model": PriceModel.FLAT, "unit_price": Decimal(1), "included": Decimal(5)},
    {"model": PriceModel.FLAT, "unit_price": Decimal(1), "tiers": (Tier(None, Decimal(1)),)},
    {"model": PriceModel.TIERED},
    {"model": PriceModel.TIERED, "tiers": (Tier(None, Decimal(1)),), "unit_price": Decimal(1)},
    {"model": PriceModel.TIERED, "tiers": (Tier(Decimal(5), Decimal(1)),)},
    {"model": PriceModel.TIERED, "tiers": (Tier(None, Decimal(1)), Tier(None, Decimal(1)))},
    {
        "model": PriceModel.VOLUME,
        "tiers": (Tier(Decimal(5), Decimal(1)), Tier(Decimal(5), Decimal(1)), Tier(None, Decimal(1))),
    },
    {"model": PriceModel.VOLUME, "tiers": (Tier(None, Decimal("0.0000001")),)},
    {"model": PriceModel.VOLUME, "tiers": (Tier(None, Decimal("NaN")),)},
    {"model": PriceModel.VOLUME, "tiers": (Tier(None, Decimal(1)),) * 21},
]


@pytest.mark.parametrize("values", BAD)
def test_a_price_that_makes_no_sense_is_refused(values):
    with pytest.raises(Invalid):
        NewUsagePrice("bandwidth_gb", "GB", **values)


async def price(admin, sold, body, status=201):
    answer = await admin.post(
        f"/api/plans/{sold.plan.ref}/usage-prices",
        {"usage_type": "bandwidth_gb", "unit": "GB", "effective_on": "2025-10-01", **body},
    )
    assert answer.status_code == status, answer.text
    return answer.json()


async def post(admin, sold, quantity, **more):
    body = sold.usage(quantity=quantity, source_record_id=uuid.uuid4().hex, **more)
    body.pop("unit_price")
    answer = await admin.post(f"{BASE}/records", body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def meter(scratch, sold, octets, at):
    connection = await asyncpg.connect(scratch.dsn("demarc_ingest"))
    await connection.execute(
        "CREATE TEMP TABLE accounting_delta (tenant_id int, session_id uuid, subscriber_id bigint, service_id bigint, "
        "event_at timestamptz, input_octets bigint, output_octets bigint)"
    )
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO accounting_delta VALUES ($1, $2, 7, $3, $4, $5, 0)",
            ALPHA, uuid.uuid4(), sold.service.id, at, octets,
        )  # fmt: skip
        await raise_usage(connection)
    await connection.close()


OCTOBER = {"period_start": "2025-10-01T00:00:00", "period_end": "2025-10-31T23:59:59"}
MODELS = [
    ({"model": "flat", "unit_price": 0.05}, lambda q: q * Decimal("0.05")),
    (
        {"model": "package", "included_quantity": 100, "unit_price": 0.5},
        lambda q: max(q - 100, Decimal(0)) * Decimal("0.5"),
    ),
    (
        {"model": "tiered", "tiers": [{"up_to": 50, "unit_price": 0.1}, {"unit_price": 0.02}]},
        lambda q: min(q, Decimal(50)) * Decimal("0.1") + max(q - 50, Decimal(0)) * Decimal("0.02"),
    ),
    (
        {
            "model": "volume",
            "tiers": [
                {"up_to": 50, "unit_price": 0.1},
                {"up_to": 200, "unit_price": 0.09},
                {"unit_price": 0},
            ],
        },
        lambda q: q * Decimal("0.09"),
    ),
]


@pytest.mark.parametrize(("body", "cost"), MODELS, ids=[body["model"] for body, _ in MODELS])
async def test_metered_and_posted_usage_cost_the_same_in_report_pending_and_invoices(
    admin, sold, scratch, body, cost
):
    await price(admin, sold, body)
    octets = 90 * GB_OCTETS + 12_345
    await meter(scratch, sold, octets, datetime(2025, 10, 3, tzinfo=UTC))
    await post(admin, sold, 33.333333)
    await post(admin, sold, 0.000001)
    whole = Decimal(octets) / GB_OCTETS + Decimal("33.333334")
    expected = round_to_minor(cost(whole), "USD")
    ref = sold.subscription.ref
    asked = {"subscription_id": ref, **OCTOBER}
    report = (await admin.post(f"{BASE}/reports", {**asked, "include_breakdown": True})).json()
    assert report["total_amount"] == expected
    assert len(report["breakdown"]) == 1 or body["model"] == "package"
    pending = (await admin.get(f"{BASE}/pending", **asked)).json()
    assert pending["total_amount"] == expected
    assert (await admin.post(f"{BASE}/aggregate", {**asked, "period_type": "daily"})).json()[
        "total_amount"
    ] == expected

    first = await invoice(admin, sold, **OCTOBER)
    assert sum(entry["amount"] for entry in first["line_items"]) == expected
    await post(admin, sold, 20, period_start="2025-10-20T00:00:00", period_end="2025-10-21T00:00:00")
    total = round_to_minor(cost(whole + 20), "USD")
    assert abs((await admin.get(f"{BASE}/pending", **asked)).json()["total_amount"] - (total - expected)) <= 1
    both = (await admin.post(f"{BASE}/reports", {**asked, "include_billed": True})).json()
    assert both["total_amount"] == total, "billed and unbilled together are the month"


async def invoice(admin, sold, **span):
    answer = await admin.post(
        "/api/billing/invoices",
        {
            "customer_id": str(sold.customer.uid),
            "subscription_id": sold.subscription.ref,
            "amount": 0,
            "currency": "USD",
            "due_date": "2030-01-01",
            "line_items": {},
            "period_start": span["period_start"],
            "period_end": span["period_end"],
        },
    )
    assert answer.is_success, answer.text
    return (await admin.get(f"/api/billing/invoices/{answer.json()['id']}")).json()


async def test_usage_without_a_price_takes_the_plans_of_its_day(admin, sold):
    await price(admin, sold, {"unit_price": 0.07, "effective_on": "2025-10-10"})
    early = await post(admin, sold, 1, period_start="2025-10-09T12:00:00", period_end="2025-10-09T13:00:00")
    late = await post(admin, sold, 1)
    assert (early["unit_price"], late["unit_price"]) == (0.05, 0.07)
    unknown = sold.usage(usage_type="voice_minutes")
    unknown.pop("unit_price")
    refused = await admin.post(f"{BASE}/records", unknown)
    assert (refused.status_code, refused.json()["error"]["details"][0]["field"]) == (422, "unit_price")
    other_unit = {**sold.usage(unit="MB"), "unit_price": None}
    assert (await admin.post(f"{BASE}/records", other_unit)).status_code == 422
    bulk = await admin.post(
        f"{BASE}/records/bulk?on_error=skip", {"records": [sold.usage(quantity=7), unknown]}
    )
    assert (bulk.json()["created"], bulk.json()["rejected"]) == (1, 1)


async def test_usage_without_a_price_takes_that_of_the_plan_it_was_used_under(admin, sold, seller):
    dear = await seller("sub_dear", usage_price="2")
    moved = await admin.post(
        f"/api/subscriptions/{sold.subscription.ref}/change-plan", {"plan_id": dear.plan.ref}
    )
    assert moved.status_code == 200, moved.text
    now = datetime.now(UTC) + timedelta(seconds=1)
    then = {"period_start": "2025-10-09T12:00:00", "period_end": "2025-10-09T13:00:00"}
    assert (await post(admin, sold, 1, **then))["unit_price"] == 0.05
    assert (await post(admin, sold, 1, period_start=now.isoformat(), period_end=now.isoformat()))[
        "unit_price"
    ] == 2


async def test_a_price_that_is_replaced_on_its_day_goes_on_where_the_month_is(admin, sold):
    """The records say two first prices, the month is one: what was billed of it under either counts."""
    tiers = {"model": "tiered", "effective_on": "2025-10-01"}
    for cents in (0.5, 0.4):
        await price(
            admin, sold, {**tiers, "tiers": [{"up_to": 100, "unit_price": cents}, {"unit_price": 0.1}]}
        )
        await post(admin, sold, 60, period_start="2025-10-14T08:00:00")
    first = await invoice(admin, sold, **OCTOBER)
    await post(admin, sold, 10)
    second = await invoice(admin, sold, **OCTOBER)
    assert (first["amount"], second["amount"]) == (4000 + 200, 100)


async def test_a_price_that_counts_months_begins_with_one(admin, sold):
    package = {"model": "package", "included_quantity": 100, "unit_price": 0.5}
    refused = await price(admin, sold, {**package, "effective_on": "2025-10-15"}, 422)
    assert refused["error"]["details"][0]["field"] == "effective_on"
    await price(admin, sold, {**package, "effective_on": "2025-11-01"})
    await price(admin, sold, {**package, "usage_type": "voice_minutes", "effective_on": "2025-10-15"})
    await price(admin, sold, {**package, "effective_on": "2025-12-01", "effective_until": "2025-12-15"}, 422)
