"""Every write of billing, one function per use case. Whatever allocates money locks the customer's account first."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import bindparam
from sqlalchemy.dialects.postgresql import insert

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, invalid
from demarc.kernel.outbox import emit
from demarc.kernel.sql import Query
from demarc.kernel.states import change_status, record_status_change
from demarc.modules.audit.service import record
from demarc.modules.billing.errors import nothing_to_bill, ref_used, reference_used
from demarc.modules.billing.inputs import NewInvoice, NewLine, NewPayment
from demarc.modules.billing.ledger import CASH, INCOME, TAX_PAYABLE, lock_customer, post, receivable
from demarc.modules.billing.models import billing_run, invoice, payment, tax_rule
from demarc.modules.billing.queries import (
    Invoice,
    Payment,
    Run,
    TaxRule,
    claim_due_invoices,
    find_invoice,
    find_payment,
    find_usage_invoice,
    get_invoice,
    get_invoice_by_id,
    get_invoices_by_ids,
    get_payment,
    list_allocations_of_invoice,
    list_credits,
    list_open_invoices,
    list_tax_rules,
    lock_invoice,
    today,
)
from demarc.modules.billing.rules import Share, allocate, tax_minor
from demarc.modules.billing.states import INVOICE, RUN, InvoiceStatus, LineKind, PaymentStatus, RunStatus
from demarc.modules.subscriptions.queries import Subscription, get_subscription_by_id
from demarc.modules.usage.inputs import Span
from demarc.modules.usage.queries import UsageLine
from demarc.modules.usage.service import bill_claimed, claim_pending, release_billed

ENTITY = "invoice"
PAYMENT = "payment"
_NEXT_NUMBER = """
INSERT INTO invoice_number AS n (tenant_id, year, last) VALUES ($1, $2, 1)
ON CONFLICT (tenant_id, year) DO UPDATE SET last = n.last + 1 RETURNING last
"""
_INSERT_LINES = """
INSERT INTO invoice_line (tenant_id, invoice_id, position, kind, description, usage_type, quantity, unit, unit_price,
                          octets, amount_minor)
SELECT $1, $2, * FROM unnest($3::smallint[], $4::text[], $5::text[], $6::text[], $7::numeric[], $8::text[], $9::numeric[],
                             $10::bigint[], $11::bigint[])
