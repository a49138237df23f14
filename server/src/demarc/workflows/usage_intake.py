"""Usage that is posted, beside usage that the platform meters itself: what both count is counted once.

Document 002 posts a record per RADIUS session. When the platform metered that session, its own record is the answer
(tenant setting `metering`: `platform`, the default, or `external`, which switches the platform's metering off).
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from demarc.kernel.db import Tx
from demarc.modules.access.queries import list_named_sessions
from demarc.modules.usage.inputs import NewUsage, OnError
from demarc.modules.usage.queries import UsageRecord, get_usage_record, list_metered
from demarc.modules.usage.service import BulkOutcome, record_usage_bulk

METERED_SYSTEM = "radius"


async def take_usage(tx: Tx, new: NewUsage) -> tuple[UsageRecord, bool]:
    """Record one piece of usage; see `usage.service.record_usage_bulk` for what is raised."""
    outcome = await take_usage_bulk(tx, [new])
    uid = outcome.uids[0]
    if uid is None:
        raise AssertionError("a single record that is refused raises")
    return await get_usage_record(tx, uid), outcome.created == 1


async def take_usage_bulk(
    tx: Tx, rows: Sequence[NewUsage], *, on_error: OnError = OnError.FAIL
) -> BulkOutcome:
    """Record usage; records of sessions that the platform metered count as duplicates of the platform's."""
    return await record_usage_bulk(tx, rows, on_error=on_error, metered=await _find_metered(tx, rows))


async def _find_metered(tx: Tx, rows: Sequence[NewUsage]) -> dict[int, UUID]:
    """Index in the request -> the platform's record of that session."""
    if tx.tenant.settings.get("metering", "platform") != "platform":
        return {}
    posted = [
        (index, row, row.source_record_id)
        for index, row in enumerate(rows)
        if row.source_system == METERED_SYSTEM and row.source_record_id is not None
    ]
    if not posted:
        return {}
    sessions = await list_named_sessions(
        tx, list({row.subscription_id for _, row, _ in posted}), [name for _, _, name in posted]
    )
    if not sessions:
        return {}
    records: dict[UUID, list[UsageRecord]] = {}
    for metered in await list_metered(tx, [session.session_id for session in sessions]):
        if metered.session_id is not None:
            records.setdefault(metered.session_id, []).append(metered)
    by_name: dict[tuple[str, str], list[UsageRecord]] = {}
    for session in sessions:
        known = by_name.setdefault((session.subscription_ref, session.acct_session_id), [])
        known += records.get(session.session_id, [])
    found = {}
    for index, row, name in posted:
        candidates = by_name.get((row.subscription_id, name))
        if candidates:
            found[index] = _closest(row, candidates).uid
    return found


def _closest(row: NewUsage, candidates: Sequence[UsageRecord]) -> UsageRecord:
    """The latest record that begins before the posted one ends; a session has one per month."""
    ordered = sorted(candidates, key=lambda metered: (metered.period_start, metered.id))
    begun = [metered for metered in ordered if metered.period_start <= row.period_end]
    return begun[-1] if begun else ordered[0]
