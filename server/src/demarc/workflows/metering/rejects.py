"""Spool lines that could not be booked: looked at by a person, and booked once their cause is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from demarc.modules.access import accounting
from demarc.modules.access.accounting import Merged
from demarc.workflows.metering.ingester import Connection, RaiseUsage
from demarc.workflows.metering.spool import SpoolKind

_LIST = """
SELECT node, spool_file, spool_offset, reason, tenant_id, rejected_at, count(*) OVER () AS total FROM accounting_reject
WHERE $1::integer IS NULL OR tenant_id = $1 ORDER BY rejected_at, node, spool_file, spool_offset LIMIT $2
"""
_TAKE = """
DELETE FROM accounting_reject WHERE (node, spool_file, spool_offset) = ($1, $2, $3) RETURNING line, tenant_id, rejected_at
"""
_PUT_BACK = """
INSERT INTO accounting_reject (node, spool_file, spool_offset, line, tenant_id, rejected_at, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


@dataclass(frozen=True, slots=True)
class Reject:
    """One line kept aside: where it stood, why it was refused. The line itself names a subscriber and is not here."""

    node: str
    spool_file: str
    spool_offset: int
    reason: str
    tenant_id: int | None
    rejected_at: datetime


@dataclass(frozen=True, slots=True)
class Rejects:
    rows: Sequence[Reject]
    total: int


async def list_rejects(connection: Connection, *, tenant_id: int | None = None, limit: int = 50) -> Rejects:
    """The oldest first; `total` counts all of them. Needs role `demarc_ingest`."""
    rows = [dict(row) for row in await connection.fetch(_LIST, tenant_id, limit)]
    total = rows[0]["total"] if rows else 0
    return Rejects([Reject(**{key: row[key] for key in row if key != "total"}) for row in rows], total)


async def retry_reject(connection: Connection, reject: Reject, raise_usage: RaiseUsage) -> str | None:
    """Book one line again, in a transaction of its own; None when it is booked, else why not (it stays kept).

    Args:
        connection: as role `demarc_ingest`, after `prepare_accounting`.
        reject: from `list_rejects`; one that somebody else has booked meanwhile counts as booked.
        raise_usage: books the deltas as usage, in the same transaction.
    """
    place = (reject.node, reject.spool_file, reject.spool_offset)
    async with connection.transaction():
        row = await connection.fetchrow(_TAKE, *place)
        if row is None:
            return None
        merged = await _merge(connection, reject, row["line"] + b"\n", raise_usage)
        if not merged.rejected:
            return None
        reason = merged.rejected[0].reason
        await connection.execute(_PUT_BACK, *place, row["line"], row["tenant_id"], row["rejected_at"], reason)
        return reason


async def _merge(connection: Connection, reject: Reject, line: bytes, raise_usage: RaiseUsage) -> Merged:
    if reject.spool_file.startswith(SpoolKind.LOGIN):
        return await accounting.merge_logins(connection, line, reject.spool_offset)
    merged = await accounting.merge_accounting(connection, line, reject.spool_offset)
    await raise_usage(connection)
    return merged
