"""The run directory: one platform at a time, and which process is which (`lock`, `processes.json`)."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic

from demarc.kernel.errors import Conflict, Misconfigured

PROCESS_FILE = "processes.json"
_START_TICKS_FIELD = 19  # field 22 of proc(5) stat, counted from the one after the command's name


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One line of `processes.json`: `started_at` is of the present process, `reason` says why the last one ended."""

    pid: int | None
    state: str
    started_at: str | None
    restarts: int
    reason: str | None = None
    start_ticks: int | None = None
    boot_id: str | None = None


@contextmanager
def platform_lock(run_dir: Path) -> Iterator[None]:
    """Hold `run/lock` for as long as the platform runs.

    Raises:
        Conflict: another platform holds it; the message names its pid.
        Misconfigured: the data directory cannot be used.
    """
    descriptor = _open_lock(run_dir)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode() or "unknown"
            raise Conflict(
                f"A Demarc platform (pid {holder}) already runs on {run_dir.parent}. Stop it, or set "
                f"DEMARC_DATA_DIR to another directory.",
                code="ALREADY_RUNNING",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _open_lock(run_dir: Path) -> int:
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        return os.open(run_dir / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise Misconfigured(
            f"the data directory {run_dir.parent} cannot be used ({error.strerror}): set DEMARC_DATA_DIR to one that "
            "can be written to, on a disk with room"
        ) from None


def write_processes(run_dir: Path, records: Mapping[str, ProcessRecord]) -> None:
    """Replace `processes.json` whole: a reader never sees half of it."""
    fresh = run_dir / f"{PROCESS_FILE}.new"
    fresh.write_text(json.dumps({name: asdict(record) for name, record in records.items()}, indent=1) + "\n")
    fresh.rename(run_dir / PROCESS_FILE)


def read_processes(run_dir: Path) -> dict[str, ProcessRecord]:
    """What runs, or ran last; empty when no platform has run here or the file is damaged."""
    try:
        found = json.loads((run_dir / PROCESS_FILE).read_text())
        return {name: ProcessRecord(**record) for name, record in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def supervised_processes(run_dir: Path) -> dict[str, ProcessRecord]:
    """What a supervisor that lives keeps running here; empty when there is none, whatever an earlier one left behind."""
    records = read_processes(run_dir)
    own = records.pop("supervisor", None)
    if own is None or own.pid is None or own.boot_id != boot_id() or start_ticks(own.pid) != own.start_ticks:
        return {}
    return records


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; tells it from a later one with the same number."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[_START_TICKS_FIELD])


def boot_id() -> str | None:
    """Which start of this machine it is; a process id means nothing after the next one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


async def stop_leftovers(run_dir: Path, patience_seconds: float = 30.0) -> list[str]:
    """End what an earlier platform that was killed left running; the caller holds the platform's lock.

    Returns:
        The names of what had to be ended.
    """
    left = {name: found for name, record in read_processes(run_dir).items() if (found := _leftovers(record))}
    left.pop("supervisor", None)
    processes = [process for found in left.values() for process in found]
    _signal_all(processes, signal.SIGTERM)
    until = monotonic() + patience_seconds
    while any(start_ticks(pid) == ticks for pid, ticks in processes):
        if monotonic() > until:
            _signal_all(processes, signal.SIGKILL)
        await asyncio.sleep(0.05)
    return list(left)


def _leftovers(record: ProcessRecord) -> list[tuple[int, int]]:
    """(pid, start ticks) of the process itself or, when it is dead, of what is left of its group."""
    if record.pid is None or record.start_ticks is None or record.boot_id != boot_id():
        return []
    ticks = start_ticks(record.pid)
    if ticks is not None:
        return [(record.pid, ticks)] if ticks == record.start_ticks else []
    group = [(pid, start) for pid in _group(record.pid) if (start := start_ticks(pid)) is not None]
    return [(pid, start) for pid, start in group if start >= record.start_ticks]


def _group(leader: int) -> list[int]:
    """Living members of a process group; its number is not given to a new process while it has members."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _group_of(pid) == leader]


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def _signal_all(processes: Iterable[tuple[int, int]], number: signal.Signals) -> None:
    for pid, ticks in processes:
        if start_ticks(pid) == ticks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
