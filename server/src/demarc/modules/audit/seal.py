"""The sealer: a chain of hashes over the audit log, a few seconds behind.

Rows become visible in commit order, not in id order. A seal therefore covers every row whose transaction is older than
any that still runs (`pg_snapshot_xmin`): nothing can appear below it any more.

Transaction ids belong to one PostgreSQL cluster. When a dump was restored into another one, whose ids are lower than
the last seal's, a closing seal covers what was restored unsealed, and what is written from then on is counted anew,
above the highest id that was restored (`floor_id`). Ids of rows come from a sequence, which a dump carries along.

Who deletes the newest rows together with their seals leaves a chain without a fault. Each seal is therefore also
logged with its hash: a log kept elsewhere is the anchor that `verify_audit_log` can be given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec

from demarc.kernel.db import Tx
from demarc.kernel.logs import logger
from demarc.kernel.metrics import AUDIT_ROWS_SEALED, AUDIT_SEALS

_LOG = logger(__name__)
GENESIS = bytes(32)
_WITHOUT_END = (1 << 63) - 1
_ROWS = """
    SELECT id, actor_kind, actor_name, actor_user_id, action, entity, entity_id, before, after, request_id, recorded_at
    FROM audit_log
    WHERE tenant_id = $1 AND id > $2 AND id <= $3 AND transaction_id < $4 AND (transaction_id >= $5 OR id > $6)
    ORDER BY id
"""
_SEALS = "SELECT id, up_to_transaction, floor_id, last_id, rows_sealed, previous_hash, hash FROM audit_seal"
_LAST = f"{_SEALS} WHERE tenant_id = $1 ORDER BY id DESC LIMIT 1"
_ALL = f"{_SEALS} WHERE tenant_id = $1 ORDER BY id"
_INSERT = """
    INSERT INTO audit_seal (tenant_id, up_to_transaction, floor_id, last_id, rows_sealed, previous_hash, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id
"""
_HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_NEWEST = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """Where the log no longer matches its seals; `seal_id` None: a seal known from outside is not there."""

    seal_id: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Bounds:
    """How far the chain has come: of the cluster that counts from `floor_id`, all transactions below `up_to`."""

    up_to: int
    floor: int
    last_id: int
    hash: bytes

    @classmethod
    def of(cls, seal: Mapping[str, Any]) -> _Bounds:
        return cls(seal["up_to_transaction"], seal["floor_id"], seal["last_id"], seal["hash"])


_START = _Bounds(0, 0, 0, GENESIS)


async def seal_audit_log(tx: Tx) -> int:
    """Seal what is new; the number of rows sealed. One sealer at a time per tenant."""
    await tx.connection.execute("SELECT pg_advisory_xact_lock(hashtext('audit_seal'), $1)", tx.tenant.id)
    last = await tx.connection.fetchrow(_LAST, tx.tenant.id)
    at = _Bounds.of(last) if last else _START
    horizon: int = await tx.connection.fetchval(_HORIZON)
    if horizon >= at.up_to:
        return await _seal_new(tx, at, horizon)
    return await _close_restored(tx, at)


async def _seal_new(tx: Tx, at: _Bounds, horizon: int) -> int:
    rows = await _rows(tx, at, up_to=horizon, last_id=_WITHOUT_END)
    if rows:
        await _add_seal(tx, at, rows, up_to=horizon, floor=at.floor)
    return len(rows)


async def _close_restored(tx: Tx, at: _Bounds) -> int:
    """The cluster counts below the last seal, so it is another one: what is not sealed and counts above was restored."""
    rows = await _rows(tx, _closing(at), up_to=_WITHOUT_END, last_id=_WITHOUT_END)
    if await tx.connection.fetchval(_NEWEST) > at.up_to:
        return 0  # new rows may count above the last seal too: once all do, they are told apart by their ids alone
    await _add_seal(tx, at, rows, up_to=0, floor=_highest(at, rows))
    return len(rows)


def _closing(at: _Bounds) -> _Bounds:
    """Ids above the last sealed one are no reason to be restored: new rows have them as well."""
    return _Bounds(at.up_to, at.floor, _WITHOUT_END, at.hash)


async def _rows(tx: Tx, after: _Bounds, *, up_to: int, last_id: int) -> list[Any]:
    """Of the cluster that counts from `after.floor`: final below `up_to`, and not sealed before."""
    return await tx.connection.fetch(
        _ROWS, tx.tenant.id, after.floor, last_id, up_to, after.up_to, after.last_id
    )


def _highest(at: _Bounds, rows: list[Any]) -> int:
    return max(at.last_id, *(row["id"] for row in rows), at.floor)


async def _add_seal(tx: Tx, at: _Bounds, rows: list[Any], *, up_to: int, floor: int) -> None:
    sealed, highest = chain(at.hash, rows), _highest(at, rows)
    values = (up_to, floor, highest, len(rows), at.hash, sealed)
    seal_id: int = await tx.connection.fetchval(_INSERT, tx.tenant.id, *values)
    tx.after_commit.append(lambda: _announce(tx.tenant.id, seal_id, len(rows), sealed))


def _announce(tenant_id: int, seal_id: int, rows: int, sealed: bytes) -> None:
    """What a log outside the database remembers of the chain."""
    _LOG.info("audit log sealed", tenant_id=tenant_id, seal_id=seal_id, rows=rows, seal=sealed.hex())
    AUDIT_SEALS.labels(tenant_id).inc()
    AUDIT_ROWS_SEALED.labels(tenant_id).inc(rows)


async def verify_audit_log(tx: Tx, *, anchor: bytes | None = None) -> ChainBreak | None:
    """Recompute every seal; None when the log is as it was sealed.

    Args:
        tx: a transaction of the tenant.
        anchor: the hash of a seal as a log outside remembers it; when it is not in the chain, the end was cut off
            or the whole chain was made anew.
    """
    seals = await tx.connection.fetch(_ALL, tx.tenant.id)
    for previous, seal in pairwise([None, *seals]):
        found = await _verify(tx, _Bounds.of(previous) if previous else _START, seal)
        if found is not None:
            return ChainBreak(seal["id"], found)
    if anchor is not None and all(seal["hash"] != anchor for seal in seals):
        return ChainBreak(None, "the seal known from outside is not in the chain: its end was cut off or replaced")
    return None


async def _verify(tx: Tx, after: _Bounds, seal: Any) -> str | None:
    is_closing = seal["floor_id"] != after.floor or seal["up_to_transaction"] < after.up_to
    if is_closing:
        rows = await _rows(tx, _closing(after), up_to=_WITHOUT_END, last_id=seal["last_id"])
    else:
        rows = await _rows(tx, after, up_to=seal["up_to_transaction"], last_id=seal["last_id"])
    if len(rows) != seal["rows_sealed"]:
        return f"{seal['rows_sealed']} rows were sealed, {len(rows)} are there"
    if seal["previous_hash"] != after.hash or seal["hash"] != chain(after.hash, rows):
        return "a row or a seal was changed"
    return None


def chain(previous: bytes, rows: list[Any]) -> bytes:
    """SHA-256 over the previous hash and every row in order."""
    digest = hashlib.sha256(previous)
    for row in rows:
        digest.update(msgspec.json.encode(dict(row)))
    return digest.digest()
