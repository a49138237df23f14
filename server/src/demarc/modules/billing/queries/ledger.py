"""Reads of the ledger, and what it says that a customer owes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.billing.ledger import receivable
from demarc.modules.billing.models import (
    ledger_account,
    ledger_entry,
    ledger_transaction,
)
from demarc.modules.billing.queries.invoices import list_open_invoices, today
from demarc.modules.billing.queries.payments import lifetime_value, list_credits


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
class StatementEntry:
    """One entry on a customer's account (above zero: he owes more), and what he owed after it."""

    id: int
    transaction_id: int
    kind: str
    memo: str
    posted_at: datetime
    amount_minor: int
    balance_minor: int


@dataclass(frozen=True, slots=True)
class AccountBalance:
    account: str
    currency: str
    balance_minor: int


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """A customer's account in the tenant's currency: `balance_minor` is `open_minor` less `credit_minor`."""

    balance_minor: int
    open_minor: int
    overdue_minor: int
    credit_minor: int
    lifetime_minor: int


_MOMENT = DateTime(timezone=True)


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


_OF_JOURNAL = tuple(
    or_(bindparam(name, type_=kind).is_(None), condition)
    for name, kind, condition in (
        ("start", _MOMENT, ledger_transaction.c.posted_at >= bindparam("start", type_=_MOMENT)),
        ("end", _MOMENT, ledger_transaction.c.posted_at < bindparam("end", type_=_MOMENT)),
        ("kind", Text(), ledger_transaction.c.kind == bindparam("kind", type_=Text)),
    )
)
"""Whole transactions, so that what is chosen sums to zero."""


def _chosen(*, of_customer: bool) -> tuple[ColumnElement[bool], ...]:
    return (mine(ledger_entry), *_OF_JOURNAL, *((_TOUCHES_CUSTOMER,) if of_customer else ()))


def _entries_query(*, of_customer: bool, newest_first: bool) -> Query:
    entry = ledger_entry.c
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
        .where(*_chosen(of_customer=of_customer))
        .order_by(entry.id.desc() if newest_first else entry.id)
        .limit(bindparam("window_limit", type_=BigInteger))
        .offset(bindparam("window_skip", type_=BigInteger))
    )


def _balances_query(*, of_customer: bool) -> Query:
    """Of a customer by account; of all, what every customer owes is one account: there may be any number of them."""
    code = ledger_account.c.code
    account = code if of_customer else func.split_part(code, literal_column("':'"), literal_column("1"))
    return Query(
        select(
            account.label("account"),
            ledger_account.c.currency,
            func.sum(ledger_entry.c.amount_minor).label("balance_minor"),
        )
        .select_from(_ENTRIES_OF_BOOK)
        .where(*_chosen(of_customer=of_customer))
        .group_by(account, ledger_account.c.currency)
        .order_by(account, ledger_account.c.currency)
    )


def _count_query(*, of_customer: bool) -> Query:
    return Query(select(func.count()).select_from(_ENTRIES_OF_BOOK).where(*_chosen(of_customer=of_customer)))


_ENTRIES = {
    (of_customer, newest_first): _entries_query(of_customer=of_customer, newest_first=newest_first)
    for of_customer in (True, False)
    for newest_first in (True, False)
}
_SORTS = {None: False, "posted_at": False, "-posted_at": True}


_BALANCES = {choice: _balances_query(of_customer=choice) for choice in (True, False)}


_COUNTS = {choice: _count_query(of_customer=choice) for choice in (True, False)}


_ACCOUNT_BOOK = (
    select(
        ledger_entry.c.id,
        ledger_entry.c.transaction_id,
        ledger_transaction.c.kind,
        ledger_transaction.c.memo,
        ledger_transaction.c.posted_at,
        ledger_entry.c.amount_minor,
        cast(func.sum(ledger_entry.c.amount_minor).over(order_by=ledger_entry.c.id), BigInteger).label(
            "balance_minor"
        ),
    )
    .select_from(_ENTRIES_OF_BOOK)
    .where(
        mine(ledger_entry),
        ledger_account.c.code == bindparam("code", type_=Text),
        ledger_account.c.currency == bindparam("currency", type_=Text),
    )
    .subquery("account_book")
)


_OF_STATEMENT = tuple(
    or_(bindparam(name, type_=kind).is_(None), condition)
    for name, kind, condition in (
        (
            "start",
            _MOMENT,
            _ACCOUNT_BOOK.c.posted_at >= bindparam("start", type_=_MOMENT),
        ),
        ("end", _MOMENT, _ACCOUNT_BOOK.c.posted_at < bindparam("end", type_=_MOMENT)),
        ("kind", Text(), _ACCOUNT_BOOK.c.kind == bindparam("kind", type_=Text)),
    )
)


_STATEMENT = {
    newest_first: Query(
        select(_ACCOUNT_BOOK)
        .where(*_OF_STATEMENT)
        .order_by(_ACCOUNT_BOOK.c.id.desc() if newest_first else _ACCOUNT_BOOK.c.id)
        .limit(bindparam("window_limit", type_=BigInteger))
        .offset(bindparam("window_skip", type_=BigInteger))
    )
    for newest_first in (True, False)
}


