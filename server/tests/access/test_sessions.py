from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

END = """
    INSERT INTO radius_session_history (tenant_id, id, nas_id, subscriber_id, service_id, username, acct_session_id,
        generation, started_at, updated_at, session_seconds, input_octets, output_octets, framed_ip, stopped_at,
        terminate_cause)
    SELECT tenant_id, id, nas_id, subscriber_id, service_id, username, acct_session_id, generation, started_at,
           updated_at, session_seconds, 5, 7, framed_ip, started_at + interval '1 hour', 'User-Request'
      FROM radius_session WHERE id = $1
"""


@pytest.fixture
def end(begin, hang_up):
    async def stop(session_id):
        async with begin() as tx:
            await tx.connection.execute(END, session_id)
        await hang_up(session_id)

    return stop


async def test_who_is_on_line_and_who_was(admin, subscriber, service, nas, dial, end):
    first = await dial(subscriber, at=timedelta(hours=-3), device="a", acct_session_id="s1")
    second = await dial(subscriber, at=timedelta(hours=-1), device="b", address="10.5.5.5")
    live = (await admin.get("/api/sessions")).json()
    assert [session["id"] for session in live["sessions"]] == [str(first), str(second)]
    shown = live["sessions"][1]
    assert (shown["subscriber_id"], shown["service_id"]) == (subscriber["id"], service["id"])
    assert (shown["nas_id"], shown["username"]) == (str(nas.uid), subscriber["username"])
    assert (shown["framed_ip"], shown["calling_station_id"]) == ("10.5.5.5", "b")
    assert shown["started_at"].endswith("Z")

    await end(first)
    assert (await admin.get("/api/sessions")).json()["total"] == 1
    past = (await admin.get("/api/sessions/history")).json()
    assert [session["id"] for session in past["sessions"]] == [str(first)]
    assert (past["sessions"][0]["terminate_cause"], past["sessions"][0]["output_octets"]) == (
        "User-Request",
        7,
    )


async def test_filters(admin, subscriber, nas, dial, end, begin):
    first = await dial(subscriber, at=timedelta(hours=-5))
    await dial(subscriber, at=timedelta(hours=-2), device="b")
    await end(first)
    async with begin() as tx:
        now = tx.now

    def ago(hours):
        return (now - timedelta(hours=hours)).isoformat()

    for path, filters, total in (
        ("", {"subscriber_id": subscriber["id"]}, 1),
        ("", {"subscriber_id": str(uuid.uuid4())}, 0),
        ("", {"nas_id": str(nas.uid)}, 1),
        ("", {"nas_id": str(uuid.uuid4())}, 0),
        ("", {"username": subscriber["username"]}, 1),
        ("", {"username": "nobody"}, 0),
        ("", {"to": ago(3)}, 0),
        ("", {"from": ago(3)}, 1),
        ("", {"from": ago(1)}, 0),
        ("/history", {"from": ago(4.5), "to": ago(4.2)}, 1),
        ("/history", {"from": ago(3.9)}, 0),
        ("/history", {"to": ago(5.5)}, 0),
        ("/history", {"subscriber_id": subscriber["id"]}, 1),
    ):
        answer = await admin.get(f"/api/sessions{path}", **filters)
        assert answer.status_code == 200, answer.text
        assert answer.json()["total"] == total, (path, filters)
    assert (await admin.get("/api/sessions", subscriber_id="x")).status_code == 422
    assert (await admin.get("/api/sessions", sort="secret")).status_code == 422


async def test_who_was_on_line_is_found_after_he_is_gone(admin, subscriber, dial, end):
    """Regression: the filter by a deleted subscriber's id found nothing, though the rows name it."""
    was = await dial(subscriber)
    await end(was)
    assert (await admin.delete(f"/api/subscribers/{subscriber['id']}")).is_success
    past = (await admin.get("/api/sessions/history", subscriber_id=subscriber["id"])).json()
    assert [session["id"] for session in past["sessions"]] == [str(was)]


async def test_the_sessions_of_an_address(admin, subscriber, dial, end):
    old = await dial(subscriber, at=timedelta(hours=-5), address="10.7.7.7")
    await dial(subscriber, at=timedelta(hours=-1), address="10.7.7.7", device="b")
    before = (await admin.get("/api/sessions")).json()["sessions"][0]["started_at"]
    await end(old)
    history = (await admin.get("/api/addresses/10.7.7.7/history")).json()
    assert len(history["sessions"]) == 2
    assert history["assignments"] == []
    then = (await admin.get("/api/addresses/10.7.7.7/history", at=before)).json()
    assert [found["session_id"] for found in then["sessions"]] == [str(old)]
    assert then["sessions"][0]["subscriber_id"] == subscriber["id"]


async def test_another_tenant_sees_nothing(subscriber, dial, end, callers):
    await end(await dial(subscriber, address="10.7.7.7"))
    await dial(subscriber, address="10.7.7.7")
    beta = await callers("beta", "admin")
    assert (await beta.get("/api/sessions")).json()["total"] == 0
    assert (await beta.get("/api/sessions", subscriber_id=subscriber["id"])).json()["total"] == 0
    assert (await beta.get("/api/sessions/history")).json()["total"] == 0
    assert (await beta.get("/api/coa-requests")).json()["total"] == 0
    assert (await beta.get(f"/api/coa-requests/{uuid.uuid4()}")).status_code == 404
    assert (await beta.get("/api/addresses/10.7.7.7/history")).json()["sessions"] == []
    assert (await callers.anonymous().get("/api/sessions")).status_code == 401
