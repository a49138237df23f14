"""The sealer: a chain of hashes over the audit log, a few seconds behind.

Rows become visible in commit order, not in id order. A seal therefore covers every row whose transaction is older than
any that still runs (`pg_snapshot_xmin`): nothing can appear below it any more.

Transaction ids belong to one PostgreSQL cluster, which each seal names. When a dump was restored into another one, a
closing seal covers what was restored unsealed, and what is written from then on is counted anew, above the highest id
that was restored (`floor_id`). Ids of rows come from a sequence, which a dump carries along.

Who deletes the newest rows together with their seals leaves a chain without a fault. Each seal is therefore also
logged with its hash: a log kept elsewhere is the anchor that `verify_audit_log` can be given.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
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
_SEALS = """
    SELECT id, cluster, up_to_transaction, floor_id, last_id, rows_sealed, previous_hash, hash FROM audit_seal
    WHERE tenant_id = $1
"""
_LAST = f"{_SEALS} ORDER BY id DESC LIMIT 1"
_ALL = f"{_SEALS} ORDER BY id"
_INSERT = """
    INSERT INTO audit_seal
           (tenant_id, cluster, up_to_transaction, floor_id, last_id, rows_sealed, previous_hash, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id
"""
_DUE = "SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND (id <= $2 OR transaction_id < $3)"
_HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_NEWEST = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
_CLUSTER = "SELECT system_identifier FROM pg_control_system()"


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """Where the log no longer matches its seals; `seal_id` None: a seal known from outside is not there."""

    seal_id: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Bounds:
    """How far the chain has come: above `floor`, all of `cluster`'s transactions below `up_to`."""

    cluster: int
    up_to: int
    floor: int
    last_id: int
    hash: bytes

    @classmethod
    def of(cls, seal: Any) -> _Bounds:
        return cls(
            seal["cluster"], seal["up_to_transaction"], seal["floor_id"], seal["last_id"], seal["hash"]
        )


_START = _Bounds(0, 0, 0, 0, GENESIS)


async def seal_audit_log(tx: Tx) -> int:
    """Seal what is new; the number of rows sealed. One sealer at a time per tenant."""
    await tx.connection.execute("SELECT pg_advisory_xact_lock(hashtext('audit_seal'), $1)", tx.tenant.id)
    last = await tx.connection.fetchrow(_LAST, tx.tenant.id)
    cluster: int = await tx.connection.fetchval(_CLUSTER)
    after = _Bounds.of(last) if last else _START
    if await tx.connection.fetchval(_NEWEST) <= after.up_to:
        return await _close_restored(tx, after, cluster)
    return await _seal_new(tx, after, cluster)


async def _seal_new(tx: Tx, after: _Bounds, cluster: int) -> int:
    horizon: int = await tx.connection.fetchval(_HORIZON)
    if horizon < after.up_to:
        return 0  # another cluster that is just overtaking the last seal: restored and new rows still mingle
    rows = await _rows(tx, after, cluster, up_to=horizon, last_id=_WITHOUT_END)
    if rows:
        await _add_seal(tx, after, cluster, rows, up_to=horizon, floor=after.floor)
    return len(rows)


async def _close_restored(tx: Tx, after: _Bounds, cluster: int) -> int:
    """Every transaction here counts below the last seal, so what counts above it and is not sealed was restored."""
    rows = await _restored(tx, after, last_id=_WITHOUT_END)
    if await tx.connection.fetchval(_NEWEST) > after.up_to:
        return 0  # overtaken while we looked: `_seal_new` does it the next time
    await _add_seal(tx, after, cluster, rows, up_to=0, floor=_highest(after, rows))
    return len(rows)


async def _rows(tx: Tx, after: _Bounds, cluster: int, *, up_to: int, last_id: int) -> list[Any]:
    """Final below `up_to` and not sealed before.

    In a cluster that was overtaking the last seal (see `seal_audit_log`) new rows may count below it: their ids tell.
    """
    above = _WITHOUT_END if cluster == after.cluster else after.last_id
    return await tx.connection.fetch(_ROWS, tx.tenant.id, after.floor, last_id, up_to, after.up_to, above)


async def _restored(tx: Tx, after: _Bounds, *, last_id: int) -> list[Any]:
    """What a dump brought along unsealed."""
    return await tx.connection.fetch(
        _ROWS, tx.tenant.id, after.floor, last_id, _WITHOUT_END, after.up_to, _WITHOUT_END
    )


def _highest(after: _Bounds, rows: list[Any]) -> int:
    return max([after.last_id, after.floor, *(int(row["id"]) for row in rows)])


async def _add_seal(tx: Tx, after: _Bounds, cluster: int, rows: list[Any], *, up_to: int, floor: int) -> None:
    sealed, highest = chain(after.hash, rows), _highest(after, rows)
    values = (cluster, up_to, floor, highest, len(rows), after.hash, sealed)
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
    after = _START
    for seal in seals:
        found = await _verify(tx, after, seal)
        if found is not None:
            return ChainBreak(seal["id"], found)
        after = _Bounds.of(seal)
    if seals and await _slipped_in(tx, after, sum(seal["rows_sealed"] for seal in seals)):
        return ChainBreak(seals[-1]["id"], "a row was slipped in below the last seal")
    if anchor is not None and all(seal["hash"] != anchor for seal in seals):
        return ChainBreak(
            None, "the seal known from outside is not in the chain: its end was cut off or replaced"
        )
    return None


async def _verify(tx: Tx, after: _Bounds, seal: Any) -> str | None:
    upper = {"last_id": seal["last_id"]}
    if seal["floor_id"] != after.floor or seal["up_to_transaction"] < after.up_to:
        rows = await _restored(tx, after, **upper)
    else:
        rows = await _rows(tx, after, seal["cluster"], up_to=seal["up_to_transaction"], **upper)
    if len(rows) != seal["rows_sealed"]:
        return f"{seal['rows_sealed']} rows were sealed, {len(rows)} are there"
    if seal["previous_hash"] != after.hash or seal["hash"] != chain(after.hash, rows):
        return "a row or a seal was changed"
    return None


async def _slipped_in(tx: Tx, after: _Bounds, sealed: int) -> bool:
    """Whether rows are where the seals have been already; not to be told before a restored log has its closing seal."""
    is_closed = after.cluster == await tx.connection.fetchval(_CLUSTER)
    if not is_closed or await tx.connection.fetchval(_HORIZON) < after.up_to:
        return False
    due: int = await tx.connection.fetchval(_DUE, tx.tenant.id, after.floor, after.up_to)
    return due != sealed


def chain(previous: bytes, rows: list[Any]) -> bytes:
    """SHA-256 over the previous hash and every row in order."""
    digest = hashlib.sha256(previous)
    for row in rows:
        digest.update(msgspec.json.encode(dict(row)))
    return digest.digest()
