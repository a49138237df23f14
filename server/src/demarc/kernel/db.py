"""Connections and transactions. Only the edges (a request, a job, a command) open a transaction and commit it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy
from sqlalchemy import Table

from demarc.kernel.clock import real_now
from demarc.kernel.context import Actor, TenantContext
from demarc.kernel.errors import Conflict, DemarcError, Forbidden, NotFound, Unauthenticated, Unavailable
from demarc.kernel.sql import Query, insert_query, update_query

T = TypeVar("T")
Connection = PoolConnectionProxy
DATABASE_AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)
_AWAY_MESSAGE = "the database does not answer; nothing was changed, try again"

_BEGIN_TENANT = "SELECT * FROM begin_tenant($1, $2, $3, $4)"


async def prepare_connection(connection: asyncpg.Connection[Any]) -> None:
    """Codecs of a new connection: JSON goes through msgspec."""
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(
            kind,
            schema="pg_catalog",
            encoder=lambda value: msgspec.json.encode(value).decode(),
            decoder=msgspec.json.decode,
        )


async def keep_as_it_is(connection: asyncpg.Connection[Any]) -> None:
    """Nothing to reset when a connection is given back: all that is set is set for one transaction, nothing listens.

    Saves a round trip per request; an open transaction is rolled back by asyncpg all the same.
    """


@dataclass(slots=True)
class Tx:
    """One open transaction of one tenant: row-level security is bound to `tenant.id` until it ends.

    `now` is business time and stands still for the whole transaction.
    """

    connection: Connection
    tenant: TenantContext
    actor: Actor
    request_id: str
    now: datetime
    after_commit: list[Callable[[], None]] = field(default_factory=list)

    async def fetch(self, query: Query, row: type[T], **values: Any) -> list[T]:
        """All rows, each as `row(**columns)`. `:tenant_id` is filled in when the statement names it."""
        records = await self.connection.fetch(query.sql, *self._arguments(query, values))
        return [row(**record) for record in records]

    async def find(self, query: Query, row: type[T], **values: Any) -> T | None:
        """The first row or None."""
        record = await self.connection.fetchrow(query.sql, *self._arguments(query, values))
        return None if record is None else row(**record)

    async def get(self, query: Query, row: type[T], missing: str, **values: Any) -> T:
        """As `find`. Raises `NotFound`, which says `missing`, when there is none."""
        found = await self.find(query, row, **values)
        if found is None:
            raise NotFound(missing)
        return found

    async def value(self, query: Query, **values: Any) -> Any:
        """The first column of the first row."""
        return await self.connection.fetchval(query.sql, *self._arguments(query, values))

    async def execute(self, query: Query, **values: Any) -> int:
        """Run for effect; the number of rows it touched."""
        status: str = await self.connection.execute(query.sql, *self._arguments(query, values))
        return int(status.rpartition(" ")[2] or 0)

    def _arguments(self, query: Query, values: dict[str, Any]) -> list[Any]:
        if "tenant_id" in query.parameters:
            values.setdefault("tenant_id", self.tenant.id)
        return query.arguments(values)

    async def insert(self, table: Table, row: type[T], **values: Any) -> T:
        """Insert one row of this tenant and return it as stored."""
        values["tenant_id"] = self.tenant.id
        query = insert_query(table, tuple(sorted(values)))
        stored = await self.find(query, row, **values)
        if stored is None:
            raise AssertionError("INSERT … RETURNING gave no row")
        return stored

    async def update(self, table: Table, row: type[T], keys: dict[str, Any], **values: Any) -> T:
        """Change one row of this tenant, found by `keys`.

        Raises:
            NotFound: no such row for this tenant.
        """
        keys = {"tenant_id": self.tenant.id, **keys}
        query = update_query(table, tuple(sorted(values)), tuple(sorted(keys)))
        bound = {f"key_{name}": value for name, value in keys.items()}
        stored = await self.find(query, row, **values, **bound)
        if stored is None:
            raise NotFound(f"no such {table.name.replace('_', ' ')}")
        return stored


class Database:
    """A pool of connections as the app role, which row-level security binds."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    @classmethod
    async def connect(cls, dsn: str, *, min_size: int = 1, max_size: int = 10) -> Database:
        """Open the pool.

        Raises:
            Unavailable: the server does not answer.
        """
        try:
            pool = await asyncpg.create_pool(
                dsn,
                min_size=min_size,
                max_size=max_size,
                init=prepare_connection,
                reset=keep_as_it_is,
                command_timeout=60,
                timeout=5,
            )
        except DATABASE_AWAY as error:
            raise Unavailable(_AWAY_MESSAGE) from error
        return cls(pool)

    @property
    def pool(self) -> asyncpg.Pool[Any]:
        """For libraries that bring their own statements (the job queue)."""
        return self._pool

    async def close(self) -> None:
        await self._pool.close()

    async def ping(self) -> None:
        """Raises `Unavailable` unless the database answers within two seconds."""
        async with self._answering():
            await self._pool.fetchval("SELECT 1", timeout=2)

    @asynccontextmanager
    async def begin(self, tenant_id: int, actor: Actor, *, request_id: str = "") -> AsyncIterator[Tx]:
        """One transaction of one tenant: committed when the block ends, rolled back when it raises.

        Raises:
            Forbidden: the tenant does not exist or is closed, or the user is no longer active.
            Unauthenticated: the actor's session has ended, or its service token was revoked.
            Unavailable: the database does not answer; nothing was changed.
        """
        async with self._answering(), self._pool.acquire(timeout=5) as connection:
            async with connection.transaction():
                tx = Tx(
                    connection,
                    await _bind_tenant(connection, tenant_id, actor),
                    actor,
                    request_id,
                    real_now(),
                )
                tx.now += tx.tenant.clock_offset
                yield tx
            for hook in tx.after_commit:
                hook()

    @asynccontextmanager
    async def directory(self) -> AsyncIterator[Connection]:
        """A connection that belongs to no tenant: only the directory functions answer on it."""
        async with self._answering(), self._pool.acquire(timeout=5) as connection:
            yield connection

    @staticmethod
    @asynccontextmanager
    async def _answering() -> AsyncIterator[None]:
        try:
            yield
        except DemarcError:
            raise
        except (TimeoutError, *DATABASE_AWAY) as error:
            raise Unavailable(_AWAY_MESSAGE, code="DATABASE_UNAVAILABLE") from error
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError) as error:
            raise Conflict(
                "another request changed the same rows at the same time; try again", code="CONCURRENT_CHANGE"
            ) from error


async def _bind_tenant(connection: Connection, tenant_id: int, actor: Actor) -> TenantContext:
    row = await connection.fetchrow(
        _BEGIN_TENANT, tenant_id, actor.user_id, actor.session_id, actor.service_token_id
    )
    if row is not None:
        return TenantContext(**row)
    if await connection.fetchrow(_BEGIN_TENANT, tenant_id, actor.user_id, None, None) is not None:
        raise Unauthenticated("this session has ended or its token was revoked; log in again")
    raise Forbidden("the tenant is closed or the user is no longer active")
