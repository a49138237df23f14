"""From the spool into sessions and usage: each block of lines is one transaction together with its offset.

kill -9 at any point costs nothing: either the rows and the offset are there, or neither is. FreeRADIUS goes on
writing to the spool while the database is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import stamina

from demarc.kernel.clock import real_now
from demarc.kernel.db import DATABASE_AWAY
from demarc.kernel.errors import Unavailable
from demarc.kernel.logs import logger
from demarc.modules.access import accounting
from demarc.modules.access.accounting import Merged, RejectedLine
from demarc.workflows.metering import metrics
from demarc.workflows.metering.spool import (
    BLOCK_OCTETS,
    Block,
    SpoolFile,
    SpoolKind,
    is_finished,
    list_files,
    read_block,
)

_log = logger("metering")

Connection: TypeAlias = "asyncpg.Connection[Any]"
RaiseUsage = Callable[[Connection], Awaitable[None]]
"""Books temp table `accounting_delta` as usage, set based, in the open transaction."""

_DATA_ERRORS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)
_TRY_AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_SHORTEST_WAIT, _LONGEST_WAIT = 0.05, 0.2
_BLOCKED_WAIT = 5.0
_MOST_REFUSED_IN_A_ROW = 10

# Statistics of a table that has just grown (the first morning, the first day of a month) say that it is empty: without
# `enable_seqscan` each of a block's rows then looks through the whole table. Temporary tables have no index to prefer.
# A block's temporary tables are analysed for their size above all: a sample of 300 rows is plenty.
# A commit need not reach the disk: the spool is synced before it is read, and rows and offset go together, so what a power cut
# takes back is read again.
_SESSION_SETTINGS = {
    "application_name": "demarc-ingest",
    "enable_seqscan": "off",
    "default_statistics_target": "1",
    "synchronous_commit": "off",
}

_POSITIONS = "SELECT spool_file, inode, position FROM spool_offset WHERE node = $1"
_MOVE_OFFSET = """
INSERT INTO spool_offset (node, spool_file, inode, position, lines) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (node, spool_file) DO UPDATE SET
    inode = excluded.inode, position = excluded.position, updated_at = now(),
    lines = CASE WHEN spool_offset.inode = excluded.inode THEN spool_offset.lines ELSE 0 END + excluded.lines
