"""Checks of somebody else's PostgreSQL behind `DATABASE_URL`, before anything is written there."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import asyncpg

from demarc.kernel.errors import Misconfigured, Unavailable

LEAST_VERSION = 15
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What the platform has to know about an outside server."""

    version: int
    """Major version."""
    role: str
    database: str
    superuser: bool
    """May mark functions LEAKPROOF; a managed server's owner usually may not."""
    may_create_roles: bool
    missing_roles: tuple[str, ...]


async def check_server(url: str, roles: tuple[str, ...]) -> ServerFacts:
    """Connect once as the owner and look whether the platform can work there.

    Args:
        url: `postgresql://…` of the owner; never shown in a message.
        roles: the roles that the platform will use.

    Raises:
        Unavailable: nothing answers, or the server is full or starting.
        Misconfigured: the URL, the password, the version or the owner's rights will not do.
    """
    connection = await _connect(url)
    try:
        facts = await _look(connection, roles)
        await _require_owner(connection, facts)
    finally:
        await connection.close()
    return facts


async def _connect(url: str) -> asyncpg.Connection[asyncpg.Record]:
    try:
        return await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidPasswordError):
        raise Misconfigured("DATABASE_URL: the server refuses this user or password.") from None
    except asyncpg.InvalidCatalogNameError:
        raise Misconfigured(
            "DATABASE_URL: there is no such database. Create it: `createdb <name>`."
        ) from None
    except (asyncpg.InterfaceError, ValueError):
        raise Misconfigured(
            "DATABASE_URL cannot be read. Write it as postgresql://user:password@host:5432/database."
        ) from None
    except (socket.gaierror, OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise Unavailable(
            f"DATABASE_URL: the server does not take connections ({type(error).__name__}). Check host, port and "
            f"firewall, and whether it runs."
        ) from None


async def _look(connection: asyncpg.Connection[asyncpg.Record], roles: tuple[str, ...]) -> ServerFacts:
    row = await connection.fetchrow(
        """
        select current_setting('server_version_num')::int / 10000 as version, current_user::text as role,
               current_database()::text as database, r.rolsuper, r.rolcreaterole,
               array(select wanted from unnest($1::text[]) with ordinality as t(wanted, place)
                     where not exists (select 1 from pg_roles p where p.rolname = wanted)
                      order by place) as missing
          from pg_roles r where r.rolname = current_user
        """,
        list(roles),
    )
    if row is None:
        raise Unavailable(
            "DATABASE_URL: the server does not know the role that is connected; it may be in recovery."
        )
    return ServerFacts(
        version=row["version"],
        role=row["role"],
        database=row["database"],
        superuser=row["rolsuper"],
        may_create_roles=row["rolsuper"] or row["rolcreaterole"],
        missing_roles=tuple(row["missing"]),
    )


async def _require_owner(connection: asyncpg.Connection[asyncpg.Record], facts: ServerFacts) -> None:
    if facts.version < LEAST_VERSION:
        raise Misconfigured(
            f"DATABASE_URL: PostgreSQL {facts.version} is too old, at least {LEAST_VERSION} is needed.",
            code="DATABASE_VERSION",
        )
    if await connection.fetchval("select pg_is_in_recovery()"):
        raise Misconfigured("DATABASE_URL is a read-only replica. Give the address of the primary.")
    if not facts.may_create_roles:
        raise Misconfigured(
            f"DATABASE_URL: {facts.role} may not create roles, and a migration makes Demarc's and sets their passwords. "
            f"Let an administrator run: ALTER ROLE {facts.role} CREATEROLE;"
        )
    if not await connection.fetchval("select has_database_privilege(current_database(), 'CREATE')"):
        raise Misconfigured(
            f"DATABASE_URL: {facts.role} may not create schemas in {facts.database}. Let an administrator run: "
            f"GRANT CREATE ON DATABASE {facts.database} TO {facts.role};"
        )
