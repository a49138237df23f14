"""Simulators on loopback, Debian's Chromium, a Dovecot of our own. What is missing fails the test and says so."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from fno_portal import SharedBrowser, verify_identity
from fno_portal.portal.browser import find_chromium
from fno_portal.testing import Faults, RunningSimulator, SimulatedOperator
from fno_portal.testing.mailbox import DovecotMailbox, find_dovecot
from fno_portal.testing.operator import PREMISES

SETUP = "run deploy/setup/fno.sh (make test does), or apt-get install --no-install-recommends chromium dovecot-imapd libatomic1"


@pytest.fixture(scope="session")
def simulators() -> Iterator[dict[tuple[str, str], RunningSimulator]]:
    wanted = [
        ("vumatel", "document", False),
        ("frogfoot", "document", False),
        ("openserve", "openserve", False),
        ("evotel", "aex", False),
        ("thefibrecafe", "tmf", False),
        ("vumatel", "portal", False),
        ("openserve", "portal", False),
        ("frogfoot", "portal", False),
        ("octotel", "portal", True),
        ("evotel", "portal", False),
        ("metrofibre", "portal", False),
    ]
    running = {
        (name, style): RunningSimulator(style, SimulatedOperator(name, totp=totp))
        for name, style, totp in wanted
    }
    for one in running.values():
        one.start()
    yield running
    with ThreadPoolExecutor(len(running)) as together:
        list(together.map(RunningSimulator.stop, running.values()))


@pytest.fixture
def sims(simulators) -> Iterator[dict[tuple[str, str], RunningSimulator]]:
    """The simulators, whole again and empty before each test."""
    for one in simulators.values():
        for switch in fields(Faults):
            setattr(one.operator.faults, switch.name, switch.default)
        one.operator.orders.clear()
        one.operator.tickets.clear()
        one.operator.requests = one.operator.logins = 0
        one.operator.idempotent = True
        one.operator.premises = PREMISES
        one.operator.changed.clear()
        one.operator.snapshot_at = None
    yield simulators
    for one in simulators.values():
        one.operator.faults.hang = one.operator.faults.take_then_hang = False


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator[SharedBrowser]:
    """One real headless Chromium for the run; it resolves no names but this machine's."""
    if find_chromium() is None:
        pytest.fail(f"Chromium is not installed: {SETUP}", pytrace=False)
    shared = SharedBrowser(hosts=["localhost", "127.0.0.1"])
    await shared.acquire()
    yield shared
    await shared.release()


@pytest.fixture(scope="module")
def mailbox() -> Iterator[DovecotMailbox]:
    if find_dovecot() is None:
        pytest.fail(f"Dovecot is not installed: {SETUP}", pytrace=False)
    # Short, for its sockets; readable, for its unprivileged user.
    home = Path(tempfile.mkdtemp(prefix="fno-imap-", dir="/tmp"))
    try:
        with DovecotMailbox(home) as box:
            yield box
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def rica():
    return verify_identity(
        id_number="8001015009087",
        verified_by="thandi@isp.example",
        method="in person",
        documents=["smart ID card"],
        evidence=b"scan",
        verified_at=datetime(2020, 1, 5, tzinfo=UTC),
    )


@pytest.fixture
def order(rica):
    return {
        "reference": "ORD-1",
        "customer_id": "cust-1",
        "address": "12 Main Road, Rondebosch",
        "package": "50/50 Mbps",
        "rica": rica,
    }
