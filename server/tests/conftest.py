"""Shared fixtures: one real PostgreSQL per run, one database per test cloned from a migrated template, real HTTP objects."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from demarc.adapters.postgres.cluster import PrivateCluster
from demarc.bootstrap import build_app, register_everything
from demarc.kernel.context import Actor, system
from demarc.kernel.crypto import MasterKey, load_master_key
from demarc.kernel.db import Database, Tx
from demarc.kernel.migrate import migrate
from demarc.kernel.rls import LOGIN_ROLES
from demarc.kernel.settings import Settings
from demarc.modules.identity.service import create_user
from demarc.modules.identity.states import Role
from demarc.modules.tenants.service import create_tenant

# Databases of a few minutes live in memory where there is room: cloning one is ten times as fast as on a disk.
# Only databases: FreeRADIUS writes no spool below /dev.
_MEMORY = Path("/dev/shm")
_ROOM_OCTETS = 4 << 30

ALPHA, BETA = 1, 2
TEMPLATE = "demarc_template"
_NUMBERS = count(1)

register_everything()


@dataclass(frozen=True)
class Cluster:
    """The run's PostgreSQL, and how to reach its databases as each role."""

    server: PrivateCluster

    def dsn(self, database: str, role: str = "demarc_app") -> str:
        return self.server.dsn(role, database)

    def owner_dsn(self, database: str) -> str:
        return self.server.dsn("demarc_owner", database)


@dataclass(frozen=True)
class Scratch:
    """One test's database."""

    name: str
    cluster: Cluster

    def dsn(self, role: str = "demarc_app") -> str:
        return self.cluster.dsn(self.name, role)

    @property
    def owner_dsn(self) -> str:
        return self.cluster.owner_dsn(self.name)


@pytest.fixture(scope="session")
def run_dir() -> Iterator[Path]:
    """A directory of this run that child processes of another user may enter."""
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_OCTETS
    with tempfile.TemporaryDirectory(prefix="demarc-test-", dir=_MEMORY if roomy else None) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def master_key(run_dir: Path) -> MasterKey:
    return load_master_key(run_dir / "master.key", create=True)


@pytest_asyncio.fixture(scope="session")
async def cluster(run_dir: Path, master_key: MasterKey) -> AsyncIterator[Cluster]:
    server = PrivateCluster(run_dir / "data", durable=False)
    await server.start()
    try:
        made = Cluster(server)
        await _make_template(made, master_key)
        yield made
    finally:
        await server.stop()


async def _make_template(cluster: Cluster, master_key: MasterKey) -> None:
    """A migrated database with the tenants `alpha` (1, sandbox, USD) and `beta` (2, EUR), each with an administrator."""
    owner = await asyncpg.connect(cluster.owner_dsn("postgres"))
    await owner.execute(f'CREATE DATABASE "{TEMPLATE}"')
    await owner.close()
    await migrate(
        cluster.owner_dsn(TEMPLATE), {role: cluster.server.secret_for(role) for role in LOGIN_ROLES}
    )
    database = await Database.connect(cluster.dsn(TEMPLATE))
    try:
        for tenant_id, slug, currency, sandbox in (
            (ALPHA, "alpha", "USD", True),
            (BETA, "beta", "EUR", False),
        ):
            await create_tenant(
                database,
                master_key,
                slug=slug,
                name=slug.title(),
                currency=currency,
                time_zone="UTC",
                is_sandbox=sandbox,
                tenant_id=tenant_id,
                settings={"realm": f"{slug}.example"},
            )
            async with database.begin(tenant_id, system("test")) as tx:
                for role in Role:
                    await create_user(
                        tx,
                        email=f"{role.value}@{slug}.example.com",
                        name=role.value,
                        password="right horse",
                        role=role,
                    )
    finally:
        await database.close()


@pytest_asyncio.fixture
async def scratch(cluster: Cluster) -> AsyncIterator[Scratch]:
    """A fresh database for this test."""
    name = f"test_{next(_NUMBERS)}"
    owner = await asyncpg.connect(cluster.owner_dsn("postgres"))
    await owner.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}" STRATEGY FILE_COPY')
    try:
        yield Scratch(name, cluster)
    finally:
        await owner.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await owner.close()


@pytest_asyncio.fixture
async def database(scratch: Scratch) -> AsyncIterator[Database]:
    opened = await Database.connect(scratch.dsn(), max_size=10)
    try:
        yield opened
    finally:
        await opened.close()


TEST_ACTOR: Actor = system("test")


@pytest_asyncio.fixture
async def tx(database: Database) -> AsyncIterator[Tx]:
    """An open transaction of tenant alpha, committed at the end of the test."""
    async with database.begin(ALPHA, TEST_ACTOR) as opened:
        yield opened


@pytest.fixture
def settings(run_dir: Path) -> Settings:
    return Settings(data_dir=run_dir / "data", sandbox=True)


@dataclass
class Caller:
    """An HTTP client that is logged in; `call` names the tenant in every request."""

    client: httpx.AsyncClient

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.client.post(
            path, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.client.get(path, params=params)

    async def patch(self, path: str, body: Any) -> httpx.Response:
        return await self.client.patch(path, json=body)

    async def delete(self, path: str) -> httpx.Response:
        return await self.client.delete(path)


class Callers:
    """Logs in as any role of any tenant: `await callers("alpha", "admin")`."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._open: list[httpx.AsyncClient] = []

    def anonymous(self) -> httpx.AsyncClient:
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self._app, raise_app_exceptions=False), base_url="http://demarc"
        )
        self._open.append(client)
        return client

    async def __call__(self, tenant: str = "alpha", role: str = "admin") -> Caller:
        client = self.anonymous()
        answer = await client.post(
            "/api/auth/token", json={"username": f"{role}@{tenant}.example.com", "password": "right horse"}
        )
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        client.headers["X-Tenant-ID"] = tenant
        return Caller(client)

    async def close(self) -> None:
        for client in self._open:
            await client.aclose()


@pytest_asyncio.fixture
async def callers(database: Database, settings: Settings, master_key: MasterKey) -> AsyncIterator[Callers]:
    made = Callers(build_app(settings, database, master_key))
    try:
        yield made
    finally:
        await made.close()


@pytest_asyncio.fixture
async def admin(callers: Callers) -> Caller:
    """The administrator of tenant alpha."""
    return await callers("alpha", "admin")