"""
_SHARE = """
WITH share AS (
    INSERT INTO payment_allocation AS a (tenant_id, payment_id, invoice_id, amount_minor)
    SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[])
    ON CONFLICT (tenant_id, payment_id, invoice_id) DO UPDATE SET amount_minor = a.amount_minor + excluded.amount_minor
), used AS (
    UPDATE payment p SET allocated_minor = p.allocated_minor + u.amount_minor, updated_at = $5
    FROM (SELECT id, sum(amount_minor)::bigint AS amount_minor FROM unnest($2::bigint[], $4::bigint[]) AS u(id, amount_minor) GROUP BY id) u
    WHERE p.tenant_id = $1 AND p.id = u.id
)
UPDATE invoice i SET paid_minor = i.paid_minor + u.amount_minor, updated_at = $5
FROM (SELECT id, sum(amount_minor)::bigint AS amount_minor FROM unnest($3::bigint[], $4::bigint[]) AS u(id, amount_minor) GROUP BY id) u
WHERE i.tenant_id = $1 AND i.id = u.id
"""
_RELEASE = """
WITH released AS (
    DELETE FROM payment_allocation WHERE tenant_id = $1 AND invoice_id = $2 RETURNING payment_id, amount_minor
), freed AS (
    UPDATE payment p SET allocated_minor = p.allocated_minor - r.amount_minor, updated_at = $3
    FROM released r WHERE p.tenant_id = $1 AND p.id = r.payment_id
)
UPDATE invoice SET paid_minor = 0, updated_at = $3 WHERE tenant_id = $1 AND id = $2
"""
_INSERT_PAYMENT = Query(
    insert(payment)
    .values(
        {
            column.name: bindparam(column.name, type_=column.type)
            for column in payment.c
            if column.name not in ("id", "uid", "allocated_minor")
        }
    )
    .on_conflict_do_nothing()
    .returning(*payment.c)
)


async def set_tax_rule(tx: Tx, *, name: str, rate: Decimal, effective_on: date) -> TaxRule:
    """A tax on every invoice from a day on; a later rule of the same name takes its place.

    Raises:
        Invalid: the rate is not from 0 to below 1.
    """
    if not rate.is_finite() or not 0 <= rate < 1 or rate != round(rate, 6):
        raise invalid("rate", "has to be from 0 to below 1, with at most 6 decimals (0.08 is 8 %)")
    made = await tx.insert(tax_rule, TaxRule, name=name, rate=rate, effective_on=effective_on)
    await record(tx, "tax_rule.create", entity="tax_rule", entity_id=made.id, after=asdict(made))
    return made


async def create_invoice(tx: Tx, new: NewInvoice) -> Invoice:
    """Issue an invoice: numbered without gaps, taxed, booked, and paid from the customer's credit as far as it goes.

    Raises:
        NotFound: the subscription is not there.
        Invalid: the subscription is another customer's, or the due date is before the issue date (but in a sandbox).
        Conflict: the reference is taken.
    """
    currency = await _currency_of(tx, new)
    issued_on = new.issued_on or today(tx)
    if new.due_on < issued_on and not tx.tenant.is_sandbox:
        raise invalid("due_date", f"has to be on or after the issue date {issued_on}")
    if new.ref is not None and await find_invoice(tx, new.ref) is not None:
        raise ref_used(new.ref)
    await lock_customer(tx, new.customer_id, currency)
    made = await _insert_invoice(tx, new, currency, issued_on)
    await _book_invoice(tx, made, sign=1)
    await record_status_change(tx, entity=ENTITY, entity_id=made.id, from_status=None, to_status=made.status)
    await record(tx, "invoice.create", entity=ENTITY, entity_id=made.id, after=asdict(made))
    await emit(tx, "invoice.generated", entity=ENTITY, entity_id=made.id, **_about(made))
    await _use_credit(tx, made.customer_id, currency)
    made = await get_invoice_by_id(tx, made.id)
    if made.total_minor == 0:
        made = await _settle(tx, made)
    return made


async def invoice_usage(
    tx: Tx, *, subscription: Subscription, due_on: date, span: Span
) -> tuple[Invoice, bool]:
    """Bill a subscription's unbilled usage of a span; the second value tells whether the invoice is new.

    With nothing unbilled it is the invoice that has billed usage of that span already.

    Raises:
        Conflict: nothing is unbilled and no invoice bills the span.
        Invalid: the due date, see `create_invoice`.
    """
    await lock_customer(tx, subscription.customer_id, subscription.currency)
    claimed = await claim_pending(tx, subscription_id=subscription.id, span=span)
    if not claimed.record_ids:
        existing = await find_usage_invoice(tx, subscription.id, span.start, span.end)
        if existing is None:
            raise nothing_to_bill(subscription.ref)
        return existing, False
    made = await create_invoice(
        tx,
        NewInvoice(
            customer_id=subscription.customer_id,
            subscription_id=subscription.id,
            currency=subscription.currency,
            lines=tuple(usage_line(line) for line in claimed.lines),
            due_on=due_on,
            period_start=span.start,
            period_end=span.end,
        ),
    )
    await bill_claimed(tx, claimed, invoice_id=made.id, invoice_ref=made.ref)
    return made, True


def usage_line(line: UsageLine) -> NewLine:
    """An invoice line of usage: rounded once, here."""
    return NewLine(
        description=f"{line.usage_type}, {line.starts_at:%Y-%m}",
        amount_minor=line.amount_minor,
        kind=LineKind.USAGE,
        usage_type=line.usage_type,
        quantity=line.shown_quantity,
        unit=line.unit,
        unit_price=line.unit_price,
        octets=line.octets,
    )


async def void_invoice(tx: Tx, ref: str, *, reason: str) -> Invoice:
    """Take an invoice back: reversed in the ledger, its payments are credit again, its usage is unbilled again.

    The credit then pays the customer's other open invoices.

    Raises:
        NotFound: no such invoice.
        Conflict: it is paid, void or refunded.
    """
    before = await lock_after_customer(tx, ref)
    INVOICE.check(InvoiceStatus(before.status), InvoiceStatus.VOID)
    released = await list_allocations_of_invoice(tx, before.id)
    await tx.connection.execute(_RELEASE, tx.tenant.id, before.id, tx.now)
    after = await _move(tx, before, InvoiceStatus.VOID, reason)
    await _book_invoice(tx, before, sign=-1)
    await release_billed(tx, invoice_id=before.id)
    await record(
        tx,
        "invoice.void",
        entity=ENTITY,
        entity_id=before.id,
        before={"status": before.status, "paid_minor": before.paid_minor},
        after={
            "status": after.status,
            "reason": reason,
            "released_payments": [a.payment_id for a in released],
        },
    )
    await emit(tx, "invoice.voided", entity=ENTITY, entity_id=before.id, **_about(after))
    await _use_credit(tx, before.customer_id, before.currency)
    return after


async def mark_overdue(tx: Tx) -> int:
    """Sweep at `tx.now`: pending invoices past their due date by the tenant's calendar become overdue; how many did."""
    due = await claim_due_invoices(tx)
    for pending in due:
        overdue = await _move(tx, pending, InvoiceStatus.OVERDUE, f"due on {pending.due_on}")
        await emit(tx, "invoice.overdue", entity=ENTITY, entity_id=overdue.id, **_about(overdue))
    return len(due)


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
    paid = await _use_credit(tx, new.customer_id, currency, first=named.id if named else None)
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


