from __future__ import annotations

import asyncio
from datetime import timedelta
from ipaddress import IPv4Address

import pytest

from demarc.kernel.clock import real_now
from demarc.kernel.errors import Invalid, Unavailable
from demarc.modules.access.inputs import NewNas
from demarc.modules.access.ports import CoaReply
from demarc.modules.access.service import create_nas, enforce_access
from demarc.modules.access.states import CoaKind, CoaOutcome

NAK = CoaReply(CoaOutcome.NAK, 1, 404)
GONE = CoaReply(CoaOutcome.GONE, 1, 503)
TIMEOUT = CoaReply(CoaOutcome.TIMEOUT, 3)


@pytest.fixture
def path(subscriber):
    return f"/api/subscribers/{subscriber['id']}"


@pytest.fixture
def lifecycle(service):
    return f"/api/services/lifecycle/{service['id']}"


@pytest.fixture
def enforce(begin):
    async def sweep(*subscriber_ids):
        async with begin() as tx:
            return await enforce_access(tx, list(subscriber_ids) or None)

    return sweep


@pytest.fixture
def later(begin):
    """Let the orders so far be older than the time after which one is repeated."""

    async def wait():
        async with begin() as tx:
            await tx.connection.execute(
                "UPDATE coa_request SET requested_at = requested_at - interval '1 hour', "
                "answered_at = answered_at - interval '1 hour'"
            )

    return wait


async def test_a_suspension_orders_disconnects_with_it_or_not_at_all(
    admin, subscriber, lifecycle, dial, orders, queued, run, recorder, nas
):
    session = await dial(subscriber, acct_session_id="a1", address=IPv4Address("10.1.1.1"))
    await admin.post(f"{lifecycle}/suspend", {"reason": "Non-payment"})
    (order,) = await orders()
    assert (order["kind"], order["session_id"], order["outcome"]) == ("disconnect", session, "pending")
    assert order["reason"] == "Non-payment"
    assert await queued() == [order["id"]]

    await run(order["id"])
    (sent,) = recorder.sent
    assert (sent.nas_ip, sent.coa_port, sent.secret) == (str(nas.source_ip), 3799, b"testing123")
    assert (sent.kind, sent.username, sent.acct_session_id) == (
        CoaKind.DISCONNECT,
        subscriber["username"],
        "a1",
    )
    assert (sent.framed_ip, sent.attributes) == ("10.1.1.1", {})
    (order,) = await orders()
    assert (order["outcome"], order["attempts"]) == ("ack", 1)
    assert order["answered_at"] is not None
    await run(order["id"])
    assert len(recorder.sent) == 1, "what is settled is not sent again"


async def test_a_refused_suspension_orders_nothing(admin, subscriber, lifecycle, dial, orders, queued):
    await dial(subscriber)
    await admin.post(f"{lifecycle}/terminate", {"reason": "over"})
    before = await orders()
    assert (await admin.post(f"{lifecycle}/suspend", {"reason": "Non-payment"})).status_code == 409
    assert await orders() == before
    assert await queued() == [order["id"] for order in before]


async def test_disconnect_by_hand(admin, subscriber, path, dial, orders, login):
    await dial(subscriber, device="a")
    await dial(subscriber, device="b")
    answer = await admin.post(f"{path}/disconnect", {"reason": "asks for a new address"})
    assert (answer.status_code, answer.json()["sessions"]) == (202, 2), answer.text
    assert [order["reason"] for order in await orders()] == ["asks for a new address"] * 2
    again = await admin.post(f"{path}/disconnect")
    assert again.json()["sessions"] == 2
    assert len(await orders()) == 2, "what is still to be sent is not ordered twice"
    assert (await login())["decision"] == "accept"


async def test_a_subscriber_s_own_suspension(admin, subscriber, path, dial, orders):
    await dial(subscriber)
    await admin.post(f"{path}/suspend", {"reason": "lost laptop"})
    assert [(order["kind"], order["reason"]) for order in await orders()] == [("disconnect", "lost laptop")]
    await admin.post(f"{path}/resume")
    assert len(await orders()) == 1


