"""Rows of billing as answers: internal ids become the ids that `/api` knows, a few look-ups for a whole window."""

from __future__ import annotations

from collections.abc import Sequence

from demarc.kernel.db import Tx
from demarc.modules.billing.queries import (
    CreditNote,
    Invoice,
    Payment,
    get_invoices_by_ids,
    list_allocations,
    list_credit_note_lines,
    list_invoice_lines,
    list_refunds,
    today,
)
from demarc.modules.billing.states import PaymentStatus
from demarc.modules.customers.queries import uids_of
from demarc.modules.subscriptions.queries import refs_of
from demarc.web.bss.billing.schemas import (
    AllocationOut,
    CreditLineOut,
    CreditNoteOut,
    InvoiceOut,
    PaymentOut,
    invoice_out,
    refund_out,
)


async def invoices_out(tx: Tx, rows: Sequence[Invoice]) -> list[InvoiceOut]:
    customers = await uids_of(tx, {row.customer_id for row in rows})
    subscriptions = await refs_of(
        tx, {row.subscription_id for row in rows if row.subscription_id is not None}
    )
    lines = await list_invoice_lines(tx, [row.id for row in rows])
    return [
        invoice_out(
            row,
            lines[row.id],
            customer=customers[row.customer_id],
            subscription=subscriptions.get(row.subscription_id or 0),
            today=today(tx),
        )
        for row in rows
    ]


async def one_invoice_out(tx: Tx, row: Invoice) -> InvoiceOut:
    return (await invoices_out(tx, [row]))[0]


async def payments_out(tx: Tx, rows: Sequence[Payment]) -> list[PaymentOut]:
    customers = await uids_of(tx, {row.customer_id for row in rows})
    allocations = await list_allocations(tx, [row.id for row in rows])
    refunds = await list_refunds(tx, [row.id for row in rows])
    named = {row.invoice_id for row in rows if row.invoice_id is not None}
    paid = {allocation.invoice_id for shares in allocations.values() for allocation in shares}
    invoices = await get_invoices_by_ids(tx, named | paid)
    return [
        PaymentOut(
            id=row.uid,
            customer_id=customers[row.customer_id],
            invoice_id=invoices[row.invoice_id].ref if row.invoice_id is not None else None,
            amount=row.amount_minor,
            currency=row.currency,
            method=row.method,
            reference=row.reference,
            status=PaymentStatus(row.status),
            allocations=[
                AllocationOut(invoice_id=invoices[share.invoice_id].ref, amount=share.amount_minor)
                for share in allocations[row.id]
            ],
            unallocated_amount=row.free_minor,
            refunded_amount=row.refunded_minor,
            refunds=[refund_out(refund) for refund in refunds[row.id]],
            received_at=row.received_at,
            created_at=row.created_at,
        )
        for row in rows
    ]


async def one_payment_out(tx: Tx, row: Payment) -> PaymentOut:
    return (await payments_out(tx, [row]))[0]


async def credit_notes_out(tx: Tx, rows: Sequence[CreditNote]) -> list[CreditNoteOut]:
    customers = await uids_of(tx, {row.customer_id for row in rows})
    invoices = await get_invoices_by_ids(tx, {row.invoice_id for row in rows})
    lines = await list_credit_note_lines(tx, [row.id for row in rows])
    return [
        CreditNoteOut(
            id=row.uid,
            number=row.number,
            invoice_id=invoices[row.invoice_id].ref,
            customer_id=customers[row.customer_id],
            currency=row.currency,
            amount=row.subtotal_minor,
            tax_amount=row.tax_minor,
            total_amount=row.total_minor,
            reason=row.reason,
            issue_date=row.issued_on,
            line_items=[
                CreditLineOut(position=line.position, description=line.description, amount=line.amount_minor)
                for line in lines[row.id]
            ],
            created_at=row.created_at,
        )
        for row in rows
    ]


async def one_credit_note_out(tx: Tx, row: CreditNote) -> CreditNoteOut:
    return (await credit_notes_out(tx, [row]))[0]
