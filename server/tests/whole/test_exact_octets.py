"""Octets sent = stored = billed, over a month boundary, with everything that goes wrong on a network, through real FreeRADIUS."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from demarc.adapters.nas_simulator.simulation import (
    Credentials,
    Faults,
    NasAddress,
    SimulationPlan,
    run_simulation,
)

from .conftest import SECRET, until

pytestmark = [pytest.mark.platform, pytest.mark.radius]

SUBSCRIBERS = 8


@pytest.mark.parametrize("seed", [1, 2])
async def test_octets_sent_are_stored_and_billed_exactly(platform, seed):
    async with platform.api() as api:
        mark = uuid.uuid4().hex[:6]
        rows = [
            await api.subscribe(f"octet{n}.{mark}@alpha.com", "secure_pass_456") for n in range(SUBSCRIBERS)
        ]
        subscriptions = {
            row["username"]: (await api.get(f"/api/services/lifecycle/{row['service_id']}"))[
                "subscription_id"
            ]
            for row in rows
        }
        now = datetime.now(UTC) + await api.clock_offset()
        month_end = (
            now.replace(day=1, hour=6, minute=0, second=0, microsecond=0) + timedelta(days=32)
        ).replace(day=1)
        plan = SimulationPlan(
            nas=(NasAddress("127.0.0.11", SECRET.encode(), 0), NasAddress("127.0.0.12", SECRET.encode(), 0)),
            subscribers=tuple(Credentials(row["username"], "secure_pass_456") for row in rows),
            begins_at=month_end - timedelta(hours=5),
            ends_at=month_end + timedelta(hours=3),
            time_zone="America/Chicago",
            interim=timedelta(minutes=10),
            gigaword_users=0.3,
            faults=Faults(lost_start=0.3, repeated_packet=0.1, reboot=0.08, hang_up=0.05),
            seed=seed,
            auth_port=platform.auth_port,
            acct_port=platform.acct_port,
        )
        report = await run_simulation(plan)
        assert report.lost_starts
        assert report.repeated
        assert report.reboots
        assert len({month for _, month in report.octets}) == 2

        sent = {key: (up, down) for key, (up, down) in report.octets.items() if up or down}

        async def stored():
            found = {}
            for username, subscription in subscriptions.items():
                for record in (
                    await api.get("/api/billing/usage/records", subscription_id=subscription, limit=500)
                )["records"]:
                    month = record["source_record_id"].split("/")[1]
                    up, down = found.get((username, month), (0, 0))
                    found[username, month] = (up + record["input_octets"], down + record["output_octets"])
            return found

        async def caught_up():
            found = await stored()
            wrong.update(
                found={
                    key: (found.get(key), octets) for key, octets in sent.items() if found.get(key) != octets
                }
            )
            return found == sent

        wrong = {}

        await until("stored octets to equal the octets sent", caught_up, about=wrong)

        advance = plan.ends_at + timedelta(days=40) - datetime.now(UTC) - await api.clock_offset()
        await api.post("/api/sandbox/clock/advance", {"minutes": int(advance.total_seconds() // 60) + 1})
        billed = {}
        for username, subscription in subscriptions.items():
            for month in sorted({month for user, month in sent if user == username}):
                run = await api.post("/api/billing/runs", {"period": month, "subscription_id": subscription})
                await until("the billing run", lambda run=run: done(api, run["id"]))
            listed = await api.get("/api/billing/invoices", subscription_id=subscription, limit=500)
            for made in listed["invoices"]:
                invoice = await api.get(f"/api/billing/invoices/{made['id']}")
                key = (username, invoice["period_start"][:7])
                billed[key] = billed.get(key, 0) + sum(line["octets"] or 0 for line in invoice["line_items"])
        assert billed == {key: up + down for key, (up, down) in sent.items()}


async def done(api, run_id):
    return (await api.get(f"/api/billing/runs/{run_id}"))["status"] == "completed"
