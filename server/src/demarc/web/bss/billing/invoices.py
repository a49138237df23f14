"""`/api/billing/invoices`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound, invalid
from demarc.kernel.money import exponent
from demarc.modules.billing.inputs import NewInvoice, NewLine
from demarc.modules.billing.queries import find_usage_invoice, get_invoice, list_invoices
from demarc.modules.billing.rules import Month
from demarc.modules.billing.service import create_invoice, invoice_usage, void_invoice
from demarc.modules.billing.states import InvoiceStatus
from demarc.modules.customers.queries import get_customer
from demarc.modules.subscriptions.queries import Subscription, get_subscription
from demarc.modules.usage.inputs import Span, span
from demarc.web.bss.billing.naming import invoices_out, one_invoice_out
from demarc.web.bss.billing.schemas import (
    InvoiceIn,
    InvoiceList,
    InvoiceOut,
    LineIn,
    UsageTotalsIn,
    VoidIn,
    report_period,
)
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.bss.references import customer_filter, subscription_filter
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/billing/invoices", tag="invoices")


@router.on("POST", "", permission="billing.write", status=201, problem=(404, 409))
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