"""
_REJECT = """
INSERT INTO accounting_reject (node, spool_file, spool_offset, reason, line, tenant_id)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
"""
_FORGET_FILE = "DELETE FROM spool_offset WHERE node = $1 AND spool_file = $2"


@dataclass(frozen=True, slots=True)
class Committed:
    """One committed block, for what follows a commit (data caps, session limits).

    `touched` holds each tenant that had a packet in it, with those of its subscribers that have come on line.
    """

    file: str
    lines: int
    touched: accounting.Touched


AfterCommit = Callable[[Committed], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class IngestReport:
    """One pass over the spool: lines read, of which `rejected` were kept aside; octets still waiting."""

    lines: int = 0
    rejected: int = 0
    lag_octets: int = 0


class IngestBlocked(Unavailable):
    """The database refuses line after line: no bad line but a fault of ours. The spool keeps what is not loaded."""

    code = "INGEST_BLOCKED"


@dataclass(slots=True)
class _Pass:
    lines: int = 0
    rejected: int = 0
    positions: dict[str, tuple[int, int]] = field(default_factory=dict)


class Ingester:
    """Loads one AAA node's spool.

    Args:
        dsn: connects as role `demarc_ingest`; never logged.
        node: name of the AAA node; offsets are kept per node.
        spool_dir: where FreeRADIUS writes `acct-*` and `auth-*`.
        raise_usage: books the deltas as usage, in the same transaction.
        after_commit: told about each committed block; its failure is its own, the block stays loaded.
        retention: how long a loaded file is kept.
    """

    def __init__(
        self,
        dsn: str,
        *,
        node: str,
        spool_dir: Path,
        raise_usage: RaiseUsage,
        after_commit: AfterCommit | None = None,
        retention: timedelta = timedelta(hours=48),
    ) -> None:
        self._dsn = dsn
        self._node = node
        self._spool_dir = spool_dir
        self._raise_usage = raise_usage
        self._after_commit = after_commit
        self._retention = retention
        self._connection: Connection | None = None
        self._positions: dict[str, tuple[int, int]] = {}
        self._refused_in_a_row = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Load until `stop` is set, then finish the block in hand; waits for a database that is away."""
        wait = _SHORTEST_WAIT
        try:
            while not stop.is_set():
                report = await self._ingest_or_reconnect(stop)
                wait = _SHORTEST_WAIT if report.lines else min(wait * 1.5, _LONGEST_WAIT)
                if not report.lines:
                    await _sleep(wait, stop)
        finally:
            await self.close()

    async def close(self) -> None:
        """Give the connection back; the next pass opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def ingest_once(self) -> IngestReport:
        """One pass over all files, oldest hour first: everything that was there when each was looked at.

        Raises:
            OSError, asyncpg.PostgresError: the database is away; what was committed stays, the rest waits.
            IngestBlocked: the database refuses line after line; a person has to look.
        """
        connection = await self._connected()
        done = _Pass()
        for file in list_files(self._spool_dir):
            await self._ingest_file(connection, file, done)
        await self._delete_finished(connection)
        lag = self._lag()
        metrics.SPOOL_LAG.set(lag)
        return IngestReport(done.lines, done.rejected, lag)

    async def _ingest_or_reconnect(self, stop: asyncio.Event) -> IngestReport:
        try:
            return await self.ingest_once()
        except _TRY_AGAIN as error:
            _log.info("ingest_retried", reason=type(error).__name__)
        except DATABASE_AWAY as error:
            metrics.SPOOL_TRANSACTIONS.labels("database_away").inc()
            _log.warning("database_away", reason=type(error).__name__, lag_octets=self._lag())
            await self.close()
            await _until(self._reconnect(), stop)
        except IngestBlocked as error:
            metrics.SPOOL_TRANSACTIONS.labels("blocked").inc()
            _log.error("ingest_blocked", reason=error.message, lag_octets=self._lag())
            await _sleep(_BLOCKED_WAIT, stop)
        return IngestReport()

    async def _reconnect(self) -> None:
        async for attempt in stamina.retry_context(
            on=DATABASE_AWAY, attempts=None, timeout=None, wait_initial=0.1, wait_max=5.0, wait_jitter=0.1
        ):
            with attempt:
                await self._connected()

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            connection = await asyncpg.connect(
                self._dsn, timeout=5, command_timeout=120, server_settings=_SESSION_SETTINGS
            )
            await accounting.prepare_accounting(connection)
            rows = await connection.fetch(_POSITIONS, self._node)
            self._positions = {row["spool_file"]: (row["inode"], row["position"]) for row in rows}
            self._connection = connection
        return self._connection

    async def _ingest_file(self, connection: Connection, file: SpoolFile, done: _Pass) -> None:
        while self._position(file) < file.size:
            # Never past the size that was seen: the file grows meanwhile, and a position beyond `size` reads as a cut file.
            seen = min(BLOCK_OCTETS, file.size - self._position(file))
            block = await asyncio.to_thread(read_block, file, self._position(file), seen)
            if block is None:
                return
            await self._load(connection, block, done)

    async def _load(self, connection: Connection, block: Block, done: _Pass) -> None:
        """One block, one transaction. A block that the database refuses is halved until the bad line is alone."""
        try:
            merged, touched = await self._load_transaction(connection, block)
        except _DATA_ERRORS as error:
            await self._load_around(connection, block, done, str(error))
            return
        self._refused_in_a_row = 0
        self._count(block, merged.booked, len(merged.rejected), done)
        if self._after_commit is not None and touched:
            await self._after_commit(Committed(block.file.name, merged.booked, touched))

    async def _load_transaction(
        self, connection: Connection, block: Block
    ) -> tuple[Merged, accounting.Touched]:
        touched: accounting.Touched = {}
        async with connection.transaction():
            if block.file.kind is SpoolKind.ACCOUNTING:
                merged = await accounting.merge_accounting(connection, block.data, block.base)
                if merged.deltas:
                    await self._raise_usage(connection)
                if self._after_commit is not None:
                    touched = await accounting.list_touched(connection)
            else:
                merged = await accounting.merge_logins(connection, block.data, block.base)
            await self._keep_aside(connection, block.file, merged.rejected)
            await self._move_offset(connection, block)
        return merged, touched

    async def _load_around(self, connection: Connection, block: Block, done: _Pass, reason: str) -> None:
        if self._refused_in_a_row >= _MOST_REFUSED_IN_A_ROW:
            raise IngestBlocked(
                f"The database refuses all accounting: {reason}. Nothing is lost, the spool keeps it; loading goes on "
                "by itself once the cause is gone."
            )
        if block.lines > 1:
            for half in block.halves():
                await self._load(connection, half, done)
            return
        self._refused_in_a_row += 1
        _log.error("spool_line_refused", file=block.file.name, offset=block.base, reason=reason)
        refused = RejectedLine(block.base, f"refused by the database: {reason}", block.data.rstrip(b"\n"))
        async with connection.transaction():
            await self._keep_aside(connection, block.file, (refused,))
            await self._move_offset(connection, block)
        self._count(block, 0, 1, done)

    async def _keep_aside(
        self, connection: Connection, file: SpoolFile, rejected: Sequence[RejectedLine]
    ) -> None:
        if rejected:
            await connection.executemany(
                _REJECT,
                [
                    (self._node, file.name, bad.offset, bad.reason, bad.line, bad.tenant_id)
                    for bad in rejected
                ],
            )

    async def _move_offset(self, connection: Connection, block: Block) -> None:
        file = block.file
        await connection.execute(_MOVE_OFFSET, self._node, file.name, file.inode, block.end, block.lines)

    def _count(self, block: Block, booked: int, rejected: int, done: _Pass) -> None:
        kind = block.file.kind.value
        self._positions[block.file.name] = (block.file.inode, block.end)
        done.lines += booked + rejected
        done.rejected += rejected
        metrics.SPOOL_TRANSACTIONS.labels("committed").inc()
        metrics.SPOOL_LINES.labels(kind).inc(booked + rejected)
        if rejected:
            metrics.SPOOL_REJECTS.labels(kind).inc(rejected)
            _log.warning("spool_lines_kept_aside", file=block.file.name, lines=rejected)

    def _position(self, file: SpoolFile) -> int:
        """Where to read on; from the start when the file was replaced or cut short (cumulative counters allow it)."""
        inode, position = self._positions.get(file.name, (file.inode, 0))
        return position if inode == file.inode and position <= file.size else 0

    def _lag(self) -> int:
        return sum(file.size - self._position(file) for file in list_files(self._spool_dir))

    async def _delete_finished(self, connection: Connection) -> None:
        """The file goes before its offset: the other way round a crash between would load the file again."""
        for file in list_files(self._spool_dir):
            if not is_finished(file, now=real_now(), retention_seconds=self._retention.total_seconds()):
                continue
            if self._position(file) == file.size:
                file.path.unlink(missing_ok=True)
                await connection.execute(_FORGET_FILE, self._node, file.name)
                self._positions.pop(file.name, None)
                _log.info("spool_file_deleted", file=file.name)


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    await _until(asyncio.sleep(seconds), stop)


async def _until(work: Awaitable[None], stop: asyncio.Event) -> None:
    """Do `work` unless `stop` comes first; its error is raised here."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        task.cancel()
        stopped.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)
