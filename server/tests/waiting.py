"""For tests in which one transaction waits for another."""

from __future__ import annotations

import asyncio

import pytest

_WAITING = """
    SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE NOT l.granted AND a.datname = current_database()
"""


async def until_somebody_waits(tx):
    """Until another transaction of this database waits for a lock."""
    for _ in range(1_000):
        if await tx.connection.fetchval(_WAITING):
            return
        await asyncio.sleep(0.01)
    pytest.fail("nobody waits")
