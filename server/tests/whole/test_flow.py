"""One customer's life on real parts: what issue number one promises, seen from outside."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from .conftest import JANE, SECRET, until

pytestmark = [pytest.mark.platform, pytest.mark.radius]


def radtest(platform, username, password, method):
    """Debian's own client, as in document 002."""
    return subprocess.run(
        ["radtest", "-t", method, username, password, f"127.0.0.1:{platform.auth_port}", "0", SECRET],
        capture_output=True,
        text=True,
        timeout=60,
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
        await until("the Disconnect", lambda: gone(dialed.session))
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


async def go_to_the_last_minutes_of_the_month(api):
    """A session must not fall silent in between: two and a half intervals without a packet end it."""
    now = datetime.now(ZoneInfo("America/Chicago")) + await api.clock_offset()
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    minutes = int(((first + timedelta(days=32)).replace(day=1) - now) / timedelta(minutes=1)) - 8
    await api.post("/api/sandbox/clock/advance", {"minutes": max(minutes, 0)})


async def test_used_up_data_slows_the_line_by_coa_until_a_top_up_and_until_the_new_month(platform):
    """80 and 100 % of a data cap: two messages, the slower speeds at the NAS that holds the session, and back again."""
    async with platform.api() as api:
        await go_to_the_last_minutes_of_the_month(api)
        mark = uuid.uuid4().hex[:6]
        await api.post(
            "/api/plans",
            {
                "plan_id": f"plan_capped_{mark}",
                "name": "Capped",
                "service_type": "fiber_internet",
                "bandwidth_down_mbps": 200,
                "bandwidth_up_mbps": 100,
                "monthly_fee": 4999,
                "data_limit_gb": 10,
                "data_limit_policy": {"action": "throttle", "download_mbps": 2, "upload_mbps": 1},
            },
        )
        customer = await api.post("/api/customers", {"name": "Ann", "email": f"ann.{mark}@alpha.com"})
        service = await api.provision(
            customer_id=customer["id"], plan_id=f"plan_capped_{mark}", service_config={}
        )
        name = f"capped.{mark}@alpha.com"
        login = {"username": name, "password": "secure_pass_456", "customer_id": customer["id"]}
        subscriber = await api.post(
            "/api/subscribers", login | {"service_id": service["id"], "session_limit": 2}
        )

        async def told():
            listed = await api.get("/api/notifications", limit=500)
            return sorted(row["template"] for row in listed["notifications"] if mark in row["recipient"])

        async def speeds():
            return session.download_bps, session.upload_bps

        async def reach(what, wanted, ask):
            async def reached():
                return await ask() == wanted

            await until(what, reached, about=await ask())

        async with platform.nas(api) as nas:
            dialed = await nas.dial(name, "secure_pass_456")
            session = dialed.session
            full, slow = (200_000_000, 100_000_000), (2_000_000, 1_000_000)
            assert await speeds() == full

            async def carry(gb):
                session.carry(input_octets=gb << 28, output_octets=3 * gb << 28)
                session.interim(copies=2)
                await nas.drain()

            await carry(8)
            await reach("the first message", ["data_usage_80"], told)
            assert await speeds() == full
            await carry(2)
            await reach("the slower speeds at the NAS", slow, speeds)
            await reach("the second message", ["data_usage_100", "data_usage_80"], told)
            (order,) = await until("the outcome", lambda: answered(api, subscriber["id"]))
            assert (order["kind"], order["outcome"], order["reason"]) == ("coa", "ack", "data limit reached")

            again = await nas.dial(name, "secure_pass_456", calling_station_id="02:00:00:00:00:02")
            assert again.attributes["WISPr-Bandwidth-Max-Down"] == slow[0]
            again.session.stop()

            path = f"/api/data-caps/{service['id']}"
            await api.post(f"{path}/top-ups", {"gb": 1, "grant": True})
            await reach("the full speeds after the top-up", full, speeds)
            await carry(1)
            await reach("the slower speeds once more", slow, speeds)
            assert (await api.get(path))["line"] == "throttled"

            await api.post("/api/sandbox/clock/advance", {"minutes": 9})
            await reach("the full speeds of the new month", full, speeds)
            shown = await api.get(path)
            assert (shown["used_gb"], shown["line"]) == (0, "full")
            session.stop()
            await nas.drain()


async def test_the_dry_run_says_what_freeradius_answers(platform):
    """The same attributes and the same refusals, for each vendor of NAS."""
    async with platform.api() as api, platform.nas(api) as nas:
        name = f"dry.{uuid.uuid4().hex[:6]}@alpha.com"
        subscriber = await api.subscribe(name, "secure_pass_456")
        row = next(
            row for row in (await api.get("/api/nas", limit=500))["nas"] if row["source_ip"] == nas.source_ip
        )

        device = "02:00:00:00:00:01"  # who has its session still is not a second device

        async def dry_run(**query):
            return await api.get("/api/access/authorization", nas_id=row["id"], username=name, **query)

        async def agree():
            real = await nas.dial(name, "secure_pass_456", calling_station_id=device)
            told = await dry_run(calling_station_id=device)
            assert told["answer"] == ("Access-Accept" if real.accepted else "Access-Reject")
            first = {
                key: str(value[0] if isinstance(value, list) else value)
                for key, value in told["reply"].items()
            }
            assert first == {key: str(value) for key, value in real.attributes.items()}
            if real.session is not None:
                real.session.stop()
                await nas.drain()
            return told

        for vendor in ("generic", "mikrotik", "cisco", "juniper", "huawei", "nokia", "ubiquiti"):
            await api.request("PATCH", f"/api/nas/{row['id']}", {"vendor": vendor})
            assert (await agree())["vendor"] == vendor
        await api.request("PATCH", f"/api/nas/{row['id']}", {"vendor": "generic"})
        await api.post(f"/api/subscribers/{subscriber['id']}/suspend", {"reason": "on holiday"})
        assert (await agree())["reason"] == "subscriber suspended"
        shown = await until("the refusal on record", lambda: refused(api, subscriber["id"]))
        assert shown["reason"] == "subscriber suspended"


async def refused(api, subscriber_id):
    return (await api.get(f"/api/subscribers/{subscriber_id}"))["last_reject"]
