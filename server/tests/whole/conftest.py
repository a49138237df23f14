"""The whole platform as a child process, as `make run` starts it, on ports and a directory of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from demarc.adapters.nas_simulator.nas import SimulatedNas
from demarc.cli.run_state import read_processes, start_ticks

from ..ports import free_port  # noqa: TID252 - the suite's own

JANE = "660e8400-e29b-41d4-a716-446655440000"
SECRET = "testing123"
BIN = Path(sys.executable).parent


@dataclass
class Platform:
    """A running `demarc up --sandbox`."""

    home: Path
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.home / "platform.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.env['DEMARC_HTTP_PORT']}"

    @property
    def auth_port(self) -> int:
        return int(self.env["DEMARC_RADIUS_AUTH_PORT"])

    @property
    def acct_port(self) -> int:
        return int(self.env["DEMARC_RADIUS_ACCT_PORT"])

    def start(self, patience: float = 240) -> None:
        """A start is some twenty seconds of work for a processor: a machine ten times as busy still gets there."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(BIN / "demarc"), "up", "--sandbox"],
                env=self.env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self.wait_ready(patience)

    def wait_ready(self, patience: float = 180) -> None:
        give_up = time.monotonic() + patience
        while time.monotonic() < give_up:
            assert self.process is None or self.process.poll() is None, f"it ended:\n{self.tail()}"
            try:
                if httpx.get(f"{self.url}/readyz", timeout=10, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        pytest.fail(f"not ready after {patience} s:\n{self.tail()}")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(120)
        self.process = None

    def tail(self, lines: int = 60) -> str:
        return (
            "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""
        )

    def pid(self, name: str) -> int:
        """Of a process that lives: a dead one's stands in the file until the supervisor has noticed."""
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:
            found = read_processes(self.home / "data" / "run")[name]
            if found.pid is not None and start_ticks(found.pid) == found.start_ticks:
                return found.pid
            time.sleep(0.05)
        pytest.fail(f"{name} does not run:\n{self.tail()}")

    def kill(self, name: str) -> None:
        """kill -9, as the OOM killer does it."""
        os.kill(self.pid(name), signal.SIGKILL)

    def command(
        self, *argv: str, timeout: float = 300, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(BIN / "demarc"), *argv],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}\n{done.stderr}\n{self.tail()}"
        return done

    @asynccontextmanager
    async def api(
        self, tenant: str = "demo-alpha", user: str = "admin@example.com", password: str = "secure_password"
    ) -> AsyncIterator[Api]:
        async with httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False) as client:
            api = Api(client)
            token = await api.post("/api/auth/token", {"username": user, "password": password})
            client.headers["Authorization"] = f"Bearer {token['access_token']}"
            client.headers["X-Tenant-ID"] = tenant
            yield api

    @asynccontextmanager
    async def nas(
        self, api: Api, source_ip: str = "127.0.0.11", offset: timedelta | None = None
    ) -> AsyncIterator[SimulatedNas]:
        """A simulated NAS whose registered CoA port is the one it listens on."""
        shift = offset if offset is not None else await api.clock_offset()
        async with SimulatedNas(
            source_ip,
            SECRET.encode(),
            auth_port=self.auth_port,
            acct_port=self.acct_port,
            coa_port=0,
            clock=lambda: datetime.now(UTC) + shift,
        ) as nas:
            listed = await api.get("/api/nas", limit=500)
            row = next(row for row in listed["nas"] if row["source_ip"] == source_ip)
            await api.request("PATCH", f"/api/nas/{row['id']}", {"coa_port": nas.coa_port})
            yield nas


@dataclass
class Api:
    """HTTP calls whose errors fail the test."""

    client: httpx.AsyncClient

    async def request(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        response = await self.client.request(method, path, json=body, params=params)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()

    async def post(self, path: str, body: Any = None) -> Any:
        return await self.request("POST", path, body)

    async def get(self, path: str, **params: Any) -> Any:
        return await self.request("GET", path, **params)

    async def clock_offset(self) -> timedelta:
        return timedelta(seconds=(await self.get("/api/sandbox/clock"))["offset_seconds"])

    async def provision(self, **more: Any) -> Any:
        body = {
            "customer_id": JANE,
            "service_type": "fiber_internet",
            "service_name": "Fiber 200",
            "plan_id": "plan_fiber_200",
            "subscription_id": f"sub_{uuid.uuid4().hex[:12]}",
            "service_config": {"bandwidth_down_mbps": 200, "bandwidth_up_mbps": 100},
            "auto_activate": True,
        }
        return await self.post("/api/services/lifecycle/provision", body | more)

    async def subscribe(self, username: str, password: str, **more: Any) -> Any:
        """A subscriber of document 002's shape on a service of his own."""
        service = await self.provision(
            **({"customer_id": more["customer_id"]} if "customer_id" in more else {})
        )
        body = {
            "username": username,
            "password": password,
            "customer_id": JANE,
            "service_id": service["id"],
            "service_type": "fiber_internet",
            "status": "active",
            "bandwidth_profile": {"download_mbps": 200, "upload_mbps": 100},
            "allocate_ip": True,
            "ip_pool_name": "residential_pool_1",
        }
        return await self.post("/api/subscribers", body | more)


async def until(
    what: str, ask: Callable[[], Awaitable[Any]], patience: float = 60, about: object = ""
) -> Any:
    """Ask until the answer is truthy: a wait for an event, not a measurement."""
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up:
        if found := await ask():
            return found
        await asyncio.sleep(0.05)
    pytest.fail(f"waited {patience} s for {what} {about or ''}")


def make_platform(**env: str) -> Platform:
    home = Path(tempfile.mkdtemp(prefix="demarc-platform-"))
    home.chmod(0o755)
    settings = {
        "DEMARC_DATA_DIR": str(home / "data"),
        "DEMARC_HTTP_PORT": str(free_port()),
        "DEMARC_RADIUS_AUTH_PORT": str(free_port()),
        "DEMARC_RADIUS_ACCT_PORT": str(free_port()),
        "DEMARC_MAIL_TRAP_PORT": str(free_port()),
        "DEMARC_LOG_FORMAT": "json",
    }
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("DEMARC_") and name != "DATABASE_URL"
    }
    return Platform(home, kept | settings | env)


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """One platform per test file."""
    made = make_platform()
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.home, ignore_errors=True)
