"""002's provision call: documented answers, repeats, refusals, numbers."""

from __future__ import annotations

import asyncio
import re
import uuid
from datetime import timedelta

from .conftest import sell_plan

CONFIG = {"bandwidth_down_mbps": 100, "bandwidth_up_mbps": 50, "vlan_id": 100}
LIFECYCLE = "/api/services/lifecycle"


async def test_the_documents_example_answers_with_an_active_service(admin, customer, order):
    answer = await order(
        subscription_id=f"sub_{customer['id']}",
        service_config=CONFIG,
        installation_address="123 Main St, Springfield, IL 62701",
        installation_scheduled_date="2025-10-21T10:00:00.123456",
    )
    assert answer.status_code == 201, answer.text
    service = answer.json()
    assert re.fullmatch(r"SVC-\d{8}-1", service["service_identifier"])
    assert (service["status"], service["provisioning_status"]) == ("active", "completed")
    assert service["service_config"] == CONFIG
    assert service["bandwidth_profile"] == {"download_mbps": 100.0, "upload_mbps": 50.0}
    assert (service["customer_id"], service["subscription_id"], service["plan_id"]) == (
        customer["id"],
        f"sub_{customer['id']}",
        "plan_fiber_100",
    )
    assert service["suspended_at"] is None
    assert service["activated_at"].endswith("Z")
    assert service["installation_scheduled_date"] == "2025-10-21T10:00:00.123456Z"
    assert (await admin.get(f"{LIFECYCLE}/{service['id']}")).json() == service

    subscription = (await admin.get(f"/api/subscriptions/sub_{customer['id']}")).json()
    assert (subscription["monthly_fee"], subscription["currency"], subscription["status"]) == (
        4999,
        "USD",
        "active",
    )
    assert (subscription["customer_id"], subscription["plan_id"]) == (customer["id"], "plan_fiber_100")


async def test_without_auto_activate_it_waits_and_is_activated_once(admin, order):
    made = (await order(auto_activate=False)).json()
    assert (made["status"], made["provisioning_status"], made["activated_at"]) == (
        "pending",
        "completed",
        None,
    )
    steps = (await admin.get(f"{LIFECYCLE}/{made['id']}/steps")).json()
    assert [(step["name"], step["status"]) for step in steps["steps"]] == [("check_agreement", "completed")]
    activated = await admin.post(f"{LIFECYCLE}/{made['id']}/activate")
    assert (activated.status_code, activated.json()["status"]) == (200, "active")
    again = await admin.post(f"{LIFECYCLE}/{made['id']}/activate")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "ILLEGAL_STATE_CHANGE")


async def test_speeds_not_in_the_config_are_the_plans(order):
    made = (await order(service_config={"bandwidth_down_mbps": 12.5})).json()
    assert made["bandwidth_profile"] == {"download_mbps": 12.5, "upload_mbps": 40.0}


async def test_the_same_order_for_the_same_subscription_doubles_nothing(admin, customer, order):
    ref = f"sub_{customer['id']}"
    first = await order(subscription_id=ref, service_config=CONFIG, installation_scheduled_date="2030-01-01")
    again = await order(subscription_id=ref, service_config=CONFIG, installation_scheduled_date="2030-02-31")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert (await admin.get(LIFECYCLE)).json()["total"] == 1
    assert (await admin.get("/api/subscriptions")).json()["total"] == 1


async def test_a_subscription_has_one_service(admin, customer, order):
    ref = f"sub_{customer['id']}"
    made = (await order(subscription_id=ref)).json()
    other = await order(subscription_id=ref, service_config={"bandwidth_down_mbps": 10})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "SUBSCRIPTION_HAS_SERVICE")
    assert made["service_identifier"] in other.json()["error"]["message"]
    await sell_plan(admin, "plan_fiber_200")
    moved = await order(subscription_id=ref, plan_id="plan_fiber_200")
    assert (moved.status_code, moved.json()["error"]["code"]) == (409, "SUBSCRIPTION_OF_ANOTHER_PLAN")
    await admin.post(f"{LIFECYCLE}/{made['id']}/terminate", {"reason": "moved"})
    ended = await order(subscription_id=ref)
    assert (ended.status_code, ended.json()["error"]["code"]) == (409, "SUBSCRIPTION_CANCELED")


