"""Issue, take back and age invoices."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, invalid
from demarc.kernel.outbox import emit
from demarc.kernel.states import record_status_change
from demarc.modules.audit.service import changes as changed_fields
from demarc.modules.audit.service import record
from demarc.modules.billing.errors import nothing_to_bill, ref_used
from demarc.modules.billing.inputs import NewInvoice, NewLine
from demarc.modules.billing.ledger import INCOME, TAX_PAYABLE, lock_customer, post, receivable
from demarc.modules.billing.models import invoice
from demarc.modules.billing.queries import (
    Invoice,
    claim_due_invoice,
    claim_due_invoices,
    find_invoice,
    find_usage_invoice,
    get_invoice_by_id,
    list_allocations_of_invoice,
    rules_in_force,
    today,
)
from demarc.modules.billing.rules import tax_minor
from demarc.modules.billing.service.numbers import next_number
from demarc.modules.billing.service.settlement import (
    ENTITY,
    about,
    lock_after_customer,
    move,
    settle,
    use_credit,
)
from demarc.modules.billing.states import INVOICE, OPEN_INVOICE, InvoiceStatus, LineKind
from demarc.modules.subscriptions.queries import Subscription, get_subscription_by_id
from demarc.modules.usage.inputs import Span
from demarc.modules.usage.queries import UsageLine
from demarc.modules.usage.service import bill_claimed, claim_pending, release_billed

_INSERT_LINES = """
INSERT INTO invoice_line (tenant_id, invoice_id, position, kind, description, usage_type, quantity, unit, unit_price,
                          octets, amount_minor)
SELECT $1, $2, * FROM unnest($3::smallint[], $4::text[], $5::text[], $6::text[], $7::numeric[], $8::text[], $9::numeric[],
                             $10::bigint[], $11::bigint[])
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
    await emit(tx, "invoice.generated", entity=ENTITY, entity_id=made.id, **about(made))
    await use_credit(tx, made.customer_id, currency)
    made = await get_invoice_by_id(tx, made.id)
    if made.total_minor == 0:
        made = await settle(tx, made)
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
        unit_price=line.shown_unit_price,
        octets=line.octets,
    )


async def update_invoice(
    tx: Tx, ref: str, *, due_on: date | None = None, notes: str | None = None
) -> Invoice:
    """Give more or less time to pay an invoice that is open, or note something on any.

    An overdue one whose new due date is still to come is pending again.

    Raises:
        NotFound: no such invoice.
        Conflict: the due date of one that is not open.
        Invalid: the due date is before the issue date or past (but in a sandbox).
    """
    before = await lock_after_customer(tx, ref)
    given = {name: value for name, value in (("due_on", due_on), ("notes", notes)) if value is not None}
    if not given:
        return before
    if due_on is not None:
        _check_due(tx, before, due_on)
    after = await tx.update(invoice, Invoice, {"id": before.id}, **given, updated_at=tx.now)
    if after.status == InvoiceStatus.OVERDUE.value and after.due_on >= today(tx):
        after = await move(tx, after, InvoiceStatus.PENDING, f"now due on {after.due_on}")
    old, new = changed_fields(asdict(before), asdict(after))
    await record(tx, "invoice.update", entity=ENTITY, entity_id=after.id, before=old, after=new)
    await emit(tx, "invoice.updated", entity=ENTITY, entity_id=after.id, fields=sorted(given), **about(after))
    return after


def _check_due(tx: Tx, open_invoice: Invoice, due_on: date) -> None:
    if InvoiceStatus(open_invoice.status) not in OPEN_INVOICE:
        raise Conflict(
            f"invoice {open_invoice.ref} is {open_invoice.status}; only an open one can be due on another day",
            code="INVOICE_NOT_OPEN",
        )
    earliest = max(open_invoice.issued_on, today(tx))
    if due_on < earliest and not tx.tenant.is_sandbox:
        raise invalid("due_date", f"has to be on or after {earliest}")


async def void_invoice(tx: Tx, ref: str, *, reason: str) -> Invoice:
    """Take an invoice back: reversed in the ledger, its payments are credit again, its usage is unbilled again.

    The credit then pays the customer's other open invoices.

    Raises:
        NotFound: no such invoice.
        Conflict: it is paid, void or refunded, or a credit note took back a part of it.
    """
    before = await lock_after_customer(tx, ref)
    INVOICE.check(InvoiceStatus(before.status), InvoiceStatus.VOID)
    if before.credited_minor:
        raise Conflict(
            f"a credit note took back a part of invoice {before.ref}; credit the rest of it instead",
            code="INVOICE_CREDITED",
        )
    released = await list_allocations_of_invoice(tx, before.id)
    await tx.connection.execute(_RELEASE, tx.tenant.id, before.id, tx.now)
    after = await move(tx, before, InvoiceStatus.VOID, reason)
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
    await emit(tx, "invoice.voided", entity=ENTITY, entity_id=before.id, **about(after))
    await use_credit(tx, before.customer_id, before.currency)
    return after


async def mark_overdue(tx: Tx) -> int:
    """Sweep at `tx.now`: pending invoices past their due date by the tenant's calendar become overdue; how many did."""
    due = await claim_due_invoices(tx)
    for pending in due:
        await _go_overdue(tx, pending)
    return len(due)


async def mark_invoice_overdue(tx: Tx, invoice_id: int) -> bool:
    """As `mark_overdue`, for one; False when it is not pending and past due, or another sweep has it."""
    pending = await claim_due_invoice(tx, invoice_id)
    if pending is not None:
        await _go_overdue(tx, pending)
    return pending is not None


async def _go_overdue(tx: Tx, pending: Invoice) -> None:
    overdue = await move(tx, pending, InvoiceStatus.OVERDUE, f"due on {pending.due_on}")
    await emit(tx, "invoice.overdue", entity=ENTITY, entity_id=overdue.id, **about(overdue))


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
    rates = [rule.rate for rule in await rules_in_force(tx, issued_on)]
    tax = tax_minor(new.subtotal_minor, rates, currency)
    made = await tx.insert(
        invoice,
        Invoice,
        ref=new.ref or f"in_{secrets.token_hex(8)}",
        number=await next_number(tx, "INV", issued_on),
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
