"""Prices that end by themselves never share a day, and speeds have names."""

from __future__ import annotations

import asyncio
import uuid
from datetime import date
from decimal import Decimal

from demarc.modules.catalog.queries import find_usage_price, get_plan, price_on

PLAN = {
    "plan_id": "plan_fiber_100",
    "name": "Fiber 100",
    "service_type": "fiber_internet",
    "bandwidth_down_mbps": 100,
    "bandwidth_up_mbps": 50,
    "monthly_fee": 5000,
    "effective_on": "2025-01-01",
    "usage_prices": [
        {"usage_type": "bandwidth_gb", "unit": "GB", "unit_price": 0.05, "effective_on": "2025-01-01"}
    ],
}
PRICES = "/api/plans/plan_fiber_100/prices"
USAGE = "/api/plans/plan_fiber_100/usage-prices"


async def test_an_offer_counts_for_its_days_and_no_two_share_one(admin, begin):
    await admin.post("/api/plans", PLAN)

    async def offer(fee, start, end):
        body = {"monthly_fee": fee, "effective_on": start, "effective_until": end}
        return await admin.post(PRICES, body)

    made = await offer(1000, "2025-03-01", "2025-04-01")
    assert (made.status_code, made.json()["effective_until"]) == (201, "2025-04-01")
    for start, end in (
        ("2025-03-01", "2025-04-01"),
        ("2025-03-31", "2025-05-01"),
        ("2025-02-01", "2025-03-02"),
    ):
        refused = await offer(2000, start, end)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "PRICE_OVERLAPS"), start
    assert (await offer(2000, "2025-04-01", "2025-04-15")).status_code == 201
    assert (await offer(2000, "2025-06-01", "2025-06-01")).status_code == 422
    await admin.post(PRICES, {"monthly_fee": 6000, "effective_on": "2025-03-15"})
    async with begin() as tx:
        plan = await get_plan(tx, "plan_fiber_100")
        for day, fee in (
            ((2025, 2, 28), 5000),
            ((2025, 3, 1), 1000),
            ((2025, 3, 31), 1000),
            ((2025, 4, 1), 2000),
            ((2025, 4, 15), 6000),
        ):
            assert (await price_on(tx, plan.id, date(*day))).monthly_minor == fee, day
    listed = (await admin.get(PRICES, sort="-effective_on")).json()["prices"]
    assert [(p["monthly_fee"], p["effective_until"]) for p in listed] == [
        (2000, "2025-04-15"),
        (6000, None),
        (1000, "2025-04-01"),
        (5000, None),
    ]


async def test_two_offers_at_once_make_one(admin):
    await admin.post("/api/plans", PLAN)
    body = {"monthly_fee": 1, "effective_on": "2025-03-01", "effective_until": "2025-04-01"}
    answers = await asyncio.gather(*(admin.post(PRICES, body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_an_offer_of_usage_is_for_its_type_alone(admin, begin):
    await admin.post("/api/plans", PLAN)
    offer = {"unit": "GB", "unit_price": 0.01, "effective_on": "2025-03-01", "effective_until": "2025-04-01"}
    assert (await admin.post(USAGE, {"usage_type": "bandwidth_gb", **offer})).status_code == 201
    assert (await admin.post(USAGE, {"usage_type": "bandwidth_gb", **offer})).status_code == 409
    assert (await admin.post(USAGE, {"usage_type": "storage_gb", **offer})).status_code == 201
    async with begin() as tx:
        plan = await get_plan(tx, "plan_fiber_100")
        for month, price in ((2, "0.05"), (3, "0.01"), (4, "0.05")):
            found = await find_usage_price(tx, plan.id, "bandwidth_gb", date(2025, month, 1))
            assert found.unit_price == Decimal(price), month
        assert await find_usage_price(tx, plan.id, "storage_gb", date(2025, 4, 1)) is None
    only = (await admin.get(USAGE, usage_type="storage_gb")).json()
    assert [row["usage_type"] for row in only["usage_prices"]] == ["storage_gb"]


async def test_tiers_come_back_as_they_were_given(admin):
    tiers = [{"up_to": 100, "unit_price": 0.1}, {"up_to": 1000.5, "unit_price": 0.05}, {"unit_price": 0}]
    body = {"usage_type": "bandwidth_gb", "unit": "GB", "model": "tiered", "tiers": tiers}
    made = await admin.post("/api/plans", {**PLAN, "usage_prices": [body]})
    assert made.status_code == 201, made.text
    (shown,) = (await admin.get(USAGE)).json()["usage_prices"]
    assert (shown["model"], shown["unit_price"], shown["tiers"]) == (
        "tiered",
        0.1,
        [tiers[0], tiers[1], {"up_to": None, "unit_price": 0}],
    )
    overlapping = {
        **body,
        "tiers": [{"up_to": 100, "unit_price": 1}, {"up_to": 50, "unit_price": 1}, {"unit_price": 1}],
    }
    refused = await admin.post(USAGE, overlapping)
    assert (refused.status_code, refused.json()["error"]["details"][0]["field"]) == (422, "tiers.1.up_to")


async def test_a_bandwidth_profile_is_made_read_listed_changed_and_forgotten(admin, callers):
    slow = {"name": "Slow", "download_mbps": 2, "upload_mbps": 1.5}
    made = await admin.post("/api/bandwidth-profiles", slow)
    assert made.status_code == 201, made.text
    path = f"/api/bandwidth-profiles/{made.json()['id']}"
    assert (await admin.get(path)).json() == made.json()
    assert (await admin.post("/api/bandwidth-profiles", slow)).json()["error"]["code"] == "PROFILE_EXISTS"
    await admin.post("/api/bandwidth-profiles", {"name": "Fast", "download_mbps": 900, "upload_mbps": 900})
    changed = await admin.patch(path, {"download_mbps": 4, "description": "after the cap"})
    assert (changed.json()["download_mbps"], changed.json()["upload_mbps"]) == (4, 1.5)
    assert (await admin.patch(path, {"name": "Fast"})).status_code == 409
    assert (await admin.patch(path, {"name": None})).status_code == 422
    assert (await admin.patch(path, {"upload_mbps": 0})).status_code == 422

    async def names(**query):
        listed = (await admin.get("/api/bandwidth-profiles", **query)).json()
        return [row["name"] for row in listed["bandwidth_profiles"]], listed["total"]

    assert await names() == (["Fast", "Slow"], 2)
    assert await names(sort="download_mbps", limit=1) == (["Slow"], 2)
    assert await names(search="AS") == (["Fast"], 1)
    beta = await callers("beta", "admin")
    assert (await beta.get(path)).status_code == 404
    assert (await beta.patch(path, {"name": "X"})).status_code == 404
    plan = {**PLAN, "data_limit_gb": 1, "data_limit_policy": {"action": "throttle", "profile": "Slow"}}
    assert (await admin.post("/api/plans", plan)).json()["data_limit_policy"]["download_mbps"] == 4
    assert (await admin.delete(path)).status_code == 200
    assert (await admin.get(path)).status_code == 404
    assert (await admin.get("/api/plans/plan_fiber_100")).json()["data_limit_policy"]["download_mbps"] == 4
    assert (await admin.get(f"/api/bandwidth-profiles/{uuid.uuid4()}")).status_code == 404
