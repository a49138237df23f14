"""The private cluster's configuration, written anew at each start. Sized for a laptop and for a small server."""

from __future__ import annotations

import os
from pathlib import Path

from demarc.adapters.postgres.home import SOCKET_PORT, Home

_MB = 1024 * 1024
_SHM = Path("/dev/shm")  # noqa: S108  # not a temporary file: the kernel's shared memory
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

PG_HBA = """\
# Written by Demarc at each start. Passwords everywhere, nothing from outside this machine.
local all all scram-sha-256
host  all all 127.0.0.1/32 scram-sha-256
"""


def memory_mb() -> int:
    """Memory this process may use, the container's limit included."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in _CGROUP_LIMITS:
        text = file.read_text().strip() if file.exists() else ""
        limits += [int(text)] if text.isdigit() else []
    return min(limits) // _MB


def settings(home: Home, port: int, *, durable: bool, available_mb: int) -> dict[str, str]:
    """Name → value. `port` 0: unix socket only."""
    return (
        _reach(home, port)
        | _memory(available_mb)
        | _write_ahead_log()
        | _vacuum()
        | _messages()
        | ({} if durable else {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"})
    )


def render(values: dict[str, str], home: Home) -> str:
    """postgresql.conf; an operator's own lines in `custom.conf` win."""
    head = "# Written by Demarc at each start; your own lines go into the file included last."
    lines = [f"{name} = {_quoted(value)}" for name, value in values.items()]
    return "\n".join([head, *lines, f"include = {_quoted(str(home.custom))}", ""])


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _reach(home: Home, port: int) -> dict[str, str]:
    return {
        "listen_addresses": "127.0.0.1" if port else "",
        "port": str(port or SOCKET_PORT),
        "unix_socket_directories": '"' + str(home.sockets).replace('"', '""') + '"',
        "max_connections": "100",
        "password_encryption": "scram-sha-256",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "idle_in_transaction_session_timeout": "10min",
        "cluster_name": "demarc",
    }


def _memory(available_mb: int) -> dict[str, str]:
    shared = min(max(available_mb // 16, 128), 4096)
    return {
        "shared_buffers": f"{shared}MB",
        "effective_cache_size": f"{max(available_mb // 2, 256)}MB",
        "work_mem": "8MB",
        "maintenance_work_mem": f"{min(max(available_mb // 64, 64), 1024)}MB",
        # Parallel plans share memory through /dev/shm, which containers cut to 64 MB.
        "max_parallel_workers_per_gather": "2" if _shm_mb() >= 512 else "0",  # noqa: PLR2004
        "jit": "off",  # short statements: compiling costs more than it saves
        "random_page_cost": "1.1",
    }


def _shm_mb() -> int:
    return os.statvfs(_SHM).f_frsize * os.statvfs(_SHM).f_blocks // _MB if _SHM.exists() else 0


def _write_ahead_log() -> dict[str, str]:
    return {
        "synchronous_commit": "on",
        "wal_compression": "on",
        "min_wal_size": "128MB",
        "max_wal_size": "2GB",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
    }


def _vacuum() -> dict[str, str]:
    """Job, session and outbox tables change every row many times a day: clean early and in small portions."""
    return {
        "autovacuum_naptime": "15s",
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.02",
        "autovacuum_vacuum_insert_scale_factor": "0.1",
        "autovacuum_vacuum_cost_limit": "1000",
    }


def _messages() -> dict[str, str]:
    """Problems without the statement or the row they are about: those hold passwords and people's data."""
    return {
        "log_destination": "stderr",
        "logging_collector": "off",
        "log_min_messages": "warning",
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
        "log_statement": "none",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        "log_checkpoints": "off",
        "log_line_prefix": "%m [%p] ",
        "lc_messages": "C",
    }
