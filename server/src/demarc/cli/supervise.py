"""Keeps the platform's processes running: starts them in order, restarts what ends, stops them in reverse (ADR 0010)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from time import monotonic

from demarc.cli.children import Child, OutputSink
from demarc.cli.run_state import (
    ProcessRecord,
    boot_id,
    platform_lock,
    start_ticks,
    stop_leftovers,
    write_processes,
)
from demarc.kernel.errors import DemarcError
from demarc.kernel.logs import logger, redact_text

Step = Callable[[], Awaitable[None]]

_LOG = logger(__name__)

_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 10.0
_HEALTHY_SECONDS = 30.0
_READY_POLL_SECONDS = 0.1
_HEALTH_POLL_SECONDS = 2.0
_MANY_FAILURES = 5
_SHOWN_LINES = 8
_SELF = "demarc"


class State(StrEnum):
    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"
    BACKOFF = "backoff"
    DONE = "done"
    STOPPED = "stopped"


def restart_delay(failures: int, chance: float) -> float:
    """Seconds before the next start: 0.2, 0.4, … 10, each ± 20 % by `chance` (0 to 1) so that children spread out."""
    doubled = _FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 16)
    return min(doubled, _LONGEST_DELAY_SECONDS) * (0.8 + 0.4 * chance)


@dataclass(slots=True)
class _Member:
    """One child or step and what is known about it."""

    name: str
    work: Child | Step
    depends_on: tuple[str, ...]
    essential: bool
    state: State = State.WAITING
    started_at: datetime | None = None
    ready_at: float | None = None
    """Monotonic seconds; None until the present process was ready."""
    restarts: int = 0
    failures: int = 0
    """In a row; forgotten after 30 s of health."""
    reason: str | None = None
    was_ready: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def child(self) -> Child | None:
        return self.work if isinstance(self.work, Child) else None

    @property
    def pid(self) -> int | None:
        return self.child.pid if self.child is not None else None

    def record(self) -> ProcessRecord:
        pid = self.pid
        return ProcessRecord(
            pid=pid,
            state=self.state,
            started_at=self.started_at.isoformat() if self.started_at else None,
            restarts=self.restarts,
            reason=self.reason,
            start_ticks=start_ticks(pid) if pid is not None else None,
            boot_id=boot_id(),
        )


class Supervisor:
    """Runs children and one-time steps on one run directory.

    A child that ends is started again by itself: what depends on it keeps running (FreeRADIUS answers from its cache
    while the database is away). A probe that fails changes the state shown, nothing else.
    """

    def __init__(self, run_dir: Path, sink: OutputSink, *, shutdown_seconds: float = 40.0) -> None:
        self._run_dir = run_dir
        self._sink = sink
        self._shutdown_seconds = shutdown_seconds
        self._members: dict[str, _Member] = {}
        self._started_at = datetime.now(UTC)
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    def add(self, name: str, child: Child, *, depends_on: Iterable[str] = (), essential: bool = True) -> None:
        """Keep `child` running once all of `depends_on` (added before) have been ready.

        `essential`: a DemarcError of its first start ends the platform with that error; otherwise it is shown and
        the start is tried again, while the rest runs.
        """
        self._insert(_Member(name, child, tuple(depends_on), essential))

    def add_step(self, name: str, step: Step, *, depends_on: Iterable[str] = ()) -> None:
        """Run `step` once, for example the migrations; others may depend on it. Its error ends the platform."""
        self._insert(_Member(name, step, tuple(depends_on), essential=True))

    def request_stop(self) -> None:
        """Stop all in reverse order; called again: kill what still runs."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def all_ready(self) -> None:
        """Wait until every essential child was ready and every step is done."""
        for member in self._members.values():
            if member.essential:
                await member.was_ready.wait()

    async def run(self) -> None:
        """Run until `request_stop`, SIGTERM or SIGINT; returns when everything has ended.

        Raises:
            Conflict: another platform runs on this directory.
            DemarcError: of the essential child or step that could not start the first time.
        """
        with platform_lock(self._run_dir), self._signals():
            for name in await stop_leftovers(self._run_dir):
                self._say(f"stopped {name}, left over from an earlier run")
            keepers = [asyncio.create_task(self._keep(member)) for member in self._members.values()]
            stop = asyncio.create_task(self._stopping.wait())
            try:
                await self._until_stopped(keepers, stop)
            finally:
                stop.cancel()
                await self._end(keepers)

    def _insert(self, member: _Member) -> None:
        unknown = [name for name in member.depends_on if name not in self._members]
        if unknown or member.name in self._members or member.name == "supervisor":
            raise ValueError(f"{member.name}: taken, or depends on {unknown}, which must be added before")
        self._members[member.name] = member

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self.request_stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    async def _until_stopped(self, keepers: list[asyncio.Task[None]], stop: asyncio.Task[object]) -> None:
        """Return at the stop request; raise what a keeper raises."""
        running: set[asyncio.Task[object]] = {*keepers, stop}
        while not stop.done():
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    async def _keep(self, member: _Member) -> None:
        for name in member.depends_on:
            await self._members[name].was_ready.wait()
        if member.child is None:
            await self._run_step(member)
            return
        while True:
            await self._run_once(member, member.child)
            await self._back_off(member)

    async def _run_step(self, member: _Member) -> None:
        assert not isinstance(member.work, Child)
        self._note(member, State.STARTING)
        await member.work()
        self._note(member, State.DONE)
        member.was_ready.set()

    async def _run_once(self, member: _Member, child: Child) -> None:
        """One life of the child, from its start to its end; leaves the reason."""
        member.started_at, member.ready_at = datetime.now(UTC), None
        self._note(member, State.STARTING)
        try:
            await child.start()
        except DemarcError as error:
            if member.essential and not member.was_ready.is_set():
                raise
            member.reason = error.message
            return
        except Exception as error:  # the edge of a child's start: one child's fault must not end the others
            if member.essential and not member.was_ready.is_set():
                raise
            member.reason = f"could not start: {type(error).__name__}"
            _LOG.exception("unexpected error at the start of a child", child=member.name)
            return
        watcher = asyncio.create_task(self._watch(member, child))
        try:
            self._note(member, member.state)
            member.reason = _describe_end(await child.wait(), child)
        finally:
            await _cancel([watcher])
            if not watcher.cancelled():
                watcher.result()

    async def _watch(self, member: _Member, child: Child) -> None:
        while True:
            if await child.probe():
                self._mark_ready(member)
            elif member.ready_at is not None and member.state is not State.UNREADY:
                self._note(member, State.UNREADY)
            await asyncio.sleep(_HEALTH_POLL_SECONDS if member.ready_at is not None else _READY_POLL_SECONDS)

    def _mark_ready(self, member: _Member) -> None:
        if member.ready_at is None:
            member.ready_at = monotonic()
            self._say(f"{member.name} is ready (pid {member.pid})")
        if member.state is not State.READY:
            self._note(member, State.READY)
        member.was_ready.set()

    async def _back_off(self, member: _Member) -> None:
        healthy = member.ready_at is not None and monotonic() - member.ready_at >= _HEALTHY_SECONDS
        member.failures = 1 if healthy else member.failures + 1
        member.restarts += 1
        delay = restart_delay(member.failures, random.random())  # noqa: S311  # spreads load, protects nothing
        self._note(member, State.BACKOFF)
        often = f" {member.failures} times in a row" if member.failures >= _MANY_FAILURES else ""
        self._say(f"{member.name} {member.reason}{often}; starting it again in {delay:.1f} s")
        await asyncio.sleep(delay)

    async def _end(self, keepers: list[asyncio.Task[None]]) -> None:
        self._say("stopping")
        await _cancel(keepers)
        until = monotonic() + self._shutdown_seconds
        for level in self._levels():
            await self._stop_level(level, until)
        self._say("stopped")

    def _levels(self) -> list[list[_Member]]:
        """Who may stop together: those that nothing still running depends on come first."""
        depth: dict[str, int] = {}
        for member in self._members.values():
            depth[member.name] = 1 + max((depth[name] for name in member.depends_on), default=0)
        levels = sorted(set(depth.values()), reverse=True)
        return [[self._members[name] for name in depth if depth[name] == level] for level in levels]

    async def _stop_level(self, level: list[_Member], until: float) -> None:
        children = [member.child for member in level if member.child is not None]
        all_stopped = asyncio.create_task(_stop_all(children))
        hurry = asyncio.create_task(self._hurry.wait())
        patience = max(until - monotonic(), 0.0)
        await asyncio.wait([all_stopped, hurry], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        for child in children:
            if child.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
        await all_stopped
        for member in level:
            self._note(member, State.STOPPED)

    def _note(self, member: _Member, state: State) -> None:
        """Set the state and publish it."""
        member.state = state
        own = _own_record(self._started_at)
        records = {"supervisor": own} | {name: found.record() for name, found in self._members.items()}
        try:
            write_processes(self._run_dir, records)
        except OSError as error:  # a full disk must not end what runs well
            self._say(f"cannot write {self._run_dir}/processes.json: {error.strerror}")

    def _say(self, text: str) -> None:
        self._sink(_SELF, text)


def _own_record(started_at: datetime) -> ProcessRecord:
    pid = os.getpid()
    return ProcessRecord(
        pid, "running", started_at.isoformat(), 0, start_ticks=start_ticks(pid), boot_id=boot_id()
    )


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel until each has ended: `asyncio.wait_for` of Python 3.11 loses a cancellation that comes as what it waits for is done."""
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=1.0)
    await asyncio.gather(*tasks, return_exceptions=True)


async def _stop_all(children: Iterable[Child]) -> bool:
    """Side by side; one that cannot be stopped nicely does not keep the others up."""
    await asyncio.gather(*(child.stop() for child in children), return_exceptions=True)
    return True


def _describe_end(returncode: int, child: Child) -> str:
    """Such as "was killed by SIGKILL" or "ended with 3: <last lines>"."""
    how = (
        f"was killed by {signal.Signals(-returncode).name}" if returncode < 0 else f"ended with {returncode}"
    )
    lines = list(getattr(child, "last_lines", ()))[-_SHOWN_LINES:]
    return redact_text(f"{how}: {' / '.join(lines)}" if lines and returncode > 0 else how)
