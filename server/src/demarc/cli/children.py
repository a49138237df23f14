"""What the supervisor keeps running: the `Child` protocol, and our own commands as children."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol, TypeAlias, runtime_checkable

import httpx

from demarc.adapters.processes.owned import OwnedProcess
from demarc.adapters.processes.service_user import ServiceUser

OutputSink: TypeAlias = Callable[[str, str], None]
"""Takes the name of a child and one line of its output, without the line's end."""

_KEPT_LINES = 20
_LONGEST_LINE = 64 * 1024
_DRAIN_SECONDS = 1.0
_PROBE_SECONDS = 2.0


@runtime_checkable
class Child(Protocol):
    """Something that runs in a process of its own. `PrivateCluster`, `RadiusEngine` and `ProcessChild` are children."""

    @property
    def pid(self) -> int | None:
        """None while it does not run."""

    async def start(self) -> None:
        """Start it once; may return before it is ready. Raises DemarcError when it cannot run as things are."""

    async def probe(self) -> bool:
        """Whether it serves. Never raises for a child that merely does not answer."""

    async def stop(self) -> None:
        """Let it finish its work and end; harmless when it does not run."""

    async def wait(self) -> int:
        """Wait for its end; the exit code, or minus the number of the signal."""


class ProcessChild:
    """A command whose output is forwarded line by line.

    Args:
        ready: asked until it says True; None: ready as soon as it runs.
        env: the whole environment; None: this process's own.
        user: as whom it runs; None: as we do.
        patience_seconds: from `stop_signal` to SIGKILL.
        pass_fds: kept open in the child, such as a socket that listens already and outlives a restart.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        sink: OutputSink,
        ready: Callable[[], Awaitable[bool]] | None = None,
        env: Mapping[str, str] | None = None,
        user: ServiceUser | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        patience_seconds: float = 15.0,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._name = name
        self._argv = argv
        self._sink = sink
        self._ready = ready
        self._env = env
        self._user = user
        self._stop_signal = stop_signal
        self._patience_seconds = patience_seconds
        self._pass_fds = pass_fds
        self._process: OwnedProcess | None = None
        self._drained = asyncio.Event()
        self.last_lines: deque[str] = deque(maxlen=_KEPT_LINES)

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        self.last_lines.clear()
        self._drained = asyncio.Event()
        env = self._env if self._env is not None else os.environ
        self._process = OwnedProcess.spawn(
            self._argv,
            env=env,
            user=self._user,
            death_signal=self._stop_signal,
            pass_fds=self._pass_fds,
        )
        if self._process.output is not None:
            await _forward_lines(self._process.output, self._take_line, self._drained)

    async def probe(self) -> bool:
        if self.pid is None:
            return False
        return True if self._ready is None else await self._ready()

    async def stop(self) -> None:
        if self._process is not None:
            await self._process.stop((self._stop_signal, self._patience_seconds))

    async def wait(self) -> int:
        if self._process is None:
            return 0
        returncode = await self._process.wait()
        with contextlib.suppress(TimeoutError):  # its last words may still be in the pipe
            await asyncio.wait_for(self._drained.wait(), _DRAIN_SECONDS)
        return returncode

    def _take_line(self, line: str) -> None:
        self.last_lines.append(line)
        self._sink(self._name, line)


def http_ready(url: str) -> Callable[[], Awaitable[bool]]:
    """A readiness probe: `url` answers 200."""

    async def ask() -> bool:
        try:
            async with httpx.AsyncClient(timeout=_PROBE_SECONDS, trust_env=False) as client:
                return (await client.get(url)).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    return ask


def console_output(*, prefixed: bool = True, width: int = 10) -> OutputSink:
    """Lines on standard output as `name | line`; without the prefix where a machine reads them (JSON logs)."""

    def write(name: str, line: str) -> None:
        # Nobody may be reading any more (a closed pipe, a full disk): the platform runs on.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.write(f"{name:<{width}} | {line}\n" if prefixed else f"{line}\n")
            sys.stdout.flush()

    return write


class _Lines(asyncio.Protocol):
    """Cuts a stream into lines; a line without an end is cut at 64 KiB."""

    def __init__(self, take: Callable[[str], None], ended: asyncio.Event) -> None:
        self._take = take
        self._ended = ended
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._take(line.decode(errors="replace").rstrip("\r"))
        if len(self._rest) > _LONGEST_LINE:
            self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        self._flush()
        self._ended.set()

    def _flush(self) -> None:
        if self._rest:
            self._take(self._rest.decode(errors="replace"))
            self._rest = b""


async def _forward_lines(pipe: IO[bytes], take: Callable[[str], None], ended: asyncio.Event) -> None:
    await asyncio.get_running_loop().connect_read_pipe(lambda: _Lines(take, ended), pipe)