_STATEMENT_COUNT = Query(select(func.count()).select_from(_ACCOUNT_BOOK).where(*_OF_STATEMENT))


_BALANCE_AT = Query(
    select(func.coalesce(func.sum(_ACCOUNT_BOOK.c.amount_minor), 0)).where(
        _ACCOUNT_BOOK.c.posted_at < bindparam("before", type_=_MOMENT)
    )
)


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


_CURRENCIES = Query(
    select(ledger_account.c.currency)
    .where(
        mine(ledger_account),
        ledger_account.c.customer_id == any_(bindparam("ids", type_=ARRAY(BigInteger))),
    )
    .distinct()
    .order_by(ledger_account.c.currency)
)


async def list_ledger_entries(
    tx: Tx, window: Window, customer_id: int | None = None, *, sort: str | None = None, **filters: Any
) -> Page[LedgerEntry]:
    """Every entry of the transactions that touch a customer's account (None: all), in the order they were written.

    Filters: start and end (posted in [start, end)), kind; they choose whole transactions.

    Raises:
        Invalid: the sort is not known (posted_at, -posted_at).
    """
    if sort not in _SORTS:
        raise invalid("sort", "sort by one of posted_at, -posted_at")
    given = _given(customer_id, filters)
    of_customer = customer_id is not None
    rows = await tx.fetch(
        _ENTRIES[of_customer, _SORTS[sort]],
        LedgerEntry,
        window_limit=window.limit,
        window_skip=window.skip,
        **given,
    )
    return Page(rows, int(await tx.value(_COUNTS[of_customer], **given)), window)


async def list_statement(
    tx: Tx, window: Window, customer_id: int, currency: str, *, sort: str | None = None, **filters: Any
) -> Page[StatementEntry]:
    """A customer's account entry by entry, each with the balance after it, in the order they were written.

    Filters: start and end (posted in [start, end)), kind. They leave entries out, not out of the balance.

    Raises:
        Invalid: the sort is not known (posted_at, -posted_at).
    """
    if sort not in _SORTS:
        raise invalid("sort", "sort by one of posted_at, -posted_at")
    code = receivable(customer_id).code
    given = {"start": None, "end": None, "kind": None, **filters, "code": code, "currency": currency}
    rows = await tx.fetch(
        _STATEMENT[_SORTS[sort]],
        StatementEntry,
        window_limit=window.limit,
        window_skip=window.skip,
        **given,
    )
    return Page(rows, int(await tx.value(_STATEMENT_COUNT, **given)), window)


def _given(customer_id: int | None, filters: dict[str, Any]) -> dict[str, Any]:
    given = {"start": None, "end": None, "kind": None, **filters}
    return given if customer_id is None else {**given, "customer_id": customer_id}


async def list_balances(tx: Tx, customer_id: int | None = None, **filters: Any) -> list[AccountBalance]:
    """What the entries of `list_ledger_entries` come to per account; over all accounts they sum to zero.

    Without a customer the account `receivable` is what all customers owe.
    """
    given = _given(customer_id, filters)
    rows = await tx.fetch(_BALANCES[customer_id is not None], AccountBalance, **given)
    return [AccountBalance(row.account, row.currency, int(row.balance_minor)) for row in rows]


async def list_customer_currencies(tx: Tx, customer_ids: Collection[int]) -> list[str]:
    """In which currencies these customers have accounts."""
    given = {"tenant_id": tx.tenant.id, "ids": [*customer_ids]}
    rows = await tx.connection.fetch(_CURRENCIES.sql, *_CURRENCIES.arguments(given))
    return [row[0] for row in rows]


async def customer_balance(tx: Tx, customer_id: int, currency: str | None = None) -> int:
    """What a customer owes by the ledger, minor units; below zero it is credit."""
    code = receivable(customer_id).code
    return int(await tx.value(_BALANCE, code=code, currency=currency or tx.tenant.currency))


async def customer_balance_at(tx: Tx, customer_id: int, currency: str, before: datetime) -> int:
    """As `customer_balance`, by what was posted before that moment."""
    code = receivable(customer_id).code
    return int(await tx.value(_BALANCE_AT, code=code, currency=currency, before=before))


async def account_summary(tx: Tx, customer_id: int) -> AccountSummary:
    """What a customer owes, what of it is overdue, and what he has left over."""
    currency = tx.tenant.currency
    owed = await list_open_invoices(tx, customer_id, currency)
    credit = await list_credits(tx, customer_id, currency)
    return AccountSummary(
        balance_minor=await customer_balance(tx, customer_id),
        open_minor=sum(row.open_minor for row in owed),
        overdue_minor=sum(row.open_minor for row in owed if row.due_on < today(tx)),
        credit_minor=sum(row.free_minor for row in credit),
        lifetime_minor=await lifetime_value(tx, customer_id),
    )
