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

from demarc.kernel.errors import Misconfigured
from demarc.kernel.rls import LOGIN_ROLES

MIGRATIONS = Path(__file__).parents[3] / "migrations"
_ADVISORY_LOCK = 0x64656D61726331


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
        await _set_passwords(owner_dsn, passwords)
    except asyncpg.InsufficientPrivilegeError as error:
        raise Misconfigured(f"the owner in DATABASE_URL lacks a privilege: {error}") from error
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def _set_passwords(owner_dsn: str, passwords: Mapping[str, str]) -> None:
    connection = await asyncpg.connect(owner_dsn)
    try:
        for role in LOGIN_ROLES:
            # ALTER ROLE takes no parameters; format() quotes on the server, so the text never holds a bare password.
            statement = await connection.fetchval(
                "SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)", role, passwords[role]
            )
            await connection.execute(statement)
    finally:
        await connection.close()
