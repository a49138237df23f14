"""Reads of payments and of what they went to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Date,
    DateTime,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.db import Tx
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.billing.models import (
    invoice,
    payment,
    payment_allocation,
    payment_refund,
)
from demarc.modules.billing.states import PaymentStatus


@dataclass(frozen=True, slots=True)
class Payment:
    """One row; `free_minor` is the customer's credit."""

    tenant_id: int
    id: int
    uid: UUID
    customer_id: int
    amount_minor: int
    allocated_minor: int
    refunded_minor: int
    currency: str
    method: str
    reference: str | None
    invoice_id: int | None
    status: str
    received_at: datetime
    created_at: datetime
    updated_at: datetime

    @property
    def free_minor(self) -> int:
        """What no invoice has used and nobody has paid back."""
        if self.status != PaymentStatus.RECEIVED.value:
            return 0
        return self.amount_minor - self.allocated_minor - self.refunded_minor


@dataclass(frozen=True, slots=True)
class Refund:
    """Money that went back to the customer."""

    tenant_id: int
    id: int
    uid: UUID
    payment_id: int
    amount_minor: int
    reference: str | None
    reason: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Allocation:
    tenant_id: int
    payment_id: int
    invoice_id: int
    amount_minor: int


_IDS = any_(bindparam("ids", type_=ARRAY(BigInteger)))


_IS_RECEIVED = payment.c.status == literal_column(f"'{PaymentStatus.RECEIVED.value}'")
"""A constant of the statement, so that the partial index serves it."""


_PAYMENT = select(payment).where(mine(payment))


_PAYMENT_BY_UID = Query(_PAYMENT.where(payment.c.uid == bindparam("uid")))


_PAYMENT_BY_UID_LOCKED = Query(_PAYMENT.where(payment.c.uid == bindparam("uid")).with_for_update())


_PAYMENT_BY_REFERENCE = Query(
    _PAYMENT.where(payment.c.method == bindparam("method"), payment.c.reference == bindparam("reference"))
)


_CREDITS = Query(
    _PAYMENT.where(
        payment.c.customer_id == bindparam("customer_id"),
        payment.c.currency == bindparam("currency"),
        _IS_RECEIVED,
        payment.c.allocated_minor + payment.c.refunded_minor < payment.c.amount_minor,
    ).order_by(payment.c.id)
)


_LIFETIME = Query(
    select(func.coalesce(func.sum(payment.c.amount_minor - payment.c.refunded_minor), 0)).where(
        mine(payment),
        payment.c.customer_id == bindparam("customer_id"),
        payment.c.currency == bindparam("currency"),
        payment.c.status != PaymentStatus.REVERSED.value,
    )
)


_LIFETIMES = Query(
    select(
        payment.c.customer_id,
        func.sum(payment.c.amount_minor - payment.c.refunded_minor).label("paid_minor"),
    )
    .where(
        mine(payment),
        payment.c.customer_id == _IDS,
        payment.c.currency == bindparam("currency"),
        payment.c.status != PaymentStatus.REVERSED.value,
    )
    .group_by(payment.c.customer_id)
)


_PAID_LATE = Query(
    select(func.coalesce(func.sum(payment_allocation.c.amount_minor), 0))
    .select_from(
        payment_allocation.join(
            payment,
            and_(
                payment.c.tenant_id == payment_allocation.c.tenant_id,
                payment.c.id == payment_allocation.c.payment_id,
            ),
        ).join(
            invoice,
            and_(
                invoice.c.tenant_id == payment_allocation.c.tenant_id,
                invoice.c.id == payment_allocation.c.invoice_id,
            ),
        )
    )
    .where(
        mine(payment_allocation),
        invoice.c.subscription_id == bindparam("subscription_id", type_=BigInteger),
        payment.c.status == PaymentStatus.RECEIVED.value,
        payment.c.created_at >= bindparam("since", type_=DateTime(timezone=True)),
        invoice.c.due_on
        < cast(func.timezone(bindparam("time_zone", type_=Text), payment.c.created_at), Date),
    )
)


_ALLOCATIONS_OF_PAYMENTS = Query(
    select(payment_allocation)
    .where(mine(payment_allocation), payment_allocation.c.payment_id == _IDS)
    .order_by(payment_allocation.c.payment_id, payment_allocation.c.invoice_id)
)