async def test_new_speeds_go_to_live_sessions(
    admin, subscriber, path, dial, orders, run, recorder, begin, master_key
):
    async with begin() as tx:
        new = NewNas("mt", IPv4Address("127.0.0.22"), "testing123", vendor="mikrotik")
        mikrotik = await create_nas(tx, master_key, new)
    await dial(subscriber)
    await dial(subscriber, device="b", on=mikrotik)
    await admin.patch(path, {"bandwidth_profile": {"download_mbps": 50, "upload_mbps": 5}})
    first, second = await orders()
    rates = {"WISPr-Bandwidth-Max-Down": 50_000_000, "WISPr-Bandwidth-Max-Up": 5_000_000}
    assert (first["kind"], first["attributes"]) == ("coa", rates)
    assert second["attributes"] == {**rates, "Mikrotik-Rate-Limit": "5000000/50000000"}
    await admin.patch(path, {"bandwidth_profile": {"download_mbps": 60, "upload_mbps": 6}})
    assert len(await orders()) == 2, "what was not sent yet takes the newest speeds"
    for order in (first, second):
        await run(order["id"])
    assert recorder.sent[0].attributes["WISPr-Bandwidth-Max-Down"] == 60_000_000
    assert recorder.sent[1].attributes["Mikrotik-Rate-Limit"] == "6000000/60000000"
    await admin.patch(path, {"session_limit": 5})
    assert len(await orders()) == 2, "nothing that a session would notice"


async def test_a_nak_is_kept_with_its_cause(admin, subscriber, path, dial, orders, run, recorder):
    await dial(subscriber)
    await admin.post(f"{path}/disconnect")
    (order,) = await orders()
    recorder.replies = [NAK]
    await run(order["id"])
    (order,) = await orders()
    assert (order["outcome"], order["error_cause"]) == ("nak", 404)
    listed = (await admin.get("/api/coa-requests", outcome="nak")).json()
    assert (listed["total"], listed["coa_requests"][0]["error_cause"]) == (1, 404)
    assert (await admin.get(f"/api/coa-requests/{listed['coa_requests'][0]['id']}")).status_code == 200
    assert (await admin.get("/api/coa-requests", outcome="ack")).json()["total"] == 0
    assert (await admin.get("/api/coa-requests", subscriber_id=subscriber["id"])).json()["total"] == 1


async def test_a_silent_nas_is_left_alone_and_asked_again(
    admin, subscriber, path, dial, orders, run, recorder, row, begin
):
    await dial(subscriber, device="a")
    await dial(subscriber, device="b")
    await admin.post(f"{path}/disconnect")
    first, second = await orders()
    recorder.replies = [TIMEOUT]
    with pytest.raises(Unavailable):
        await run(first["id"])
    assert (await row("SELECT unanswered_until FROM nas"))["unanswered_until"] > real_now()
    with pytest.raises(Unavailable):
        await run(second["id"])
    assert len(recorder.sent) == 1, "the second one was not even sent"
    first, second = await orders()
    assert (first["outcome"], first["attempts"]) == ("pending", 1)
    assert (second["outcome"], second["attempts"]) == ("pending", 0)

    async with begin() as tx:
        await tx.connection.execute("UPDATE nas SET unanswered_until = now() - interval '1 second'")
    await run(first["id"])
    assert (await orders())[0]["outcome"] == "ack"
    assert (await row("SELECT unanswered_until FROM nas"))["unanswered_until"] is None
    await run(second["id"])
    assert (await orders())[1]["outcome"] == "ack"


async def test_the_last_attempt_settles(admin, subscriber, path, dial, orders, run, recorder):
    await dial(subscriber, device="a")
    await dial(subscriber, device="b")
    await admin.post(f"{path}/disconnect")
    first, second = await orders()
    recorder.replies = [TIMEOUT]
    await run(first["id"], last=True)
    await run(second["id"], last=True)
    assert [order["outcome"] for order in await orders()] == ["timeout", "timeout"]
    assert [order["attempts"] for order in await orders()] == [1, 0]


