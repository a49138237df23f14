"""The inhabited platform, made once for the run; a test that changes it gets a copy of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from fastapi import FastAPI

from demarc.bootstrap import build_app
from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Database
from demarc.kernel.settings import Settings

from ..conftest import TEMPLATE, Caller, Callers, Cluster, Scratch  # noqa: TID252 - the suite's own
from .inhabited import settled
from .surface import Surface

_NUMBERS = count(1)
_PATTERN = "inhabited"


@dataclass
class House:
    """An application on an inhabited database."""

    app: FastAPI
    database: Database
    callers: Callers
    surface: Surface
    logged_in: dict[tuple[str, str], Caller] = field(default_factory=dict)

    async def caller(self, tenant: str, role: str) -> Caller:
        """Logged in once: checking a password is slow on purpose."""
        if (tenant, role) not in self.logged_in:
            self.logged_in[tenant, role] = await self.callers(tenant, role)
        return self.logged_in[tenant, role]


async def _copy(cluster: Cluster, name: str, of: str) -> None:
    owner = await asyncpg.connect(cluster.owner_dsn("postgres"))
    await owner.execute(f'CREATE DATABASE "{name}" TEMPLATE "{of}" STRATEGY FILE_COPY')
    await owner.close()


async def _drop(cluster: Cluster, name: str) -> None:
    owner = await asyncpg.connect(cluster.owner_dsn("postgres"))
    await owner.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await owner.close()


async def _open(cluster: Cluster, name: str, settings: Settings, master_key: MasterKey) -> House:
    database = await Database.connect(Scratch(name, cluster).dsn(), max_size=10)
    app = build_app(settings, database, master_key)
    return House(app, database, Callers(app), Surface(app.openapi()))


@pytest.fixture(scope="session")
def town_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Its data directory holds the mail that was written while the platform was filled."""
    return Settings(
        data_dir=tmp_path_factory.mktemp("inhabited"), sandbox=True, staff_requests_per_minute=10**6
    )


@pytest_asyncio.fixture(scope="session")
async def town(cluster: Cluster, town_settings: Settings, master_key: MasterKey) -> dict[str, Any]:
    """Fills a database, closes it so that it can be copied, and tells what was made."""
    await _copy(cluster, _PATTERN, TEMPLATE)
    house = await _open(cluster, _PATTERN, town_settings, master_key)
    try:
        admin = await house.callers("alpha", "admin")
        mail = Path(town_settings.data_dir).absolute() / "mail"
        async with settled(admin, house.database, master_key, mail) as town:
            return town.made
    finally:
        await house.callers.close()
        await house.database.close()


@pytest_asyncio.fixture(scope="session")
async def house(
    town: dict[str, Any], cluster: Cluster, town_settings: Settings, master_key: MasterKey
) -> AsyncIterator[House]:
    """To be read only: every guard sees the same rows."""
    async with _copied(cluster) as copy, _lived_in(copy, town_settings, master_key) as house:
        yield house


@pytest_asyncio.fixture
async def own_house(
    town: dict[str, Any], cluster: Cluster, town_settings: Settings, master_key: MasterKey
) -> AsyncIterator[House]:
    """To be changed at will."""
    async with _copied(cluster) as copy, _lived_in(copy, town_settings, master_key) as house:
        yield house


@pytest_asyncio.fixture(scope="module")
async def copied(town: dict[str, Any], cluster: Cluster) -> AsyncIterator[Scratch]:
    """An inhabited database for a test file that opens it itself."""
    async with _copied(cluster) as copy:
        yield copy


@asynccontextmanager
async def _copied(cluster: Cluster) -> AsyncIterator[Scratch]:
    name = f"{_PATTERN}_{next(_NUMBERS)}"
    await _copy(cluster, name, _PATTERN)
    try:
        yield Scratch(name, cluster)
    finally:
        await _drop(cluster, name)


@asynccontextmanager
async def _lived_in(copy: Scratch, settings: Settings, master_key: MasterKey) -> AsyncIterator[House]:
    house = await _open(copy.cluster, copy.name, settings, master_key)
    try:
        yield house
    finally:
        await house.callers.close()
        await house.database.close()
