"""Lines kept aside are booked once their cause is gone, exactly once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from demarc.modules.access.accounting import prepare_accounting
from demarc.workflows.metering import Ingester
from demarc.workflows.metering.rejects import list_rejects, retry_reject

from ..bare_postgres import BarePostgres  # noqa: TID252 - the suite's own
from .booking import interim, record_deltas, start

FIRST = "acct-2026112012"
_MOVE = "UPDATE aaa_login SET tenant_id = 1 WHERE username = 'user250@isp'"
_OCTETS = "SELECT coalesce(sum(input_octets + output_octets), 0)::bigint FROM delta_book"


@pytest.fixture
async def ingest(seeded: BarePostgres) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(seeded.dsn("demarc_ingest"))
    await prepare_accounting(connection)
    yield connection
    await connection.close()


async def keep_aside(seeded: BarePostgres, spool: Path, *lines: bytes) -> None:
    (spool / FIRST).write_bytes(b"".join(lines))
    ingester = Ingester(
        seeded.dsn("demarc_ingest"), node="node-1", spool_dir=spool, raise_usage=record_deltas
    )
    assert (await ingester.ingest_once()).rejected == len(lines)
    await ingester.close()


async def test_they_are_booked_once_when_the_cause_is_gone(
    seeded: BarePostgres, owner: asyncpg.Connection, ingest: asyncpg.Connection, tmp_path: Path
) -> None:
    foreign = {"user": "user250@isp"}
    await keep_aside(
        seeded,
        tmp_path,
        start(0, **foreign).line(),
        interim(300, (10, 20), 300, **foreign).line(),
        b"garbage\n",
    )
    found = await list_rejects(ingest)
    assert (found.total, [row.tenant_id for row in found.rows]) == (3, [1, 1, None])
    assert all(row.reason for row in found.rows)

    assert await retry_reject(ingest, found.rows[1], record_deltas) is not None
    assert (await list_rejects(ingest)).total == 3

    await owner.execute(_MOVE)
    for row in found.rows[:2]:
        assert await retry_reject(ingest, row, record_deltas) is None
        assert await retry_reject(ingest, row, record_deltas) is None
    assert await owner.fetchval(_OCTETS) == 30
    left = await list_rejects(ingest)
    assert [row.tenant_id for row in left.rows] == [None]
    assert (await list_rejects(ingest, tenant_id=1)).total == 0


async def test_what_stays_keeps_its_place_and_its_day(
    seeded: BarePostgres, ingest: asyncpg.Connection, tmp_path: Path
) -> None:
    await keep_aside(seeded, tmp_path, b"garbage\n")
    before = await list_rejects(ingest)
    assert await retry_reject(ingest, before.rows[0], record_deltas) == before.rows[0].reason
    assert await list_rejects(ingest) == before
