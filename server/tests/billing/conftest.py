from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

import pytest_asyncio

from demarc.kernel.context import system
from demarc.kernel.db import Database
from demarc.kernel.jobs import Work
from demarc.modules.billing.inputs import NewCreditNote, NewInvoice, NewLine, NewPayment, NewRefund
from demarc.modules.billing.queries import get_invoice
from demarc.modules.billing.service import (
    create_invoice,
    credit_invoice,
    record_payment,
    refund_payment,
    reverse_payment,
    void_invoice,
)

from ..usage.shop import ALPHA, Sold, sell  # noqa: TID252 - the tests' own shop

_NUMBERS = count(1)


@dataclass
class Books:
    """Tenant alpha's books with one customer, written through the use cases, each in its own transaction."""

    database: Database
    sold: Sold

    def tx(self, tenant=ALPHA):
        return self.database.begin(tenant, system("test"))

    async def bill(self, amount, *, due_in=30, ref=None, customer=None, subscription=True) -> Any:
        async with self.tx() as tx:
            return await create_invoice(
                tx,
                NewInvoice(
                    customer_id=customer or self.sold.customer.id,
                    subscription_id=self.sold.subscription.id if subscription else None,
                    lines=(NewLine("Fiber", amount),),
                    due_on=tx.now.date() + timedelta(days=due_in),
                    ref=ref,
                ),
            )

    async def pay(self, amount, *, invoice=None, reference=None, method="card") -> Any:
        async with self.tx() as tx:
            payment, _ = await record_payment(
                tx,
                NewPayment(
                    customer_id=self.sold.customer.id,
                    amount_minor=amount,
                    method=method,
                    reference=reference or f"auto-{next(_NUMBERS)}",
                    invoice_id=invoice.id if invoice else None,
                ),
            )
            return payment

    async def void(self, invoice) -> Any:
        async with self.tx() as tx:
            return await void_invoice(tx, invoice.ref, reason="test")

    async def credit(self, invoice, amount=None, **more) -> Any:
        async with self.tx() as tx:
            return await credit_invoice(tx, invoice.ref, NewCreditNote("test", amount, **more))

    async def reverse(self, payment) -> Any:
        async with self.tx() as tx:
            return await reverse_payment(tx, payment.uid, reason="chargeback")

    async def refund(self, payment, amount=None, reference=None) -> Any:
        async with self.tx() as tx:
            return await refund_payment(tx, payment.uid, NewRefund("overpaid", amount, reference))

    async def reload(self, invoice) -> Any:
        async with self.tx() as tx:
            return await get_invoice(tx, invoice.ref)

    async def advance(self, **by) -> None:
        async with self.tx() as tx:
            await tx.connection.execute(
                "UPDATE tenant SET clock_offset = clock_offset + $2 WHERE id = $1", ALPHA, timedelta(**by)
            )

    async def set(self, **settings) -> None:
        async with self.tx() as tx:
            await tx.connection.execute(
                "UPDATE tenant SET settings = settings || $2 WHERE id = $1", ALPHA, settings
            )

    def work(self) -> Work:
        return Work(self.database, ALPHA, "", 0, False, system("billing"), {})


@pytest_asyncio.fixture
async def books(database) -> Books:
    return Books(database, await sell(database))


@pytest_asyncio.fixture
async def seller(database):
    """Sell once more: `await seller("sub_x")`."""

    async def more(*args, **kwargs):
        return await sell(database, *args, **kwargs)

    return more
