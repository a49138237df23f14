"""The private PostgreSQL of a data directory: made, started, watched and stopped by the platform.

It listens on a unix socket, with a port also on 127.0.0.1, asks everybody for a password, runs without root's
rights, and ends with the process that started it. Its interface is the supervisor's `Child`: `start`, `probe`,
`stop`, `pid`, `wait`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Self
from urllib.parse import quote

import asyncpg

from demarc.adapters.postgres import tuning
from demarc.adapters.postgres.binaries import binaries, pinned_major, pinned_version
from demarc.adapters.postgres.failures import disk_full, explain_failure
from demarc.adapters.postgres.home import SOCKET_PORT, Home, prepare_home, remove_home
from demarc.adapters.postgres.orphans import is_postmaster_of, read_postmaster, stop_orphan
from demarc.adapters.postgres.role_secrets import RoleSecrets
from demarc.adapters.postgres.upgrade import Upgrade, complete_swap
from demarc.adapters.processes.owned import OwnedProcess
from demarc.adapters.processes.service_user import ServiceUser, service_user
from demarc.kernel.errors import Conflict, Misconfigured, Unavailable
from demarc.kernel.settings import Settings

OWNER_ROLE = "demarc_owner"
"""Superuser of the cluster; migrations run as it, the platform never does."""

DATABASE = "demarc"

_ENV = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_LOG_KEPT_BYTES = 8 * 1024 * 1024
_STOPPING = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))
_READY = "ready"
_STILL_IN_USE = "pre-existing shared memory block"
_LINGERING_SECONDS = 20.0
_SPARE_BYTES = 64 * 1024 * 1024


class PrivateCluster:
    """One cluster per data directory.

    Args:
        data_dir: the platform's data directory; the cluster is its `postgres`.
        port: loopback port; 0: unix socket only.
        run_as: the server's user when started as root; None: `demarc`.
        durable: False only for tests: commits survive a killed server but not a power cut.
    """

    def __init__(
        self, data_dir: Path, port: int = 0, run_as: str | None = None, *, durable: bool = True
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._port = port
        self._run_as = run_as
        self._durable = durable
        self._process: OwnedProcess | None = None
        self._lock: int | None = None
        self.secrets = RoleSecrets(self._data_dir)

    @classmethod
    def from_settings(cls, settings: Settings, *, run_as: str | None = None) -> Self:
        return cls(settings.data_dir, settings.postgres_port, run_as)

    @property
    def socket_dir(self) -> Path:
        """The `host` of libpq and asyncpg."""
        return self._home.sockets

    @property
    def port(self) -> int:
        """Goes with `socket_dir`; also the TCP port when one was asked for."""
        return self._port or SOCKET_PORT

    @property
    def log_file(self) -> Path:
        return self._home.log

    @property
    def pid(self) -> int | None:
        """The postmaster's, None while it does not run."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and running else None

    @property
    def owner_dsn(self) -> str:
        """For migrations and for creating roles; holds a password: never log it."""
        return self.dsn(OWNER_ROLE)

    def secret_for(self, role: str) -> str:
        """The password Demarc gives to `role`; made once, kept 0600."""
        return self.secrets.secret_for(role)

    def dsn(self, role: str, database: str = DATABASE, password: str | None = None) -> str:
        """A connection URL over the unix socket; holds a password: never log it."""
        secret = quote(password if password is not None else self.secret_for(role), safe="")
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql://{quote(role, safe='')}:{secret}@/{quote(database, safe='')}?host={host}&port={self.port}"

    async def start(self) -> None:
        """Make the cluster when there is none, start it and return once it takes connections.

        Raises:
            Conflict: another process runs this cluster.
            Misconfigured: wrong version, occupied port, rights or passwords missing.
            Unavailable: the disk is full, or PostgreSQL gave another reason.
        """
        if self.pid is not None:
            return
        self._take_lock()
        try:
            await stop_orphan(self._home.data)
            complete_swap(self._home.root)
            await self._ensure_data()
            await self._run_server()
            await self._ensure_database()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Fast shutdown: open transactions roll back, committed ones are on disk."""
        if self._process is not None:
            await self._process.stop(*_STOPPING)
            self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def upgrade(self, old_binaries: Path | None = None) -> Path | None:
        """Move the data to this Demarc's PostgreSQL; the directory that keeps the old data, None: nothing to do.

        Safe against a kill at any step: the old data is read, never written, and replaced only by a whole new one.

        Args:
            old_binaries: the `bin` of the PostgreSQL that made the data; None: found by itself where that is usual.

        Raises:
            Conflict: a platform runs on this cluster.
            Misconfigured: there is no data, the old binaries are missing or of another version.
            Unavailable: too little room on the disk, or PostgreSQL gave another reason.
        """
        self._take_lock()
        try:
            return await Upgrade(
                root=self._home.root,
                sockets=self._home.sockets,
                owner=OWNER_ROLE,
                password=self.secret_for(OWNER_ROLE),
                new_bin=self._bin,
                make=self._make,
                configure=self._configure,
                run=self._run_to_end,
                spawn=self._spawn,
                write=self._write,
            ).run_all(old_binaries)
        finally:
            await self.stop()

    async def probe(self) -> bool:
        """Whether it takes connections, told from its own lock file: costs no connection."""
        found = read_postmaster(self._home.data) if self.pid is not None else None
        return found is not None and found.pid == self.pid and found.status == _READY

    async def wait(self) -> int:
        """Wait for the server's end; the exit code, or minus the signal. 0 when it was never started."""
        return await self._process.wait() if self._process is not None else 0

    @property
    def running_elsewhere(self) -> bool:
        """Whether a living platform of another process serves this cluster right now."""
        found = read_postmaster(self._home.data)
        return self.pid is None and found is not None and is_postmaster_of(found.pid, self._home.data)

    @asynccontextmanager
    async def attached(self) -> AsyncIterator[Self]:
        """Use the cluster while it runs: the one of a running platform, else started for the time of the block.

        For commands such as `demarc migrate` that work with and without a running platform.
        """
        if self._held_by_other():
            yield self
            return
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    def destroy(self) -> None:
        """Delete the stopped cluster with all its data. For tests and `make clean`."""
        if self.pid is not None or self.running_elsewhere:
            raise Conflict(f"The cluster in {self._home.root} is running. Stop it first.")
        remove_home(self._data_dir)

    @cached_property
    def _user(self) -> ServiceUser | None:
        return service_user(self._run_as)

    @cached_property
    def _home(self) -> Home:
        return prepare_home(self._data_dir, self._user, self._port)

    @cached_property
    def _bin(self) -> Path:
        return binaries(self._user)

    def _open_lock(self) -> int:
        return os.open(self._home.root / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def _take_lock(self) -> None:
        """Held by this process, not by the server: an orphan does not hold it."""
        if self._lock is not None:
            return
        descriptor = self._open_lock()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode() or "unknown"
            os.close(descriptor)
            raise Conflict(
                f"The database in {self._home.root} is already run by process {holder}. Stop that platform, or "
                f"set DEMARC_DATA_DIR to another directory.",
                code="ALREADY_RUNNING",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._lock = descriptor

    def _held_by_other(self) -> bool:
        if self._lock is not None:
            return False
        descriptor = self._open_lock()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)

    async def _ensure_data(self) -> None:
        if shutil.disk_usage(self._home.root).free < _SPARE_BYTES:
            raise disk_full(self._home.root)
        version_file = self._home.data / "PG_VERSION"
        if not version_file.exists():
            await self._initialise()
        self._check_version(version_file.read_text().strip())
        if not self.secrets.has(OWNER_ROLE):
            raise Misconfigured(
                f"The password file {self.secrets.file} does not belong to the database in {self._home.data}: it "
                f"has no {OWNER_ROLE}. Restore it from a backup."
            )

    def _check_version(self, found: str) -> None:
        if found != str(pinned_major()):
            raise Misconfigured(
                f"The database in {self._home.data} was made by PostgreSQL {found}, this Demarc brings "
                f"{pinned_version()}. Run `demarc db upgrade` (it keeps a copy; see docs/howto/upgrade-postgresql.md), or use the "
                f"Demarc of before.",
                code="DATABASE_VERSION",
            )

    async def _initialise(self) -> None:
        """Run initdb next to the place, renamed when it is whole: a kill in the middle leaves nothing half made."""
        fresh = self._home.root / "data.new"
        await self._make(fresh)
        fresh.rename(self._home.data)

    async def _make(self, fresh: Path) -> None:
        shutil.rmtree(fresh, ignore_errors=True)
        password_file = self._home.root / "password.new"
        self._write(password_file, self.secret_for(OWNER_ROLE) + "\n")
        try:
            await self._initdb(fresh, password_file)
        finally:
            password_file.unlink(missing_ok=True)

    async def _initdb(self, fresh: Path, password_file: Path) -> None:
        options = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        access = ["--auth=scram-sha-256", f"--username={OWNER_ROLE}", f"--pwfile={password_file}"]
        durable = [] if self._durable else ["--no-sync"]
        await self._run_to_end([self._bin / "initdb", f"--pgdata={fresh}", *options, *access, *durable])

    async def _run_to_end(self, argv: Sequence[str | Path]) -> None:
        offset = self._log_size()
        process = self._spawn(argv, death_signal=signal.SIGKILL)
        try:
            returncode = await process.wait()
        finally:
            await process.stop()  # a cancelled run must not leave it writing
        if returncode != 0:
            raise explain_failure(self._log_since(offset), port=self._port, where=self._home.root)

    async def _run_server(self) -> None:
        self._configure(self._home.data)
        self._rotate_log()
        give_up_at = monotonic() + _LINGERING_SECONDS
        while (failure := await self._try_server()) is not None:
            # After a kill -9 the old server's backends hold its memory until they notice.
            if _STILL_IN_USE not in "\n".join(failure) or monotonic() > give_up_at:
                raise explain_failure(failure, port=self._port, where=self._home.root)
            await asyncio.sleep(0.2)

    async def _try_server(self) -> list[str] | None:
        """None: it is ready, however long recovery took. Else the last lines of a server that ended."""
        offset = self._log_size()
        argv: list[str | Path] = [self._bin / "postgres", "-D", self._home.data]
        self._process = self._spawn(argv, death_signal=signal.SIGINT)
        while not await self.probe():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), 0.05)
                return self._log_since(offset)
        return None

    def _configure(self, data: Path) -> None:
        values = tuning.settings(
            self._home, self._port, durable=self._durable, available_mb=tuning.memory_mb()
        )
        self._write(data / "postgresql.conf", tuning.render(values, self._home))
        self._write(data / "pg_hba.conf", tuning.PG_HBA)
        if not self._home.custom.exists():
            self._write(self._home.custom, "# Your own PostgreSQL settings; they win over Demarc's.\n")

    async def _ensure_database(self) -> None:
        try:
            connection = await asyncpg.connect(self.dsn(OWNER_ROLE, "postgres"))
        except asyncpg.InvalidAuthorizationSpecificationError:
            raise Misconfigured(
                f"The passwords in {self.secrets.file} do not fit the database in {self._home.data}. "
                f"Restore both from the same backup."
            ) from None
        except (OSError, asyncpg.PostgresError) as error:
            raise Unavailable(
                f"PostgreSQL started but refuses connections: {type(error).__name__}."
            ) from error
        try:
            if not await connection.fetchval("select 1 from pg_database where datname = $1", DATABASE):
                await connection.execute(f'create database "{DATABASE}"')
        finally:
            await connection.close()

    def _spawn(
        self, argv: Sequence[str | Path], *, death_signal: signal.Signals = signal.SIGINT
    ) -> OwnedProcess:
        log = self._open_log()
        try:
            return OwnedProcess.spawn(
                argv, env=_ENV, user=self._user, cwd=self._home.root, output=log, death_signal=death_signal
            )
        finally:
            os.close(log)

    def _write(self, path: Path, text: str) -> None:
        """Whole or not at all, 0600, the server's own. The directory is the server's: follow no link it may leave."""
        fresh = path.with_name(path.name + ".tmp")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            if self._user is not None:
                os.fchown(descriptor, self._user.uid, self._user.gid)
            file.write(text)
        fresh.rename(path)

    def _open_log(self) -> int:
        return os.open(self._home.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def _log_size(self) -> int:
        return self._home.log.stat().st_size if self._home.log.exists() else 0

    def _rotate_log(self) -> None:
        if self._log_size() > _LOG_KEPT_BYTES:
            self._home.log.rename(self._home.log.with_suffix(".log.1"))

    def _log_since(self, offset: int) -> list[str]:
        with self._home.log.open("rb") as file:
            file.seek(offset)
            return file.read().decode(errors="replace").splitlines()