async def test_without_a_subscription_each_order_is_a_sale_and_a_key_makes_it_one(
    admin, customer, order, plan
):
    first, second = (await order()).json(), (await order()).json()
    assert first["subscription_id"] == f"sub_{first['service_identifier']}"
    assert first["subscription_id"] != second["subscription_id"]
    body = {
        "customer_id": customer["id"],
        "service_type": "fiber_internet",
        "service_name": "A",
        "plan_id": plan["id"],
    }
    answers = [await admin.post(f"{LIFECYCLE}/provision", body, Idempotency_Key="once") for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert (await admin.get(LIFECYCLE)).json()["total"] == 3


async def test_another_customers_subscription_is_refused(admin, order):
    await order(subscription_id="sub_abc123")
    other = (await admin.post("/api/customers", {"name": "Ben"})).json()
    answer = await order(subscription_id="sub_abc123", customer_id=other["id"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "SUBSCRIPTION_TAKEN")


BAD = [
    ({"customer_id": str(uuid.uuid4())}, 404, "customer_id"),
    ({"plan_id": "plan_nowhere"}, 404, "plan_id"),
    ({"customer_id": "ann"}, 422, "customer_id"),
    ({"customer_id": None}, 422, "customer_id"),
    ({"plan_id": "p" * 51}, 422, "plan_id"),
    ({"plan_id": ""}, 422, "plan_id"),
    ({"service_type": "voice"}, 422, "service_type"),
    ({"service_type": None}, 422, "service_type"),
    ({"service_name": ""}, 422, "service_name"),
    ({"service_name": "   "}, 422, "service_name"),
    ({"service_name": "x" * 101}, 422, "service_name"),
    ({"service_name": "a\u0000b"}, 422, "service_name"),
    ({"subscription_id": ""}, 422, "subscription_id"),
    ({"subscription_id": "s" * 51}, 422, "subscription_id"),
    ({"subscription_id": "a/b"}, 422, "subscription_id"),
    ({"service_config": []}, 422, "service_config"),
    ({"service_config": {"bandwidth_down_mbps": 0}}, 422, "service_config.bandwidth_down_mbps"),
    ({"service_config": {"bandwidth_down_mbps": -1}}, 422, "service_config.bandwidth_down_mbps"),
    ({"service_config": {"bandwidth_down_mbps": True}}, 422, "service_config.bandwidth_down_mbps"),
    ({"service_config": {"bandwidth_up_mbps": "fast"}}, 422, "service_config.bandwidth_up_mbps"),
    ({"service_config": {"bandwidth_up_mbps": 10**7}}, 422, "service_config.bandwidth_up_mbps"),
    ({"service_config": {"bandwidth_up_mbps": 0.0000001}}, 422, "service_config.bandwidth_up_mbps"),
    ({"service_config": {"vlan_id": 4095}}, 422, "service_config.vlan_id"),
    ({"service_config": {"vlan_id": 100.5}}, 422, "service_config.vlan_id"),
    ({"service_config": {"note": "\u0000"}}, 422, "service_config"),
    ({"service_config": {"note": "x" * 20_000}}, 422, "service_config"),
    ({"installation_scheduled_date": "2025-13-01"}, 422, "installation_scheduled_date"),
    ({"installation_scheduled_date": "soon"}, 422, "installation_scheduled_date"),
    ({"installation_scheduled_date": 1760000000}, 422, "installation_scheduled_date"),
    ({"auto_activate": "perhaps"}, 422, "auto_activate"),
]


async def test_bad_input_names_the_field_and_makes_nothing(admin, order):
    for changes, status, field in BAD:
        answer = await order(**changes)
        assert answer.status_code == status, f"{changes}: {answer.text}"
        assert field in [detail["field"] for detail in answer.json()["error"]["details"]], changes
    assert (await admin.get(LIFECYCLE)).json()["total"] == 0
    assert (await admin.get("/api/subscriptions")).json()["total"] == 0


async def test_infinity_is_not_a_speed(admin, customer, plan):
    text = (
        f'{{"customer_id": "{customer["id"]}", "service_type": "fiber_internet", "service_name": "A",'
        f' "plan_id": "{plan["id"]}", "service_config": {{"bandwidth_down_mbps": Infinity}}}}'
    )
    answer = await admin.client.post(
        f"{LIFECYCLE}/provision", content=text, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422), answer.text


async def test_unknown_fields_are_ignored(order):
    assert (await order(colour="red")).status_code == 201


async def test_a_retired_plan_is_not_sold_and_an_inactive_customer_buys_nothing(admin, begin, order, plan):
    await admin.patch(f"/api/plans/{plan['id']}", {"status": "retired"})
    refused = await order()
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "PLAN_RETIRED")
    await admin.patch(f"/api/plans/{plan['id']}", {"status": "active"})
    async with begin() as tx:
        await tx.connection.execute("UPDATE customer SET status = 'terminated'")
    assert (await order()).status_code == 409
    assert (await admin.get(LIFECYCLE)).json()["total"] == 0


async def test_numbers_are_unique_under_concurrency(admin, order):
    answers = await asyncio.gather(*(order() for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    numbers = sorted(int(answer.json()["service_identifier"].rpartition("-")[2]) for answer in answers)
    assert numbers == list(range(1, 21))
    assert (await admin.get(LIFECYCLE)).json()["total"] == 20


async def test_numbers_start_anew_each_day(admin, begin, order):
    await order()
    async with begin() as tx:
        await tx.connection.execute("UPDATE tenant SET clock_offset = $1", timedelta(days=1))
    tomorrow = (await order()).json()
    assert tomorrow["service_identifier"].endswith("-1")
    listed = (await admin.get(LIFECYCLE, sort="-service_identifier")).json()["services"]
    assert listed[0]["service_identifier"] == tomorrow["service_identifier"]


async def test_ten_orders_at_once_for_one_new_subscription_make_one_service(admin, order):
    answers = await asyncio.gather(*(order(subscription_id="sub_race") for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await admin.get(LIFECYCLE)).json()["total"] == 1
    assert (await admin.get("/api/subscriptions")).json()["total"] == 1


async def test_ten_orders_at_once_for_one_open_subscription_make_one_service(admin, begin, order):
    made = (await order()).json()
    async with begin() as tx:
        await tx.connection.execute("DELETE FROM provisioning_step")
        await tx.connection.execute("DELETE FROM service")
    ref = made["subscription_id"]
    answers = await asyncio.gather(*(order(subscription_id=ref) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_another_tenant_sees_and_reaches_nothing(callers, customer, order, service):
    beta = await callers("beta", "admin")
    path = f"{LIFECYCLE}/{service['id']}"
    for part in ("", "/events", "/locks", "/steps"):
        assert (await beta.get(path + part)).status_code == 404
    for command in ("suspend", "resume", "activate", "terminate"):
        assert (await beta.post(f"{path}/{command}", {"reason": "theirs"})).status_code == 404
    assert (await beta.get(LIFECYCLE)).json()["total"] == 0
    assert (await beta.get("/api/subscriptions")).json()["total"] == 0
    assert (await beta.get(f"/api/subscriptions/{service['subscription_id']}")).status_code == 404
    await sell_plan(beta, "plan_fiber_100", currency="EUR")
    theirs = await beta.post(
        f"{LIFECYCLE}/provision",
        {
            "customer_id": customer["id"],
            "service_type": "fiber_internet",
            "service_name": "Theft",
            "plan_id": "plan_fiber_100",
        },
    )
    assert theirs.status_code == 404


async def test_lists_filter_sort_and_window(admin, customer, order):
    ids = [(await order(service_name=f"Line {number}")).json()["id"] for number in range(5)]
    await admin.post(f"{LIFECYCLE}/{ids[1]}/suspend", {"reason": "check"})
    first = (await admin.get(LIFECYCLE, limit=2)).json()
    second = (await admin.get(LIFECYCLE, limit=2, skip=2)).json()
    assert [row["id"] for row in first["services"] + second["services"]] == ids[:4]
    assert (first["total"], first["skip"], first["limit"]) == (5, 0, 2)
    assert [row["id"] for row in (await admin.get(LIFECYCLE, status="suspended")).json()["services"]] == [
        ids[1]
    ]
    assert (await admin.get(LIFECYCLE, customer_id=customer["id"])).json()["total"] == 5
    assert (await admin.get(LIFECYCLE, customer_id=str(uuid.uuid4()))).json()["total"] == 0
    assert (await admin.get(LIFECYCLE, plan_id="plan_fiber_100", search="line 3")).json()["total"] == 1
    assert (await admin.get(LIFECYCLE, subscription_id="sub_nowhere")).json()["total"] == 0
    assert (await admin.get(LIFECYCLE, sort="-service_name", limit=1)).json()["services"][0]["id"] == ids[4]
    for bad in ({"status": "gone"}, {"sort": "secret"}, {"limit": 501}, {"skip": -1}, {"customer_id": "x"}):
        assert (await admin.get(LIFECYCLE, **bad)).status_code == 422, bad
    by_customer = (await admin.get("/api/subscriptions", customer_id=customer["id"], status="active")).json()
    assert (by_customer["total"], len(by_customer["subscriptions"])) == (5, 5)


async def test_roles(callers, service):
    reader = await callers("alpha", "read_only")
    path = f"{LIFECYCLE}/{service['id']}"
    assert (await reader.get(path)).status_code == 200
    for command in ("suspend", "resume", "activate", "terminate"):
        assert (await reader.post(f"{path}/{command}", {"reason": "no"})).status_code == 403
    assert (await reader.post("/api/plans", {})).status_code == 403
