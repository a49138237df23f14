"""Other speeds for a while, one session at a time, and what would be answered to a log-in."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from demarc.kernel.context import system
from demarc.kernel.jobs import Work
from demarc.workflows.access_enforcement import enforce_tenant

SLOW = {"download_mbps": 5, "upload_mbps": 2, "reason": "trial"}


@pytest.fixture
def sweep(database):
    async def run():
        await enforce_tenant(Work(database, 1, "test", 0, True, system("test"), {}))

    return run


async def speeds(login):
    row = await login()
    return row["download_bps"], row["upload_bps"]


async def test_a_session_gets_other_speeds_until_their_time_is_over(
    admin, subscriber, nas, dial, orders, login, begin, sweep
):
    session = await dial(subscriber)
    before = await speeds(login)
    async with begin() as tx:
        until = tx.now + timedelta(hours=2)
    path = f"/api/sessions/{session}"
    placed = await admin.post(f"{path}/coa", {**SLOW, "expires_at": until.isoformat()})
    assert placed.status_code == 202, placed.text
    policy = placed.json()
    assert (policy["kind"], policy["subscriber_id"], policy["reason"]) == (
        "override",
        subscriber["id"],
        "trial",
    )
    assert await speeds(login) == (5_000_000, 2_000_000)
    (order,) = await orders()
    assert (order["kind"], order["session_id"], order["reason"]) == ("coa", session, "trial")
    assert order["attributes"]["WISPr-Bandwidth-Max-Down"] == 5_000_000
    await sweep()
    assert await speeds(login) == (5_000_000, 2_000_000)

    await admin.post("/api/sandbox/clock/advance", {"hours": 3})
    await sweep()
    assert await speeds(login) == before
    shown = (await admin.get(f"/api/access-policies/{policy['id']}")).json()
    assert shown["lifted_at"] is not None
    again = await admin.post(f"/api/access-policies/{policy['id']}/lift")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "POLICY_LIFTED")
    past = await admin.post(f"{path}/coa", {**SLOW, "expires_at": until.isoformat()})
    assert (past.status_code, past.json()["error"]["details"][0]["field"]) == (422, "expires_at")


async def test_a_new_override_takes_the_place_of_the_open_one_and_lifting_brings_back_what_was_sold(
    admin, subscriber, service, login
):
    before = await speeds(login)
    first = await admin.post("/api/access-policies", {**SLOW, "subscriber_id": subscriber["id"]})
    assert first.status_code == 201, first.text
    fast = {**SLOW, "download_mbps": 900, "subscriber_id": subscriber["id"]}
    second = (await admin.post("/api/access-policies", fast)).json()
    same = (await admin.post("/api/access-policies", fast)).json()
    assert same["id"] == second["id"], "the same again changes nothing"
    assert await speeds(login) == (900_000_000, 2_000_000), "staff may make faster"
    whole = {"service_id": service["id"], "block": True, "reason": "works"}
    blocked = (await admin.post("/api/access-policies", whole)).json()
    assert blocked["subscriber_id"] is None
    assert (await login())["decision"] == "accept", "the subscriber's own goes before the service's"

    async def ids(**query):
        listed = (await admin.get("/api/access-policies", **query)).json()
        return [row["id"] for row in listed["access_policies"]], listed["total"]

    everything = [blocked["id"], second["id"], first.json()["id"]]
    assert await ids() == (everything, 3)
    assert await ids(sort="placed_at", limit=1) == ([everything[2]], 3)
    assert await ids(open=True) == (everything[:2], 2)
    assert await ids(open=False) == (everything[2:], 1)
    assert await ids(subscriber_id=subscriber["id"]) == (everything[1:], 2)
    assert await ids(subscriber_id=str(uuid.uuid4())) == ([], 0)
    assert await ids(service_id=service["id"], kind="override") == (everything, 3)
    assert await ids(kind="fair_use") == ([], 0)

    lifted = await admin.post(f"/api/access-policies/{second['id']}/lift", {"reason": "trial over"})
    assert lifted.status_code == 200, lifted.text
    assert ((await login())["decision"], (await login())["decision_reason"]) == ("reject", "works")
    await admin.post(f"/api/access-policies/{blocked['id']}/lift")
    assert (await login())["decision"] == "accept"
    assert await speeds(login) == before


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"download_mbps": 1, "upload_mbps": 1},
        {"subscriber_id": str(uuid.uuid4()), "service_id": str(uuid.uuid4()), "block": True},
        {"subscriber_id": str(uuid.uuid4())},
        {"subscriber_id": str(uuid.uuid4()), "download_mbps": 1},
        {"subscriber_id": str(uuid.uuid4()), "block": True, "download_mbps": 1, "upload_mbps": 1},
        {"subscriber_id": str(uuid.uuid4()), "download_mbps": 0, "upload_mbps": 1},
    ],
)
async def test_a_policy_that_makes_no_sense(admin, body):
    assert (await admin.post("/api/access-policies", body)).status_code == 422


async def test_one_session_is_shown_and_ended(admin, subscriber, nas, dial, hang_up, orders, callers):
    first = await dial(subscriber)
    second = await dial(subscriber, device="b", address="10.5.5.5")
    for path in (f"/api/sessions/{first}", f"/api/sessions/{second}"):
        shown = (await admin.get(path)).json()
        assert (shown["stopped_at"], shown["terminate_cause"]) == (None, None)
    ended = await admin.post(f"/api/sessions/{second}/disconnect", {"reason": "asked for"})
    assert (ended.status_code, ended.json()["session_id"]) == (202, str(second))
    await admin.post(f"/api/sessions/{second}/disconnect")
    (order,) = await orders()
    assert (order["kind"], order["session_id"], order["reason"]) == ("disconnect", second, "asked for")
    for filters, total in (
        ({"framed_ip": "10.5.5.5"}, 1),
        ({"framed_ip": "10.5.5.6"}, 0),
        ({"calling_station_id": "b"}, 1),
        ({"service_id": subscriber["service_id"]}, 2),
        ({"service_id": str(uuid.uuid4())}, 0),
    ):
        assert (await admin.get("/api/sessions", **filters)).json()["total"] == total, filters
        assert (await admin.get("/api/sessions/history", **filters)).json()["total"] == 0
    assert (await admin.get("/api/coa-requests", service_id=subscriber["service_id"])).json()["total"] == 1
    assert (await admin.get("/api/coa-requests", service_id=str(uuid.uuid4()))).json()["total"] == 0
    assert (await admin.get("/api/sessions", framed_ip="10.5")).status_code == 422
    beta = await callers("beta", "admin")
    for path, body in (("disconnect", {}), ("coa", SLOW)):
        assert (await beta.post(f"/api/sessions/{first}/{path}", body)).status_code == 404
    assert (await beta.get(f"/api/sessions/{first}")).status_code == 404
    await hang_up(first)
    assert (await admin.get(f"/api/sessions/{first}")).status_code == 404


@pytest.fixture
def ask(admin, nas):
    async def answer(username="jane@alpha.example", **query):
        shown = await admin.get("/api/access/authorization", nas_id=str(nas.uid), username=username, **query)
        assert shown.status_code == 200, shown.text
        return shown.json()

    return answer


async def test_the_dry_run_of_a_log_in(admin, subscriber, service, nas, dial, ask, callers):
    shown = await ask()
    assert (shown["answer"], shown["reason"], shown["needs_password"]) == ("Access-Accept", "", True)
    assert (shown["subscriber_id"], shown["found_by"]) == (subscriber["id"], "username")
    assert shown["reply"] == {
        "WISPr-Bandwidth-Max-Down": 100_000_000,
        "WISPr-Bandwidth-Max-Up": 40_000_000,
        "Acct-Interim-Interval": 300,
    }
    await admin.patch(f"/api/nas/{nas.uid}", {"vendor": "cisco"})
    shown = await ask()
    assert shown["vendor"] == "cisco"
    assert (
        shown["reply"]["Cisco-AVPair"][1] == "qos-policy-out=add-class(sub,(class-default),shape(100000000))"
    )
    unknown = await ask("nobody@alpha.example")
    assert (unknown["answer"], unknown["reason"], unknown["subscriber_id"]) == (
        "Access-Reject",
        "unknown user",
        None,
    )
    await dial(subscriber, device="a")
    assert (await ask(calling_station_id="a"))["answer"] == "Access-Accept"
    assert (await ask(calling_station_id="b"))["reason"] == "session limit"
    await admin.post(f"/api/services/lifecycle/{service['id']}/suspend", {"reason": "Non-payment"})
    held = await ask()
    assert (held["reason"], held["reply"]) == ("non-payment", {"Reply-Message": "Access suspended"})
    await admin.patch(f"/api/nas/{nas.uid}", {"status": "disabled"})
    assert (await ask())["answer"] == "none"
    beta = await callers("beta", "admin")
    asked = await beta.get("/api/access/authorization", nas_id=str(nas.uid), username="jane@alpha.example")
    assert asked.status_code == 404


async def test_the_dry_run_of_a_line(admin, subscriber, subscribe, provision, ask):
    path = f"/api/subscribers/{subscriber['id']}"
    line = {"circuit_id": "0/3/12", "remote_id": "olt-1"}
    patched = await admin.patch(path, {**line, "mac": "02:00:5e:10:00:01"})
    assert (patched.json()["circuit_id"], patched.json()["remote_id"]) == ("0/3/12", "olt-1")
    shown = await ask("anything", **line, ppp=False)
    assert (shown["answer"], shown["found_by"], shown["needs_password"]) == (
        "Access-Accept",
        "circuit_id",
        False,
    )
    assert shown["reply"]["User-Name"] == "jane@alpha.example"
    for other in (
        {"circuit_id": "0/3/12"},
        {"remote_id": "olt-1"},
        {"circuit_id": "0/3/12", "remote_id": "olt-2"},
    ):
        assert (await ask("anything", **other, ppp=False))["reason"] == "unknown user", other
    assert (await ask("anything", **line))["reason"] == "unknown user", "not under PPP"
    device = {"calling_station_id": "02-00-5E-10-00-01", "ppp": False}
    assert (await ask("02005e100001", **device))["found_by"] == "mac"
    assert (await ask("02005e100001", ppp=False))["reason"] == "unknown user", "the NAS has to say so too"
    assert (await ask(**line, ppp=False))["needs_password"] is False
    again = await admin.patch(path, {"expires_at": "2020-01-01T00:00:00Z"})
    assert again.status_code == 200, again.text
    assert (await ask())["reason"] == "expired"

    await provision()
    same_port = await subscribe(username="next@alpha.example", circuit_id="0/3/12", remote_id="olt-2")
    assert same_port.status_code == 201, "the same port of another access node"
    await provision()
    taken = await subscribe(username="third@alpha.example", circuit_id="0/3/12", remote_id="olt-2")
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "CIRCUIT_ID_TAKEN")
    only = await subscribe(username="fourth@alpha.example", remote_id="cpe-9")
    assert only.status_code == 201
    assert (await ask("x", remote_id="cpe-9", circuit_id="any", ppp=False))["found_by"] == "remote_id"
    assert (await admin.get("/api/subscribers", search="cpe-9")).json()["total"] == 1
    assert (await admin.patch(path, {"remote_id": 'a"b'})).status_code == 422
