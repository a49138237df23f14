"""Reads of invoices."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    DateTime,
    and_,
    any_,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.clock import local_date
from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.billing.models import (
    invoice,
    invoice_line,
)
from demarc.modules.billing.states import OPEN_INVOICE, InvoiceStatus, LineKind


@dataclass(frozen=True, slots=True)
class Invoice:
    """One row; `ref` is the id on `/api`. Amounts are minor units."""

    tenant_id: int
    id: int
    uid: UUID
    ref: str
    number: str
    customer_id: int
    subscription_id: int | None
    status: str
    currency: str
    subtotal_minor: int
    tax_minor: int
    total_minor: int
    paid_minor: int
    credited_minor: int
    issued_on: date
    due_on: date
    period_start: datetime | None
    period_end: datetime | None
    month_on: date | None
    notes: str
    created_at: datetime
    updated_at: datetime

    @property
    def open_minor(self) -> int:
        """What is still to be paid; nothing once the invoice is void or refunded."""
        if InvoiceStatus(self.status) not in OPEN_INVOICE:
            return 0
        return self.total_minor - self.paid_minor - self.credited_minor


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    tenant_id: int
    invoice_id: int
    position: int
    kind: str
    description: str
    usage_type: str | None
    quantity: Decimal
    unit: str
    unit_price: Decimal | None
    octets: int | None
    amount_minor: int


_OPEN: list[ColumnElement[str]] = [literal_column(f"'{status.value}'") for status in OPEN_INVOICE]
"""Constants of the statement: a list of values is no prepared statement's, and hides the partial index."""


_IDS = any_(bindparam("ids", type_=ARRAY(BigInteger)))


_INVOICE = select(invoice).where(mine(invoice))


_BY_REF = Query(_INVOICE.where(invoice.c.ref == bindparam("ref")))


_BY_REF_LOCKED = Query(_INVOICE.where(invoice.c.ref == bindparam("ref")).with_for_update())


_BY_ID = Query(_INVOICE.where(invoice.c.id == bindparam("id")))


_BY_IDS = Query(_INVOICE.where(invoice.c.id == _IDS).order_by(invoice.c.id))


_OF_MONTH = Query(
    _INVOICE.where(
        invoice.c.subscription_id == bindparam("subscription_id"),
        invoice.c.month_on == bindparam("month_on", type_=Date),
        invoice.c.status != InvoiceStatus.VOID.value,
    )
)


_OPEN_OF_CUSTOMER = Query(
    _INVOICE.where(
        invoice.c.customer_id == bindparam("customer_id"),
        invoice.c.currency == bindparam("currency"),
        invoice.c.status.in_(_OPEN),
        invoice.c.paid_minor + invoice.c.credited_minor < invoice.c.total_minor,
    ).order_by(invoice.c.due_on, invoice.c.id)
)


_DUE = Query(
    _INVOICE.where(
        invoice.c.status == InvoiceStatus.PENDING.value, invoice.c.due_on < bindparam("today", type_=Date)
    )
    .order_by(invoice.c.id)
    .with_for_update(skip_locked=True)
)


_DUE_IDS = Query(
    select(invoice.c.id)
    .where(
        mine(invoice),
        invoice.c.status == InvoiceStatus.PENDING.value,
        invoice.c.due_on < bindparam("today", type_=Date),
    )
    .order_by(invoice.c.id)
)


_DUE_ONE = Query(
    _INVOICE.where(
        invoice.c.id == bindparam("id"),
        invoice.c.status == InvoiceStatus.PENDING.value,
        invoice.c.due_on < bindparam("today", type_=Date),
    ).with_for_update(skip_locked=True)
)


_USAGE_INVOICE_OF_SPAN = Query(
    _INVOICE.where(
        invoice.c.subscription_id == bindparam("subscription_id"),
        invoice.c.status != InvoiceStatus.VOID.value,
        invoice.c.period_start < bindparam("end", type_=DateTime(timezone=True)),
        invoice.c.period_end > bindparam("start", type_=DateTime(timezone=True)),
        exists().where(
            invoice_line.c.tenant_id == invoice.c.tenant_id,
            invoice_line.c.invoice_id == invoice.c.id,
            invoice_line.c.kind == LineKind.USAGE.value,
        ),
    )
    .order_by(invoice.c.id.desc())
    .limit(1)
)


_LINES = Query(
    select(invoice_line)
    .where(mine(invoice_line), invoice_line.c.invoice_id == _IDS)
    .order_by(invoice_line.c.invoice_id, invoice_line.c.position)
)


_OVERDUE_BALANCE = Query(
    select(
        func.coalesce(func.sum(invoice.c.total_minor - invoice.c.paid_minor - invoice.c.credited_minor), 0)
    ).where(
        mine(invoice),
        invoice.c.subscription_id == bindparam("subscription_id"),
        invoice.c.status.in_(_OPEN),
        invoice.c.due_on < bindparam("today", type_=Date),
    )
)


