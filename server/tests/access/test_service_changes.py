"""What happens to a service is felt by its live session; its health is read off the session."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from uuid import UUID

import pytest

from demarc.modules.services.queries import get_service, hold_service
from demarc.modules.services.service import terminate_service

from ..waiting import until_somebody_waits  # noqa: TID252 - the tests' own

LIFECYCLE = "/api/services/lifecycle"


async def insert_attempt(begin, nas, username, *, accepted, reason=""):
    async with begin() as tx:
        await tx.connection.execute(
            "INSERT INTO login_attempt (tenant_id, username, accepted, reason, nas_id, attempted_at) "
            "VALUES (1, $1, $2, $3, $4, now())",
            username,
            accepted,
            reason,
            nas.id,
        )


def codes(health):
    return [found["code"] for found in health["findings"]]


async def test_another_plan_and_other_settings_reach_the_live_session(
    admin, plan, subscriber, service, dial, orders, login
):
    await admin.post(
        "/api/plans",
        {
            **{key: plan[key] for key in ("name", "service_type", "monthly_fee", "activation_fee")},
            "plan_id": "plan_fiber_200",
            "bandwidth_down_mbps": 200,
            "bandwidth_up_mbps": 100,
        },
    )
    await dial(subscriber)
    path = f"{LIFECYCLE}/{service['id']}"
    moved = await admin.post(f"{path}/change-plan", {"plan_id": "plan_fiber_200"})
    assert moved.status_code == 200, moved.text
    (order,) = await orders()
    assert (order["kind"], order["attributes"]["WISPr-Bandwidth-Max-Down"]) == ("coa", 200_000_000)
    assert ((await login())["download_bps"], (await login())["upload_bps"]) == (200_000_000, 100_000_000)
    await admin.patch(path, {"notes": "no speed in it"})
    assert len(await orders()) == 1
    await admin.patch(path, {"service_config": {"bandwidth_up_mbps": 30}})
    assert (await login())["upload_bps"] == 30_000_000
    assert {order["kind"] for order in await orders()} == {"coa"}, "nobody is cut for a new speed"


async def test_the_health_of_a_line_that_works(admin, subscribe, service, pool, dial, begin, nas):
    shown = (await subscribe(allocate_ip=True)).json()
    path = f"{LIFECYCLE}/{service['id']}/health"
    before = (await admin.get(path)).json()
    assert (before["is_online"], before["health"], codes(before)) == (False, "problem", ["OFFLINE"])
    assert "has never logged on" in before["findings"][0]["message"]
    await insert_attempt(begin, nas, shown["username"], accepted=True)
    session_id = await dial(shown, address=shown["static_ipv4"], at=-timedelta(seconds=90))
    health = (await admin.get(path)).json()
    assert (health["is_online"], health["health"], codes(health)) == (True, "ok", ["FINE"]), health
    (line,) = health["lines"]
    assert (line["decision"], line["last_login_accepted"], line["last_reject_reason"]) == (
        "accept",
        True,
        None,
    )
    assert line["fixed_addresses"] == [shown["static_ipv4"]]
    (session,) = line["sessions"]
    assert session["session_id"] == str(session_id)
    assert 90 <= session["age_seconds"] < 600
    assert (session["nas"], session["address"], session["is_stale"], session["nas_is_reachable"]) == (
        "bras-1",
        shown["static_ipv4"],
        False,
        True,
    )


async def test_what_is_wrong_is_said(admin, provision, subscribe, pool, dial, begin, nas, callers):
    service = await provision()
    path = f"{LIFECYCLE}/{service['id']}"
    empty = (await admin.get(f"{path}/health")).json()
    assert (empty["health"], codes(empty)) == ("problem", ["NO_SUBSCRIBER"])
    shown = (await subscribe(service_id=service["id"], allocate_ip=True)).json()
    await insert_attempt(begin, nas, shown["username"], accepted=False, reason="wrong password")
    refused = (await admin.get(f"{path}/health")).json()
    assert (codes(refused), refused["lines"][0]["last_reject_reason"]) == (["OFFLINE"], "wrong password")
    assert "wrong password" in refused["findings"][0]["message"]

    await dial(shown, address="10.100.0.6", at=-timedelta(hours=3))
    silent = (await admin.get(f"{path}/health")).json()
    assert (silent["is_online"], codes(silent)) == (False, ["NAS_SILENT", "OTHER_ADDRESS"])
    neighbour = (await subscribe(service_id=(await provision())["id"], username="bob@alpha.example")).json()
    await dial(neighbour)
    assert codes((await admin.get(f"{path}/health")).json()) == ["SESSION_SILENT", "OTHER_ADDRESS"]

    await admin.post(f"{path}/suspend", {"reason": "fraud", "fraud_suspension": True})
    held = (await admin.get(f"{path}/health")).json()
    assert codes(held) == ["SERVICE_SUSPENDED", "SESSION_SILENT", "OTHER_ADDRESS", "SHOULD_BE_OFF"]
    assert (held["status"], held["health"]) == ("suspended_fraud", "problem")
    await admin.post(f"{path}/resume", {"reason_code": "fraud"})
    await admin.post(f"{path}/condition", {"condition": "degraded", "reason": "rain"})
    assert "SERVICE_NOT_WELL" in codes((await admin.get(f"{path}/health")).json())

    beta = await callers("beta", "admin")
    assert (await beta.get(f"{path}/health")).status_code == 404
    assert (await admin.get(f"{LIFECYCLE}/{uuid.uuid4()}/health")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/suspend", None, 409),
        ("PATCH", "", {"session_limit": 2}, 404),
        ("PATCH", "", {"allocate_ip": True}, 404),
        ("POST", "/password", {}, 404),
        ("DELETE", "", None, 409),
    ],
)
async def test_a_command_to_a_subscriber_waits_for_the_end_of_its_service(
    admin, begin, subscriber, service, pool, method, path, body, status
):
    """No deadlock: both lock the service first, and what comes second finds the log-in ended."""
    async with begin() as first:
        found = await hold_service(first, (await get_service(first, UUID(service["id"]))).id)
        asked = admin.client.request(method, f"/api/subscribers/{subscriber['id']}{path}", json=body)
        second = asyncio.create_task(asked)
        await until_somebody_waits(first)
        await terminate_service(first, service_id=found.id, reason="the end")
    answer = await second
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] in ("NOT_FOUND", "ILLEGAL_STATE_CHANGE")
    held = (await admin.get("/api/address-assignments", is_open=True)).json()
    assert held["total"] == 0
