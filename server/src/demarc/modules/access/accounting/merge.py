"""Packets become sessions, and what they newly count becomes `accounting_delta`, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any, TypeAlias

import asyncpg

from demarc.kernel.ids import uuid7_head
from demarc.modules.access.accounting import statements
from demarc.modules.access.accounting.lines import (
    ACCOUNTING_FIELDS,
    ACCOUNTING_LINES,
    LOGIN_FIELDS,
    LOGIN_LINES,
    RejectedLine,
)

SESSION_START_TOLERANCE = timedelta(seconds=60)
"""Packets of one NAS, user name and Acct-Session-Id whose derived starts are closer belong to one session."""

SILENT_INTERVALS = 2.5
"""A session is stale after this many interim intervals without a packet."""

Connection: TypeAlias = "asyncpg.Connection[Any]"
Touched = Mapping[int, frozenset[int]]
"""Each tenant that had a packet -> its subscribers that have come on line."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a block of the spool came to: lines booked, lines kept aside, rows of `accounting_delta`."""

    booked: int
    rejected: tuple[RejectedLine, ...]
    deltas: int = 0


async def prepare_accounting(connection: Connection) -> None:
    """Make the temporary tables; once per connection, outside of the ingest transactions."""
    await connection.execute(statements.TEMPORARY_TABLES)


async def merge_accounting(connection: Connection, block: bytes, base: int) -> Merged:
    """Merge whole lines of an accounting spool file, which begin at octet `base`, into the sessions.

    Afterwards and until the transaction ends, temp table `accounting_delta(tenant_id, session_id, subscriber_id,
    service_id, event_at, input_octets, output_octets)` holds what had not been counted before: one row per session
    and calendar month in the tenant's time zone. Running the same lines again adds nothing.
    """
    parsed = ACCOUNTING_LINES.parse(block, base)
    if not parsed.accepted:
        return Merged(0, parsed.rejected)
    await _copy(connection, "accounting_line", ACCOUNTING_FIELDS, parsed.copy_text)
    await connection.execute(statements.LOCK_NAS_OF_LINES)
    await connection.execute(statements.RESOLVE, SESSION_START_TOLERANCE)
    kinds = await _look(connection)
    if kinds.has_new:
        await connection.execute(statements.RESOLVE_UNKNOWN, SESSION_START_TOLERANCE)
        kinds = await _look(connection)
    deltas = await _merge_resolved(connection, kinds)
    unresolved = await connection.fetch(statements.UNRESOLVED) if kinds.has_unresolved else []
    rejected = (*parsed.rejected, *_with_lines(unresolved, block, base))
    return Merged(parsed.accepted - len(unresolved), rejected, deltas)


@dataclass(frozen=True, slots=True)
class _Kinds:
    """What is in a block, so that no statement runs for nothing."""

    has_new: bool
    has_live: bool
    has_closed: bool
    has_stop: bool
    has_restart: bool
    has_unresolved: bool


async def _look(connection: Connection) -> _Kinds:
    return _Kinds(**dict(await connection.fetchrow(statements.KINDS) or {}))


async def _merge_resolved(connection: Connection, kinds: _Kinds) -> int:
    if kinds.has_new:
        await connection.execute(statements.NAME_NEW_SESSIONS, SESSION_START_TOLERANCE, uuid7_head())
    await connection.execute(statements.TOUCH)
    deltas = await connection.execute(statements.DELTA)
    await connection.execute("ANALYZE accounting_touch, accounting_delta")
    await _apply_touched(connection, kinds)
    if kinds.has_restart:
        await connection.execute(statements.CLOSE_RESTARTED)
    if kinds.has_new or kinds.has_closed:
        await connection.execute(statements.CLOSE_SUPERSEDED, SESSION_START_TOLERANCE)
    return int(deltas.rpartition(" ")[2])


async def _apply_touched(connection: Connection, kinds: _Kinds) -> None:
    if kinds.has_live:
        await connection.execute(statements.UPDATE_LIVE)
    if kinds.has_stop:
        await connection.execute(statements.END_SESSIONS)
    if kinds.has_closed:
        await connection.execute(statements.AMEND_CLOSED)
        await connection.execute(statements.REOPEN_SESSIONS)
    if kinds.has_new:
        await connection.execute(statements.INSERT_LIVE)


async def merge_logins(connection: Connection, block: bytes, base: int) -> Merged:
    """Keep the last answer that each user name got, from whole lines of a log-in spool file.

    Marks each NAS in mode `auto` that has signed a log-in (`aaa_nas.message_authenticator_seen`).
    """
    parsed = LOGIN_LINES.parse(block, base)
    if not parsed.accepted:
        return Merged(0, parsed.rejected)
    await _copy(connection, "accounting_login_line", LOGIN_FIELDS, parsed.copy_text)
    await connection.execute("ANALYZE accounting_login_line")
    unknown = await connection.fetch(statements.UNKNOWN_LOGINS)
    await connection.execute(statements.UPSERT_LOGINS)
    await connection.execute(statements.MARK_SIGNING_NAS)
    return Merged(parsed.accepted - len(unknown), (*parsed.rejected, *_with_lines(unknown, block, base)))


async def close_stale_sessions(
    connection: Connection, *, now: datetime, silent_intervals: float = SILENT_INTERVALS
) -> int:
    """Close provisionally every session that has been silent too long; a later packet reopens or amends it.

    Args:
        connection: in a transaction, as a role that sees the sessions of all tenants.
        now: real time; a sandbox tenant's own clock offset is added per tenant.
        silent_intervals: how many of the subscriber's interim intervals may pass without a packet.

    Returns:
        How many were closed. They end at their last packet: what was used until then is already counted.
    """
    await connection.execute(statements.LOCK_NAS_OF_STALE, now, silent_intervals)
    status = await connection.execute(statements.CLOSE_STALE, now, silent_intervals)
    return int(status.rpartition(" ")[2])


async def list_touched(connection: Connection) -> Touched:
    """Whom the open transaction's merge was about: those who have come on line by name, of the others the tenant alone."""
    touched: dict[int, set[int]] = {}
    for tenant_id, subscriber_id in await connection.fetch(statements.TOUCHED):
        opened = touched.setdefault(tenant_id, set())
        if subscriber_id is not None:
            opened.add(subscriber_id)
    return {tenant_id: frozenset(opened) for tenant_id, opened in touched.items()}


async def _copy(connection: Connection, table: str, fields: Sequence[str], copy_text: bytes) -> None:
    await connection.copy_to_table(
        table, source=BytesIO(copy_text), columns=["line_offset", *fields], format="text", null=""
    )


def _with_lines(rows: Sequence[Mapping[str, Any]], block: bytes, base: int) -> list[RejectedLine]:
    return [_with_line(row, block, base) for row in rows]


def _with_line(row: Mapping[str, Any], block: bytes, base: int) -> RejectedLine:
    begins = row["line_offset"] - base
    line = block[begins : block.index(b"\n", begins)]
    return RejectedLine(row["line_offset"], row["reason"], line, row["tenant_id"])
