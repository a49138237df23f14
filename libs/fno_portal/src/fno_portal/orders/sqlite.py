"""A store in one SQLite file: durable on return, shared by processes of one machine."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from fno_portal.models import FNOOrder, OrderEvent, OrderRequest, Outcome, UnmatchedMessage
from fno_portal.orders.store import OrderRecord, number_taken

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS fno_order (
    number INTEGER PRIMARY KEY,
    reference TEXT NOT NULL UNIQUE,
    fno TEXT NOT NULL,
    fno_reference TEXT,
    outcome TEXT NOT NULL,
    sent_at TEXT,
    version INTEGER NOT NULL DEFAULT 0,
    order_json TEXT NOT NULL,
    request_json TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS fno_order_theirs ON fno_order (fno, fno_reference) WHERE fno_reference IS NOT NULL;
CREATE INDEX IF NOT EXISTS fno_order_outcome ON fno_order (outcome);
CREATE TABLE IF NOT EXISTS fno_event (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    reference TEXT NOT NULL,
    fno TEXT NOT NULL,
    dedupe_key TEXT NOT NULL,
    event_json TEXT NOT NULL,
    UNIQUE (fno, dedupe_key)
);
CREATE INDEX IF NOT EXISTS fno_event_order ON fno_event (reference, sequence);
CREATE TABLE IF NOT EXISTS fno_unmatched (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    message_json TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS fno_place (
    fno TEXT NOT NULL,
    place TEXT NOT NULL,
    keys_json TEXT NOT NULL,
    PRIMARY KEY (fno, place)
);
"""
_COLUMNS = "order_json, request_json, sent_at, version"


