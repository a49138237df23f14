"""The sealer: a chain of hashes over the audit log, a few seconds behind.

Rows become visible in commit order, not in id order. A seal therefore covers every row whose transaction is older than
any that still runs (`pg_snapshot_xmin`): nothing can appear below it any more.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from demarc.kernel.db import Tx

GENESIS = bytes(32)
_ROWS = """
    SELECT id, actor_kind, actor_name, actor_user_id, action, entity, entity_id, before, after, request_id, recorded_at
    FROM audit_log
    WHERE tenant_id = $1 AND transaction_id >= $2 AND transaction_id < $3
    ORDER BY id
"""
_LAST = "SELECT id, up_to_transaction AS up_to, hash FROM audit_seal WHERE tenant_id = $1 ORDER BY id DESC LIMIT 1"
_SEALS = """
    SELECT id, up_to_transaction AS up_to, rows_sealed, previous_hash, hash FROM audit_seal
    WHERE tenant_id = $1 ORDER BY id
"""
_INSERT = """
    INSERT INTO audit_seal (tenant_id, up_to_transaction, rows_sealed, previous_hash, hash)
    VALUES ($1, $2, $3, $4, $5)
"""


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """Where the log no longer matches its seals."""

    seal_id: int
    reason: str


async def seal_audit_log(tx: Tx) -> int:
    """Seal what is new; the number of rows sealed. One sealer at a time per tenant."""
    await tx.connection.execute("SELECT pg_advisory_xact_lock(hashtext('audit_seal'), $1)", tx.tenant.id)
    horizon: int = await tx.connection.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    last = await tx.connection.fetchrow(_LAST, tx.tenant.id)
    start, previous = (last["up_to"], last["hash"]) if last else (0, GENESIS)
    rows = await tx.connection.fetch(_ROWS, tx.tenant.id, start, horizon)
    if rows:
        await tx.connection.execute(_INSERT, tx.tenant.id, horizon, len(rows), previous, chain(previous, rows))
    return len(rows)


async def verify_audit_log(tx: Tx) -> ChainBreak | None:
    """Recompute every seal; None when the log is as it was sealed."""
    start, previous = 0, GENESIS
    for seal in await tx.connection.fetch(_SEALS, tx.tenant.id):
        rows = await tx.connection.fetch(_ROWS, tx.tenant.id, start, seal["up_to"])
        if len(rows) != seal["rows_sealed"]:
            return ChainBreak(seal["id"], f"{seal['rows_sealed']} rows were sealed, {len(rows)} are there")
        if seal["previous_hash"] != previous or seal["hash"] != chain(previous, rows):
            return ChainBreak(seal["id"], "a row or a seal was changed")
        start, previous = seal["up_to"], seal["hash"]
    return None


def chain(previous: bytes, rows: list[Any]) -> bytes:
    """SHA-256 over the previous hash and every row in order."""
    digest = hashlib.sha256(previous)
    for row in rows:
        digest.update(msgspec.json.encode(dict(row)))
    return digest.digest()
