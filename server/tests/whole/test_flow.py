"""One customer's life on real parts: what issue number one promises, seen from outside."""

from __future__ import annotations

import asyncio
import subprocess
import uuid

import pytest

from .conftest import JANE, SECRET, until

pytestmark = [pytest.mark.platform, pytest.mark.radius]


def radtest(platform, username, password, method):
    """Debian's own client, as in document 002."""
    return subprocess.run(
        ["radtest", "-t", method, username, password, f"127.0.0.1:{platform.auth_port}", "0", SECRET],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    ).stdout


def test_the_tour_walks_the_whole_flow_twice(platform):
    first = platform.command("tour", "--url", platform.url)
    assert "The tour is over" in first.stdout
    second = platform.command("tour", "--url", platform.url)
    assert "The tour is over" in second.stdout


async def test_radtest_gets_the_address_and_speeds_that_were_sold(platform):
    async with platform.api() as api:
        name = f"jane.{uuid.uuid4().hex[:6]}@alpha.com"
        subscriber = await api.subscribe(name, "secure_pass_456")
        assert subscriber["radius_created"] is True
        for method in ("pap", "chap", "mschap"):
            answer = radtest(platform, name, "secure_pass_456", method)
            assert "Received Access-Accept" in answer, f"{method}: {answer}\n{platform.tail()}"
            assert f"Framed-IP-Address = {subscriber['static_ipv4']}" in answer
            assert "WISPr-Bandwidth-Max-Down = 200000000" in answer
            assert "WISPr-Bandwidth-Max-Up = 100000000" in answer
            assert "Received Access-Reject" in radtest(platform, name, "wrong_pass_456", method)


async def test_a_suspension_cuts_the_live_session_and_a_resume_lets_it_back(platform):
    async with platform.api() as api, platform.nas(api) as nas:
        name = f"cut.{uuid.uuid4().hex[:6]}@alpha.com"
        subscriber = await api.subscribe(name, "secure_pass_456")
        dialed = await nas.dial(name, "secure_pass_456")
        assert dialed.accepted
        await nas.drain()
        sessions = await until("the session", lambda: live(api, subscriber["id"]))
        assert sessions[0]["framed_ip"] == subscriber["static_ipv4"]

        path = f"/api/services/lifecycle/{subscriber['service_id']}"
        suspended = await api.post(f"{path}/suspend", {"reason": "Non-payment - invoice in_1 overdue"})
        assert suspended["status"] == "suspended_non_payment"
        assert not (await nas.dial(name, "secure_pass_456")).accepted
        await until("the Disconnect", lambda: gone(dialed.session), patience=10)
        assert nas.orders_obeyed == [f"disconnect {dialed.session.session_id}"]
        orders = await until("the outcome", lambda: answered(api, subscriber["id"]))
        assert orders[0]["outcome"] == "ack"

        assert (await api.post(f"{path}/resume", {}))["status"] == "active"
        again = await nas.dial(name, "secure_pass_456")
        assert again.accepted
        again.session.stop()
        await nas.drain()


async def live(api, subscriber_id):
    return (await api.get("/api/sessions", subscriber_id=subscriber_id))["sessions"]


async def gone(session):
    return not session.active


async def answered(api, subscriber_id):
    orders = (await api.get("/api/coa-requests", subscriber_id=subscriber_id))["coa_requests"]
    return [order for order in orders if order["outcome"] != "pending"]


async def test_tenants_do_not_meet(platform):
    """Over the API, over RADIUS and over CoA."""
    async with (
        platform.api() as alpha,
        platform.api("demo-beta", "admin@beta.example.com") as beta,
        platform.nas(alpha, "127.0.0.11") as alpha_nas,
        platform.nas(beta, "127.0.0.21") as beta_nas,
    ):
        name = f"alone.{uuid.uuid4().hex[:6]}@alpha.com"
        subscriber = await alpha.subscribe(name, "secure_pass_456")
        assert not (await beta_nas.dial(name, "secure_pass_456")).accepted
        dialed = await alpha_nas.dial(name, "secure_pass_456")
        assert dialed.accepted
        await alpha_nas.drain()
        await until("the session", lambda: live(alpha, subscriber["id"]))
        for path in (
            f"/api/customers/{JANE}",
            f"/api/subscribers/{subscriber['id']}",
            f"/api/services/lifecycle/{subscriber['service_id']}",
            "/api/billing/invoices/in_xyz789",
        ):
            assert (await beta.client.get(path)).status_code == 404, path
        refused = await beta.client.post(f"/api/subscribers/{subscriber['id']}/disconnect", json={})
        assert refused.status_code == 404
        assert (await beta.get("/api/sessions"))["total"] == 0
        taken = await beta.client.post(
            "/api/subscribers",
            json={
                "username": name,
                "customer_id": (await beta.get("/api/customers"))["customers"][0]["id"],
                "service_type": "fiber_internet",
            },
        )
        assert taken.status_code == 409
        assert dialed.session.active
        assert beta_nas.orders_obeyed == alpha_nas.orders_obeyed == []
        dialed.session.stop()
        await alpha_nas.drain()


async def test_twenty_log_ins_at_once_under_a_limit_of_one_leave_one_session(platform):
    async with platform.api() as api, platform.nas(api) as nas:
        name = f"crowd.{uuid.uuid4().hex[:6]}@alpha.com"
        subscriber = await api.subscribe(name, "secure_pass_456")
        answers = await asyncio.gather(
            *(
                nas.dial(name, "secure_pass_456", calling_station_id=f"02:00:00:00:01:{n:02x}")
                for n in range(20)
            )
        )
        assert any(answer.accepted for answer in answers)
        await nas.drain()

        async def one_left():
            active = [
                answer.session for answer in answers if answer.session is not None and answer.session.active
            ]
            return len(active) == 1 and len(await live(api, subscriber["id"])) == 1

        await until("all but one to be cut", one_left)
        for answer in answers:
            if answer.session is not None:
                answer.session.stop()
        await nas.drain()


async def test_metrics_of_every_process_are_in_one_place(platform):
    async with platform.api() as api:
        await api.post("/api/sandbox/clock/advance", {"minutes": 1})

        async def shown():
            text = (await api.client.get("/metrics")).text
            return all(
                word in text
                for word in ("demarc_http_requests_total", "demarc_jobs_total", "demarc_spool_lines_total")
            )

        await until("the counters of API, worker and ingester", shown)


def test_the_audit_log_is_verified_and_no_packet_waits(platform):
    assert "as it was sealed" in platform.command("audit", "verify", "--tenant", "demo-alpha").stdout
    refused = platform.command(
        "audit", "verify", "--tenant", "demo-alpha", "--anchor", "00" * 32, check=False
    )
    assert (refused.returncode, "not in the chain" in refused.stderr) == (1, True)
    assert "0 of 0 shown" in platform.command("accounting", "rejects").stdout
    assert "0 of 0 booked" in platform.command("accounting", "retry").stdout
