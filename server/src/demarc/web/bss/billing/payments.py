"""`/api/billing/payments`, the ledger and what customers owe."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.modules.billing.inputs import NewPayment
from demarc.modules.billing.queries import (
    account_summary,
    find_invoice,
    get_invoice,
    get_payment,
    list_balances,
    list_ledger_entries,
    list_payments,
)
from demarc.modules.billing.service import record_payment
from demarc.modules.customers.queries import get_customer
from demarc.web.bss.billing.naming import one_payment_out, payments_out
from demarc.web.bss.billing.schemas import (
    AccountOut,
    LedgerOut,
    PaymentIn,
    PaymentList,
    PaymentOut,
    balance_out,
    entry_out,
)
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.bss.references import NOTHING, customer_key
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/billing", tag="payments")


@router.on("POST", "/payments", permission="billing.write", status=201, also=(200,), problem=(404, 409))
async def create(body: PaymentIn, tx: TxDep, response: Response) -> PaymentOut:
    """Book a payment: to the invoice named, then to the oldest due; the rest is credit. The same reference again is 200."""
    received, is_new = await record_payment(tx, await _new_payment(tx, body))
    response.status_code = 201 if is_new else 200
    return await one_payment_out(tx, received)


@router.on("GET", "/payments", permission="billing.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    customer_id: UUID | None = None,
    invoice_id: Annotated[str | None, Query(max_length=50, description="that it paid a part of")] = None,
    method: Annotated[str | None, Query(max_length=40)] = None,
    reference: Annotated[str | None, Query(max_length=100)] = None,
    sort: SortParam = None,
) -> PaymentList:
    """Payments in the order they came, unless `sort` says otherwise (created_at, received_at, amount)."""
    page = await list_payments(
        tx,
        window,
        sort=sort,
        customer_id=await customer_key(tx, customer_id),
        invoice_id=await _invoice_key(tx, invoice_id),
        method=method,
        reference=reference,
    )
    return PaymentList(payments=await payments_out(tx, page.rows), **counts(page))


@router.on("GET", "/payments/{payment_id}", permission="billing.read", problem=(404,))
async def get(payment_id: UUID, tx: TxDep) -> PaymentOut:
    """One payment."""
    return await one_payment_out(tx, await get_payment(tx, payment_id))


@router.on("GET", "/ledger", permission="billing.read", problem=(404,))
async def ledger(
    tx: TxDep, window: WindowDep, customer_id: UUID | None = None, sort: SortParam = None
) -> LedgerOut:
    """The entries of every transaction that touches a customer (without one: of the tenant); they sum to zero.

    In the order they were written, unless `sort` is -posted_at.
    """
    owner = (await get_customer(tx, customer_id)).id if customer_id is not None else None
    page = await list_ledger_entries(tx, window, owner, sort=sort)
    balances = await list_balances(tx, owner)
    return LedgerOut(
        entries=[entry_out(row) for row in page.rows],
        balances=[balance_out(row) for row in balances],
        sum=sum(row.balance_minor for row in balances),
        **counts(page),
    )


@router.on("GET", "/accounts/{customer_id}/balance", permission="billing.read", problem=(404,))
async def balance(customer_id: UUID, tx: TxDep) -> AccountOut:
    """What a customer owes, in the tenant's currency: open invoices less credit, as the ledger has it."""
    customer = await get_customer(tx, customer_id)
    found = await account_summary(tx, customer.id)
    return AccountOut(
        customer_id=customer_id,
        currency=tx.tenant.currency,
        balance=found.balance_minor,
        open_amount=found.open_minor,
        overdue_amount=found.overdue_minor,
        credit=found.credit_minor,
        lifetime_value=found.lifetime_minor,
    )


async def _new_payment(tx: Tx, body: PaymentIn) -> NewPayment:
    named = await get_invoice(tx, body.invoice_id) if body.invoice_id is not None else None
    if body.customer_id is not None:
        customer_id = (await get_customer(tx, body.customer_id)).id
    elif named is not None:
        customer_id = named.customer_id
    else:
        raise invalid("customer_id", "name a customer_id or an invoice_id")
    return NewPayment(
        customer_id=customer_id,
        amount_minor=body.amount,
        method=body.method,
        reference=body.reference,
        invoice_id=named.id if named else None,
        currency=body.currency,
        received_at=body.received_at,
    )


async def _invoice_key(tx: Tx, ref: str | None) -> int | None:
    if ref is None:
        return None
    found = await find_invoice(tx, ref)
    return NOTHING if found is None else found.id
