"""Guards that read the schema: tenancy, money and migrations cannot be forgotten in a new table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Date, DateTime, Float
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from demarc.kernel.migrate import _config
from demarc.kernel.schema import EXEMPTION, TENANT_SCOPED
from demarc.modules.registry import complete_metadata

TABLES = complete_metadata().sorted_tables
MIGRATIONS = Path(__file__).parents[2] / "migrations"
TENANT_TABLES = [table for table in TABLES if table.info.get(TENANT_SCOPED)]

# The reviewed list: what no tenant owns. A new name here is a decision; the reason stands at the table.
REVIEWED = {"accounting_reject", "spool_offset", "platform_fact"}
QUEUE_TABLES = {"pgqueuer", "pgqueuer_log", "pgqueuer_schedules", "pgqueuer_statistics"}
LIBRARY_TABLES = QUEUE_TABLES | {"alembic_version"}


def test_every_table_is_a_tenants_or_on_the_reviewed_list():
    exempt = {table.name for table in TABLES if table.info.get(EXEMPTION)}
    assert exempt == REVIEWED
    assert {table.name for table in TABLES} == exempt | {table.name for table in TENANT_TABLES}


def test_keys_start_with_the_tenant_and_foreign_keys_carry_it():
    for table in TENANT_TABLES:
        if table.name == "tenant":
            continue
        assert next(iter(table.primary_key.columns)).name == "tenant_id", table.name
        for constraint in table.foreign_key_constraints:
            if constraint.referred_table.name != "tenant":
                assert constraint.column_keys[0] == "tenant_id", f"{table.name}: {constraint.column_keys}"


def test_no_column_is_a_float():
    assert [f"{t.name}.{c.name}" for t in TABLES for c in t.columns if isinstance(c.type, Float)] == []


def test_times_and_dates_are_named_for_what_they_are():
    for table in TABLES:
        for column in table.columns:
            if isinstance(column.type, DateTime):
                assert column.name.endswith(("_at", "_until", "_start", "_end")), column
            elif isinstance(column.type, Date):
                assert column.name == "day" or column.name.endswith("_on"), column


async def test_row_level_security_is_forced_on_every_tenant_table(scratch):
    owner = await asyncpg.connect(scratch.owner_dsn)
    try:
        rows = await owner.fetch(
            "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class "
            "WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND NOT relispartition"
        )
        secured = {row["relname"] for row in rows if row["relrowsecurity"] and row["relforcerowsecurity"]}
        assert secured == {table.name for table in TENANT_TABLES}
        assert {row["relname"] for row in rows} - secured == REVIEWED | LIBRARY_TABLES
        bypassing = await owner.fetch(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'demarc\\_%' AND rolname <> 'demarc_owner' "
            "AND (rolsuper OR rolbypassrls OR rolcreaterole)"
        )
        assert bypassing == []
    finally:
        await owner.close()


@pytest.mark.parametrize("table", TENANT_TABLES, ids=lambda table: table.name)
async def test_the_app_role_without_a_tenant_sees_nothing(scratch, table):
    app = await asyncpg.connect(scratch.dsn("demarc_app"))
    try:
        assert await app.fetchval(f"SELECT count(*) FROM {table.name}") == 0
    finally:
        await app.close()


async def test_the_app_role_sees_only_the_tenant_it_is_bound_to(scratch):
    app = await asyncpg.connect(scratch.dsn("demarc_app"))
    try:
        async with app.transaction():
            await app.fetch("SELECT * FROM begin_tenant(1, NULL)")
            assert await app.fetchval("SELECT array_agg(DISTINCT tenant_id) FROM app_user") == [1]
            await app.execute("INSERT INTO audit_log SELECT * FROM audit_log LIMIT 0")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute("UPDATE audit_log SET action = 'x'")
        async with app.transaction():
            await app.fetch("SELECT * FROM begin_tenant(1, NULL)")
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                async with app.transaction():
                    await app.execute(
                        "INSERT INTO status_change (tenant_id, entity, entity_id, to_status, actor, changed_at) "
                        "VALUES (2, 'x', 1, 'y', 'z', now())"
                    )
        assert await app.fetchval("SELECT count(*) FROM app_user") == 0
    finally:
        await app.close()


async def test_partitions_are_reached_only_through_their_parent(scratch):
    app = await asyncpg.connect(scratch.dsn("demarc_app"))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.fetch("SELECT * FROM radius_session_history_default")
    finally:
        await app.close()


async def test_the_migrated_database_is_what_the_tables_declare(scratch):
    engine = create_async_engine(make_url(scratch.owner_dsn).set(drivername="postgresql+asyncpg"))

    def differences(connection):
        def ours(_object, name, kind, reflected, _compared):
            if kind == "table" and reflected:
                return name not in LIBRARY_TABLES and not name.startswith("radius_session_history_")
            return True

        context = MigrationContext.configure(connection, opts={"include_object": ours})
        return compare_metadata(context, complete_metadata())

    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
    await engine.dispose()
    assert found == []


def test_there_is_one_migration_head_and_the_baseline_is_fresh():
    assert len(ScriptDirectory.from_config(_config()).get_heads()) == 1
    check = subprocess.run(
        [sys.executable, str(MIGRATIONS / "generate_baseline.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stderr
