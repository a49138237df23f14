"""Where money goes: credit to open invoices, under the lock of the customer's account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from demarc.kernel.db import Tx
from demarc.kernel.outbox import emit
from demarc.kernel.states import change_status
from demarc.modules.billing.ledger import lock_customer
from demarc.modules.billing.models import invoice
from demarc.modules.billing.queries import (
    Invoice,
    get_invoice,
    get_invoices_by_ids,
    list_credits,
    list_open_invoices,
    lock_invoice,
)
from demarc.modules.billing.rules import Share, allocate
from demarc.modules.billing.states import INVOICE, InvoiceStatus

ENTITY = "invoice"
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

_FREE = """
WITH freed AS (
    SELECT * FROM unnest($3::bigint[], $4::bigint[]) AS f(payment_id, amount_minor)
), rest AS (
    UPDATE payment p SET allocated_minor = p.allocated_minor - f.amount_minor, updated_at = $5
    FROM freed f WHERE p.tenant_id = $1 AND p.id = f.payment_id
)
UPDATE invoice SET paid_minor = paid_minor - (SELECT sum(amount_minor)::bigint FROM freed), updated_at = $5
WHERE tenant_id = $1 AND id = $2
"""
_DROP_EMPTY = """
WITH freed AS (
    SELECT * FROM unnest($3::bigint[], $4::bigint[]) AS f(payment_id, amount_minor)
), gone AS (
    DELETE FROM payment_allocation a USING freed f
    WHERE a.tenant_id = $1 AND a.invoice_id = $2 AND a.payment_id = f.payment_id AND a.amount_minor = f.amount_minor
)
UPDATE payment_allocation a SET amount_minor = a.amount_minor - f.amount_minor
FROM freed f
WHERE a.tenant_id = $1 AND a.invoice_id = $2 AND a.payment_id = f.payment_id AND a.amount_minor > f.amount_minor
"""


async def hold_account(tx: Tx, *, customer_id: int, currency: str) -> None:
    """Let nobody else bill or allocate a customer's money until the transaction ends."""
    await lock_customer(tx, customer_id, currency)


async def lock_after_customer(tx: Tx, ref: str) -> Invoice:
    """The invoice, locked after its customer's account: in the order in which everything that allocates locks."""
    seen = await get_invoice(tx, ref)
    await lock_customer(tx, seen.customer_id, seen.currency)
    return await lock_invoice(tx, ref)


async def use_credit(tx: Tx, customer_id: int, currency: str, *, first: int | None = None) -> list[Invoice]:
    """Pay a customer's open invoices (the named one first) from what is not used up; the invoices that got money."""
    credit = await list_credits(tx, customer_id, currency)
    if not credit:
        return []
    open_invoices = await list_open_invoices(tx, customer_id, currency)
    open_invoices.sort(key=lambda row: row.id != first)
    shares = allocate(
        [(row.id, row.free_minor) for row in credit],
        [(row.id, row.open_minor) for row in open_invoices],
    )
    return await share_out(tx, shares)


async def share_out(tx: Tx, shares: Sequence[Share]) -> list[Invoice]:
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
    return [await settle(tx, row) if not row.open_minor else row for row in touched.values()]


async def free_allocations(tx: Tx, invoice_id: int, freed: Sequence[tuple[int, int]]) -> None:
    """Take `(payment id, amount)` off an invoice: the money is the customer's credit again."""
    if freed:
        ids, amounts = [one for one, _ in freed], [amount for _, amount in freed]
        await tx.connection.execute(_FREE, tx.tenant.id, invoice_id, ids, amounts, tx.now)
        await tx.connection.execute(_DROP_EMPTY, tx.tenant.id, invoice_id, ids, amounts)


async def settle(tx: Tx, owed: Invoice) -> Invoice:
    """Nothing is open on it: it is paid."""
    paid = await move(tx, owed, InvoiceStatus.PAID, "paid in full")
    await emit(tx, "invoice.paid", entity=ENTITY, entity_id=paid.id, **about(paid))
    return paid


async def move(tx: Tx, row: Invoice, target: InvoiceStatus, reason: str) -> Invoice:
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


def about(row: Invoice) -> dict[str, Any]:
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
