"""Every read of billing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
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
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on

from demarc.kernel.clock import local_date
from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.billing.ledger import receivable
from demarc.modules.billing.models import (
    billing_run,
    invoice,
    invoice_line,
    ledger_account,
    ledger_entry,
    ledger_transaction,
    payment,
    payment_allocation,
    tax_rule,
)
from demarc.modules.billing.states import OPEN_INVOICE, InvoiceStatus, LineKind, PaymentStatus


@dataclass(frozen=True, slots=True)
class Invoice:
    """One row; `ref` is the id on `/api`. Amounts are minor units."""

    tenant_id: int
    id: int
    uid: UUID
    ref: str
    number: str
    customer_id: int
    subscription_id: int | None
    status: str
    currency: str
    subtotal_minor: int
    tax_minor: int
    total_minor: int
    paid_minor: int
    issued_on: date
    due_on: date
    period_start: datetime | None
    period_end: datetime | None
    month_on: date | None
    created_at: datetime
    updated_at: datetime

    @property
    def open_minor(self) -> int:
        """What is still to be paid; nothing once the invoice is void or refunded."""
        return self.total_minor - self.paid_minor if InvoiceStatus(self.status) in OPEN_INVOICE else 0


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    tenant_id: int
    invoice_id: int
    position: int
    kind: str
    description: str
    usage_type: str | None
    quantity: Decimal
    unit: str
    unit_price: Decimal | None
    octets: int | None
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Payment:
    """One row. `amount_minor` less `allocated_minor` is the customer's credit."""

    tenant_id: int
    id: int
    uid: UUID
    customer_id: int
    amount_minor: int
    allocated_minor: int
    currency: str
    method: str
    reference: str | None
    invoice_id: int | None
    status: str
    received_at: datetime
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Allocation:
    tenant_id: int
    payment_id: int
    invoice_id: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class TaxRule:
    tenant_id: int
    id: int
    name: str
    rate: Decimal
    effective_on: date


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One entry with its transaction and account: debit positive, credit negative."""

    id: int
    transaction_id: int
    kind: str
    entity: str
    entity_id: int
    memo: str
    posted_at: datetime
    account: str
    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class AccountBalance:
    account: str
    currency: str
    balance_minor: int


@dataclass(frozen=True, slots=True)
class Run:
    """A monthly run and how far it is."""

    tenant_id: int
    id: int
    uid: UUID
    month_on: date
    subscription_id: int | None
    status: str
    after_subscription_id: int
    subscriptions: int
    billed: int
    unchanged: int
    failed: int
    failures: list[dict[str, Any]]
    total_minor: int
    created_at: datetime
    updated_at: datetime


_OPEN: list[ColumnElement[str]] = [literal_column(f"'{status.value}'") for status in OPEN_INVOICE]
"""Constants of the statement: a list of values is no prepared statement's, and hides the partial index."""
_IDS = any_(bindparam("ids", type_=ARRAY(BigInteger)))
_INVOICE = select(invoice).where(mine(invoice))
_BY_REF = Query(_INVOICE.where(invoice.c.ref == bindparam("ref")))
_BY_REF_LOCKED = Query(_INVOICE.where(invoice.c.ref == bindparam("ref")).with_for_update())
_BY_ID = Query(_INVOICE.where(invoice.c.id == bindparam("id")))
_BY_IDS = Query(_INVOICE.where(invoice.c.id == _IDS).order_by(invoice.c.id))
_OF_MONTH = Query(
    _INVOICE.where(
        invoice.c.subscription_id == bindparam("subscription_id"),
        invoice.c.month_on == bindparam("month_on", type_=Date),
        invoice.c.status != InvoiceStatus.VOID.value,
    )
)
_OPEN_OF_CUSTOMER = Query(
    _INVOICE.where(
        invoice.c.customer_id == bindparam("customer_id"),
        invoice.c.currency == bindparam("currency"),
        invoice.c.status.in_(_OPEN),
        invoice.c.paid_minor < invoice.c.total_minor,
    ).order_by(invoice.c.due_on, invoice.c.id)
)
_DUE = Query(
    _INVOICE.where(
        invoice.c.status == InvoiceStatus.PENDING.value, invoice.c.due_on < bindparam("today", type_=Date)
    )
    .order_by(invoice.c.id)
    .with_for_update(skip_locked=True)
)
_USAGE_INVOICE_OF_SPAN = Query(
    _INVOICE.where(
        invoice.c.subscription_id == bindparam("subscription_id"),
        invoice.c.status != InvoiceStatus.VOID.value,
        invoice.c.period_start < bindparam("end", type_=DateTime(timezone=True)),
        invoice.c.period_end > bindparam("start", type_=DateTime(timezone=True)),
        exists().where(
            invoice_line.c.tenant_id == invoice.c.tenant_id,
            invoice_line.c.invoice_id == invoice.c.id,
            invoice_line.c.kind == LineKind.USAGE.value,
        ),
    )
    .order_by(invoice.c.id.desc())
    .limit(1)
)
_LINES = Query(
    select(invoice_line)
    .where(mine(invoice_line), invoice_line.c.invoice_id == _IDS)
    .order_by(invoice_line.c.invoice_id, invoice_line.c.position)
)
_OVERDUE_BALANCE = Query(
    select(func.coalesce(func.sum(invoice.c.total_minor - invoice.c.paid_minor), 0)).where(
        mine(invoice),
        invoice.c.subscription_id == bindparam("subscription_id"),
        invoice.c.status.in_(_OPEN),
        invoice.c.due_on < bindparam("today", type_=Date),
    )
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
_RATES = Query(
    select(tax_rule)
    .where(mine(tax_rule), tax_rule.c.effective_on <= bindparam("on", type_=Date))
    .ext(distinct_on(tax_rule.c.name))
    .order_by(tax_rule.c.name, tax_rule.c.effective_on.desc())
)

_PAYMENT = select(payment).where(mine(payment))
_PAYMENT_BY_UID = Query(_PAYMENT.where(payment.c.uid == bindparam("uid")))
_PAYMENT_BY_REFERENCE = Query(
    _PAYMENT.where(payment.c.method == bindparam("method"), payment.c.reference == bindparam("reference"))
)
_CREDITS = Query(
    _PAYMENT.where(
        payment.c.customer_id == bindparam("customer_id"),
        payment.c.currency == bindparam("currency"),
        payment.c.status == PaymentStatus.RECEIVED.value,
        payment.c.allocated_minor < payment.c.amount_minor,
    ).order_by(payment.c.id)
)
_LIFETIME = Query(
    select(func.coalesce(func.sum(payment.c.amount_minor), 0)).where(
        mine(payment),
        payment.c.customer_id == bindparam("customer_id"),
        payment.c.currency == bindparam("currency"),
        payment.c.status == PaymentStatus.RECEIVED.value,
    )
)
_ALLOCATIONS_OF_PAYMENTS = Query(
    select(payment_allocation)
    .where(mine(payment_allocation), payment_allocation.c.payment_id == _IDS)
    .order_by(payment_allocation.c.payment_id, payment_allocation.c.invoice_id)
)
_ALLOCATIONS_OF_INVOICE = Query(
    select(payment_allocation).where(
        mine(payment_allocation), payment_allocation.c.invoice_id == bindparam("invoice_id")
    )
)
_RUN = Query(select(billing_run).where(mine(billing_run), billing_run.c.uid == bindparam("uid")))
_RUN_LOCKED = Query(
    select(billing_run).where(mine(billing_run), billing_run.c.id == bindparam("id")).with_for_update()
)

INVOICES = Listing(
    invoice,
    filters={
        "status": invoice.c.status == bindparam("status"),
        "customer_id": invoice.c.customer_id == bindparam("customer_id"),
        "subscription_id": invoice.c.subscription_id == bindparam("subscription_id"),
        "overdue_on": and_(
            invoice.c.status.in_(_OPEN),
            invoice.c.due_on < bindparam("overdue_on", type_=Date),
        ),
        "not_overdue_on": or_(
            invoice.c.status.not_in(_OPEN),
            invoice.c.due_on >= bindparam("not_overdue_on", type_=Date),
        ),
    },
    sorts={
        "created_at": invoice.c.id,
        "due_date": invoice.c.due_on,
        "issue_date": invoice.c.issued_on,
        "total_amount": invoice.c.total_minor,
    },
    default_sort="created_at",
)
PAYMENTS = Listing(
    payment,
    filters={
        "customer_id": payment.c.customer_id == bindparam("customer_id"),
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
RUNS = Listing(
    billing_run,
    filters={"month_on": billing_run.c.month_on == bindparam("month_on", type_=Date)},
    sorts={"created_at": billing_run.c.id},
    default_sort="-created_at",
)


async def find_invoice(tx: Tx, ref: str) -> Invoice | None:
    return await tx.find(_BY_REF, Invoice, ref=ref)


async def get_invoice(tx: Tx, ref: str) -> Invoice:
    """Raises `NotFound`."""
    return _known(await find_invoice(tx, ref), ref)


async def lock_invoice(tx: Tx, ref: str) -> Invoice:
    """The invoice, locked until the transaction ends; raises `NotFound`."""
    return _known(await tx.find(_BY_REF_LOCKED, Invoice, ref=ref), ref)


async def get_invoice_by_id(tx: Tx, invoice_id: int) -> Invoice:
    """Raises `NotFound`."""
    return _known(await tx.find(_BY_ID, Invoice, id=invoice_id), str(invoice_id))


def _known(found: Invoice | None, name: str) -> Invoice:
    if found is None:
        raise NotFound(f"no invoice {name}")
    return found


async def get_invoices_by_ids(tx: Tx, ids: Collection[int]) -> dict[int, Invoice]:
    """Those of them that exist."""
    return {row.id: row for row in await tx.fetch(_BY_IDS, Invoice, ids=[*ids])}


async def list_invoices(
    tx: Tx, window: Window, *, sort: str | None = None, overdue: bool | None = None, **filters: Any
) -> Page[Invoice]:
    """Filters: status, customer_id, subscription_id (internal ids), overdue (past due by the tenant's date)."""
    if overdue is not None:
        filters["overdue_on" if overdue else "not_overdue_on"] = today(tx)
    return await INVOICES.page(tx, Invoice, window, sort=sort, **filters)


async def list_invoice_lines(tx: Tx, invoice_ids: Collection[int]) -> dict[int, list[InvoiceLine]]:
    """The lines of these invoices, each in order."""
    lines: dict[int, list[InvoiceLine]] = {invoice_id: [] for invoice_id in invoice_ids}
    for line in await tx.fetch(_LINES, InvoiceLine, ids=[*invoice_ids]):
        lines[line.invoice_id].append(line)
    return lines


async def find_month_invoice(tx: Tx, subscription_id: int, month_on: date) -> Invoice | None:
    """What the monthly run made of this subscription and month, unless it was voided."""
    return await tx.find(_OF_MONTH, Invoice, subscription_id=subscription_id, month_on=month_on)


async def find_usage_invoice(tx: Tx, subscription_id: int, start: datetime, end: datetime) -> Invoice | None:
    """The newest invoice, not void, that bills usage of this subscription in [start, end)."""
    return await tx.find(
        _USAGE_INVOICE_OF_SPAN, Invoice, subscription_id=subscription_id, start=start, end=end
    )


async def list_open_invoices(tx: Tx, customer_id: int, currency: str) -> list[Invoice]:
    """What a customer has still to pay, oldest due first."""
    return await tx.fetch(_OPEN_OF_CUSTOMER, Invoice, customer_id=customer_id, currency=currency)


async def claim_due_invoices(tx: Tx) -> list[Invoice]:
    """Pending invoices past their due date, locked; what another sweep holds is left to it."""
    return await tx.fetch(_DUE, Invoice, today=today(tx))


async def overdue_balance(tx: Tx, subscription_id: int) -> int:
    """What is past due on a subscription at `tx.now`, minor units, whatever the sweep has marked so far."""
    return int(await tx.value(_OVERDUE_BALANCE, subscription_id=subscription_id, today=today(tx)))


async def recovered_since(tx: Tx, subscription_id: int, since: datetime) -> int:
    """What payments since then paid of a subscription's invoices that were past due that day, minor units."""
    return int(
        await tx.value(
            _PAID_LATE, subscription_id=subscription_id, since=since, time_zone=tx.tenant.time_zone
        )
    )


async def lifetime_value(tx: Tx, customer_id: int) -> int:
    """What a customer ever paid, minor units of the tenant's currency."""
    return int(await tx.value(_LIFETIME, customer_id=customer_id, currency=tx.tenant.currency))


async def list_tax_rules(tx: Tx, on: date) -> list[TaxRule]:
    """The rules in force on a day: of each name the latest."""
    return await tx.fetch(_RATES, TaxRule, on=on)


async def get_payment(tx: Tx, uid: UUID) -> Payment:
    """Raises `NotFound`."""
    found = await tx.find(_PAYMENT_BY_UID, Payment, uid=uid)
    if found is None:
        raise NotFound(f"no payment {uid}")
    return found


async def find_payment(tx: Tx, method: str, reference: str) -> Payment | None:
    return await tx.find(_PAYMENT_BY_REFERENCE, Payment, method=method, reference=reference)


async def list_payments(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Payment]:
    """Filters: customer_id, invoice_id (internal ids; invoice: that it paid at least a part of), method, reference."""
    return await PAYMENTS.page(tx, Payment, window, sort=sort, **filters)


async def list_credits(tx: Tx, customer_id: int, currency: str) -> list[Payment]:
    """A customer's payments that are not used up, oldest first."""
    return await tx.fetch(_CREDITS, Payment, customer_id=customer_id, currency=currency)


async def list_allocations(tx: Tx, payment_ids: Collection[int]) -> dict[int, list[Allocation]]:
    """Where these payments went."""
    allocations: dict[int, list[Allocation]] = {payment_id: [] for payment_id in payment_ids}
    for row in await tx.fetch(_ALLOCATIONS_OF_PAYMENTS, Allocation, ids=[*payment_ids]):
        allocations[row.payment_id].append(row)
    return allocations


async def list_allocations_of_invoice(tx: Tx, invoice_id: int) -> list[Allocation]:
    return await tx.fetch(_ALLOCATIONS_OF_INVOICE, Allocation, invoice_id=invoice_id)


async def get_run(tx: Tx, uid: UUID) -> Run:
    """Raises `NotFound`."""
    found = await tx.find(_RUN, Run, uid=uid)
    if found is None:
        raise NotFound(f"no billing run {uid}")
    return found


async def lock_run(tx: Tx, run_id: int) -> Run:
    """The run, locked until the transaction ends."""
    found = await tx.find(_RUN_LOCKED, Run, id=run_id)
    if found is None:
        raise NotFound(f"no billing run {run_id}")
    return found


async def list_runs(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Run]:
    """Filter: month_on."""
    return await RUNS.page(tx, Run, window, sort=sort, **filters)


def today(tx: Tx) -> date:
    """The tenant's calendar day at `tx.now`."""
    return local_date(tx.now, tx.tenant.time_zone)


_ENTRIES_OF_BOOK = ledger_entry.join(
    ledger_transaction,
    and_(
        ledger_transaction.c.tenant_id == ledger_entry.c.tenant_id,
        ledger_transaction.c.id == ledger_entry.c.transaction_id,
    ),
).join(
    ledger_account,
    and_(
        ledger_account.c.tenant_id == ledger_entry.c.tenant_id,
        ledger_account.c.id == ledger_entry.c.account_id,
    ),
)
_CUSTOMERS_ENTRY = ledger_entry.alias("customers_entry")
_CUSTOMERS_ACCOUNT = ledger_account.alias("customers_account")
_TOUCHES_CUSTOMER = ledger_entry.c.transaction_id.in_(
    select(_CUSTOMERS_ENTRY.c.transaction_id)
    .join(
        _CUSTOMERS_ACCOUNT,
        and_(
            _CUSTOMERS_ACCOUNT.c.tenant_id == _CUSTOMERS_ENTRY.c.tenant_id,
            _CUSTOMERS_ACCOUNT.c.id == _CUSTOMERS_ENTRY.c.account_id,
        ),
    )
    .where(
        _CUSTOMERS_ACCOUNT.c.tenant_id == bindparam("tenant_id"),
        _CUSTOMERS_ACCOUNT.c.customer_id == bindparam("customer_id"),
    )
)


def _entries_query(*, of_customer: bool) -> Query:
    entry = ledger_entry.c
    chosen = (mine(ledger_entry), _TOUCHES_CUSTOMER) if of_customer else (mine(ledger_entry),)
    return Query(
        select(
            entry.id,
            entry.transaction_id,
            ledger_transaction.c.kind,
            ledger_transaction.c.entity,
            ledger_transaction.c.entity_id,
            ledger_transaction.c.memo,
            ledger_transaction.c.posted_at,
            ledger_account.c.code.label("account"),
            ledger_account.c.currency,
            entry.amount_minor,
        )
        .select_from(_ENTRIES_OF_BOOK)
        .where(*chosen)
        .order_by(entry.id)
        .limit(bindparam("window_limit", type_=BigInteger))
        .offset(bindparam("window_skip", type_=BigInteger))
    )


def _balances_query(*, of_customer: bool) -> Query:
    chosen = (mine(ledger_entry), _TOUCHES_CUSTOMER) if of_customer else (mine(ledger_entry),)
    return Query(
        select(
            ledger_account.c.code.label("account"),
            ledger_account.c.currency,
            func.sum(ledger_entry.c.amount_minor).label("balance_minor"),
        )
        .select_from(_ENTRIES_OF_BOOK)
        .where(*chosen)
        .group_by(ledger_account.c.code, ledger_account.c.currency)
        .order_by(ledger_account.c.code, ledger_account.c.currency)
    )


def _count_query(*, of_customer: bool) -> Query:
    chosen = (mine(ledger_entry), _TOUCHES_CUSTOMER) if of_customer else (mine(ledger_entry),)
    return Query(select(func.count()).select_from(ledger_entry).where(*chosen))


_ENTRIES = {choice: _entries_query(of_customer=choice) for choice in (True, False)}
_BALANCES = {choice: _balances_query(of_customer=choice) for choice in (True, False)}
_COUNTS = {choice: _count_query(of_customer=choice) for choice in (True, False)}
_BALANCE = Query(
    select(func.coalesce(func.sum(ledger_entry.c.amount_minor), 0))
    .select_from(
        ledger_entry.join(
            ledger_account,
            and_(
                ledger_account.c.tenant_id == ledger_entry.c.tenant_id,
                ledger_account.c.id == ledger_entry.c.account_id,
            ),
        )
    )
    .where(
        mine(ledger_account),
        ledger_account.c.code == bindparam("code", type_=Text),
        ledger_account.c.currency == bindparam("currency"),
    )
)


async def list_ledger_entries(tx: Tx, window: Window, customer_id: int | None = None) -> Page[LedgerEntry]:
    """Every entry of the transactions that touch a customer's account (None: all), in the order they were written."""
    given = {} if customer_id is None else {"customer_id": customer_id}
    of_customer = customer_id is not None
    rows = await tx.fetch(
        _ENTRIES[of_customer], LedgerEntry, window_limit=window.limit, window_skip=window.skip, **given
    )
    return Page(rows, int(await tx.value(_COUNTS[of_customer], **given)), window)


async def list_balances(tx: Tx, customer_id: int | None = None) -> list[AccountBalance]:
    """What the entries of `list_ledger_entries` come to per account; over all accounts they sum to zero."""
    given = {} if customer_id is None else {"customer_id": customer_id}
    rows = await tx.fetch(_BALANCES[customer_id is not None], AccountBalance, **given)
    return [AccountBalance(row.account, row.currency, int(row.balance_minor)) for row in rows]


async def customer_balance(tx: Tx, customer_id: int, currency: str | None = None) -> int:
    """What a customer owes by the ledger, minor units; below zero it is credit."""
    code = receivable(customer_id).code
    return int(await tx.value(_BALANCE, code=code, currency=currency or tx.tenant.currency))


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """A customer's account in the tenant's currency: `balance_minor` is `open_minor` less `credit_minor`."""

    balance_minor: int
    open_minor: int
    overdue_minor: int
    credit_minor: int
    lifetime_minor: int


async def account_summary(tx: Tx, customer_id: int) -> AccountSummary:
    """What a customer owes, what of it is overdue, and what he has left over."""
    currency = tx.tenant.currency
    owed = await list_open_invoices(tx, customer_id, currency)
    credit = await list_credits(tx, customer_id, currency)
    return AccountSummary(
        balance_minor=await customer_balance(tx, customer_id),
        open_minor=sum(row.open_minor for row in owed),
        overdue_minor=sum(row.open_minor for row in owed if row.due_on < today(tx)),
        credit_minor=sum(row.amount_minor - row.allocated_minor for row in credit),
        lifetime_minor=await lifetime_value(tx, customer_id),
    )
