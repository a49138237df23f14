"""A record of every interaction with an operator: who was asked what, how it ended, how long it took. Redacted."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from fno_portal.redaction import redact

_LOG = logging.getLogger("fno_portal.audit")


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One interaction. `outcome` is "ok" or an error's code; `detail` holds redacted particulars."""

    fno: str
    action: str
    outcome: str
    elapsed_ms: int
    detail: dict[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class AuditSink(Protocol):
    """Where the records go. It must not raise for a record it was given, and may not keep the caller long."""

    def write(self, record: AuditRecord) -> None:
        """Keep one record, already redacted."""


class LoggingAudit:
    """Writes each record as one JSON line to the logger `fno_portal.audit` (level INFO)."""

    def write(self, record: AuditRecord) -> None:
        """Log it."""
        _LOG.info("%s", _line(record))


class MemoryAudit:
    """Keeps the latest records in memory."""

    def __init__(self, limit: int = 10_000) -> None:
        """Hold at most `limit` records."""
        self._records: deque[AuditRecord] = deque(maxlen=limit)

    def write(self, record: AuditRecord) -> None:
        """Keep it."""
        self._records.append(record)

    def __iter__(self) -> Iterator[AuditRecord]:
        """Oldest first."""
        return iter(tuple(self._records))

    def __len__(self) -> int:
        """How many are held."""
        return len(self._records)


class FileAudit:
    """Appends each record as one JSON line to a file that only its owner may read.

    Where the file takes no more (a full disk), the record goes to the logger `fno_portal.audit` (level ERROR) instead:
    what was done at the operator is done.
    """

    def __init__(self, path: Path) -> None:
        """Append to `path`, made with mode 0600."""
        self._path = path
        path.touch(mode=0o600, exist_ok=True)

    def write(self, record: AuditRecord) -> None:
        """Append one line."""
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_line(record) + "\n")
        except OSError as error:
            _LOG.error("not written to %s (%s): %s", self._path, error.strerror, _line(record))


def audit(
    sink: AuditSink, fno: str, action: str, outcome: str, elapsed_s: float, detail: dict[str, Any]
) -> None:
    """Redact and write one record."""
    sink.write(AuditRecord(fno, action, outcome, round(elapsed_s * 1000), redact(detail)))


def _line(record: AuditRecord) -> str:
    return json.dumps({**asdict(record), "at": record.at.isoformat()}, ensure_ascii=False, default=str)
