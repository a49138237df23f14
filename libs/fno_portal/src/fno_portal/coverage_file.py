"""A coverage cache in one SQLite file: it outlives the process, so that a long list can be asked in several runs."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from time import time

from pydantic import ValidationError

from fno_portal.coverage import place_of
from fno_portal.models import Address, CoverageResult

_LOG = logging.getLogger("fno_portal.coverage")
_SCHEMA = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=OFF;
CREATE TABLE IF NOT EXISTS fno_coverage (
    fno TEXT NOT NULL,
    place TEXT NOT NULL,
    asked_at REAL NOT NULL,
    result_json TEXT NOT NULL,
    PRIMARY KEY (fno, place)
);
"""


class FileCoverageCache:
    """See CoverageCache. A file that is locked, full or damaged costs its answers, never those of the operators."""

    def __init__(self, path: Path, ttl_s: float = 6 * 3600, *, clock: Callable[[], float] = time) -> None:
        """Open or make the file (mode 0600). Answers are good for `ttl_s`; older ones are deleted now."""
        self._ttl, self._clock = ttl_s, clock
        self._db: sqlite3.Connection | None = None
        try:
            path.touch(mode=0o600, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=5)
            self._db.executescript(_SCHEMA)
            self._db.execute("DELETE FROM fno_coverage WHERE asked_at <= ?", (clock() - ttl_s,))
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
        self._db = None

    def get(self, fno: str, address: Address) -> CoverageResult | None:
        """See CoverageCache."""
        sql = "SELECT asked_at, result_json FROM fno_coverage WHERE fno = ? AND place = ?"
        row = self._run(sql, fno, place_of(address))
        # An answer of the future was given before the clock was set back; how old it is cannot be told.
        if row is None or not 0 <= self._clock() - row[0] < self._ttl:
            return None
        try:
            return CoverageResult.model_validate_json(row[1])
        except ValidationError:
            return None

    def put(self, fno: str, address: Address, result: CoverageResult) -> None:
        """See CoverageCache."""
        sql = "INSERT OR REPLACE INTO fno_coverage (fno, place, asked_at, result_json) VALUES (?, ?, ?, ?)"
        self._run(sql, fno, place_of(address), self._clock(), result.model_dump_json())

    def _run(self, sql: str, *values: object) -> tuple[float, str] | None:
        if self._db is None:
            return None
        try:
            row: tuple[float, str] | None = self._db.execute(sql, values).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        return row

    def _give_up(self, error: Exception) -> None:
        _LOG.warning("answers are not kept: %s", error)
        self.close()