class SqliteStore:
    """See OrderStore. Call `close` at the end."""

    def __init__(self, path: Path | str) -> None:
        """Open or make the file (mode 0600)."""
        file = Path(path)
        file.touch(mode=0o600, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None, timeout=30)
        # FULL: what was told as stored is on the disk, also after a power cut.
        self._connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    async def add(self, record: OrderRecord) -> OrderRecord:
        """See OrderStore."""
        return await self._run(lambda db: _add(db, record))

    async def get(self, reference: str) -> OrderRecord | None:
        """See OrderStore."""
        return await self._run(lambda db: _one(db, "reference = ?", reference))

    async def find(self, fno: str, fno_reference: str) -> OrderRecord | None:
        """See OrderStore."""
        return await self._run(lambda db: _one(db, "fno = ? AND fno_reference = ?", fno, fno_reference))

    async def list_orders(
        self, *, fno: str | None = None, outcome: Outcome | None = None
    ) -> list[OrderRecord]:
        """See OrderStore."""
        where = "(?1 IS NULL OR fno = ?1) AND (?2 IS NULL OR outcome = ?2)"
        values = (fno, None if outcome is None else outcome.value)
        return await self._run(lambda db: _several(db, where, *values))

    async def claim(self, reference: str, at: datetime) -> bool:
        """See OrderStore."""
        return await self._run(lambda db: _claim(db, reference, at))

    async def save(self, record: OrderRecord, event: OrderEvent | None = None) -> bool:
        """See OrderStore."""
        return await self._run(lambda db: _save(db, record, event))

    async def append(self, event: OrderEvent) -> bool:
        """See OrderStore."""
        return await self._run(lambda db: _append(db, event))

    async def has_event(self, fno: str, dedupe_key: str) -> bool:
        """See OrderStore."""
        sql = "SELECT 1 FROM fno_event WHERE fno = ? AND dedupe_key = ?"
        return await self._run(lambda db: db.execute(sql, (fno, dedupe_key)).fetchone() is not None)

    async def list_events(self, reference: str) -> list[OrderEvent]:
        """See OrderStore."""
        sql = "SELECT event_json, sequence FROM fno_event WHERE reference = ? ORDER BY sequence"
        rows = await self._run(lambda db: db.execute(sql, (reference,)).fetchall())
        return [
            OrderEvent.model_validate_json(text).model_copy(update={"sequence": number})
            for text, number in rows
        ]

    async def add_unmatched(self, message: UnmatchedMessage) -> bool:
        """See OrderStore."""
        sql = "INSERT INTO fno_unmatched (key, message_json) VALUES (?, ?) ON CONFLICT DO NOTHING"
        values = (message.key, message.model_dump_json())
        return await self._run(lambda db: db.execute(sql, values).rowcount == 1)

    async def list_unmatched(self) -> list[UnmatchedMessage]:
        """See OrderStore."""
        sql = "SELECT message_json FROM fno_unmatched ORDER BY number"
        rows = await self._run(lambda db: db.execute(sql).fetchall())
        return [UnmatchedMessage.model_validate_json(text) for (text,) in rows]

    async def remove_unmatched(self, key: str) -> bool:
        """See OrderStore."""
        sql = "DELETE FROM fno_unmatched WHERE key = ?"
        return await self._run(lambda db: db.execute(sql, (key,)).rowcount == 1)

    async def keep_keys(self, fno: str, place: str, keys: Mapping[str, str]) -> None:
        """See OrderStore."""
        sql = (
            "INSERT INTO fno_place (fno, place, keys_json) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET keys_json = excluded.keys_json"
        )
        await self._run(lambda db: db.execute(sql, (fno, place, json.dumps(dict(keys)))).rowcount)

    async def keys(self, fno: str, place: str) -> dict[str, str]:
        """See OrderStore."""
        sql = "SELECT keys_json FROM fno_place WHERE fno = ? AND place = ?"
        row = await self._run(lambda db: db.execute(sql, (fno, place)).fetchone())
        found: dict[str, str] = json.loads(row[0]) if row else {}
        return found

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.to_thread(self._locked, work)

    def _locked(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock, _transaction(self._connection):
            return work(self._connection)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # On a full disk SQLite may have rolled back by itself; a COMMIT that fails may leave the transaction open.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _record(row: tuple[Any, ...]) -> OrderRecord:
    order, request, sent_at, version = row
    return OrderRecord(
        FNOOrder.model_validate_json(order),
        OrderRequest.model_validate_json(request),
        datetime.fromisoformat(sent_at) if sent_at else None,
        version,
    )


def _one(db: sqlite3.Connection, where: str, *values: Any) -> OrderRecord | None:
    row = db.execute(f"SELECT {_COLUMNS} FROM fno_order WHERE {where}", values).fetchone()  # noqa: S608 - constants
    return None if row is None else _record(row)


def _several(db: sqlite3.Connection, where: str, *values: Any) -> list[OrderRecord]:
    sql = f"SELECT {_COLUMNS} FROM fno_order WHERE {where} ORDER BY number"  # noqa: S608 - constants
    return [_record(row) for row in db.execute(sql, values)]


def _add(db: sqlite3.Connection, record: OrderRecord) -> OrderRecord:
    order = record.order
    db.execute(
        "INSERT INTO fno_order (reference, fno, fno_reference, outcome, order_json, request_json) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (reference) DO NOTHING",
        (
            order.id,
            order.fno,
            order.fno_reference,
            order.outcome.value,
            order.model_dump_json(),
            record.request.model_dump_json(),
        ),
    )
    stored = _one(db, "reference = ?", order.id)
    assert stored is not None
    return stored


def _claim(db: sqlite3.Connection, reference: str, at: datetime) -> bool:
    record = _one(db, "reference = ?", reference)
    if record is None or record.order.outcome is not Outcome.NOT_SENT:
        return False
    sending = record.order.model_copy(update={"outcome": Outcome.SENDING})
    return _replace(db, OrderRecord(sending, record.request, at, record.version))


def _replace(db: sqlite3.Connection, record: OrderRecord) -> bool:
    order = record.order
    sql = "SELECT 1 FROM fno_order WHERE fno = ? AND fno_reference = ? AND reference <> ?"
    if db.execute(sql, (order.fno, order.fno_reference, order.id)).fetchone():
        raise number_taken(order)
    done = db.execute(
        "UPDATE fno_order SET fno_reference = ?, outcome = ?, sent_at = ?, order_json = ?, version = version + 1 "
        "WHERE reference = ? AND version = ?",
        (
            order.fno_reference,
            order.outcome.value,
            record.sent_at.isoformat() if record.sent_at else None,
            order.model_dump_json(),
            order.id,
            record.version,
        ),
    )
    return done.rowcount == 1


def _save(db: sqlite3.Connection, record: OrderRecord, event: OrderEvent | None) -> bool:
    db.execute("SAVEPOINT one")
    kept = (event is None or _append(db, event)) and _replace(db, record)
    db.execute("RELEASE one" if kept else "ROLLBACK TO one")
    return kept


def _append(db: sqlite3.Connection, event: OrderEvent) -> bool:
    done = db.execute(
        "INSERT INTO fno_event (reference, fno, dedupe_key, event_json) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (event.reference, event.fno, event.dedupe_key, event.model_dump_json()),
    )
    return done.rowcount == 1
