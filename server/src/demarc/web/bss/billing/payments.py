"""`/api/billing/payments`, the ledger and what customers owe."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.modules.billing.inputs import NewPayment, NewRefund
from demarc.modules.billing.queries import (
    account_summary,
    customer_balance,
    customer_balance_at,
    find_invoice,
    get_credit_note,
    get_invoice,
    get_payment,
    list_balances,
    list_credit_notes,
    list_ledger_entries,
    list_payments,
    list_statement,
)
from demarc.modules.billing.service import record_payment, refund_payment, reverse_payment
from demarc.modules.billing.states import PaymentStatus
from demarc.modules.customers.queries import get_customer
from demarc.web.bss.billing.naming import credit_notes_out, one_credit_note_out, one_payment_out, payments_out
from demarc.web.bss.billing.schemas import (
    AccountOut,
    CreditNoteList,
    CreditNoteOut,
    LedgerOut,
    PaymentIn,
    PaymentList,
    PaymentOut,
    RefundIn,
    StatementOut,
    Why,
    balance_out,
    entry_out,
    statement_entry_out,
)
from demarc.web.bss.parameters import ApiDatetime, SortParam, WindowDep, counts
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
    status: PaymentStatus | None = None,
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
        status=status,
        method=method,
        reference=reference,
    )
    return PaymentList(payments=await payments_out(tx, page.rows), **counts(page))


@router.on("GET", "/payments/{payment_id}", permission="billing.read", problem=(404,))
async def get(payment_id: UUID, tx: TxDep) -> PaymentOut:
    """One payment."""
    return await one_payment_out(tx, await get_payment(tx, payment_id))


@router.on("POST", "/payments/{payment_id}/reverse", permission="billing.write", problem=(404, 409))
async def reverse(payment_id: UUID, body: Why, tx: TxDep) -> PaymentOut:
    """The bank took it back (a chargeback): the invoices it paid are open again, and dunning collects them."""
    return await one_payment_out(tx, await reverse_payment(tx, payment_id, reason=body.reason))


@router.on(
    "POST",
    "/payments/{payment_id}/refunds",
    permission="billing.write",
    status=201,
    also=(200,),
    problem=(404, 409),
)
async def refund(payment_id: UUID, body: RefundIn, tx: TxDep, response: Response) -> PaymentOut:
    """Pay back what a payment has left over. The same reference again is 200 with the first refund."""
    new = NewRefund(reason=body.reason, amount_minor=body.amount, reference=body.reference)
    _, is_new = await refund_payment(tx, payment_id, new)
    response.status_code = 201 if is_new else 200
    return await one_payment_out(tx, await get_payment(tx, payment_id))


@router.on("GET", "/credit-notes", permission="billing.read")
async def list_credits(
    tx: TxDep,
    window: WindowDep,
    customer_id: UUID | None = None,
    invoice_id: Annotated[str | None, Query(max_length=50)] = None,
    number: Annotated[str | None, Query(max_length=20)] = None,
    sort: SortParam = None,
) -> CreditNoteList:
    """Credit notes in the order they were issued, unless `sort` says otherwise (created_at, issue_date, total_amount)."""
    page = await list_credit_notes(
        tx,
        window,
        sort=sort,
        customer_id=await customer_key(tx, customer_id),
        invoice_id=await _invoice_key(tx, invoice_id),
        number=number,
    )
    return CreditNoteList(credit_notes=await credit_notes_out(tx, page.rows), **counts(page))


@router.on("GET", "/credit-notes/{credit_note_id}", permission="billing.read", problem=(404,))
async def get_credit(credit_note_id: UUID, tx: TxDep) -> CreditNoteOut:
    """One credit note."""
    return await one_credit_note_out(tx, await get_credit_note(tx, credit_note_id))


@router.on("GET", "/ledger", permission="billing.read", problem=(404,))
async def ledger(
    tx: TxDep,
    window: WindowDep,
    customer_id: UUID | None = None,
    start: Annotated[ApiDatetime | None, Query(description="posted at or after")] = None,
    end: Annotated[ApiDatetime | None, Query(description="posted before")] = None,
    kind: Annotated[str | None, Query(max_length=30, examples=["payment.received"])] = None,
    sort: SortParam = None,
) -> LedgerOut:
    """The entries of every transaction that touches a customer (without one: of the tenant); they sum to zero.

    In the order they were written, unless `sort` is -posted_at. `balances` is what the chosen transactions come to.
    """
    owner = (await get_customer(tx, customer_id)).id if customer_id is not None else None
    chosen = {"start": start, "end": end, "kind": kind}
    page = await list_ledger_entries(tx, window, owner, sort=sort, **chosen)
    balances = await list_balances(tx, owner, **chosen)
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


@router.on("GET", "/accounts/{customer_id}/statement", permission="billing.read", problem=(404,))
async def statement(
    customer_id: UUID,
    tx: TxDep,
    window: WindowDep,
    currency: Annotated[str | None, Query(min_length=3, max_length=3)] = None,
    start: Annotated[ApiDatetime | None, Query(description="posted at or after")] = None,
    end: Annotated[ApiDatetime | None, Query(description="posted before")] = None,
    kind: Annotated[str | None, Query(max_length=30, examples=["payment.received"])] = None,
    sort: SortParam = None,
) -> StatementOut:
    """A customer's account with the balance after each entry, oldest first, unless `sort` is -posted_at."""
    customer = await get_customer(tx, customer_id)
    code = currency or tx.tenant.currency
    page = await list_statement(tx, window, customer.id, code, sort=sort, start=start, end=end, kind=kind)
    opening = await customer_balance_at(tx, customer.id, code, start) if start else 0
    closing = await (
        customer_balance_at(tx, customer.id, code, end) if end else customer_balance(tx, customer.id, code)
    )
    return StatementOut(
        customer_id=customer_id,
        currency=code,
        opening_balance=opening,
        closing_balance=closing,
        entries=[statement_entry_out(row) for row in page.rows],
        **counts(page),
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
