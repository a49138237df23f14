"""Changing what a service is: settings, plan, condition."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from demarc.modules.services.queries import get_service
from demarc.modules.services.states import ServiceStatus
from demarc.modules.subscriptions.queries import get_subscription_by_id, list_terms
from demarc.modules.tenants.service import move_clock
from demarc.workflows.non_payment import sweep_tenant

from .conftest import sell_plan

LIFECYCLE = "/api/services/lifecycle"
FAST = {"bandwidth_down_mbps": 200, "bandwidth_up_mbps": 100}
S = ServiceStatus


@pytest.fixture
def later(begin, work):
    """Move the tenant's clock and do what is due by then."""

    async def move(**by):
        async with begin() as tx:
            await move_clock(tx, timedelta(**by))
        return await sweep_tenant(work())

    return move


@pytest.fixture
def emitted(begin):
    """Payloads of the events of that name, oldest first."""

    async def fetch(name):
        async with begin() as tx:
            rows = await tx.connection.fetch(
                "SELECT payload FROM outbox_event WHERE name = $1 ORDER BY id", name
            )
        return [row["payload"] for row in rows]

    return fetch


async def test_a_patch_changes_what_it_names_and_is_told_once(admin, order, emitted):
    made = (
        await order(
            service_config={"bandwidth_down_mbps": 50, "vlan_id": 7},
            notes="side door",
            identifiers={"ont_serial": "HWTC1"},
        )
    ).json()
    assert (made["notes"], made["identifiers"]) == ("side door", {"ont_serial": "HWTC1"})
    path = f"{LIFECYCLE}/{made['id']}"
    change = {
        "service_name": "Upstairs",
        "notes": "",
        "identifiers": {"circuit": "ZX 9", "ont_serial": None},
        "service_config": {"bandwidth_down_mbps": None, "bandwidth_up_mbps": 20},
        "installation_address": "1 New Street",
        "installation_scheduled_date": "2030-02-31",
    }
    changed = await admin.patch(path, change)
    assert changed.status_code == 200, changed.text
    body = changed.json()
    assert (body["service_name"], body["notes"], body["identifiers"]) == ("Upstairs", "", {"circuit": "ZX 9"})
    assert body["service_config"] == {"vlan_id": 7, "bandwidth_up_mbps": 20}
    assert body["bandwidth_profile"] == {"download_mbps": 100.0, "upload_mbps": 20.0}
    assert body["installation_scheduled_date"] == "2030-02-28T00:00:00Z"
    assert (await admin.get(path)).json() == body
    again = await admin.post(f"{path}/modify", {**change, "reason": "again"})
    assert (again.status_code, again.json()) == (200, body)
    (told,) = await emitted("service.modified")
    assert {"download_bps", "upload_bps", "notes"} <= set(told["fields"])

    for bad, field in (
        ({"service_name": None}, "service_name"),
        ({"service_name": " "}, "service_name"),
        ({"notes": "x" * 4001}, "notes"),
        ({"identifiers": {"No Name": "x"}}, "identifiers"),
        ({"identifiers": {"a": ""}}, "identifiers.a"),
        ({"identifiers": {f"k{n}": "x" for n in range(33)}}, "identifiers"),
        ({"service_config": {"vlan_id": 4095}}, "service_config.vlan_id"),
        ({"service_config": {"bandwidth_down_mbps": -1}}, "service_config.bandwidth_down_mbps"),
    ):
        answer = await admin.patch(path, bad)
        assert answer.status_code == 422, f"{bad}: {answer.text}"
        assert field in [detail["field"] for detail in answer.json()["error"]["details"]], answer.text
    assert (await admin.get(path)).json() == body
    await admin.post(f"{path}/terminate")
    refused = await admin.patch(path, {"notes": "late"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "ILLEGAL_STATE_CHANGE")


async def test_another_plan_now(admin, begin, order, emitted):
    await sell_plan(admin, "plan_fiber_200", monthly_fee=7999, **FAST)
    made = (await order(service_config={"bandwidth_down_mbps": 90, "vlan_id": 7})).json()
    path = f"{LIFECYCLE}/{made['id']}"
    answer = await admin.post(f"{path}/change-plan", {"plan_id": "plan_fiber_200", "reason": "upgrade"})
    assert answer.status_code == 200, answer.text
    change, service = answer.json()["plan_change"], answer.json()["service"]
    assert (change["status"], change["from_plan_id"], change["to_plan_id"]) == (
        "done",
        "plan_fiber_100",
        "plan_fiber_200",
    )
    assert service["plan_id"] == "plan_fiber_200"
    assert service["service_config"] == {"vlan_id": 7}, "speeds agreed beside the old plan end with it"
    assert service["bandwidth_profile"] == {"download_mbps": 200.0, "upload_mbps": 100.0}
    subscription = (await admin.get(f"/api/subscriptions/{service['subscription_id']}")).json()
    assert (subscription["plan_id"], subscription["monthly_fee"]) == ("plan_fiber_200", 7999)
    async with begin() as tx:
        row = await get_service(tx, UUID(made["id"]))
        agreement = await get_subscription_by_id(tx, row.subscription_id)
        terms = await list_terms(tx, agreement)
    assert [term.monthly_minor for term in terms] == [4999, 7999]
    (told,) = await emitted("subscription.plan_changed")
    assert (told["from_monthly_minor"], told["to_monthly_minor"], told["currency"]) == (4999, 7999, "USD")
    again = await admin.post(f"{path}/change-plan", {"plan_id": "plan_fiber_200"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "SAME_PLAN")


async def test_another_plan_at_the_end_of_the_period(admin, order, later):
    await sell_plan(admin, "plan_fiber_200", **FAST)
    await sell_plan(admin, "plan_old", **FAST)
    made = (await order()).json()
    path = f"{LIFECYCLE}/{made['id']}"
    first = await admin.post(f"{path}/change-plan", {"plan_id": "plan_old", "effective": "period_end"})
    assert first.status_code == 202, first.text
    assert first.json()["service"]["plan_id"] == "plan_fiber_100"
    due_at = datetime.fromisoformat(first.json()["plan_change"]["due_at"])
    assert (due_at.day, due_at.hour) == (1, 0)
    second = await admin.post(f"{path}/change-plan", {"plan_id": "plan_fiber_200", "effective": "period_end"})
    assert (second.status_code, second.json()["error"]["code"]) == (409, "PLAN_CHANGE_SCHEDULED")
    cancel = f"{path}/plan-changes/{first.json()['plan_change']['id']}/cancel"
    assert (await admin.post(cancel)).json()["status"] == "canceled"
    assert (await admin.post(cancel)).status_code == 409
    third = await admin.post(
        f"{path}/change-plan",
        {
            "plan_id": "plan_fiber_200",
            "effective": "period_end",
            "service_config": {"bandwidth_up_mbps": 150},
        },
    )
    assert third.status_code == 202
    assert (await later(hours=1)).plans_changed == 0
    assert (await later(days=32)).plans_changed == 1
    shown = (await admin.get(path)).json()
    assert shown["plan_id"] == "plan_fiber_200"
    assert shown["bandwidth_profile"] == {"download_mbps": 200.0, "upload_mbps": 150.0}

    await admin.post(f"{path}/change-plan", {"plan_id": "plan_old", "effective": "period_end"})
    await admin.patch("/api/plans/plan_old", {"status": "retired"})
    assert (await later(days=32)).plans_changed == 1
    listed = (await admin.get(f"{path}/plan-changes", sort="-created_at")).json()
    assert [row["status"] for row in listed["plan_changes"]] == ["failed", "done", "canceled"]
    assert "retired" in listed["plan_changes"][0]["error"]
    assert (await admin.get(path)).json()["plan_id"] == "plan_fiber_200"
    failed = (await admin.get(f"{path}/plan-changes", status="failed")).json()
    assert (failed["total"], failed["plan_changes"][0]["to_plan_id"]) == (1, "plan_old")


async def test_plans_that_cannot_be_changed_to(admin, order, bring):
    await sell_plan(admin, "plan_fiber_200", **FAST)
    await sell_plan(admin, "plan_voice", service_type="voice", **FAST)
    service = (await order()).json()
    path = f"{LIFECYCLE}/{service['id']}/change-plan"
    for body, status, field in (
        ({"plan_id": "plan_nowhere"}, 404, None),
        ({"plan_id": "plan_voice"}, 422, "plan_id"),
        ({}, 422, "plan_id"),
        ({"plan_id": "plan_fiber_200", "effective": "someday"}, 422, "effective"),
        ({"plan_id": "plan_fiber_200", "service_config": {"vlan_id": 0}}, 422, "service_config.vlan_id"),
    ):
        answer = await admin.post(path, body)
        assert answer.status_code == status, answer.text
        if field:
            assert field in [detail["field"] for detail in answer.json()["error"]["details"]]
    for status in (S.TERMINATING, S.TERMINATED, S.PROVISIONING, S.PROVISIONING_FAILED):
        one = (await order()).json()
        await bring(status, one)
        answer = await admin.post(f"{LIFECYCLE}/{one['id']}/change-plan", {"plan_id": "plan_fiber_200"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "ILLEGAL_STATE_CHANGE"), status
        assert status.value in answer.json()["error"]["message"]
    both = {"plan_id": "plan_fiber_200", "effective": "period_end", "effective_date": "2030-01-01"}
    assert (await admin.post(path, both)).status_code == 422


async def test_every_condition_in_every_status(admin, order, bring):
    brought_up = {S.ACTIVE, S.DEGRADED, S.MAINTENANCE, S.FAILED}
    for status in S:
        service = (await order()).json()
        path = f"{LIFECYCLE}/{service['id']}"
        await bring(status, service)
        answer = await admin.post(f"{path}/condition", {"condition": "degraded", "reason": "rain"})
        if status in brought_up - {S.DEGRADED}:
            assert (answer.status_code, answer.json()["status"]) == (200, "degraded"), status
        elif status in {S.SUSPENDED, S.SUSPENDED_NON_PAYMENT, S.SUSPENDED_FRAUD, S.TERMINATING}:
            assert (answer.status_code, answer.json()["status"]) == (200, status.value), "hidden beneath"
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "ILLEGAL_STATE_CHANGE")
            assert "allowed from here: " in answer.json()["error"]["message"]


async def test_a_condition_comes_back_when_the_lock_is_lifted(admin, act, service):
    assert (await act("suspend", reason="moved")).status_code == 200
    assert (await act("condition", condition="maintenance", reason="works")).json()["status"] == "suspended"
    assert (await act("resume")).json()["status"] == "maintenance"
    assert (await act("condition", condition="active", reason="done")).json()["status"] == "active"
    for bad in (
        {"condition": "terminated", "reason": "x"},
        {"condition": "degraded"},
        {"condition": "degraded", "reason": " "},
    ):
        assert (await act("condition", **bad)).status_code == 422, bad


async def test_a_day_to_start(admin, order, later):
    ahead = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    made = (await order(scheduled_activation=ahead)).json()
    assert (made["status"], made["activates_at"][:10]) == ("pending", ahead[:10])
    path = f"{LIFECYCLE}/{made['id']}"
    later_still = (datetime.now(UTC) + timedelta(days=5)).isoformat()
    moved = await admin.post(f"{path}/activate", {"activation_date": later_still})
    assert (moved.json()["status"], moved.json()["activates_at"][:10]) == ("pending", later_still[:10])
    locked = (await order(scheduled_activation=ahead)).json()
    await admin.post(f"{LIFECYCLE}/{locked['id']}/suspend", {"reason": "wait"})
    assert (await later(days=4)).activated == 0
    assert (await later(days=2)).activated == 1
    started = (await admin.get(path)).json()
    assert (started["status"], started["activates_at"]) == ("active", None)
    refused = await admin.post(f"{path}/activate", {"activation_date": later_still.replace("20", "21", 1)})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "ILLEGAL_STATE_CHANGE")
    await admin.post(f"{LIFECYCLE}/{locked['id']}/resume")
    assert (await later(minutes=1)).activated == 1, "it waited while the lock was on"
    past = (await order(scheduled_activation="2025-10-21T10:00:00")).json()
    assert past["status"] == "active", "a sandbox takes the documents' dates"


async def test_a_suspension_that_ends_by_itself(admin, act, service, later):
    ahead = (datetime.now(UTC) + timedelta(days=7)).isoformat()
    held = await act("suspend", reason="holiday", auto_resume_at=ahead)
    assert held.json()["status"] == "suspended"
    await act("suspend", reason="Non-payment")
    locks = (await admin.get(f"{LIFECYCLE}/{service['id']}/locks", is_open=True)).json()["locks"]
    assert [lock["lifts_at"] is not None for lock in locks] == [True, False]
    assert (await later(days=6)).resumed == 0
    assert (await later(days=2)).resumed == 1
    shown = (await admin.get(f"{LIFECYCLE}/{service['id']}")).json()
    assert shown["status"] == "suspended_non_payment", "each lock ends by itself"
    await act(
        "suspend", reason="Non-payment", auto_resume_at=(datetime.now(UTC) + timedelta(days=9)).isoformat()
    )
    assert (await later(days=2)).resumed == 1, "a new end goes over the old one"
    assert (await admin.get(f"{LIFECYCLE}/{service['id']}")).json()["status"] == "active"
    refused = await act("suspend", reason="x", reason_code="fraud", auto_resume_at=ahead)
    assert (refused.status_code, refused.json()["error"]["details"][0]["field"]) == (422, "auto_resume_at")


async def test_days_gone_by_are_for_sandboxes_only(callers):
    beta = await callers("beta", "admin")
    customer = (await beta.post("/api/customers", {"name": "Bea"})).json()
    await sell_plan(beta)
    await sell_plan(beta, "plan_fiber_200", **FAST)
    body = {
        "customer_id": customer["id"],
        "service_type": "fiber_internet",
        "service_name": "x",
        "plan_id": "plan_fiber_100",
    }
    past = "2025-10-21T10:00:00Z"
    order = await beta.post(f"{LIFECYCLE}/provision", {**body, "scheduled_activation": past})
    assert (order.status_code, order.json()["error"]["details"][0]["field"]) == (422, "scheduled_activation")
    path = f"{LIFECYCLE}/{(await beta.post(f'{LIFECYCLE}/provision', body)).json()['id']}"
    for command, asked, field in (
        ("activate", {"activation_date": past}, "activation_date"),
        ("suspend", {"reason": "x", "auto_resume_at": past}, "auto_resume_at"),
        ("change-plan", {"plan_id": "plan_fiber_200", "effective_date": past}, "effective_date"),
        ("terminate", {"termination_date": past}, "termination_date"),
    ):
        answer = await beta.post(f"{path}/{command}", asked)
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"]["details"][0]["field"] == field


async def test_every_filter_of_the_lists(admin, order, act, service, begin):
    other = (await order(service_name="Attic", auto_activate=False)).json()
    await act("suspend", reason="Non-payment")
    await act("resume", reason_code="non_payment")
    await act("suspend", reason="away")
    shown = (await admin.get(LIFECYCLE, held_by="other")).json()
    assert [row["id"] for row in shown["services"]] == [service["id"]]
    for name, value, count in (
        ("status", "pending", 1),
        ("provisioning_status", "completed", 2),
        ("provisioning_status", "failed", 0),
        ("service_type", "fiber_internet", 2),
        ("service_type", "voice", 0),
        ("customer_id", service["customer_id"], 2),
        ("subscription_id", other["subscription_id"], 1),
        ("plan_id", "plan_fiber_100", 2),
        ("plan_id", "plan_nowhere", 0),
        ("search", "attic", 1),
        ("created_since", other["created_at"], 1),
        ("created_until", other["created_at"], 1),
    ):
        assert (await admin.get(LIFECYCLE, **{name: value})).json()["total"] == count, name
    path = f"{LIFECYCLE}/{service['id']}/events"
    events = (await admin.get(path)).json()["events"]
    moves = [(event["from_status"], event["to_status"]) for event in events]
    assert moves[-3:] == [
        ("active", "suspended_non_payment"),
        ("suspended_non_payment", "active"),
        ("active", "suspended"),
    ]
    for name, value, count in (
        ("from_status", "suspended_non_payment", 1),
        ("to_status", "suspended", 1),
        ("actor", events[-1]["actor"], len(events)),
        ("actor", "nobody", 0),
        ("since", events[-1]["changed_at"], 1),
        ("until", events[-1]["changed_at"], len(events) - 1),
    ):
        assert (await admin.get(path, **{name: value})).json()["total"] == count, name
