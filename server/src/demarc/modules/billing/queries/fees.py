"""Reads of the fees that invoices bill of a month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, DateTime, and_, bindparam, cast, func, select

from demarc.kernel.db import Tx
from demarc.kernel.sql import Query, mine
from demarc.modules.billing.models import credit_note, credit_note_line, invoice, invoice_line
from demarc.modules.billing.states import InvoiceStatus, LineKind


@dataclass(frozen=True, slots=True)
class BilledFee:
    """A recurring line, before tax: what of it all credit notes took back, and those that settled a change alone."""

    invoice_ref: str
    position: int
    amount_minor: int
    credited_minor: int
    settled_minor: int

    @property
    def left_minor(self) -> int:
        """What can still be taken back of it."""
        return self.amount_minor - self.credited_minor

    @property
    def charged_minor(self) -> int:
        """What it bills of the month; what a person gave back out of goodwill stays a gift."""
        return self.amount_minor - self.settled_minor


_TAKEN_BACK = func.coalesce(func.sum(credit_note_line.c.amount_minor), 0)
_SETTLED = func.coalesce(func.sum(credit_note_line.c.amount_minor).filter(credit_note.c.is_settlement), 0)
_NOTES = credit_note.join(
    credit_note_line,
    and_(
        credit_note_line.c.tenant_id == credit_note.c.tenant_id,
        credit_note_line.c.credit_note_id == credit_note.c.id,
    ),
)
_LINES = invoice.join(
    invoice_line,
    and_(invoice_line.c.tenant_id == invoice.c.tenant_id, invoice_line.c.invoice_id == invoice.c.id),
).outerjoin(
    _NOTES,
    and_(
        credit_note.c.tenant_id == invoice.c.tenant_id,
        credit_note.c.invoice_id == invoice.c.id,
        credit_note_line.c.position == invoice_line.c.position,
    ),
)
_BILLED = Query(
    select(
        invoice.c.ref.label("invoice_ref"),
        invoice_line.c.position,
        invoice_line.c.amount_minor,
        cast(_TAKEN_BACK, BigInteger).label("credited_minor"),
        cast(_SETTLED, BigInteger).label("settled_minor"),
    )
    .select_from(_LINES)
    .where(
        mine(invoice),
        invoice.c.subscription_id == bindparam("subscription_id"),
        invoice.c.period_start == bindparam("period_start", type_=DateTime(timezone=True)),
        invoice.c.status != InvoiceStatus.VOID.value,
        invoice_line.c.kind == LineKind.RECURRING.value,
    )
    .group_by(invoice.c.id, invoice.c.ref, invoice_line.c.position, invoice_line.c.amount_minor)
    .order_by(invoice.c.id.desc(), invoice_line.c.position.desc())
)


async def list_billed_fees(tx: Tx, *, subscription_id: int, period_start: datetime) -> list[BilledFee]:
    """What invoices that are not void bill of the fees of a subscription's month, the newest first."""
    return await tx.fetch(_BILLED, BilledFee, subscription_id=subscription_id, period_start=period_start)