_ALLOCATIONS_OF_INVOICE = Query(
    select(payment_allocation)
    .where(mine(payment_allocation), payment_allocation.c.invoice_id == bindparam("invoice_id"))
    .order_by(payment_allocation.c.payment_id)
)


_REFUNDS = Query(
    select(payment_refund)
    .where(mine(payment_refund), payment_refund.c.payment_id == _IDS)
    .order_by(payment_refund.c.id)
)


PAYMENTS = Listing(
    payment,
    filters={
        "customer_id": payment.c.customer_id == bindparam("customer_id"),
        "status": payment.c.status == bindparam("status"),
        "method": payment.c.method == bindparam("method"),
        "reference": payment.c.reference == bindparam("reference"),
        "invoice_id": exists().where(
            payment_allocation.c.tenant_id == payment.c.tenant_id,
            payment_allocation.c.payment_id == payment.c.id,
            payment_allocation.c.invoice_id == bindparam("invoice_id"),
        ),
    },
    sorts={
        "received_at": payment.c.received_at,
        "amount": payment.c.amount_minor,
        "created_at": payment.c.id,
    },
    default_sort="created_at",
)


async def get_payment(tx: Tx, uid: UUID) -> Payment:
    """Raises `NotFound`."""
    return await tx.get(_PAYMENT_BY_UID, Payment, f"no payment {uid}", uid=uid)


async def lock_payment(tx: Tx, uid: UUID) -> Payment:
    """The payment, locked until the transaction ends; raises `NotFound`."""
    return await tx.get(_PAYMENT_BY_UID_LOCKED, Payment, f"no payment {uid}", uid=uid)


async def find_payment(tx: Tx, method: str, reference: str) -> Payment | None:
    return await tx.find(_PAYMENT_BY_REFERENCE, Payment, method=method, reference=reference)


async def list_payments(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Payment]:
    """Filters: customer_id, invoice_id (internal ids; invoice: that it paid at least a part of), status, method, reference."""
    return await PAYMENTS.page(tx, Payment, window, sort=sort, **filters)


async def list_credits(tx: Tx, customer_id: int, currency: str) -> list[Payment]:
    """A customer's payments that are neither used up nor taken back, oldest first."""
    return await tx.fetch(_CREDITS, Payment, customer_id=customer_id, currency=currency)


async def list_allocations(tx: Tx, payment_ids: Collection[int]) -> dict[int, list[Allocation]]:
    """Where these payments went."""
    allocations: dict[int, list[Allocation]] = {payment_id: [] for payment_id in payment_ids}
    for row in await tx.fetch(_ALLOCATIONS_OF_PAYMENTS, Allocation, ids=[*payment_ids]):
        allocations[row.payment_id].append(row)
    return allocations


async def list_allocations_of_invoice(tx: Tx, invoice_id: int) -> list[Allocation]:
    return await tx.fetch(_ALLOCATIONS_OF_INVOICE, Allocation, invoice_id=invoice_id)


async def list_refunds(tx: Tx, payment_ids: Collection[int]) -> dict[int, list[Refund]]:
    """What of these payments went back."""
    refunds: dict[int, list[Refund]] = {payment_id: [] for payment_id in payment_ids}
    for row in await tx.fetch(_REFUNDS, Refund, ids=[*payment_ids]):
        refunds[row.payment_id].append(row)
    return refunds


async def lifetime_values(tx: Tx, customer_ids: Collection[int]) -> dict[int, int]:
    """As `lifetime_value`, for many; 0 for those who never paid."""
    given = {"tenant_id": tx.tenant.id, "ids": [*customer_ids], "currency": tx.tenant.currency}
    rows = await tx.connection.fetch(_LIFETIMES.sql, *_LIFETIMES.arguments(given))
    return dict.fromkeys(customer_ids, 0) | {row["customer_id"]: int(row["paid_minor"]) for row in rows}


async def lifetime_value(tx: Tx, customer_id: int) -> int:
    """What a customer ever paid and kept paid, minor units of the tenant's currency."""
    return int(await tx.value(_LIFETIME, customer_id=customer_id, currency=tx.tenant.currency))


async def recovered_since(tx: Tx, subscription_id: int, since: datetime) -> int:
    """What payments since then paid of a subscription's invoices that were past due that day, minor units."""
    return int(
        await tx.value(
            _PAID_LATE, subscription_id=subscription_id, since=since, time_zone=tx.tenant.time_zone
        )
    )
