"""A real PostgreSQL with the AAA tables, and a real FreeRADIUS over it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from demarc.adapters.freeradius.engine import RadiusEngine
from demarc.adapters.freeradius.raddb import DatabaseLogin, RadiusConfig, find_binary, find_library_dir
from demarc.kernel.errors import Misconfigured
from demarc.kernel.rls import LOGIN_ROLES, isolate
from demarc.modules.access import models

sys.path.insert(0, str(Path(__file__).parent))  # test files are no packages; these two are read by several
from radius_packets import Nas
from radius_rows import add_nas

from ..bare_postgres import BarePostgres, aaa_functions  # noqa: TID252 - the suite's own
from ..ports import free_port  # noqa: TID252 - the suite's own

AAA_PASSWORD = r"it's a\ 'pass:word' %{x}"


@pytest.fixture(scope="session")
def cluster() -> Iterator[BarePostgres]:
    made = BarePostgres(Path(tempfile.mkdtemp(prefix="demarc-radius-")), free_port())
    made.create()
    hba = made.home / "data" / "pg_hba.conf"
    hba.write_text("local all owner trust\nhost all demarc_aaa 127.0.0.1/32 scram-sha-256\n")
    made.start()
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.home)


async def connect(cluster: BarePostgres) -> asyncpg.Connection[Any]:
    return await asyncpg.connect(host=str(cluster.home), port=cluster.port, user="owner", database="postgres")


@pytest.fixture(scope="session")
async def schema(cluster: BarePostgres) -> None:
    connection = await connect(cluster)
    for role in LOGIN_ROLES:
        await connection.execute(f"CREATE ROLE {role} LOGIN")
    literal = AAA_PASSWORD.replace("'", "''")
    await connection.execute(f"ALTER ROLE demarc_aaa PASSWORD '{literal}'")
    for table in (models.aaa_nas, models.aaa_login, models.radius_session):
        await create_table(connection, table)
    for function in aaa_functions():
        await connection.execute(function)
    await connection.close()


async def create_table(connection: asyncpg.Connection[Any], table: Table) -> None:
    """The table as declared, without foreign keys to tables that these tests do not need."""
    ddl = CreateTable(table, include_foreign_key_constraints=[])
    await connection.execute(str(ddl.compile(dialect=postgresql.dialect())))
    for index in table.indexes:
        await connection.execute(str(CreateIndex(index).compile(dialect=postgresql.dialect())))
    for statement in isolate(table):
        await connection.execute(statement)


@pytest.fixture
async def db(cluster: BarePostgres, schema: None) -> AsyncIterator[asyncpg.Connection[Any]]:
    """The owner's connection, over empty tables that hold one NAS of tenant 1 and one of tenant 2."""
    connection = await connect(cluster)
    await connection.execute("TRUNCATE aaa_nas, aaa_login, radius_session")
    await add_nas(connection)
    await add_nas(connection, tenant=2, address="127.0.0.2")
    yield connection
    if not connection.is_closed():
        await connection.close()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """On a disk: FreeRADIUS makes no file below /dev, so not in /dev/shm, where other tests keep theirs."""
    with tempfile.TemporaryDirectory(prefix="demarc-radius-", dir="/var/tmp") as name:
        yield Path(name)


@pytest.fixture
def config(cluster: BarePostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RadiusConfig:
    monkeypatch.setattr("demarc.adapters.freeradius.engine.free_port", free_port)
    try:
        find_binary("freeradius")
    except Misconfigured as error:
        pytest.skip(error.message)
    made = RadiusConfig(
        directory=tmp_path / "raddb",
        spool_dir=tmp_path / "spool",
        database=DatabaseLogin("127.0.0.1", cluster.port, "postgres", "demarc_aaa", AAA_PASSWORD),
        auth_port=free_port(),
        acct_port=free_port(),
        nas_lifetime_seconds=2,
        reject_delay_seconds=0,
    )
    find_library_dir(made)
    return made


@pytest.fixture
async def engine(config: RadiusConfig, db: asyncpg.Connection[Any]) -> AsyncIterator[RadiusEngine]:
    made = RadiusEngine(config)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def nas(engine: RadiusEngine, config: RadiusConfig) -> Nas:
    return Nas(config.auth_port, config.acct_port)


@pytest.fixture
def other_nas(engine: RadiusEngine, config: RadiusConfig) -> Nas:
    """A NAS of tenant 2."""
    return Nas(config.auth_port, config.acct_port, address="127.0.0.2")
