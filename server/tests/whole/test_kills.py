"""kill -9 of anything, in the middle of provisioning and of accounting: nothing lost, nothing twice, nothing half done."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from datetime import timedelta

import httpx
import pytest

from .conftest import JANE, until

pytestmark = [pytest.mark.platform, pytest.mark.radius]


async def post_until_answered(platform, api, path, body, key):
    """A client that repeats with its Idempotency-Key until it gets a final answer."""
    while True:
        with contextlib.suppress(httpx.HTTPError):
            answer = await api.client.post(path, json=body, headers={"Idempotency-Key": key})
            if answer.status_code < 500:
                return answer
        await asyncio.sleep(0.2)


@pytest.mark.parametrize("victim", ["api", "worker", "postgres"])
async def test_provisioning_survives_kill_9(platform, victim):
    async with platform.api() as api:
        before = (await api.get("/api/services/lifecycle", customer_id=JANE, limit=1))["total"]
        wanted = 12

        async def provision(number):
            body = {
                "customer_id": JANE,
                "service_type": "fiber_internet",
                "service_name": f"Kill {number}",
                "plan_id": "plan_fiber_100",
                "subscription_id": f"sub_{uuid.uuid4().hex[:12]}",
                "auto_activate": True,
            }
            answer = await post_until_answered(
                platform, api, "/api/services/lifecycle/provision", body, uuid.uuid4().hex
            )
            assert answer.status_code == 201, answer.text
            return answer.json()

        async def killer():
            for _ in range(3):
                await asyncio.sleep(random.uniform(0.05, 0.4))
                platform.kill(victim)
                await asyncio.sleep(0.5)

        *made, _ = await asyncio.gather(*(provision(number) for number in range(wanted)), killer())
        await asyncio.to_thread(platform.wait_ready)

        async def all_active():
            listed = (
                await api.get("/api/services/lifecycle", customer_id=JANE, limit=500, sort="-created_at")
            )["services"]
            return (
                [row for row in listed if row["id"] in ids]
                if all(row["status"] == "active" for row in listed if row["id"] in ids)
                else None
            )

        ids = {row["id"] for row in made}
        rows = await until("every service to be active", all_active)
        assert len(ids) == wanted == len(rows)
        assert (await api.get("/api/services/lifecycle", customer_id=JANE, limit=1))[
            "total"
        ] == before + wanted
        assert len({row["service_identifier"] for row in rows}) == wanted


@pytest.mark.parametrize("victim", ["ingester", "radius", "postgres", "worker", "api"])
async def test_accounting_survives_kill_9(platform, victim):
    async with platform.api() as api, platform.nas(api) as nas:
        name = f"kill.{uuid.uuid4().hex[:6]}@alpha.com"
        subscriber = await api.subscribe(name, "secure_pass_456")
        subscription = (await api.get(f"/api/services/lifecycle/{subscriber['service_id']}"))[
            "subscription_id"
        ]
        dialed = await nas.dial(name, "secure_pass_456")
        assert dialed.accepted
        session = dialed.session
        for burst in range(6):
            for _ in range(20):
                session.carry(
                    input_octets=random.randrange(1, 1 << 20), output_octets=random.randrange(1, 1 << 33)
                )
                session.interim(copies=random.choice((1, 1, 2)))
            if burst % 2 == 0:
                platform.kill(victim)
            await asyncio.sleep(0.3)
        session.stop()
        await nas.drain()
        await asyncio.to_thread(platform.wait_ready)

        async def stored():
            answer = await api.client.get(
                "/api/billing/usage/records", params={"subscription_id": subscription}
            )
            if not answer.is_success:
                return False
            records = answer.json()["records"]
            return (session.input_octets, session.output_octets) == (
                sum(row["input_octets"] for row in records),
                sum(row["output_octets"] for row in records),
            )

        await until(f"exactly {session.input_octets} / {session.output_octets} octets", stored)

        async def ended():
            return (await api.get("/api/sessions", subscriber_id=subscriber["id"]))["total"] == 0

        await until("the Stop to be booked", ended)


async def test_the_supervisor_itself_killed_leaves_no_orphans_and_starts_again(platform):
    async with platform.api() as api:
        customers = (await api.get("/api/customers", limit=1))["total"]
    platform.process.kill()
    platform.process.wait()
    await asyncio.to_thread(platform.start)
    async with platform.api() as api:
        assert (await api.get("/api/customers", limit=1))["total"] == customers
        assert await api.clock_offset() >= timedelta(0)
