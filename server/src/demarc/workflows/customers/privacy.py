"""What is known of a customer: told in whole, and forgotten in whole, but for what the books need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from demarc.kernel.db import Tx
from demarc.kernel.paging import Page, Window
from demarc.modules.access.service import forget_log_ins
from demarc.modules.audit.service import record
from demarc.modules.billing.queries import customer_balance, list_customer_currencies
from demarc.modules.customers.errors import NotErasable
from demarc.modules.customers.queries import Customer, get_customer, lock_customers
from demarc.modules.customers.service import ENTITY, erase_customer, refuse_erased
from demarc.modules.services.queries import list_services
from demarc.modules.services.states import ServiceStatus
from demarc.modules.subscriptions.queries import list_subscriptions
from demarc.modules.subscriptions.states import SubscriptionStatus
from demarc.workflows.customers.holdings import (
    COPIES,
    all_holdings,
    direct_holdings,
    forget_rows,
    read_rows,
    read_uids,
)

ROWS_MAX = 10_000
"""Of each table; more of one are found in its list."""

_FORGET_ANSWERS = """
DELETE FROM idempotency_key k
WHERE k.tenant_id = $1 AND EXISTS (SELECT FROM unnest($2::text[]) u WHERE position(convert_to(u, 'UTF8') IN k.body) > 0)
"""
"""Answers kept for a repeated request may hold what is to be forgotten: those that name him or a row of his go."""


@dataclass(frozen=True, slots=True)
class Export:
    """Everything that hangs on a customer, by table, as it is stored; `truncated` names tables with more rows."""

    customer: dict[str, Any]
    data: dict[str, list[dict[str, Any]]]
    truncated: list[str]
    exported_at: datetime


async def export_customer(tx: Tx, uid: UUID) -> Export:
    """Raises `NotFound`. That it was exported is audited."""
    row = await get_customer(tx, uid)
    data: dict[str, list[dict[str, Any]]] = {}
    truncated = []
    for holding in all_holdings():
        if holding.name in COPIES:
            continue
        rows = await read_rows(tx, holding, row.id, limit=ROWS_MAX + 1)
        data[holding.name] = rows[:ROWS_MAX]
        if len(rows) > ROWS_MAX:
            truncated.append(holding.name)
    await record(tx, "customer.export", entity=ENTITY, entity_id=row.id)
    return Export(asdict(row), data, truncated, tx.now)


async def forget_customer(tx: Tx, uid: UUID, *, reason: str) -> Customer:
    """Blank what says who the customer was; invoices, payments and the ledger stay, and so do the audit log's lines.

    Raises:
        NotFound: no such customer.
        CustomerErased: it was erased before.
        NotErasable: a service or subscription is still open, or the account is not even.
    """
    row = await get_customer(tx, uid)
    refuse_erased(row)
    await lock_customers(tx, row.id)
    await _refuse_bound(tx, row)
    uids = [
        str(row.uid),
        *[uid for holding in direct_holdings() for uid in await read_uids(tx, holding, row.id)],
    ]
    await tx.connection.execute(_FORGET_ANSWERS, tx.tenant.id, uids)
    await forget_log_ins(tx, row.id)
    for holding in all_holdings():
        await forget_rows(tx, holding, row.id)
    return await erase_customer(tx, row, reason=reason)


async def _refuse_bound(tx: Tx, row: Customer) -> None:
    services = await _count_open(tx, list_services, row, ended=ServiceStatus.TERMINATED.value)
    if services:
        raise NotErasable(f"{services} services of this customer are open; terminate them first")
    subscriptions = await _count_open(tx, list_subscriptions, row, ended=SubscriptionStatus.CANCELED.value)
    if subscriptions:
        raise NotErasable(f"{subscriptions} subscriptions of this customer are active; cancel them first")
    for currency in await list_customer_currencies(tx, [row.id]):
        balance = await customer_balance(tx, row.id, currency)
        if balance:
            raise NotErasable(
                f"the account is not even: {balance} minor units of {currency}; collect, credit or pay it back first"
            )


async def _count_open(
    tx: Tx, listed: Callable[..., Awaitable[Page[Any]]], row: Customer, *, ended: str
) -> int:
    window = Window(0, 1)
    every = await listed(tx, window, customer_id=row.id)
    return every.total - (await listed(tx, window, customer_id=row.id, status=ended)).total