async def lock_after_customer(tx: Tx, ref: str) -> Invoice:
    """The invoice, locked after its customer's account: in the order in which everything that allocates locks."""
    seen = await get_invoice(tx, ref)
    await lock_customer(tx, seen.customer_id, seen.currency)
    return await lock_invoice(tx, ref)


async def _currency_of(tx: Tx, new: NewInvoice) -> str:
    if new.subscription_id is None:
        return new.currency or tx.tenant.currency
    subscription = await get_subscription_by_id(tx, new.subscription_id)
    if subscription.customer_id != new.customer_id:
        raise invalid("customer_id", f"is not the customer of subscription {subscription.ref}")
    if new.currency not in (None, subscription.currency):
        raise invalid("currency", f"subscription {subscription.ref} is billed in {subscription.currency}")
    return subscription.currency


async def _insert_invoice(tx: Tx, new: NewInvoice, currency: str, issued_on: date) -> Invoice:
    rates = [rule.rate for rule in await list_tax_rules(tx, issued_on)]
    tax = tax_minor(new.subtotal_minor, rates, currency)
    last = await tx.connection.fetchval(_NEXT_NUMBER, tx.tenant.id, issued_on.year)
    made = await tx.insert(
        invoice,
        Invoice,
        ref=new.ref or f"in_{secrets.token_hex(8)}",
        number=f"INV-{issued_on.year}-{last:06}",
        customer_id=new.customer_id,
        subscription_id=new.subscription_id,
        status=InvoiceStatus.PENDING.value,
        currency=currency,
        subtotal_minor=new.subtotal_minor,
        tax_minor=tax,
        total_minor=new.subtotal_minor + tax,
        issued_on=issued_on,
        due_on=new.due_on,
        period_start=new.period_start,
        period_end=new.period_end,
        month_on=new.month_on,
        created_at=tx.now,
        updated_at=tx.now,
    )
    await tx.connection.execute(_INSERT_LINES, tx.tenant.id, made.id, *_line_columns(new.lines))
    return made


def _line_columns(lines: Sequence[NewLine]) -> list[list[Any]]:
    rows = [
        (
            position,
            line.kind.value,
            line.description,
            line.usage_type,
            line.quantity,
            line.unit,
            line.unit_price,
            line.octets,
            line.amount_minor,
        )
        for position, line in enumerate(lines, start=1)
    ]
    return [list(column) for column in zip(*rows, strict=True)]


