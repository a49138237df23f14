"""Money that goes back: to the bank that reversed a payment, or to the customer it is paid back to."""

from __future__ import annotations

from dataclasses import asdict
from uuid import UUID

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict
from demarc.kernel.outbox import emit
from demarc.kernel.states import change_status
from demarc.modules.audit.service import record
from demarc.modules.billing.errors import refund_exceeds, refund_reference_used
from demarc.modules.billing.inputs import NewRefund
from demarc.modules.billing.ledger import CASH, lock_customer, post, receivable
from demarc.modules.billing.models import payment, payment_refund
from demarc.modules.billing.queries import (
    Invoice,
    Payment,
    Refund,
    get_invoices_by_ids,
    get_payment,
    list_allocations,
    list_refunds,
    lock_payment,
    today,
)
from demarc.modules.billing.service.payments import PAYMENT
from demarc.modules.billing.service.settlement import ENTITY, about, free_allocations, move, use_credit
from demarc.modules.billing.states import PAYMENT as MACHINE
from demarc.modules.billing.states import InvoiceStatus, PaymentStatus

REFUND = "payment_refund"


async def reverse_payment(tx: Tx, uid: UUID, *, reason: str) -> Payment:
    """The bank took a payment back (a chargeback, a returned debit): what it paid is owed again.

    Invoices it had paid are open again, overdue when they are past due; other credit of the customer pays them as far
    as it goes. What was paid back to the customer before stays paid back.

    Raises:
        NotFound: no such payment.
        Conflict: it was reversed or paid back already.
    """
    before = await _lock_after_customer(tx, uid)
    MACHINE.check(PaymentStatus(before.status), PaymentStatus.REVERSED)
    invoices = await _undo_allocations(tx, before)
    after = await _move(tx, await get_payment(tx, uid), PaymentStatus.REVERSED, reason)
    taken_minor = before.amount_minor - before.refunded_minor
    await post(
        tx,
        "payment.reversed",
        entity=PAYMENT,
        entity_id=before.id,
        currency=before.currency,
        amounts={CASH: -taken_minor, receivable(before.customer_id): taken_minor},
        memo=_memo(before),
    )
    await record(
        tx,
        "payment.reverse",
        entity=PAYMENT,
        entity_id=before.id,
        before={"status": before.status, "allocated_minor": before.allocated_minor},
        after={"status": after.status, "reason": reason, "invoices": [row.id for row in invoices]},
    )
    await use_credit(tx, before.customer_id, before.currency)
    await emit(
        tx,
        "payment.reversed",
        entity=PAYMENT,
        entity_id=before.id,
        payment_uid=str(before.uid),
        customer_id=before.customer_id,
        amount_minor=taken_minor,
        currency=before.currency,
        invoice_ids=sorted(row.id for row in invoices),
        subscription_ids=sorted({row.subscription_id for row in invoices if row.subscription_id is not None}),
    )
    return after


async def refund_payment(tx: Tx, uid: UUID, new: NewRefund) -> tuple[Refund, bool]:
    """Pay back what a payment has left over, all of it unless an amount is named; the second value: whether it is new.

    Raises:
        NotFound: no such payment.
        Conflict: less is left of it, it was reversed, or the reference was used for another amount.
    """
    before = await _lock_after_customer(tx, uid)
    known = await _same_refund(tx, before, new)
    if known is not None:
        return known, False
    if before.status == PaymentStatus.REVERSED.value:
        raise Conflict(
            "this payment is reversed: there is nothing to pay back; allowed from here: nothing",
            code="PAYMENT_REVERSED",
        )
    amount = before.free_minor if new.amount_minor is None else new.amount_minor
    if not 0 < amount <= before.free_minor:
        raise refund_exceeds(amount, before.free_minor)
    made = await _insert_refund(tx, before, amount, new)
    await post(
        tx,
        "payment.refunded",
        entity=REFUND,
        entity_id=made.id,
        currency=before.currency,
        amounts={receivable(before.customer_id): amount, CASH: -amount},
        memo=_memo(before),
    )
    await record(tx, "payment.refund", entity=REFUND, entity_id=made.id, after=asdict(made))
    await emit(
        tx,
        "payment.refunded",
        entity=PAYMENT,
        entity_id=before.id,
        payment_uid=str(before.uid),
        customer_id=before.customer_id,
        amount_minor=amount,
        currency=before.currency,
    )
    return made, True


async def _lock_after_customer(tx: Tx, uid: UUID) -> Payment:
    seen = await get_payment(tx, uid)
    await lock_customer(tx, seen.customer_id, seen.currency)
    return await lock_payment(tx, uid)


async def _undo_allocations(tx: Tx, before: Payment) -> list[Invoice]:
    """Take the payment off its invoices; those that were paid are open again."""
    shares = (await list_allocations(tx, [before.id]))[before.id]
    for share in shares:
        await free_allocations(tx, share.invoice_id, [(before.id, share.amount_minor)])
    invoices = await get_invoices_by_ids(tx, {share.invoice_id for share in shares})
    return [await _reopen(tx, row) for row in invoices.values()]


async def _reopen(tx: Tx, row: Invoice) -> Invoice:
    if row.status != InvoiceStatus.PAID.value:
        return row
    target = InvoiceStatus.OVERDUE if row.due_on < today(tx) else InvoiceStatus.PENDING
    reopened = await move(tx, row, target, "a payment was reversed")
    await emit(tx, "invoice.reopened", entity=ENTITY, entity_id=row.id, **about(reopened))
    return reopened


async def _move(tx: Tx, row: Payment, target: PaymentStatus, reason: str) -> Payment:
    return await change_status(
        tx,
        MACHINE,
        payment,
        Payment,
        entity_id=row.id,
        current=PaymentStatus(row.status),
        target=target,
        reason=reason,
    )


async def _same_refund(tx: Tx, before: Payment, new: NewRefund) -> Refund | None:
    if new.reference is None:
        return None
    refunds = (await list_refunds(tx, [before.id]))[before.id]
    known = next((row for row in refunds if row.reference == new.reference), None)
    if known is not None and new.amount_minor not in (None, known.amount_minor):
        raise refund_reference_used(new.reference)
    return known


async def _insert_refund(tx: Tx, before: Payment, amount: int, new: NewRefund) -> Refund:
    made = await tx.insert(
        payment_refund,
        Refund,
        payment_id=before.id,
        amount_minor=amount,
        reference=new.reference,
        reason=new.reason,
        created_at=tx.now,
    )
    refunded = before.refunded_minor + amount
    row = await tx.update(payment, Payment, {"id": before.id}, refunded_minor=refunded, updated_at=tx.now)
    if refunded == row.amount_minor:
        await _move(tx, row, PaymentStatus.REFUNDED, new.reason)
    return made


def _memo(row: Payment) -> str:
    return f"{row.method} {row.reference or ''}".strip()
