"""The database stops: known subscribers still log in, unknown ones get no answer, accounting goes on and is caught up."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from pathlib import Path

import pytest
import pytest_asyncio

from demarc.adapters.postgres.cluster import PrivateCluster
from demarc.kernel.errors import Unavailable

from .conftest import make_platform, until

pytestmark = [pytest.mark.platform, pytest.mark.radius]


@pytest_asyncio.fixture(scope="module")
async def server():
    """A PostgreSQL that the platform does not supervise, as behind DATABASE_URL."""
    home = Path(tempfile.mkdtemp(prefix="demarc-outside-"))
    home.chmod(0o755)
    cluster = PrivateCluster(home / "data", durable=False)
    await cluster.start()
    yield cluster
    await cluster.stop()
    cluster.destroy()
    shutil.rmtree(home, ignore_errors=True)


@pytest_asyncio.fixture(scope="module")
async def platform(server):
    made = make_platform(DATABASE_URL=server.owner_dsn)
    try:
        await asyncio.to_thread(made.start)
        yield made
    finally:
        await asyncio.to_thread(made.stop)
        shutil.rmtree(made.home, ignore_errors=True)


async def test_the_network_goes_on_without_the_database(platform, server):
    async with platform.api() as api, platform.nas(api) as nas:
        known, unknown = (f"{word}.{uuid.uuid4().hex[:6]}@alpha.com" for word in ("known", "unknown"))
        subscriber = await api.subscribe(known, "secure_pass_456")
        await api.subscribe(unknown, "secure_pass_456")
        subscription = (await api.get(f"/api/services/lifecycle/{subscriber['service_id']}"))[
            "subscription_id"
        ]
        dialed = await nas.dial(known, "secure_pass_456")
        assert dialed.accepted
        await nas.drain()

        await server.stop()
        assert (await api.client.get("/readyz")).status_code == 503
        refused = await api.client.get("/api/customers")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "DATABASE_UNAVAILABLE")

        again = await nas.dial(known, "secure_pass_456", calling_station_id="02:00:00:00:00:01")
        assert again.accepted
        assert again.attributes["Framed-IP-Address"] == subscriber["static_ipv4"]
        assert "Session-Timeout" not in again.attributes
        assert not (await nas.dial(known, "wrong_pass_456")).accepted
        with pytest.raises(Unavailable):
            await nas.dial(unknown, "secure_pass_456")
        for session in (dialed.session, again.session):
            session.carry(input_octets=1_000_003, output_octets=5_000_000_017)
            session.interim()
        await nas.drain()

        await server.start()
        await asyncio.to_thread(platform.wait_ready)

        async def caught_up():
            answer = await api.client.get(
                "/api/billing/usage/records", params={"subscription_id": subscription}
            )
            records = answer.json().get("records", []) if answer.is_success else []
            return sum(row["output_octets"] for row in records) == 2 * 5_000_000_017

        await until("the accounting to be caught up", caught_up)
        for session in (dialed.session, again.session):
            session.stop()
        await nas.drain()
        assert (await nas.dial(unknown, "secure_pass_456")).accepted
