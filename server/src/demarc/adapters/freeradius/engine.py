"""FreeRADIUS as a child process of the platform: started on a configuration of our own, asked whether it lives, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import IO

from demarc.adapters.freeradius.raddb import (
    NAME,
    RadiusConfig,
    StatusListener,
    check_config,
    child_user,
    find_binary,
    fingerprint,
    last_errors,
    write_raddb,
)
from demarc.adapters.freeradius.server_log import LineKind, ServerLog
from demarc.adapters.freeradius.status import ask_status
from demarc.adapters.processes.listening import Listening
from demarc.adapters.processes.owned import OwnedProcess
from demarc.kernel.errors import Misconfigured, Unavailable
from demarc.kernel.logs import logger

log = logger("radius")

READY_SECONDS = 15.0
STOP_SECONDS = 5.0
_LOOPBACK = "127.0.0.1"


class RadiusEngine:
    """One FreeRADIUS; a `Child` of the supervisor.

    What it remembers for a time without a database is process memory, so `apply` never restarts a running server while
    the database is away.
    """

    def __init__(self, config: RadiusConfig) -> None:
        self._config = config
        self._status = StatusListener(0)
        self._process: OwnedProcess | None = None
        self._reader: asyncio.Task[None] | None = None
        self._running_as = ""
        self._log = ServerLog()
        self.ready = False

    @property
    def pid(self) -> int | None:
        """Process id of the running server, None when it does not run."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def problems(self) -> Mapping[LineKind, int]:
        """How many lines of each kind the server has logged since this engine was made."""
        return self._log.counts

    async def start(self) -> None:
        """Write and check the configuration, start the server, and return when it answers. No effect while it runs.

        Raises:
            Misconfigured: a port is taken, FreeRADIUS or a module is missing, or it refuses the configuration.
            Unavailable: it started but did not answer in time; it was stopped.
        """
        if self.pid is not None:
            return
        config = self._config
        await self.stop()  # what is left of one that ended by itself
        check_ports(config)
        self._status = StatusListener(free_port())
        await asyncio.to_thread(write_raddb, config, self._status)
        await asyncio.to_thread(check_config, config)
        self._process = OwnedProcess.spawn(
            (find_binary(config.binary), "-f", "-d", config.directory, "-n", NAME),
            env=child_environment(),
            user=child_user(config),
        )
        self._reader = asyncio.create_task(self._read_log(self._process.output))
        await self._until_ready(self._process)
        self._running_as = fingerprint(config)
        log.info("freeradius answers", pid=self.pid, auth_port=config.auth_port, acct_port=config.acct_port)

    async def probe(self) -> bool:
        """Whether the server answers a Status-Server now; sets `ready`."""
        self.ready = self.pid is not None and await ask_status(self._status.port, self._status.secret)
        return self.ready

    async def apply(self, config: RadiusConfig, database_answers: Callable[[], Awaitable[bool]]) -> bool:
        """Run with this configuration; True when the server was restarted for it.

        A configuration that makes the same server changes nothing. A restart forgets every known subscriber, so while
        the database does not answer, nothing is changed either: call again later.
        """
        if self.pid is not None and fingerprint(config) == self._running_as:
            return False
        if self.pid is not None and not await database_answers():
            log.warning(
                "the new RADIUS configuration waits: the database is away and a restart would forget subscribers"
            )
            return False
        await self.stop()
        self._config = config
        await self.start()
        return True

    async def wait(self) -> int:
        """Return when the server has ended, with its exit code; negative: the signal that ended it."""
        if self._process is None:
            return 0
        code = await self._process.wait()
        self.ready = False
        return code

    async def stop(self) -> None:
        """End the server: it finishes what it answers; after five seconds it is killed."""
        process, self.ready = self._process, False
        if process is None:
            return
        await process.stop((signal.SIGTERM, STOP_SECONDS))
        if self._reader is not None:
            await self._reader
        self._process = self._reader = None

    async def _until_ready(self, process: OwnedProcess) -> None:
        give_up_at = asyncio.get_running_loop().time() + READY_SECONDS
        while process.returncode is None and asyncio.get_running_loop().time() < give_up_at:
            if await self.probe():
                return
            await asyncio.sleep(0.02)
        ended = process.returncode is not None
        await self.stop()
        said = last_errors("\n".join(self._log.tail))
        if ended:
            raise Misconfigured(f"FreeRADIUS ended at once: {said}")
        raise Unavailable(f"FreeRADIUS did not answer within {READY_SECONDS:.0f} seconds: {said}")

    async def _read_log(self, pipe: IO[bytes] | None) -> None:
        if pipe is None:
            raise AssertionError("started without a pipe")
        lines = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), pipe
        )
        try:
            while line := await lines.readline():
                self._log.take(line.decode("utf-8", "replace").rstrip())
        finally:
            transport.close()


def child_environment() -> dict[str, str]:
    """As little as FreeRADIUS needs. UTC, because the spool's files are named by hour."""
    return {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "TZ": "UTC", "LC_ALL": "C"}


def check_ports(config: RadiusConfig) -> None:
    """Whether both ports can be had.

    Raises:
        Misconfigured: naming the port and the variable that changes it.
    """
    for place in listening(config):
        if (problem := port_problem(place)) is not None:
            raise Misconfigured(problem)


def listening(config: RadiusConfig) -> tuple[Listening, Listening]:
    """Where the server takes log-ins and accounting."""
    host = str(config.host)
    return (
        Listening("UDP", host, config.auth_port, "DEMARC_RADIUS_HOST", "DEMARC_RADIUS_AUTH_PORT"),
        Listening("UDP", host, config.acct_port, "DEMARC_RADIUS_HOST", "DEMARC_RADIUS_ACCT_PORT"),
    )


def port_problem(place: Listening) -> str | None:
    """Why a UDP port cannot be bound and what to do, None when it can."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((place.host, place.port))
        except OSError as error:
            return place.advice(error)
    return None


def free_port() -> int:
    """A UDP port on loopback that nobody holds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
