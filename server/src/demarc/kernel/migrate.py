"""Runs the migrations as the owner of the database, and sets the passwords of the roles that log in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from demarc.kernel.crypto import CHECK_PLAINTEXT, MasterKey
from demarc.kernel.errors import Misconfigured
from demarc.kernel.rls import LOGIN_ROLES

MIGRATIONS = Path(__file__).parents[3] / "migrations"
_KEY_FACT = "master_key_check"
_ADVISORY_LOCK = 0x64656D61726331
_LEAKPROOF = """
    DO $$ BEGIN
      IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
         AND EXISTS (SELECT FROM pg_proc WHERE proname IN ('texticlike', 'textlike') AND NOT proleakproof) THEN
        ALTER FUNCTION texticlike(text, text) LEAKPROOF;
        ALTER FUNCTION textlike(text, text) LEAKPROOF;
      END IF;
    END $$
"""
"""Under a policy, text search ignores its index unless the operators are leakproof; only a superuser may say so."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def head_revision() -> str:
    """The newest revision that this code knows."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise AssertionError("there is no migration")
    return head


async def migrate(owner_dsn: str, passwords: Mapping[str, str]) -> None:
    """Bring the database to the newest revision and let the login roles in with these passwords.

    Concurrent callers wait for each other.

    Args:
        owner_dsn: connection of the role that owns the schema (`postgresql://…`).
        passwords: role name -> password, for every login role.

    Raises:
        Misconfigured: the owner may not create roles or extensions; the message says which statement failed.
    """
    engine = create_async_engine(make_url(owner_dsn).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.exec_driver_sql(f"SELECT pg_advisory_lock({_ADVISORY_LOCK})")
            await connection.commit()
            await connection.run_sync(_upgrade)
            await connection.commit()
        await _settle_cluster(owner_dsn, passwords)
    except asyncpg.InsufficientPrivilegeError as error:
        raise Misconfigured(f"the owner in DATABASE_URL lacks a privilege: {error}") from error
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def _settle_cluster(owner_dsn: str, passwords: Mapping[str, str]) -> None:
    """What belongs to the cluster and is not in a dump of the database: done at every start."""
    connection = await asyncpg.connect(owner_dsn)
    try:
        for role in LOGIN_ROLES:
            # ALTER ROLE takes no parameters; format() quotes on the server, so the text never holds a bare password.
            statement = await connection.fetchval(
                "SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)", role, passwords[role]
            )
            await connection.execute(statement)
        await connection.execute(_LEAKPROOF)
    finally:
        await connection.close()


async def current_revision(owner_dsn: str) -> str | None:
    """The revision the database is at; None when it is empty."""
    connection = await asyncpg.connect(owner_dsn)
    try:
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return None
        return str(await connection.fetchval("SELECT version_num FROM alembic_version"))
    finally:
        await connection.close()


async def write_revision(owner_dsn: str, message: str) -> str:
    """Write a new migration file from the difference between the declared tables and the database; its path."""
    engine = create_async_engine(make_url(owner_dsn).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(lambda sync: _autogenerate(sync, message))
    finally:
        await engine.dispose()


def _autogenerate(connection: Connection, message: str) -> str:
    config = _config()
    config.attributes["connection"] = connection
    made = command.revision(config, message=message, autogenerate=True)
    return str(made.path) if made is not None and not isinstance(made, list) else ""


async def check_master_key(owner_dsn: str, key: MasterKey) -> None:
    """Remember a check value at the first start; later, refuse a key that is not the one.

    Raises:
        Misconfigured: this is another key; nothing was read or written with it.
    """
    connection = await asyncpg.connect(owner_dsn)
    try:
        await connection.execute(
            "INSERT INTO platform_fact (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            _KEY_FACT,
            key.seal(CHECK_PLAINTEXT, _KEY_FACT.encode()),
        )
        stored = await connection.fetchval("SELECT value FROM platform_fact WHERE name = $1", _KEY_FACT)
    finally:
        await connection.close()
    key.open(stored, _KEY_FACT.encode())
