"""A fake PBX in this process, a client to it, and a clock that both share where a test wants to move it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from netsapiens_asyncio import NetsapiensAPI, RetryPolicy
from netsapiens_asyncio.testing import FakePbx, MovedClock, serve

CREDENTIALS = {
    "base_url": "api.example.com",
    "client_id": "your_client_id",
    "client_secret": "your_client_secret",
    "username": "your_username",
    "password": "your_password",
}
QUICK = RetryPolicy(attempts=4, first_wait=0.005, longest_wait=0.02)


@pytest.fixture
def credentials():
    return dict(CREDENTIALS)


@pytest.fixture
def quick():
    return QUICK


@pytest.fixture
async def pbx():
    pbx = FakePbx()
    yield pbx
    await pbx.close()


@pytest.fixture
async def client(pbx):
    async with NetsapiensAPI(CREDENTIALS, transport=pbx.transport(), retries=QUICK) as client:
        yield client


@pytest.fixture
async def moved():
    """A PBX and a client whose time is moved by hand."""
    clock = MovedClock()
    pbx = FakePbx(clock=clock)
    async with NetsapiensAPI(CREDENTIALS, transport=pbx.transport(), retries=QUICK, clock=clock) as client:
        yield SimpleNamespace(clock=clock, pbx=pbx, client=client)
    await pbx.close()


@pytest.fixture
async def served(pbx):
    """The PBX on a port: its URL, and a configuration for it."""
    async with serve(pbx) as url:
        yield SimpleNamespace(url=url, pbx=pbx, config={**CREDENTIALS, "base_url": url})


@pytest.fixture(autouse=True)
def short_looks(monkeypatch):
    monkeypatch.setattr("netsapiens_asyncio.messages.LOOKS", (0.01, 0.01, 0.02))