async def test_after_a_crash_the_session_tells_the_outcome(
    admin, subscriber, path, dial, hang_up, orders, run, recorder, work
):
    """Killed between sending and storing: the order is pending; the session says what became of it."""
    ended, alive = await dial(subscriber, device="a"), await dial(subscriber, device="b")
    await admin.post(f"{path}/disconnect")

    class Crash(BaseException):
        pass

    class Dying:
        sent = 0

        async def send(self, order):
            Dying.sent += 1
            raise Crash

    first, second = await orders()
    for order in (first, second):
        with pytest.raises(Crash):
            await run(order["id"], sender=Dying())
    await hang_up(ended)
    assert (Dying.sent, [order["attempts"] for order in await orders()]) == (2, [1, 1])
    recorder.replies = [GONE]
    await run(first["id"])
    await run(second["id"])
    assert len(recorder.sent) == 1, "the session that has ended is not asked for again"
    assert [order["outcome"] for order in await orders()] == ["gone", "gone"]
    assert alive


async def test_a_sender_that_refuses_is_a_nak(admin, subscriber, path, dial, orders, run):
    class Picky:
        async def send(self, order):
            raise Invalid("no such attribute")

    await dial(subscriber)
    await admin.post(f"{path}/disconnect")
    (order,) = await orders()
    await run(order["id"], sender=Picky())
    (order,) = await orders()
    assert (order["outcome"], order["error_cause"]) == ("nak", 401)


async def test_a_log_in_just_before_the_suspension_is_found(
    admin, subscriber, lifecycle, dial, orders, enforce
):
    """Answered before the commit, its Start booked after it: no order was made, the sweep makes one."""
    await admin.post(f"{lifecycle}/suspend", {"reason": "Non-payment"})
    assert await enforce() == 0
    session = await dial(subscriber)
    assert await enforce() == 1
    assert [order["session_id"] for order in await orders()] == [session]
    assert await enforce() == 0, "it is on its way"


async def test_an_ack_that_was_not_kept_is_repeated(
    admin, subscriber, path, dial, orders, run, enforce, later
):
    await dial(subscriber)
    await admin.post(f"{path}/suspend")
    (order,) = await orders()
    await run(order["id"])
    assert await enforce() == 0, "the Stop may still come"
    await later()
    assert await enforce() == 1
    assert len(await orders()) == 2


async def test_a_session_that_the_nas_does_not_know_is_left_to_the_stale_sweep(
    admin, subscriber, path, dial, orders, run, recorder, enforce, later, begin
):
    await dial(subscriber, at=timedelta(hours=-2))
    await admin.post(f"{path}/suspend")
    (order,) = await orders()
    recorder.replies = [GONE]
    await run(order["id"])
    await later()
    assert await enforce() == 0
    async with begin() as tx:
        await tx.connection.execute("UPDATE radius_session SET updated_at = $1", tx.now)
    assert await enforce() == 1, "it is heard of again"


async def test_expiry_ends_a_session(admin, subscriber, path, dial, enforce):
    await dial(subscriber)
    await admin.patch(path, {"expires_at": "2040-01-01T00:00:00"})
    assert await enforce() == 0
    await admin.patch(path, {"expires_at": "2020-01-01T00:00:00"})
    assert await enforce() == 1


@pytest.mark.parametrize(
    ("limit", "sessions", "ended"),
    [
        (1, [("a", 0)], []),
        (1, [("a", 0), ("b", 1)], ["b"]),
        (1, [("a", 0), ("a", 1)], []),  # dialled again: the first is its ghost
        (1, [("", 0), ("", 1)], [""]),  # no Calling-Station-Id: each is a device
        (2, [("a", 0), ("b", 1), ("a", 2), ("c", 3)], ["c"]),
        (2, [("a", 0), ("b", 1), ("c", 2), ("d", 3)], ["c", "d"]),
        (0, [("a", 0), ("b", 1), ("c", 2)], []),
    ],
)
async def test_the_session_limit(
    admin, subscriber, path, dial, orders, enforce, begin, limit, sessions, ended
):
    await admin.patch(path, {"session_limit": limit})
    made = {}
    for device, minute in sessions:
        made[await dial(subscriber, device=device, at=timedelta(minutes=minute))] = device
    assert await enforce() == len(ended)
    assert sorted(made[order["session_id"]] for order in await orders()) == ended
    assert {order["reason"] for order in await orders()} <= {"session limit"}


