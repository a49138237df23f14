"""One order to many services: one bad row in both modes, large orders as a job, a worker that dies."""

from __future__ import annotations

import uuid

import pytest

from demarc.modules.services.jobs import BulkJob, carry_on
from demarc.modules.services.queries import get_bulk
from demarc.modules.services.service import bulk as bulk_service

from .conftest import sell_plan

LIFECYCLE = "/api/services/lifecycle"
BULK = f"{LIFECYCLE}/bulk"


@pytest.fixture
def several(order):
    async def sell(count):
        return [(await order()).json()["id"] for _ in range(count)]

    return sell


@pytest.fixture
def statuses(admin):
    async def read():
        return [row["status"] for row in (await admin.get(LIFECYCLE)).json()["services"]]

    return read


@pytest.fixture
def run(begin, work):
    async def job(shown):
        async with begin() as tx:
            bulk = await get_bulk(tx, uuid.UUID(shown["id"]))
        await carry_on.handler(work(), BulkJob(bulk.id))

    return job


async def test_one_bad_row_in_both_modes(admin, several, statuses):
    good = await several(3)
    await admin.post(f"{LIFECYCLE}/{good[1]}/terminate")
    body = {"operation": "suspend", "service_ids": good, "reason": "Non-payment"}
    refused = await admin.post(BULK, body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "ILLEGAL_STATE_CHANGE")
    assert refused.json()["error"]["details"][0]["field"] == "service_ids.1"
    assert "nothing was changed" in refused.json()["error"]["message"]
    assert await statuses() == ["active", "terminated", "active"]
    assert (await admin.get(BULK)).json()["total"] == 0

    unknown = str(uuid.uuid4())
    missing = await admin.post(BULK, {**body, "service_ids": [good[0], unknown]})
    assert (missing.status_code, missing.json()["error"]["details"][0]["field"]) == (404, "service_ids.1")
    assert await statuses() == ["active", "terminated", "active"]

    done = await admin.post(BULK, {**body, "service_ids": [*good, unknown], "on_error": "skip"})
    assert done.status_code == 200, done.text
    shown = done.json()
    assert (shown["status"], shown["requested"], shown["succeeded"], shown["failed"], shown["remaining"]) == (
        "completed",
        4,
        2,
        2,
        0,
    )
    assert [(row["position"], row["code"]) for row in shown["failures"]] == [
        (1, "ILLEGAL_STATE_CHANGE"),
        (3, "NOT_FOUND"),
    ]
    assert await statuses() == ["suspended_non_payment", "terminated", "suspended_non_payment"]
    assert (await admin.get(f"{BULK}/{shown['id']}")).json() == shown
    rows = f"{BULK}/{shown['id']}/rows"
    assert [row["service_id"] for row in (await admin.get(rows)).json()["rows"]] == [*good, unknown]
    assert (await admin.get(rows, outcome="succeeded")).json()["total"] == 2
    assert (await admin.get(rows, sort="-position", limit=1)).json()["rows"][0]["position"] == 3


async def test_every_operation(admin, several, statuses):
    await sell_plan(admin, "plan_fiber_200", bandwidth_down_mbps=200, bandwidth_up_mbps=100)
    ids = await several(2)

    async def bulk(operation, **body):
        answer = await admin.post(BULK, {"operation": operation, "service_ids": ids, **body})
        assert (answer.status_code, answer.json().get("succeeded")) == (200, 2), answer.text
        return (await admin.get(f"{LIFECYCLE}/{ids[1]}")).json()

    assert (await bulk("suspend", reason="x", reason_code="fraud"))["status"] == "suspended_fraud"
    assert (await bulk("resume", reason_code="fraud"))["status"] == "active"
    changes = {"notes": "moved", "identifiers": {"olt": "7"}, "installation_scheduled_date": "2030-01-01"}
    changed = await bulk("modify", changes=changes)
    assert (changed["notes"], changed["identifiers"]) == ("moved", {"olt": "7"})
    assert changed["installation_scheduled_date"] == "2030-01-01T00:00:00Z"
    assert (await bulk("change_plan", plan_id="plan_fiber_200"))["plan_id"] == "plan_fiber_200"
    ahead = await bulk("terminate", termination_date="2130-01-01")
    assert (ahead["status"], ahead["terminates_at"]) == ("terminating", "2130-01-01T00:00:00Z")
    assert (await bulk("terminate"))["status"] == "terminated"
    listed = (await admin.get(BULK, operation="terminate", status="completed")).json()
    assert listed["total"] == 2
    assert (await admin.get(BULK, status="running")).json()["total"] == 0
    assert (await admin.get(BULK, sort="created_at")).json()["bulk_orders"][0]["operation"] == "suspend"


