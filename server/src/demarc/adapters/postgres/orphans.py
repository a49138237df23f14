"""A server process that an earlier run left behind, found through its lock file `postmaster.pid`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from demarc.kernel.errors import Unavailable

_STOPPING = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
_STATUS_LINE = 7


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What `postmaster.pid` says (src/include/utils/pidfile.h): line 1 the pid, line 8 the status."""

    pid: int
    status: str


def read_postmaster(data: Path) -> Postmaster | None:
    """None: no lock file, or one that is just being written."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        return Postmaster(int(lines[0]), lines[_STATUS_LINE].strip() if len(lines) > _STATUS_LINE else "")
    except (FileNotFoundError, IndexError, ValueError):
        return None


def is_postmaster_of(pid: int, data: Path) -> bool:
    """Whether `pid` is a PostgreSQL server of `data`; a number that went to another program is not."""
    try:
        proc = Path(f"/proc/{pid}")
        return (proc / "comm").read_text().strip() == "postgres" and (
            proc / "cwd"
        ).resolve() == data.resolve()
    except OSError:
        return False


async def stop_orphan(data: Path) -> int | None:
    """Stop what still runs on `data`; the caller holds the cluster's lock.

    Returns:
        The pid that was stopped, None when nothing ran.

    Raises:
        Unavailable: it does not go away, even when killed.
    """
    found = read_postmaster(data)
    if found is None:
        return None
    if is_postmaster_of(found.pid, data):
        await _stop(found.pid, data)
        return found.pid
    _remove_reused_lock(found.pid, data)
    return None


def _remove_reused_lock(pid: int, data: Path) -> None:
    """PostgreSQL takes any living process with the old number for itself; a dead number it handles better than we."""
    if Path(f"/proc/{pid}").exists():
        (data / "postmaster.pid").unlink(missing_ok=True)


async def _stop(pid: int, data: Path) -> None:
    for number, patience_seconds in _STOPPING:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if await _gone(pid, data, patience_seconds):
            return
    raise Unavailable(
        f"A PostgreSQL of an earlier run (pid {pid}) does not end. Look at it, then start again."
    )


async def _gone(pid: int, data: Path, patience_seconds: float) -> bool:
    """Not our child, so there is nothing to wait on but the process table."""
    until = monotonic() + patience_seconds
    while is_postmaster_of(pid, data):
        if monotonic() > until:
            return False
        await asyncio.sleep(0.05)
    return True
