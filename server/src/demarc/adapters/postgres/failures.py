"""Why PostgreSQL did not start, told from its last lines in words that say what to do."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from demarc.kernel.errors import DemarcError, Misconfigured, Unavailable

_SHOWN_LINES = 5


def explain_failure(lines: Sequence[str], *, port: int, where: Path) -> DemarcError:
    """The typed error for a server or initdb that ended; `lines` are the last of its output."""
    text = "\n".join(lines)
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return disk_full(where)
    if "Address already in use" in text or "could not bind" in text:
        return Misconfigured(
            f"Port {port} on 127.0.0.1 is taken by another program. Stop that one, or set DEMARC_POSTGRES_PORT "
            f"to a free port (0: unix socket only)."
        )
    if "Permission denied" in text or "invalid permissions" in text or "wrong ownership" in text:
        return Misconfigured(
            f"The server's user may not use {where}: {_last(lines)} Make it the owner of that directory."
        )
    if "could not map anonymous shared memory" in text or "Cannot allocate memory" in text:
        return Unavailable(
            f"Too little memory for PostgreSQL. Free some, or set shared_buffers in {where}/custom.conf."
        )
    return Unavailable(f"PostgreSQL in {where} does not start. Its last lines: {_last(lines)}")


def disk_full(where: Path) -> Unavailable:
    free_mb = shutil.disk_usage(where).free // (1024 * 1024)
    return Unavailable(
        f"The disk that holds {where} is full ({free_mb} MB free). Free some space there and start again; "
        f"nothing that was committed is lost.",
        code="DISK_FULL",
    )


def _last(lines: Sequence[str]) -> str:
    return " / ".join(line.strip() for line in lines[-_SHOWN_LINES:]) or "(none)"