INVOICES = Listing(
    invoice,
    filters={
        "status": invoice.c.status == bindparam("status"),
        "number": invoice.c.number == bindparam("number"),
        "issued_from": invoice.c.issued_on >= bindparam("issued_from", type_=Date),
        "issued_to": invoice.c.issued_on <= bindparam("issued_to", type_=Date),
        "customer_id": invoice.c.customer_id == bindparam("customer_id"),
        "subscription_id": invoice.c.subscription_id == bindparam("subscription_id"),
        "overdue_on": and_(
            invoice.c.status.in_(_OPEN),
            invoice.c.due_on < bindparam("overdue_on", type_=Date),
        ),
        "not_overdue_on": or_(
            invoice.c.status.not_in(_OPEN),
            invoice.c.due_on >= bindparam("not_overdue_on", type_=Date),
        ),
    },
    sorts={
        "created_at": invoice.c.id,
        "due_date": invoice.c.due_on,
        "issue_date": invoice.c.issued_on,
        "total_amount": invoice.c.total_minor,
    },
    default_sort="created_at",
)


async def find_invoice(tx: Tx, ref: str) -> Invoice | None:
    return await tx.find(_BY_REF, Invoice, ref=ref)


async def get_invoice(tx: Tx, ref: str) -> Invoice:
    """Raises `NotFound`."""
    return _known(await find_invoice(tx, ref), ref)


async def lock_invoice(tx: Tx, ref: str) -> Invoice:
    """The invoice, locked until the transaction ends; raises `NotFound`."""
    return _known(await tx.find(_BY_REF_LOCKED, Invoice, ref=ref), ref)


async def get_invoice_by_id(tx: Tx, invoice_id: int) -> Invoice:
    """Raises `NotFound`."""
    return _known(await tx.find(_BY_ID, Invoice, id=invoice_id), str(invoice_id))


def _known(found: Invoice | None, name: str) -> Invoice:
    if found is None:
        raise NotFound(f"no invoice {name}")
    return found


async def get_invoices_by_ids(tx: Tx, ids: Collection[int]) -> dict[int, Invoice]:
    """Those of them that exist."""
    return {row.id: row for row in await tx.fetch(_BY_IDS, Invoice, ids=[*ids])}


async def list_invoices(
    tx: Tx, window: Window, *, sort: str | None = None, overdue: bool | None = None, **filters: Any
) -> Page[Invoice]:
    """A window of invoices.

    Filters: status, number, issued_from, issued_to (dates, both ends included), customer_id, subscription_id
    (internal ids), overdue (past due by the tenant's date).
    """
    if overdue is not None:
        filters["overdue_on" if overdue else "not_overdue_on"] = today(tx)
    return await INVOICES.page(tx, Invoice, window, sort=sort, **filters)


async def list_invoice_lines(tx: Tx, invoice_ids: Collection[int]) -> dict[int, list[InvoiceLine]]:
    """The lines of these invoices, each in order."""
    lines: dict[int, list[InvoiceLine]] = {invoice_id: [] for invoice_id in invoice_ids}
    for line in await tx.fetch(_LINES, InvoiceLine, ids=[*invoice_ids]):
        lines[line.invoice_id].append(line)
    return lines


async def find_month_invoice(tx: Tx, subscription_id: int, month_on: date) -> Invoice | None:
    """What the monthly run made of this subscription and month, unless it was voided."""
    return await tx.find(_OF_MONTH, Invoice, subscription_id=subscription_id, month_on=month_on)


async def find_usage_invoice(tx: Tx, subscription_id: int, start: datetime, end: datetime) -> Invoice | None:
    """The newest invoice, not void, that bills usage of this subscription in [start, end)."""
    return await tx.find(
        _USAGE_INVOICE_OF_SPAN, Invoice, subscription_id=subscription_id, start=start, end=end
    )


async def list_open_invoices(tx: Tx, customer_id: int, currency: str) -> list[Invoice]:
    """What a customer has still to pay, oldest due first."""
    return await tx.fetch(_OPEN_OF_CUSTOMER, Invoice, customer_id=customer_id, currency=currency)


async def claim_due_invoices(tx: Tx) -> list[Invoice]:
    """Pending invoices past their due date, locked; what another sweep holds is left to it."""
    return await tx.fetch(_DUE, Invoice, today=today(tx))


async def list_due_invoice_ids(tx: Tx) -> list[int]:
    """Pending invoices past their due date, by id."""
    rows = await tx.connection.fetch(
        _DUE_IDS.sql, *_DUE_IDS.arguments({"tenant_id": tx.tenant.id, "today": today(tx)})
    )
    return [row[0] for row in rows]


async def claim_due_invoice(tx: Tx, invoice_id: int) -> Invoice | None:
    """One of them, locked; None when another sweep holds it or it is pending no longer."""
    return await tx.find(_DUE_ONE, Invoice, id=invoice_id, today=today(tx))


async def overdue_balance(tx: Tx, subscription_id: int) -> int:
    """What is past due on a subscription at `tx.now`, minor units, whatever the sweep has marked so far."""
    return int(await tx.value(_OVERDUE_BALANCE, subscription_id=subscription_id, today=today(tx)))


def today(tx: Tx) -> date:
    """The tenant's calendar day at `tx.now`."""
    return local_date(tx.now, tx.tenant.time_zone)
