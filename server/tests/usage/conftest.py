from __future__ import annotations

import asyncpg
import pytest
import pytest_asyncio

from .shop import Sold, sell


@pytest_asyncio.fixture
async def sold(database) -> Sold:
    return await sell(database)


@pytest.fixture
def seller(database):
    """Sell once more: `await seller("sub_x", tenant=BETA)`."""

    async def more(*args, **kwargs):
        return await sell(database, *args, **kwargs)

    return more


@pytest_asyncio.fixture
async def ingest(scratch):
    """A connection as the ingester's role, with the table of deltas that the ingester makes."""
    connection = await asyncpg.connect(scratch.dsn("demarc_ingest"))
    await connection.execute(
        "CREATE TEMP TABLE accounting_delta (tenant_id int, session_id uuid, subscriber_id bigint, service_id bigint, "
        "event_at timestamptz, input_octets bigint, output_octets bigint)"
    )
    yield connection
    await connection.close()
