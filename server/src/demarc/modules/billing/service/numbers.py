"""Numbers of documents without gaps."""

from __future__ import annotations

from datetime import date

from demarc.kernel.db import Tx

_NEXT = """
INSERT INTO document_number AS n (tenant_id, series, year, last) VALUES ($1, $2, $3, 1)
ON CONFLICT (tenant_id, series, year) DO UPDATE SET last = n.last + 1 RETURNING last
"""


async def next_number(tx: Tx, series: str, issued_on: date) -> str:
    """`<series>-<year>-<6 digits>`; the counter stays locked until the transaction ends, so that no number is lost."""
    last = await tx.connection.fetchval(_NEXT, tx.tenant.id, series, issued_on.year)
    return f"{series}-{issued_on.year}-{last:06}"
