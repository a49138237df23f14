"""From a suspension to the NAS and back: the real sender, real UDP, a simulated NAS."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from demarc.adapters.coa import open_client
from demarc.adapters.nas_simulator import SimulatedNas, SimulatedSession
from demarc.kernel.clock import real_now
from demarc.kernel.errors import Unavailable
from demarc.modules.access.inputs import NewNas
from demarc.modules.access.service import create_nas

SECRET = "wire-secret"


@pytest.fixture
async def client():
    """Patient: a busy machine must not look like a NAS that does not answer."""
    async with open_client(source_ip="127.0.0.1", retransmit_after=(20, 20)) as made:
        yield made


@pytest.fixture
async def impatient():
    async with open_client(source_ip="127.0.0.1", retransmit_after=(0.2, 0.2)) as made:
        yield made


@pytest.fixture
async def simulated():
    async with SimulatedNas("127.0.7.21", SECRET.encode(), coa_port=0, acct_port=9, clock=real_now) as made:
        yield made


@pytest.fixture
def join(begin, master_key):
    """Make a NAS of the platform out of a simulated one."""

    async def make(simulated, *, secret=SECRET, coa_port=None):
        async with begin() as tx:
            address = IPv4Address(simulated.source_ip)
            new = NewNas("sim", address, secret, vendor="mikrotik", coa_port=coa_port or simulated.coa_port)
            return await create_nas(tx, master_key, new)

    return make


@pytest.fixture
def dial_in(dial):
    """A session that the simulated NAS and the platform both know."""

    async def start(simulated, known, shown, number="a1"):
        session = SimulatedSession(
            nas=simulated,
            session_id=number,
            username=shown["username"],
            started_at=real_now(),
            nas_port=1,
            attributes={},
            calling_station_id="00-11",
        )
        simulated.sessions.add(session)
        await dial(shown, acct_session_id=number, on=known)
        return session

    return start


async def test_suspended_and_cut(admin, subscriber, service, simulated, client, join, dial_in, orders, run):
    session = await dial_in(simulated, await join(simulated), subscriber)
    await admin.post(f"/api/services/lifecycle/{service['id']}/suspend", {"reason": "Non-payment"})
    (order,) = await orders()
    await run(order["id"], sender=client)
    assert not session.active
    assert (await orders())[0]["outcome"] == "ack"
    await admin.post(f"/api/subscribers/{subscriber['id']}/disconnect")
    await run((await orders())[1]["id"], sender=client)
    assert (await orders())[1]["outcome"] == "gone", "a second Disconnect does no harm"


async def test_faster_while_on_line(admin, subscriber, simulated, client, join, dial_in, orders, run):
    session = await dial_in(simulated, await join(simulated), subscriber)
    profile = {"bandwidth_profile": {"download_mbps": 80, "upload_mbps": 8}}
    await admin.patch(f"/api/subscribers/{subscriber['id']}", profile)
    await run((await orders())[0]["id"], sender=client)
    assert (await orders())[0]["outcome"] == "ack"
    assert session.active
    assert session.attributes["WISPr-Bandwidth-Max-Down"] == 80_000_000
    assert session.attributes["Mikrotik-Rate-Limit"] == "8000000/80000000"


async def test_a_wrong_secret_is_silence(admin, subscriber, simulated, impatient, join, dial_in, orders, run):
    session = await dial_in(simulated, await join(simulated, secret="not-the-secret"), subscriber)
    await admin.post(f"/api/subscribers/{subscriber['id']}/disconnect")
    with pytest.raises(Unavailable):
        await run((await orders())[0]["id"], sender=impatient)
    assert (await orders())[0]["outcome"] == "pending"
    assert session.active
