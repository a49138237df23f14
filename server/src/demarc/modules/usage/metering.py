"""Usage that the platform meters itself: one record per session and month, raised in place until it is billed."""

from __future__ import annotations

import asyncpg

from demarc.kernel.db import Connection
from demarc.kernel.ids import uuid7_head
from demarc.modules.usage.statements import RAISE, RAISE_CAPS

METERED_TYPE = "bandwidth_gb"
METERED_SYSTEM = "radius"


async def raise_usage(connection: Connection | asyncpg.Connection[asyncpg.Record]) -> None:
    """Book the temporary table `accounting_delta` as usage, set based, in the caller's transaction.

    Runs as role `demarc_ingest` over several tenants at once. Its rows are `(tenant_id, session_id uuid, subscriber_id,
    service_id, event_at timestamptz, input_octets, output_octets)`, octets as RFC 2866 counts them, added to what was
    booked before. The month is the tenant's; the price is the subscription's plan's on the day the record is opened,
    0 when the plan has none. The caller serialises the accounting of one session.

    Raises the months of services with a data cap too, whoever meters for billing, and notes each threshold that was reached.

    Raises:
        asyncpg.IntegrityConstraintViolationError: a service that is not there; nothing of the block is booked.
    """
    await connection.execute(RAISE, uuid7_head())
    await connection.execute(RAISE_CAPS)
