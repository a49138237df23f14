"""Agreements by themselves, and with the service that runs on them."""

from __future__ import annotations

import asyncio
import uuid
from uuid import UUID

from demarc.modules.services.queries import get_service, hold_service
from demarc.workflows.agreements import move_to_plan

from ..waiting import until_somebody_waits  # noqa: TID252 - the tests' own
from .conftest import sell_plan

PATH = "/api/subscriptions"


async def test_opened_moved_and_canceled_without_a_service(admin, customer, plan, callers):
    await sell_plan(admin, "plan_fiber_200", monthly_fee=7999)
    body = {"subscription_id": "sub_alone", "customer_id": customer["id"], "plan_id": plan["id"]}
    made = await admin.post(PATH, body)
    assert (made.status_code, made.json()["monthly_fee"], made.json()["status"]) == (201, 4999, "active"), (
        made.text
    )
    again = await admin.post(PATH, body)
    assert (again.status_code, again.json()) == (200, made.json())
    for changes, status in (
        ({"plan_id": "plan_fiber_200"}, 409),
        ({"plan_id": "plan_nowhere"}, 404),
        ({"customer_id": str(uuid.uuid4())}, 404),
        ({"subscription_id": "a/b"}, 422),
        ({"subscription_id": "x" * 51}, 422),
    ):
        assert (await admin.post(PATH, {**body, **changes})).status_code == status, changes

    one = f"{PATH}/sub_alone"
    moved = await admin.post(f"{one}/change-plan", {"plan_id": "plan_fiber_200"})
    assert (moved.status_code, moved.json()["plan_id"], moved.json()["monthly_fee"]) == (
        200,
        "plan_fiber_200",
        7999,
    )
    assert (await admin.post(f"{one}/change-plan", {"plan_id": "plan_fiber_200"})).status_code == 409
    terms = (await admin.get(f"{one}/terms")).json()
    assert [(term["plan_id"], term["monthly_fee"]) for term in terms["terms"]] == [
        ("plan_fiber_100", 4999),
        ("plan_fiber_200", 7999),
    ]
    assert terms["terms"][0]["ended_at"] == terms["terms"][1]["started_at"]
    ended = await admin.post(f"{one}/cancel", {"reason": "moved"})
    assert (ended.json()["status"], ended.json()["canceled_at"] is not None) == ("canceled", True)
    assert (await admin.post(f"{one}/cancel")).status_code == 409
    late = await admin.post(f"{one}/change-plan", {"plan_id": plan["id"]})
    assert (late.status_code, late.json()["error"]["code"]) == (409, "ILLEGAL_STATE_CHANGE")
    beta = await callers("beta", "admin")
    assert (await beta.get(f"{one}/terms")).status_code == 404
    assert (await beta.post(f"{one}/cancel")).status_code == 404


async def test_the_service_moves_with_its_subscription(admin, service, plan):
    await sell_plan(admin, "plan_fiber_200", bandwidth_down_mbps=200, bandwidth_up_mbps=100)
    one = f"{PATH}/{service['subscription_id']}"
    refused = await admin.post(f"{one}/cancel")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "SUBSCRIPTION_HAS_SERVICE")
    assert (await admin.post(f"{one}/change-plan", {"plan_id": "plan_fiber_200"})).status_code == 200
    shown = (await admin.get(f"/api/services/lifecycle/{service['id']}")).json()
    assert (shown["plan_id"], shown["bandwidth_profile"]["download_mbps"]) == ("plan_fiber_200", 200.0)


async def test_every_filter_of_the_list(admin, order, customer, plan):
    first, second = [(await order()).json() for _ in range(2)]
    await admin.post(f"/api/services/lifecycle/{first['id']}/terminate")
    for name, value, expected in (
        ("status", "canceled", [first]),
        ("status", "active", [second]),
        ("customer_id", customer["id"], [first, second]),
        ("customer_id", str(uuid.uuid4()), []),
        ("plan_id", plan["id"], [first, second]),
        ("plan_id", "plan_nowhere", []),
    ):
        listed = (await admin.get(PATH, **{name: value})).json()
        assert [row["id"] for row in listed["subscriptions"]] == [
            one["subscription_id"] for one in expected
        ], name
    down = (await admin.get(PATH, sort="-created_at", limit=1)).json()
    assert (down["subscriptions"][0]["id"], down["total"]) == (second["subscription_id"], 2)


async def test_who_waited_for_a_change_of_plan_ends_no_term_before_it_began(begin, admin, service, plan):
    """Two changes, of which the later has the earlier time: each month is billed by what was agreed in it."""
    for speed in (200, 300):
        await sell_plan(admin, f"plan_fiber_{speed}")
    ref = service["subscription_id"]
    async with begin() as waited:
        async with begin() as tx:
            await move_to_plan(tx, ref=ref, plan_ref="plan_fiber_200")
        await move_to_plan(waited, ref=ref, plan_ref="plan_fiber_300")
    terms = (await admin.get(f"{PATH}/{ref}/terms")).json()["terms"]
    assert [term["plan_id"] for term in terms] == [plan["id"], "plan_fiber_200", "plan_fiber_300"]
    assert all(term["started_at"] <= term["ended_at"] for term in terms[:-1])


async def test_commands_to_a_service_and_its_subscription_at_once_wait_for_each_other(
    begin, admin, service, plan
):
    """No deadlock: the one that came second goes on when the first is done."""
    for speed in (200, 300):
        await sell_plan(admin, f"plan_fiber_{speed}")
    ref = service["subscription_id"]
    async with begin() as first:
        await hold_service(first, (await get_service(first, UUID(service["id"]))).id)
        second = asyncio.create_task(admin.post(f"{PATH}/{ref}/change-plan", {"plan_id": "plan_fiber_200"}))
        await until_somebody_waits(first)
        await move_to_plan(first, ref=ref, plan_ref="plan_fiber_300")
    assert (await second).status_code == 200
    assert (await admin.get(f"{PATH}/{ref}")).json()["plan_id"] == "plan_fiber_200"
