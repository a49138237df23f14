"""Services and addresses on real parts: what is changed over HTTP is felt by radtest and by the live session."""

from __future__ import annotations

import subprocess
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from demarc.adapters.nas_simulator.nas import SimulatedNas

from .conftest import SECRET, until

pytestmark = [pytest.mark.platform, pytest.mark.radius]
LIFECYCLE = "/api/services/lifecycle"


def radtest(platform, username):
    """Debian's own client, as in document 002."""
    return subprocess.run(
        ["radtest", username, "secure_pass_456", f"127.0.0.1:{platform.auth_port}", "0", SECRET],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout


async def live(api, subscriber_id):
    return (await api.get("/api/sessions", subscriber_id=subscriber_id))["sessions"]


async def test_ipv6_and_routed_blocks_reach_the_nas(platform):
    async with platform.api() as api:
        name = f"six.{uuid.uuid4().hex[:6]}@alpha.com"
        shown = await api.subscribe(name, "secure_pass_456", prefix_pool_name="residential_prefixes_1")
        pools = {}
        for kind, network, length in (
            ("ipv6", "2001:db8:1::/64", None),
            ("framed_prefix", "2001:db8:2::/48", None),
            ("routed", "203.0.113.0/24", 29),
        ):
            body = {"name": f"{kind}_{uuid.uuid4().hex[:6]}", "kind": kind, "network": network}
            pools[kind] = await api.post("/api/pools", body | ({"prefix_length": length} if length else {}))
        given = {
            kind: await api.post(
                "/api/address-assignments", {"subscriber_id": shown["id"], "pool_id": pool["id"]}
            )
            for kind, pool in pools.items()
        }
        answer = radtest(platform, name)
        for line in (
            f"Framed-IP-Address = {shown['static_ipv4']}",
            f"Delegated-IPv6-Prefix = {shown['delegated_prefix']}",
            f"Framed-IPv6-Address = {given['ipv6']['address']}",
            f"Framed-IPv6-Prefix = {given['framed_prefix']['address']}",
            f'Framed-Route = "{given["routed"]["address"]} 0.0.0.0 1"',
        ):
            assert line in answer, f"{line}: {answer}\n{platform.tail()}"
        await api.request("DELETE", f"/api/address-assignments/{given['routed']['id']}")
        assert "Framed-Route" not in radtest(platform, name), "the next log-in goes without"
        behind = shown["delegated_prefix"].replace("/56", "7")
        trace = await api.get(f"/api/addresses/{behind}/history")
        assert [one["subscriber_id"] for one in trace["assignments"]] == [shown["id"]]


async def test_a_service_changes_under_its_live_session(platform):
    async with platform.api() as api, platform.nas(api) as nas:
        name = f"move.{uuid.uuid4().hex[:6]}@alpha.com"
        shown = await api.subscribe(name, "secure_pass_456", bandwidth_profile=None, session_limit=2)
        path = f"{LIFECYCLE}/{shown['service_id']}"
        dialed = await nas.dial(name, "secure_pass_456")
        assert dialed.accepted
        await nas.drain()
        await until("the session", lambda: live(api, shown["id"]))
        health = await api.get(f"{path}/health")
        assert (health["is_online"], health["health"]) == (True, "ok"), health
        assert health["lines"][0]["sessions"][0]["address"] == shown["static_ipv4"]

        moved = await api.post(f"{path}/change-plan", {"plan_id": "plan_fiber_500"})
        assert moved["service"]["bandwidth_profile"] == {"download_mbps": 500.0, "upload_mbps": 250.0}

        async def is_faster():
            return dialed.session.attributes.get("WISPr-Bandwidth-Max-Down") == 500_000_000

        await until("the CoA", is_faster)
        assert dialed.session.active, "nobody is cut for a new speed"
        assert "WISPr-Bandwidth-Max-Down = 500000000" in radtest(platform, name)

        ahead = datetime.now(UTC) + await api.clock_offset() + timedelta(hours=1)
        held = await api.post(f"{path}/suspend", {"reason": "holiday", "auto_resume_at": ahead.isoformat()})
        assert held["status"] == "suspended"

        async def is_cut():
            return not dialed.session.active

        await until("the Disconnect", is_cut)
        assert "Received Access-Reject" in radtest(platform, name)
        await api.post("/api/sandbox/clock/advance", {"hours": 2})

        async def is_back():
            return (await api.get(path))["status"] == "active"

        await until("the end of the suspension", is_back)
        assert "Received Access-Accept" in radtest(platform, name)


async def test_a_bulk_order_of_many_is_carried_on_by_the_worker(platform):
    async with platform.api() as api:
        services = [(await api.provision())["id"] for _ in range(3)]
        nobody = [str(uuid.uuid4()) for _ in range(60)]
        order = {"operation": "suspend", "reason": "storm", "on_error": "skip"}
        taken = await api.post(f"{LIFECYCLE}/bulk", order | {"service_ids": [*nobody, *services]})
        assert (taken["status"], taken["remaining"]) == ("running", 63)

        async def finished():
            shown = await api.get(f"{LIFECYCLE}/bulk/{taken['id']}")
            return shown if shown["status"] != "running" else None

        shown = await until("the worker", finished)
        assert (shown["status"], shown["succeeded"], shown["failed"]) == ("completed", 3, 60)
        for service in services:
            assert (await api.get(f"{LIFECYCLE}/{service}"))["status"] == "suspended"


async def test_an_operator_begins_with_one_command_and_chooses_a_garden(platform):
    """No sandbox of ours: `demarc tenant create`, then everything over HTTP; `demarc tenant set` is felt by radtest."""
    slug = f"acme-{uuid.uuid4().hex[:6]}"
    mail, name = f"boss@{slug}.example", f"first@{slug}.example"
    opened = platform.command(
        "tenant", "create", slug, "--admin", mail, "--name", "Acme", "--currency", "EUR"
    )
    password = opened.stdout.strip().splitlines()[-1]

    async with platform.api(slug, mail, password) as api:
        source_ip = "127.0.0.61"
        await api.post("/api/nas", {"name": "bng", "source_ip": source_ip, "secret": SECRET})
        await api.post("/api/pools", {"name": "homes", "network": "10.77.0.0/24", "is_default": True})
        await api.post(
            "/api/plans",
            {
                "plan_id": "fibre",
                "name": "Fibre",
                "service_type": "fiber_internet",
                "bandwidth_down_mbps": 200,
                "bandwidth_up_mbps": 100,
                "monthly_fee": 3000,
            },
        )
        customer = await api.post(
            "/api/customers", {"email": "c@example.com", "name": "C", "phone": "+4930123456"}
        )
        service = await api.provision(customer_id=customer["id"], plan_id="fibre")
        subscriber = await api.post(
            "/api/subscribers",
            {
                "username": name,
                "password": "secure_pass_456",
                "customer_id": customer["id"],
                "service_id": service["id"],
                "allocate_ip": True,
            },
        )

        async with SimulatedNas(
            source_ip,
            SECRET.encode(),
            auth_port=platform.auth_port,
            acct_port=platform.acct_port,
            coa_port=0,
            clock=lambda: datetime.now(UTC),
        ) as nas:
            dialed = await nas.dial(name, "secure_pass_456")
            assert dialed.accepted
            assert dialed.attributes["Framed-IP-Address"] == subscriber["static_ipv4"]

            path = f"{LIFECYCLE}/{service['id']}/suspend"
            await api.post(path, {"reason": "Non-payment", "reason_code": "non_payment"})
            assert not (await nas.dial(name, "secure_pass_456")).accepted
            platform.command("tenant", "set", slug, 'garden={"pool": "unpaid"}', "suspended_policy=garden")

            async def in_garden():
                again = await nas.dial(name, "secure_pass_456")
                return again.accepted and again.attributes

            assert (await until("the garden", in_garden))["Framed-Pool"] == "unpaid"
