"""`/api/billing/invoices`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.modules.billing.inputs import NewInvoice, NewLine
from demarc.modules.billing.queries import get_invoice, list_invoices
from demarc.modules.billing.rules import Month
from demarc.modules.billing.service import (
    create_invoice,
    credit_invoice,
    invoice_usage,
    update_invoice,
    void_invoice,
)
from demarc.modules.billing.states import InvoiceStatus
from demarc.modules.customers.queries import get_customer
from demarc.modules.subscriptions.queries import Subscription, get_subscription
from demarc.modules.usage.inputs import Span, span
from demarc.web.bss.billing.naming import invoices_out, one_credit_note_out, one_invoice_out
from demarc.web.bss.billing.schemas import (
    CreditNoteIn,
    CreditNoteOut,
    InvoiceIn,
    InvoiceList,
    InvoiceOut,
    InvoicePatch,
    LineIn,
    UsageTotalsIn,
    VoidIn,
    report_period,
)
from demarc.web.bss.parameters import ApiDate, SortParam, WindowDep, counts
from demarc.web.bss.references import customer_key, subscription_key
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/billing/invoices", tag="invoices")


@router.on("POST", "", permission="billing.write", status=201, also=(200,), problem=(404, 409))
async def create(body: InvoiceIn, tx: TxDep, response: Response) -> InvoiceOut:
    """Issue an invoice. From a usage report with nothing left unbilled: 200 with the period's invoice."""
    subscription = await get_subscription(tx, body.subscription_id) if body.subscription_id else None
    if isinstance(body.line_items, dict):
        made, is_new = await invoice_usage(
            tx,
            subscription=_needed(subscription),
            due_on=body.due_date,
            span=_span_of(tx, body, body.line_items),
        )
        response.status_code = 201 if is_new else 200
        return await one_invoice_out(tx, made)
    made = await create_invoice(tx, await _new_invoice(tx, body, body.line_items or [], subscription))
    return await one_invoice_out(tx, made)


@router.on("GET", "", permission="billing.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    status: InvoiceStatus | None = None,
    customer_id: UUID | None = None,
    subscription_id: Annotated[str | None, Query(max_length=50)] = None,
    overdue: Annotated[
        bool | None, Query(description="past its due date and not paid, by the tenant's calendar")
    ] = None,
    number: Annotated[str | None, Query(max_length=20)] = None,
    issued_from: ApiDate | None = None,
    issued_to: ApiDate | None = None,
    sort: SortParam = None,
) -> InvoiceList:
    """Invoices in the order they were issued, unless `sort` says otherwise (created_at, due_date, issue_date, total_amount)."""
    page = await list_invoices(
        tx,
        window,
        sort=sort,
        status=status,
        customer_id=await customer_key(tx, customer_id),
        subscription_id=await subscription_key(tx, subscription_id),
        overdue=overdue,
        number=number,
        issued_from=issued_from,
        issued_to=issued_to,
    )
    return InvoiceList(invoices=await invoices_out(tx, page.rows), **counts(page))


@router.on("GET", "/{invoice_id}", permission="billing.read", problem=(404,))
async def get(invoice_id: str, tx: TxDep) -> InvoiceOut:
    """One invoice."""
    return await one_invoice_out(tx, await get_invoice(tx, invoice_id))


@router.on("PATCH", "/{invoice_id}", permission="billing.write", problem=(404, 409))
async def patch(invoice_id: str, body: InvoicePatch, tx: TxDep) -> InvoiceOut:
    """Give an open invoice another due date, or note something; one that is not overdue any more is pending again."""
    return await one_invoice_out(
        tx, await update_invoice(tx, invoice_id, due_on=body.due_date, notes=body.notes)
    )


@router.on("POST", "/{invoice_id}/credit-notes", permission="billing.write", status=201, problem=(404, 409))
async def credit(invoice_id: str, body: CreditNoteIn, tx: TxDep) -> CreditNoteOut:
    """Take back a part of an invoice or all of it; what was paid beyond the rest becomes the customer's credit."""
    return await one_credit_note_out(tx, await credit_invoice(tx, invoice_id, body.to_input()))


@router.on("POST", "/{invoice_id}/void", permission="billing.write", problem=(404, 409))
async def void(invoice_id: str, body: VoidIn, tx: TxDep) -> InvoiceOut:
    """Take an unpaid invoice back: its payments become credit again, its usage unbilled."""
    return await one_invoice_out(tx, await void_invoice(tx, invoice_id, reason=body.reason))


def _needed(subscription: Subscription | None) -> Subscription:
    if subscription is None:
        raise invalid("subscription_id", "is needed to bill a usage report")
    return subscription


def _span_of(tx: Tx, body: InvoiceIn, items: dict[str, UsageTotalsIn]) -> Span:
    """The report's own period, else the period of the request, else the month of the due date."""
    period = report_period(items)
    if period is not None:
        return Span(*period)
    if body.period_start is not None and body.period_end is not None:
        return span(body.period_start, body.period_end)
    month = Month.of(body.due_date)
    return Span(month.starts_at(tx.tenant.time_zone), month.ends_at(tx.tenant.time_zone))


async def _new_invoice(
    tx: Tx, body: InvoiceIn, items: list[LineIn], subscription: Subscription | None
) -> NewInvoice:
    currency = body.currency or (subscription.currency if subscription else tx.tenant.currency)
    lines = tuple(item.to_line(currency) for item in items) or (_only_line(body),)
    subtotal = sum(line.amount_minor for line in lines)
    if body.amount not in (None, subtotal):
        raise invalid("amount", f"is {body.amount}, but the line items sum to {subtotal}")
    return NewInvoice(
        customer_id=await _customer_id(tx, body, subscription),
        subscription_id=subscription.id if subscription else None,
        currency=body.currency,
        lines=lines,
        due_on=body.due_date,
        period_start=body.period_start,
        period_end=body.period_end,
    )


def _only_line(body: InvoiceIn) -> NewLine:
    if body.amount is None:
        raise invalid("amount", "an invoice needs an amount or line_items")
    return NewLine(body.description, body.amount)


async def _customer_id(tx: Tx, body: InvoiceIn, subscription: Subscription | None) -> int:
    if body.customer_id is not None:
        return (await get_customer(tx, body.customer_id)).id
    if subscription is None:
        raise invalid("subscription_id", "name a subscription_id or a customer_id")
    return subscription.customer_id
