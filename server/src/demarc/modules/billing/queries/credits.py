"""Reads of credit notes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, and_, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.db import Tx
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.billing.models import credit_note, credit_note_line


@dataclass(frozen=True, slots=True)
class CreditNote:
    """One row. Amounts are minor units; the total includes the tax that goes back."""

    tenant_id: int
    id: int
    uid: UUID
    number: str
    invoice_id: int
    customer_id: int
    currency: str
    subtotal_minor: int
    tax_minor: int
    total_minor: int
    reason: str
    is_settlement: bool
    issued_on: date
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CreditNoteLine:
    """What of the invoice's line `position` went back, before tax."""

    tenant_id: int
    credit_note_id: int
    position: int
    description: str
    amount_minor: int


_BY_UID = Query(select(credit_note).where(mine(credit_note), credit_note.c.uid == bindparam("uid")))
_LINES = Query(
    select(credit_note_line)
    .where(
        mine(credit_note_line),
        credit_note_line.c.credit_note_id == any_(bindparam("ids", type_=ARRAY(BigInteger))),
    )
    .order_by(credit_note_line.c.credit_note_id, credit_note_line.c.position)
)
_CREDITED = Query(
    select(credit_note_line.c.position, func.sum(credit_note_line.c.amount_minor).label("amount_minor"))
    .select_from(
        credit_note_line.join(
            credit_note,
            and_(
                credit_note.c.tenant_id == credit_note_line.c.tenant_id,
                credit_note.c.id == credit_note_line.c.credit_note_id,
            ),
        )
    )
    .where(mine(credit_note), credit_note.c.invoice_id == bindparam("invoice_id", type_=BigInteger))
    .group_by(credit_note_line.c.position)
)

CREDIT_NOTES = Listing(
    credit_note,
    filters={
        "customer_id": credit_note.c.customer_id == bindparam("customer_id"),
        "invoice_id": credit_note.c.invoice_id == bindparam("invoice_id"),
        "number": credit_note.c.number == bindparam("number"),
    },
    sorts={
        "created_at": credit_note.c.id,
        "issue_date": credit_note.c.issued_on,
        "total_amount": credit_note.c.total_minor,
    },
    default_sort="created_at",
)


async def get_credit_note(tx: Tx, uid: UUID) -> CreditNote:
    """Raises `NotFound`."""
    return await tx.get(_BY_UID, CreditNote, f"no credit note {uid}", uid=uid)


async def list_credit_notes(
    tx: Tx, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[CreditNote]:
    """Filters: customer_id, invoice_id (internal ids), number."""
    return await CREDIT_NOTES.page(tx, CreditNote, window, sort=sort, **filters)


async def list_credit_note_lines(tx: Tx, ids: Collection[int]) -> dict[int, list[CreditNoteLine]]:
    """The lines of these credit notes, each in the order of the invoice."""
    lines: dict[int, list[CreditNoteLine]] = {note_id: [] for note_id in ids}
    for line in await tx.fetch(_LINES, CreditNoteLine, ids=[*ids]):
        lines[line.credit_note_id].append(line)
    return lines


async def credited_by_line(tx: Tx, invoice_id: int) -> dict[int, int]:
    """Position of an invoice's line -> what credit notes have taken back of it, before tax."""
    given = {"tenant_id": tx.tenant.id, "invoice_id": invoice_id}
    rows = await tx.connection.fetch(_CREDITED.sql, *_CREDITED.arguments(given))
    return {row["position"]: int(row["amount_minor"]) for row in rows}
