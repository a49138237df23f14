"""Credit notes: take back a part of an invoice, or all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.kernel.outbox import emit
from demarc.modules.audit.service import record
from demarc.modules.billing.errors import credit_exceeds, has_no_credit_left
from demarc.modules.billing.inputs import Credit, NewCreditNote
from demarc.modules.billing.ledger import INCOME, TAX_PAYABLE, post, receivable
from demarc.modules.billing.models import credit_note, invoice
from demarc.modules.billing.queries import (
    CreditNote,
    Invoice,
    InvoiceLine,
    credited_by_line,
    get_invoice_by_id,
    list_allocations_of_invoice,
    list_invoice_lines,
    today,
)
from demarc.modules.billing.rules import credited_tax_minor, releases, spread_credit
from demarc.modules.billing.service.numbers import next_number
from demarc.modules.billing.service.settlement import (
    ENTITY,
    about,
    free_allocations,
    lock_after_customer,
    move,
    settle,
    use_credit,
)
from demarc.modules.billing.states import INVOICE, OPEN_INVOICE, InvoiceStatus

CREDIT_NOTE = "credit_note"
_INSERT_LINES = """
INSERT INTO credit_note_line (tenant_id, credit_note_id, position, description, amount_minor)
SELECT $1, $2, * FROM unnest($3::smallint[], $4::text[], $5::bigint[])
"""


async def credit_invoice(tx: Tx, ref: str, new: NewCreditNote) -> CreditNote:
    """Take back what was invoiced, with its tax: booked, and off what the customer owes.

    What the invoice was paid with and is no longer owed becomes credit, which pays the customer's other open invoices
    or is paid back (`refund_payment`). An invoice that is credited in whole is refunded.

    Raises:
        NotFound: no such invoice.
        Conflict: the invoice is void or refunded, or less is left of it (or of the line) than is to be credited.
        Invalid: another currency, or a line that the invoice does not have.
    """
    credited = await lock_after_customer(tx, ref)
    if new.currency not in (None, credited.currency):
        raise invalid("currency", f"invoice {credited.ref} is in {credited.currency}")
    if credited.status != InvoiceStatus.PAID.value and InvoiceStatus(credited.status) not in OPEN_INVOICE:
        INVOICE.check(InvoiceStatus(credited.status), InvoiceStatus.REFUNDED)
    lines = {line.position: line for line in (await list_invoice_lines(tx, [credited.id]))[credited.id]}
    gone = await credited_by_line(tx, credited.id)
    left = {position: line.amount_minor - gone.get(position, 0) for position, line in lines.items()}
    parts = _parts(credited, new, left)
    made = await _insert(tx, credited, new, parts, lines, credited_before=sum(gone.values()))
    await _book(tx, made)
    await record(tx, "credit_note.create", entity=CREDIT_NOTE, entity_id=made.id, after=asdict(made))
    after = await _take_off(tx, credited, made.total_minor)
    await emit(
        tx,
        "credit_note.issued",
        entity=CREDIT_NOTE,
        entity_id=made.id,
        credit_note_uid=str(made.uid),
        amount_minor=made.total_minor,
        **about(after),
    )
    await use_credit(tx, credited.customer_id, credited.currency)
    return made


def _parts(credited: Invoice, new: NewCreditNote, left: dict[int, int]) -> list[Credit]:
    """Which amount of which line."""
    total_left = sum(left.values())
    if not total_left:
        raise has_no_credit_left(credited.ref, credited.status)
    if not new.lines:
        wanted = total_left if new.amount_minor is None else new.amount_minor
        if wanted > total_left:
            raise credit_exceeds(f"invoice {credited.ref}", wanted, total_left)
        return spread_credit(wanted, left.items())
    for part in new.lines:
        if part.position not in left:
            raise invalid("line_items", f"invoice {credited.ref} has no line {part.position}")
        if part.amount_minor > left[part.position]:
            raise credit_exceeds(f"line {part.position}", part.amount_minor, left[part.position])
    return list(new.lines)


async def _insert(
    tx: Tx,
    credited: Invoice,
    new: NewCreditNote,
    parts: Sequence[Credit],
    lines: dict[int, InvoiceLine],
    *,
    credited_before: int,
) -> CreditNote:
    subtotal = sum(part.amount_minor for part in parts)
    tax = credited_tax_minor(
        credited.tax_minor,
        credited.subtotal_minor,
        credited_before_minor=credited_before,
        credit_minor=subtotal,
        currency=credited.currency,
    )
    issued_on = today(tx)
    made = await tx.insert(
        credit_note,
        CreditNote,
        number=await next_number(tx, "CN", issued_on),
        invoice_id=credited.id,
        customer_id=credited.customer_id,
        currency=credited.currency,
        subtotal_minor=subtotal,
        tax_minor=tax,
        total_minor=subtotal + tax,
        reason=new.reason,
        is_settlement=new.is_settlement,
        issued_on=issued_on,
        created_at=tx.now,
    )
    await tx.connection.execute(
        _INSERT_LINES,
        tx.tenant.id,
        made.id,
        [part.position for part in parts],
        [lines[part.position].description for part in parts],
        [part.amount_minor for part in parts],
    )
    return made


async def _book(tx: Tx, made: CreditNote) -> None:
    await post(
        tx,
        "credit_note.issued",
        entity=CREDIT_NOTE,
        entity_id=made.id,
        currency=made.currency,
        amounts={
            receivable(made.customer_id): -made.total_minor,
            INCOME: made.subtotal_minor,
            TAX_PAYABLE: made.tax_minor,
        },
        memo=made.number,
    )


async def _take_off(tx: Tx, credited: Invoice, amount_minor: int) -> Invoice:
    """The invoice asks for that much less; what it was paid with beyond that is free again."""
    credited_minor = credited.credited_minor + amount_minor
    excess = max(credited.paid_minor + credited_minor - credited.total_minor, 0)
    allocations = await list_allocations_of_invoice(tx, credited.id)
    freed = releases(((row.payment_id, row.amount_minor) for row in allocations), excess)
    await free_allocations(tx, credited.id, freed)
    after = await tx.update(
        invoice, Invoice, {"id": credited.id}, credited_minor=credited_minor, updated_at=tx.now
    )
    if credited_minor == credited.total_minor:
        refunded = await move(tx, after, InvoiceStatus.REFUNDED, "credited in whole")
        await emit(tx, "invoice.refunded", entity=ENTITY, entity_id=refunded.id, **about(refunded))
        return refunded
    if InvoiceStatus(after.status) in OPEN_INVOICE and not after.open_minor:
        await settle(tx, after)
    return await get_invoice_by_id(tx, credited.id)