async def test_bad_input_names_the_field(admin, service):
    one = service["id"]
    for body, field in (
        ({"operation": "explode", "service_ids": [one]}, "operation"),
        ({"operation": "resume", "service_ids": []}, "service_ids"),
        ({"operation": "resume", "service_ids": ["x"]}, "service_ids.0"),
        ({"operation": "resume", "service_ids": [one, one]}, "service_ids"),
        ({"operation": "resume", "service_ids": [str(uuid.uuid4()) for _ in range(1001)]}, "service_ids"),
        ({"operation": "resume", "service_ids": [one], "on_error": "maybe"}, "on_error"),
        ({"operation": "suspend", "service_ids": [one]}, "reason"),
        ({"operation": "modify", "service_ids": [one]}, "changes"),
        ({"operation": "modify", "service_ids": [one], "changes": {"notes": None}}, "notes"),
        ({"operation": "change_plan", "service_ids": [one]}, "plan_id"),
    ):
        answer = await admin.post(BULK, body)
        assert answer.status_code == 422, f"{body}: {answer.text}"
        assert field in [detail["field"] for detail in answer.json()["error"]["details"]], answer.text


async def test_a_large_order_goes_on_as_a_job(admin, several, statuses, run, monkeypatch, begin):
    monkeypatch.setattr(bulk_service, "AT_ONCE", 2)
    ids = await several(5)
    await admin.post(f"{LIFECYCLE}/{ids[2]}/terminate")
    body = {"operation": "suspend", "service_ids": ids, "reason": "x", "on_error": "skip"}
    taken = await admin.post(BULK, body)
    assert (taken.status_code, taken.json()["status"], taken.json()["remaining"]) == (202, "running", 5)
    assert "suspended" not in await statuses()
    async with begin() as tx:
        queued = await tx.connection.fetchval(
            "SELECT count(*) FROM pgqueuer WHERE entrypoint = 'services.bulk'"
        )
    assert queued == 1
    path = f"{BULK}/{taken.json()['id']}"

    real, parts = bulk_service.activate_service, []
    async with begin() as tx:  # one part, then the worker dies
        bulk = await get_bulk(tx, uuid.UUID(taken.json()["id"]))
        parts.append((await bulk_service.advance_bulk(tx, bulk.id)).succeeded)
    assert real is bulk_service.activate_service
    assert ((await admin.get(path)).json()["remaining"], parts) == (3, [2])
    await run(taken.json())
    await run(taken.json())
    shown = (await admin.get(path)).json()
    assert (shown["status"], shown["succeeded"], shown["failed"], shown["remaining"]) == (
        "completed",
        4,
        1,
        0,
    )
    assert await statuses() == ["suspended", "suspended", "terminated", "suspended", "suspended"]


async def test_a_large_order_all_or_nothing(admin, several, statuses, run, monkeypatch):
    monkeypatch.setattr(bulk_service, "AT_ONCE", 2)
    ids = await several(4)
    await admin.post(f"{LIFECYCLE}/{ids[3]}/terminate")
    taken = (await admin.post(BULK, {"operation": "suspend", "service_ids": ids, "reason": "x"})).json()
    await run(taken)
    shown = (await admin.get(f"{BULK}/{taken['id']}")).json()
    assert (shown["status"], shown["succeeded"], shown["failed"]) == ("failed", 0, 1)
    assert [row["position"] for row in shown["failures"]] == [3]
    assert (await admin.get(f"{BULK}/{taken['id']}/rows", outcome="undone")).json()["total"] == 3
    assert await statuses() == ["active", "active", "active", "terminated"]
    good = (await admin.post(BULK, {"operation": "suspend", "service_ids": ids[:3], "reason": "x"})).json()
    await run(good)
    assert (await admin.get(f"{BULK}/{good['id']}")).json()["status"] == "completed"
    assert await statuses() == ["suspended", "suspended", "suspended", "terminated"]


async def test_another_tenants_services_and_orders_do_not_exist(admin, callers, service):
    done = (
        await admin.post(BULK, {"operation": "suspend", "service_ids": [service["id"]], "reason": "x"})
    ).json()
    beta = await callers("beta", "admin")
    refused = await beta.post(BULK, {"operation": "resume", "service_ids": [service["id"]]})
    assert refused.status_code == 404
    assert (await beta.get(f"{BULK}/{done['id']}")).status_code == 404
    assert (await beta.get(BULK)).json()["total"] == 0
    reader = await callers("alpha", "read_only")
    assert (await reader.post(BULK, {})).status_code == 403
