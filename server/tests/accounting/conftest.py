"""A private PostgreSQL for the accounting tests, with the tables, policies and roles as declared."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from demarc.kernel.rls import ROLES, isolate
from demarc.modules.access import models
from demarc.modules.tenants.models import tenant

from ..bare_postgres import BarePostgres, aaa_functions  # noqa: TID252 - the suite's own
from ..ports import free_port  # noqa: TID252 - the suite's own
from .booking import DELTA_BOOK

TABLES = (
    tenant,
    models.aaa_nas,
    models.aaa_login,
    models.radius_session,
    models.radius_session_history,
    models.login_attempt,
    models.accounting_reject,
    models.spool_offset,
)
_DIALECT = postgresql.dialect()


def schema_statements() -> Iterator[str]:
    for role in ROLES:
        yield f"CREATE ROLE {role} LOGIN NOBYPASSRLS"
    for table in TABLES:
        yield str(CreateTable(table).compile(dialect=_DIALECT))
        for index in table.indexes:
            yield str(CreateIndex(index).compile(dialect=_DIALECT))
        yield from isolate(table)
    for year, month in ((2026, 10), (2026, 11), (2026, 12), (2027, 1), (2027, 2)):
        following = f"{year + month // 12}-{month % 12 + 1:02}-01"
        yield (
            f"CREATE TABLE radius_session_history_{year}{month:02} PARTITION OF radius_session_history "
            f"FOR VALUES FROM ('{year}-{month:02}-01') TO ('{following}')"
        )
    yield "CREATE TABLE radius_session_history_rest PARTITION OF radius_session_history DEFAULT"
    yield from aaa_functions()
    yield DELTA_BOOK


SEED = """
INSERT INTO tenant (id, slug, name, currency, time_zone, is_sandbox) VALUES
    (1, 'alpha', 'Alpha', 'EUR', 'Europe/Berlin', true), (2, 'beta', 'Beta', 'USD', 'UTC', false);
INSERT INTO aaa_nas (tenant_id, nas_id, source_ip, secret, shortname, message_authenticator) VALUES
    (1, 11, '127.0.1.1', 'first-secret', 'a1', 'auto'), (1, 12, '127.0.1.2', 'second-secret', 'a2', 'auto'),
    (2, 21, '127.0.2.1', 'third-secret', 'b1', 'auto');
INSERT INTO aaa_login (tenant_id, subscriber_id, service_id, username, decision, nt_hash, mac, circuit_id)
SELECT CASE WHEN n < 200 THEN 1 ELSE 2 END, n, n + 1000, 'user' || n || '@isp', 'accept', '',
       CASE WHEN n = 150 THEN 'aa:bb:cc:00:11:22' END, CASE WHEN n = 151 THEN 'olt1/0/3:12' END
FROM generate_series(100, 299) n;
"""
EMPTY = """
TRUNCATE radius_session, radius_session_history, login_attempt, accounting_reject, spool_offset, delta_book,
         aaa_login, aaa_nas, tenant
"""


@pytest.fixture(scope="session")
def cluster() -> Iterator[BarePostgres]:
    home = Path(tempfile.mkdtemp(prefix="demarc-accounting-"))
    cluster = BarePostgres(home, free_port(), "-c shared_buffers=256MB -c max_wal_size=4GB")
    cluster.create("-A", "trust")
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop("immediate")
        shutil.rmtree(home)


@pytest.fixture(scope="session")
async def created(cluster: BarePostgres) -> BarePostgres:
    owner = await asyncpg.connect(cluster.dsn("owner"))
    for statement in schema_statements():
        await owner.execute(statement)
    await owner.close()
    return cluster


@pytest.fixture
async def seeded(created: BarePostgres) -> BarePostgres:
    await reseed(created)
    return created


async def reseed(cluster: BarePostgres) -> None:
    owner = await asyncpg.connect(cluster.dsn("owner"))
    await owner.execute(EMPTY)
    await owner.execute(SEED)
    await owner.close()


@pytest.fixture
async def owner(seeded: BarePostgres) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(seeded.dsn("owner"))
    yield connection
    await connection.close()