async def test_twenty_at_once_under_a_limit_of_one(subscriber, dial, orders, enforce):
    await asyncio.gather(*(dial(subscriber, device=f"d{number:02}") for number in range(20)))
    await asyncio.gather(enforce(), enforce(), return_exceptions=True)
    assert len({order["session_id"] for order in await orders()}) == 19


async def test_only_the_subscribers_asked_about(subscribe, provision, dial, enforce, begin):
    await provision()
    await provision()
    one, two = (await subscribe()).json(), (await subscribe(username="second")).json()
    for shown in (one, two):
        await dial(shown, device="a")
        await dial(shown, device="b")
    async with begin() as tx:
        second = await tx.connection.fetchval("SELECT id FROM subscriber WHERE username = 'second'")
    assert await enforce(second) == 1
    assert await enforce() == 1


class TestGarden:
    """`suspended_policy: garden`: who has not paid may reach the payment page."""

    @pytest.fixture(autouse=True)
    async def _garden(self, settings_of):
        await settings_of(
            suspended_policy="garden",
            garden={"pool": "garden-pool", "download_bps": 1_000_000, "upload_bps": 500_000},
        )

    async def test_in_and_out(self, admin, subscribe, service, pool, lifecycle, dial, hang_up, login, orders):
        shown = (await subscribe(allocate_ip=True)).json()
        session = await dial(shown)
        await admin.post(f"{lifecycle}/suspend", {"reason": "Non-payment"})
        projected = await login()
        assert (projected["decision"], projected["decision_reason"]) == ("garden", "non-payment")
        assert (projected["framed_ip"], projected["framed_pool"]) == (None, "garden-pool")
        assert (projected["download_bps"], projected["upload_bps"]) == (1_000_000, 500_000)
        assert [order["kind"] for order in await orders()] == ["disconnect"]
        await hang_up(session)

        await dial(shown)
        await admin.post(f"{lifecycle}/resume", {})
        projected = await login()
        assert (projected["decision"], projected["framed_pool"]) == ("accept", None)
        assert str(projected["framed_ip"]) == "10.100.0.2"
        assert len(await orders()) == 2, "out of the garden it has to dial in anew"

    @pytest.mark.parametrize("more", ["fraud", "other"])
    async def test_never_with_another_lock(self, admin, subscriber, lifecycle, dial, login, more):
        await admin.post(f"{lifecycle}/suspend", {"reason": "Non-payment"})
        assert (await login())["decision"] == "garden"
        await admin.post(f"{lifecycle}/suspend", {"reason": "more", "reason_code": more})
        assert (await login())["decision"] == "reject"
        await admin.post(f"{lifecycle}/resume", {"reason_code": more})
        assert (await login())["decision"] == "garden"

    async def test_own_suspension_is_no_garden(self, admin, subscriber, path, lifecycle, login):
        await admin.post(f"{lifecycle}/suspend", {"reason": "Non-payment"})
        await admin.post(f"{path}/suspend")
        assert (await login())["decision"] == "reject"


async def test_suspension_and_a_new_subscriber_at_once(admin, subscribe, service, lifecycle, login):
    """Whoever comes second sees the first: nobody is on line for a suspended service."""
    for number in range(6):
        name = f"racer-{number}"
        made, suspended = await asyncio.gather(
            subscribe(username=name, service_id=service["id"]),
            admin.post(f"{lifecycle}/suspend", {"reason": "abuse"}),
        )
        assert suspended.status_code == 200, suspended.text
        assert made.status_code in (201, 409), made.text
        if made.status_code == 201:
            assert (await login(name))["decision"] == "reject"
        await admin.post(f"{lifecycle}/resume", {})
