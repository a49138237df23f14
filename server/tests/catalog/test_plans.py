"""Plans, their prices over time, and that what was sold stays as it was sold."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from decimal import Decimal
from urllib.parse import quote

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from demarc.kernel.errors import Conflict, Invalid, NotFound
from demarc.modules.catalog.inputs import bits_per_second, clean_ref
from demarc.modules.catalog.queries import find_usage_price, get_plan, price_on
from demarc.modules.catalog.rules import start_of_price
from demarc.modules.catalog.states import PLAN_STATES, PlanStatus
from demarc.modules.subscriptions.queries import get_subscription
from demarc.modules.subscriptions.service import cancel_subscription, open_subscription

FIBER = {
    "plan_id": "plan_fiber_100",
    "name": " Fiber 100 ",
    "service_type": "fiber_internet",
    "bandwidth_down_mbps": 100,
    "bandwidth_up_mbps": 37.5,
    "monthly_fee": 4999,
    "activation_fee": 2500,
    "usage_prices": [{"usage_type": "bandwidth_gb", "unit": "GB", "unit_price": 0.05}],
}


async def test_a_plan_is_made_read_listed_and_changed(admin):
    made = await admin.post("/api/plans", FIBER)
    assert made.status_code == 201, made.text
    plan = made.json()
    assert plan["id"] == plan["plan_id"] == "plan_fiber_100"
    assert (plan["name"], plan["currency"], plan["status"]) == ("Fiber 100", "USD", "active")
    assert (plan["monthly_fee"], plan["activation_fee"]) == (4999, 2500)
    assert (plan["bandwidth_down_mbps"], plan["bandwidth_up_mbps"]) == (100, 37.5)
    assert (await admin.get("/api/plans/plan_fiber_100")).json() == plan

    changed = await admin.patch("/api/plans/plan_fiber_100", {"description": "fast", "bandwidth_up_mbps": 50})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["description"], changed.json()["bandwidth_up_mbps"]) == ("fast", 50)
    usage = (await admin.get("/api/plans/plan_fiber_100/usage-prices")).json()
    assert [(p["usage_type"], p["unit"], p["unit_price"]) for p in usage["usage_prices"]] == [
        ("bandwidth_gb", "GB", 0.05)
    ]

    for number in range(3):
        await admin.post("/api/plans", {**FIBER, "plan_id": f"plan_{number}", "name": f"P{number}"})
    listed = (await admin.get("/api/plans", sort="-plan_id", limit=2)).json()
    assert [row["id"] for row in listed["plans"]] == ["plan_fiber_100", "plan_2"]
    assert (listed["total"], listed["skip"], listed["limit"]) == (4, 0, 2)
    assert (await admin.get("/api/plans", search="p1")).json()["total"] == 1
    assert (await admin.get("/api/plans", service_type="voice")).json()["total"] == 0
    assert (await admin.get("/api/plans", sort="monthly_fee")).status_code == 422


BAD = [
    ({"plan_id": None}, "plan_id"),
    ({"plan_id": ""}, "plan_id"),
    ({"plan_id": "p" * 51}, "plan_id"),
    ({"plan_id": "a/b"}, "plan_id"),
    ({"plan_id": " a"}, "plan_id"),
    ({"plan_id": "a\u0000"}, "plan_id"),
    ({"name": "  "}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"service_type": "Fiber Internet"}, "service_type"),
    ({"bandwidth_down_mbps": 0}, "bandwidth_down_mbps"),
    ({"bandwidth_up_mbps": -5}, "bandwidth_up_mbps"),
    ({"bandwidth_up_mbps": 0.0000001}, "bandwidth_up_mbps"),
    ({"bandwidth_up_mbps": 10**7}, "bandwidth_up_mbps"),
    ({"monthly_fee": None}, "monthly_fee"),
    ({"monthly_fee": -1}, "monthly_fee"),
    ({"monthly_fee": 49.99}, "monthly_fee"),
    ({"monthly_fee": "4999"}, "monthly_fee"),
    ({"monthly_fee": True}, "monthly_fee"),
    ({"monthly_fee": 10**16}, "monthly_fee"),
    ({"activation_fee": -1}, "activation_fee"),
    ({"currency": "EUR"}, "currency"),
    ({"currency": "XXY"}, "currency"),
    ({"effective_on": "2025-02-32"}, "effective_on"),
    ({"usage_prices": [{"usage_type": "gb", "unit": "GB", "unit_price": -1}]}, "usage_prices.0.unit_price"),
    ({"usage_prices": [{"usage_type": "gb", "unit": "GB", "unit_price": 0.0000001}]}, "unit_price"),
    ({"usage_prices": [{"usage_type": "gb", "unit": "", "unit_price": 1}]}, "usage_prices.0.unit"),
    ({"usage_prices": [{"usage_type": "gb", "unit": "GB", "unit_price": 1}] * 2}, "usage_prices"),
]


async def test_bad_input_names_the_field_and_makes_nothing(admin):
    for changes, field in BAD:
        answer = await admin.post("/api/plans", {**FIBER, **changes})
        assert answer.status_code == 422, f"{changes}: {answer.text}"
        assert field in [detail["field"] for detail in answer.json()["error"]["details"]], changes
    assert (await admin.get("/api/plans")).json()["total"] == 0


async def test_a_bad_patch_changes_nothing(admin):
    plan = (await admin.post("/api/plans", FIBER)).json()
    for body in ({"name": None}, {"name": ""}, {"bandwidth_up_mbps": 0}, {"status": "gone"}):
        assert (await admin.patch("/api/plans/plan_fiber_100", body)).status_code == 422, body
    assert (await admin.patch("/api/plans/plan_fiber_100", {})).json() == plan
    assert (await admin.patch("/api/plans/nowhere", {"name": "A"})).status_code == 404


async def test_a_reference_is_taken_once_also_at_once(admin):
    answers = await asyncio.gather(*(admin.post("/api/plans", FIBER) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    again = await admin.post("/api/plans", FIBER)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "PLAN_EXISTS")


async def test_another_tenants_plan_does_not_exist_and_the_reference_is_free_there(admin, callers):
    await admin.post("/api/plans", FIBER)
    beta = await callers("beta", "admin")
    assert (await beta.get("/api/plans/plan_fiber_100")).status_code == 404
    for part in ("prices", "usage-prices"):
        assert (await beta.get(f"/api/plans/plan_fiber_100/{part}")).status_code == 404
    assert (await beta.post("/api/plans/plan_fiber_100/prices", {"monthly_fee": 1})).status_code == 404
    assert (await beta.get("/api/plans")).json()["total"] == 0
    theirs = await beta.post("/api/plans", FIBER)
    assert (theirs.status_code, theirs.json()["currency"]) == (201, "EUR")


async def test_who_bought_keeps_the_price_and_the_next_pays_the_new_one(admin, begin):
    await admin.post("/api/plans", FIBER)
    customer = (await admin.post("/api/customers", {"name": "Ann"})).json()

    async def sell(ref):
        answer = await admin.post(
            "/api/services/lifecycle/provision",
            {
                "customer_id": customer["id"],
                "service_type": "fiber_internet",
                "service_name": "A",
                "plan_id": "plan_fiber_100",
                "subscription_id": ref,
            },
        )
        assert answer.status_code == 201, answer.text
        return (await admin.get(f"/api/subscriptions/{ref}")).json()["monthly_fee"]

    async with begin() as tx:
        tomorrow = (tx.now + timedelta(days=1)).date()
    assert await sell("sub_1") == 4999
    coming = await admin.post(
        "/api/plans/plan_fiber_100/prices", {"monthly_fee": 5999, "effective_on": tomorrow.isoformat()}
    )
    assert (coming.status_code, coming.json()["effective_on"]) == (201, tomorrow.isoformat())
    assert await sell("sub_2") == 4999
    assert (await admin.get("/api/plans/plan_fiber_100")).json()["monthly_fee"] == 4999
    async with begin() as tx:
        await tx.connection.execute("UPDATE tenant SET clock_offset = interval '1 day'")
    assert (await admin.get("/api/plans/plan_fiber_100")).json()["monthly_fee"] == 5999
    assert await sell("sub_3") == 5999
    assert (await admin.get("/api/subscriptions/sub_1")).json()["monthly_fee"] == 4999
    prices = (await admin.get("/api/plans/plan_fiber_100/prices")).json()
    assert [price["monthly_fee"] for price in prices["prices"]] == [4999, 5999]


async def test_a_price_of_the_same_day_is_replaced_and_a_past_one_is_for_sandboxes(admin, callers):
    await admin.post("/api/plans", FIBER)
    await admin.post("/api/plans/plan_fiber_100/prices", {"monthly_fee": 3999})
    await admin.post("/api/plans/plan_fiber_100/prices", {"monthly_fee": 1999, "effective_on": "2025-01-01"})
    prices = (await admin.get("/api/plans/plan_fiber_100/prices", sort="effective_on")).json()["prices"]
    assert [price["monthly_fee"] for price in prices] == [1999, 3999]
    assert (await admin.get("/api/plans/plan_fiber_100")).json()["monthly_fee"] == 3999

    beta = await callers("beta", "admin")
    assert (await beta.post("/api/plans", {**FIBER, "effective_on": "2025-01-01"})).status_code == 422
    await beta.post("/api/plans", FIBER)
    for part, body in (
        ("prices", {"monthly_fee": 1}),
        ("usage-prices", {"usage_type": "gb", "unit": "GB", "unit_price": 1}),
    ):
        past = await beta.post(f"/api/plans/plan_fiber_100/{part}", {**body, "effective_on": "2025-01-01"})
        assert past.status_code == 422
        assert past.json()["error"]["details"][0]["field"] == "effective_on"


async def test_a_plan_whose_price_lies_ahead_cannot_be_sold_yet(admin):
    made = await admin.post("/api/plans", {**FIBER, "effective_on": "2900-01-31"})
    assert (made.json()["monthly_fee"], made.json()["activation_fee"]) == (None, None)
    customer = (await admin.post("/api/customers", {"name": "Ann"})).json()
    answer = await admin.post(
        "/api/services/lifecycle/provision",
        {
            "customer_id": customer["id"],
            "service_type": "fiber_internet",
            "service_name": "A",
            "plan_id": "plan_fiber_100",
        },
    )
    assert answer.status_code == 404
    assert "no price" in answer.json()["error"]["message"]


async def test_prices_by_day(admin, begin):
    await admin.post("/api/plans", {**FIBER, "effective_on": "2025-03-01", "usage_prices": []})
    for day, fee in (("2025-06-31", 6000), ("2025-09-01", 7000)):
        await admin.post("/api/plans/plan_fiber_100/prices", {"monthly_fee": fee, "effective_on": day})
    for day, price in (("2025-06-30", 0.05), ("2025-09-01", 0.123456)):
        body = {"usage_type": "bandwidth_gb", "unit": "GB", "unit_price": price, "effective_on": day}
        answer = await admin.post("/api/plans/plan_fiber_100/usage-prices", body)
        assert (answer.status_code, answer.json()["unit_price"]) == (201, price)
    async with begin() as tx:
        plan = await get_plan(tx, "plan_fiber_100")
        with pytest.raises(NotFound):
            await price_on(tx, plan.id, date(2025, 2, 28))
        fees = [
            (await price_on(tx, plan.id, day)).monthly_minor
            for day in (
                date(2025, 3, 1),
                date(2025, 6, 29),
                date(2025, 6, 30),
                date(2025, 8, 31),
                date(2026, 1, 1),
            )
        ]
        assert fees == [4999, 4999, 6000, 6000, 7000]
        assert await find_usage_price(tx, plan.id, "bandwidth_gb", date(2025, 6, 29)) is None
        assert await find_usage_price(tx, plan.id, "minutes", date(2026, 1, 1)) is None
        rated = await find_usage_price(tx, plan.id, "bandwidth_gb", date(2026, 1, 1))
        assert rated.unit_price == Decimal("0.123456")


async def test_a_plan_is_retired_and_put_on_sale_again(admin, begin):
    await admin.post("/api/plans", FIBER)
    for target, status in (("retired", 200), ("retired", 200), ("active", 200)):
        answer = await admin.patch("/api/plans/plan_fiber_100", {"status": target})
        assert (answer.status_code, answer.json()["status"]) == (status, target)
    async with begin() as tx:
        moves = await tx.connection.fetch(
            "SELECT from_status, to_status FROM status_change WHERE entity = 'plan' ORDER BY id"
        )
        assert [tuple(move) for move in moves] == [
            (None, "active"),
            ("active", "retired"),
            ("retired", "active"),
        ]
    for current in PlanStatus:
        for target in PlanStatus:
            if PLAN_STATES.can(current, target):
                PLAN_STATES.check(current, target)
            else:
                with pytest.raises(Conflict):
                    PLAN_STATES.check(current, target)


async def test_a_subscription_is_opened_once_and_canceled_once(admin, begin):
    await admin.post("/api/plans", FIBER)
    await admin.post("/api/customers", {"name": "Ann"})
    async with begin() as tx:
        plan = await get_plan(tx, "plan_fiber_100")
        customer_id = await tx.connection.fetchval("SELECT id FROM customer")
        first = await open_subscription(tx, ref="sub_1", customer_id=customer_id, plan_id=plan.id)
        assert await open_subscription(tx, ref="sub_1", customer_id=customer_id, plan_id=plan.id) == first
        with pytest.raises(NotFound):
            await open_subscription(tx, ref="sub_2", customer_id=-1, plan_id=plan.id)
        with pytest.raises(NotFound):
            await open_subscription(tx, ref="sub_2", customer_id=customer_id, plan_id=-1)
        for ref in ("", "s" * 51, "a/b", "a\n", "\t"):
            with pytest.raises(Invalid):
                await open_subscription(tx, ref=ref, customer_id=customer_id, plan_id=plan.id)
        canceled = await cancel_subscription(tx, subscription_id=first.id, reason="test")
        assert (canceled.status, canceled.canceled_at) == ("canceled", tx.now)
        with pytest.raises(Conflict):
            await cancel_subscription(tx, subscription_id=first.id)
        with pytest.raises(Conflict):
            await open_subscription(tx, ref="sub_1", customer_id=customer_id, plan_id=plan.id)
        assert await get_subscription(tx, "sub_1") == canceled


@example(".")
@example("..")
@given(st.text(max_size=60))
def test_a_reference_that_passes_can_stand_in_a_path(ref):
    try:
        cleaned = clean_ref(ref)
    except Invalid:
        return
    assert cleaned == ref == ref.strip(" \t\r\n")
    assert 1 <= len(ref) <= 50
    assert "/" not in ref
    assert "\x00" not in ref
    assert httpx.URL("http://x").join(f"/plans/{quote(ref)}").path == f"/plans/{ref}"


@given(st.integers(1, 10**12))
def test_a_speed_survives_the_way_through_megabits(bps):
    assert bits_per_second(bps / 1_000_000, field="x") == bps


@pytest.mark.parametrize("value", [None, True, "100", float("nan"), float("inf"), 0, -1, 10**7, 1e-7])
def test_what_is_no_speed(value):
    with pytest.raises(Invalid):
        bits_per_second(value, field="x")


@given(st.dates(), st.dates(), st.booleans())
def test_a_price_never_starts_in_the_past_of_a_real_tenant(asked, today, sandbox):
    if asked < today and not sandbox:
        with pytest.raises(Invalid):
            start_of_price(asked, today=today, may_be_past=sandbox)
    else:
        assert start_of_price(asked, today=today, may_be_past=sandbox) == asked
    assert start_of_price(None, today=today, may_be_past=sandbox) == today
