"""Book money that came in."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import bindparam
from sqlalchemy.dialects.postgresql import insert

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, invalid
from demarc.kernel.outbox import emit
from demarc.kernel.sql import Query
from demarc.modules.audit.service import record
from demarc.modules.billing.errors import reference_used
from demarc.modules.billing.inputs import NewPayment
from demarc.modules.billing.ledger import CASH, lock_customer, post, receivable
from demarc.modules.billing.models import payment
from demarc.modules.billing.queries import (
    Invoice,
    Payment,
    find_payment,
    get_invoice_by_id,
    get_payment,
)
from demarc.modules.billing.service.settlement import (
    use_credit,
)
from demarc.modules.billing.states import InvoiceStatus, PaymentStatus

PAYMENT = "payment"
_INSERT_PAYMENT = Query(
    insert(payment)
    .values(
        {
            column.name: bindparam(column.name, type_=column.type)
            for column in payment.c
            if column.name not in ("id", "uid", "allocated_minor", "refunded_minor")
        }
    )
    .on_conflict_do_nothing()
    .returning(*payment.c)
)


async def record_payment(tx: Tx, new: NewPayment) -> tuple[Payment, bool]:
    """Book money that came in and pay invoices with it; the second value tells whether the payment is new.

    It goes to the invoice named, then to the customer's other open invoices, oldest due first; what is left stays as
    credit for the next one. The same (method, reference) again is the first payment.

    Raises:
        NotFound: the invoice named is not there.
        Invalid: the invoice is another customer's or in another currency.
        Conflict: the reference was used for another payment, or the invoice is void.
    """
    named = await get_invoice_by_id(tx, new.invoice_id) if new.invoice_id is not None else None
    currency = new.currency or (named.currency if named else tx.tenant.currency)
    if named is not None:
        _check_named(named, new.customer_id, currency)
    await lock_customer(tx, new.customer_id, currency)
    received = await _insert_payment(tx, new, currency)
    if received is None:
        return await _same_payment(tx, new, currency), False
    await post(
        tx,
        "payment.received",
        entity=PAYMENT,
        entity_id=received.id,
        currency=currency,
        amounts={CASH: received.amount_minor, receivable(new.customer_id): -received.amount_minor},
        memo=f"{received.method} {received.reference or ''}".strip(),
    )
    await record(tx, "payment.create", entity=PAYMENT, entity_id=received.id, after=asdict(received))
    paid = await use_credit(tx, new.customer_id, currency, first=named.id if named else None)
    await emit(
        tx,
        "payment.received",
        entity=PAYMENT,
        entity_id=received.id,
        payment_uid=str(received.uid),
        customer_id=received.customer_id,
        amount_minor=received.amount_minor,
        currency=currency,
        invoice_ids=sorted(row.id for row in paid),
        subscription_ids=sorted({row.subscription_id for row in paid if row.subscription_id is not None}),
    )
    return await get_payment(tx, received.uid), True


async def _insert_payment(tx: Tx, new: NewPayment, currency: str) -> Payment | None:
    """None: a payment with this method and reference is there already."""
    return await tx.find(
        _INSERT_PAYMENT,
        Payment,
        customer_id=new.customer_id,
        amount_minor=new.amount_minor,
        currency=currency,
        method=new.method,
        reference=new.reference,
        invoice_id=new.invoice_id,
        status=PaymentStatus.RECEIVED.value,
        received_at=new.received_at or tx.now,
        created_at=tx.now,
        updated_at=tx.now,
    )


async def _same_payment(tx: Tx, new: NewPayment, currency: str) -> Payment:
    """The payment that was recorded first, when it is the same one."""
    first = await find_payment(tx, new.method, new.reference or "")
    said = (new.customer_id, new.amount_minor, currency, new.invoice_id)
    if first is None or said != (first.customer_id, first.amount_minor, first.currency, first.invoice_id):
        raise reference_used(new.method, new.reference or "")
    return first


def _check_named(named: Invoice, customer_id: int, currency: str) -> None:
    if named.customer_id != customer_id:
        raise invalid("invoice_id", f"invoice {named.ref} is another customer's")
    if named.currency != currency:
        raise invalid("currency", f"invoice {named.ref} is in {named.currency}")
    if named.status == InvoiceStatus.VOID.value:
        raise Conflict(
            f"invoice {named.ref} is void; name another invoice, or none to keep the money as credit",
            code="INVOICE_VOID",
        )