async def _book_invoice(tx: Tx, booked: Invoice, *, sign: int) -> None:
    """Debit the customer, credit income and tax; with `sign` -1 the reverse."""
    await post(
        tx,
        "invoice.generated" if sign > 0 else "invoice.voided",
        entity=ENTITY,
        entity_id=booked.id,
        currency=booked.currency,
        amounts={
            receivable(booked.customer_id): sign * booked.total_minor,
            INCOME: -sign * booked.subtotal_minor,
            TAX_PAYABLE: -sign * booked.tax_minor,
        },
        memo=booked.number,
    )


async def _use_credit(tx: Tx, customer_id: int, currency: str, *, first: int | None = None) -> list[Invoice]:
    """Pay a customer's open invoices (the named one first) from what is not used up; the invoices that got money."""
    credit = await list_credits(tx, customer_id, currency)
    if not credit:
        return []
    open_invoices = await list_open_invoices(tx, customer_id, currency)
    open_invoices.sort(key=lambda row: row.id != first)
    shares = allocate(
        [(row.id, row.amount_minor - row.allocated_minor) for row in credit],
        [(row.id, row.open_minor) for row in open_invoices],
    )
    return await _share_out(tx, shares)


async def _share_out(tx: Tx, shares: Sequence[Share]) -> list[Invoice]:
    if not shares:
        return []
    await tx.connection.execute(
        _SHARE,
        tx.tenant.id,
        [share.payment_id for share in shares],
        [share.invoice_id for share in shares],
        [share.amount_minor for share in shares],
        tx.now,
    )
    # Read again: only now the rows are held, and a sweep may have marked one overdue in between.
    touched = await get_invoices_by_ids(tx, {share.invoice_id for share in shares})
    return [await _settle(tx, row) if not row.open_minor else row for row in touched.values()]


async def _settle(tx: Tx, owed: Invoice) -> Invoice:
    paid = await _move(tx, owed, InvoiceStatus.PAID, "paid in full")
    await emit(tx, "invoice.paid", entity=ENTITY, entity_id=paid.id, **_about(paid))
    return paid


async def _move(tx: Tx, row: Invoice, target: InvoiceStatus, reason: str) -> Invoice:
    return await change_status(
        tx,
        INVOICE,
        invoice,
        Invoice,
        entity_id=row.id,
        current=InvoiceStatus(row.status),
        target=target,
        reason=reason,
    )


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


def _about(row: Invoice) -> dict[str, Any]:
    """What the events of an invoice carry."""
    return {
        "invoice_ref": row.ref,
        "number": row.number,
        "customer_id": row.customer_id,
        "subscription_id": row.subscription_id,
        "total_minor": row.total_minor,
        "currency": row.currency,
        "due_on": row.due_on.isoformat(),
    }


async def hold_account(tx: Tx, *, customer_id: int, currency: str) -> None:
    """Let nobody else bill or allocate a customer's money until the transaction ends."""
    await lock_customer(tx, customer_id, currency)


async def open_run(tx: Tx, *, month_on: date, subscription_id: int | None, subscriptions: int) -> Run:
    """Start a monthly run over so many subscriptions."""
    made = await tx.insert(
        billing_run,
        Run,
        month_on=month_on,
        subscription_id=subscription_id,
        status=RunStatus.RUNNING.value,
        subscriptions=subscriptions,
        created_at=tx.now,
        updated_at=tx.now,
    )
    await record_status_change(
        tx, entity="billing run", entity_id=made.id, from_status=None, to_status=made.status
    )
    await record(tx, "billing_run.create", entity="billing_run", entity_id=made.id, after=asdict(made))
    return made


async def advance_run(tx: Tx, run: Run, **progress: Any) -> Run:
    """Keep how far a run is; `progress` holds the new values of its counters."""
    return await tx.update(billing_run, Run, {"id": run.id}, updated_at=tx.now, **progress)


async def complete_run(tx: Tx, run: Run) -> Run:
    """Every subscription was looked at."""
    done = await change_status(
        tx,
        RUN,
        billing_run,
        Run,
        entity_id=run.id,
        current=RunStatus(run.status),
        target=RunStatus.COMPLETED,
    )
    await emit(
        tx,
        "billing_run.completed",
        entity="billing_run",
        entity_id=done.id,
        month_on=done.month_on.isoformat(),
        billed=done.billed,
        failed=done.failed,
    )
    return done
