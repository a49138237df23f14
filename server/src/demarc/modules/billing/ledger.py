"""The double-entry ledger: what is written into it. Debit positive, credit negative, every transaction sums to zero."""

from __future__ import annotations

from dataclasses import dataclass

from demarc.kernel.db import Tx
from demarc.modules.billing.errors import customer_merged
from demarc.modules.billing.states import AccountKind

_FIND = "SELECT id FROM ledger_account WHERE tenant_id = $1 AND code = $2 AND currency = $3"
_IS_CLOSED = "SELECT closed_at IS NOT NULL FROM ledger_account WHERE tenant_id = $1 AND id = $2"
_CLOSE = "UPDATE ledger_account SET closed_at = $3 WHERE tenant_id = $1 AND customer_id = $2"
_OPEN = """
INSERT INTO ledger_account (tenant_id, code, currency, kind, customer_id) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
"""
_TRANSACTION = """
INSERT INTO ledger_transaction (tenant_id, kind, entity, entity_id, memo, posted_at)
VALUES ($1, $2, $3, $4, $5, $6) RETURNING id
"""
_ENTRIES = """
INSERT INTO ledger_entry (tenant_id, transaction_id, account_id, amount_minor)
SELECT $1, $2, account_id, amount_minor FROM unnest($3::bigint[], $4::bigint[]) AS e(account_id, amount_minor)
WHERE amount_minor <> 0
"""


@dataclass(frozen=True, slots=True)
class AccountKey:
    """An account of the chart; the same code exists once per currency."""

    code: str
    kind: AccountKind
    customer_id: int | None = None


CASH = AccountKey("cash", AccountKind.ASSET)
INCOME = AccountKey("income", AccountKind.INCOME)
TAX_PAYABLE = AccountKey("tax_payable", AccountKind.LIABILITY)


def receivable(customer_id: int) -> AccountKey:
    """What a customer owes; below zero it is the customer's credit."""
    return AccountKey(f"receivable:{customer_id}", AccountKind.ASSET, customer_id)


async def account_id(tx: Tx, key: AccountKey, currency: str, *, lock: bool = False) -> int:
    """The account's id; it is opened when it is not there. `lock` holds it until the transaction ends."""
    sql = f"{_FIND} FOR UPDATE" if lock else _FIND
    found: int | None = await tx.connection.fetchval(sql, tx.tenant.id, key.code, currency)
    if found is None:
        await tx.connection.execute(_OPEN, tx.tenant.id, key.code, currency, key.kind.value, key.customer_id)
        found = await tx.connection.fetchval(sql, tx.tenant.id, key.code, currency)
    if found is None:
        raise AssertionError("the account was just opened")
    return found


async def lock_customer(tx: Tx, customer_id: int, currency: str) -> None:
    """Hold a customer's money until the transaction ends: everything that allocates starts with it.

    Raises:
        Conflict: the customer was merged into another meanwhile.
    """
    found = await account_id(tx, receivable(customer_id), currency, lock=True)
    if await tx.connection.fetchval(_IS_CLOSED, tx.tenant.id, found):
        raise customer_merged()


async def close_accounts(tx: Tx, customer_id: int) -> None:
    """Nothing is booked for this customer any more; whoever waits for the lock finds it closed."""
    await tx.connection.execute(_CLOSE, tx.tenant.id, customer_id, tx.now)


async def post(
    tx: Tx,
    kind: str,
    *,
    entity: str,
    entity_id: int,
    currency: str,
    amounts: dict[AccountKey, int],
    memo: str,
) -> None:
    """Write one transaction; zero amounts are left out, a transaction of nothing but zeros is not written.

    Args:
        tx: the transaction of what is booked.
        kind: `noun.past`; once per entity.
        entity: what it is about, and its id.
        entity_id: the row's id.
        currency: of all amounts.
        amounts: debit positive, credit negative, minor units; they sum to zero.
        memo: for a person.
    """
    if not any(amounts.values()):
        return
    if sum(amounts.values()):
        raise AssertionError(f"the entries of {kind} {entity_id} do not sum to zero")
    accounts = [await account_id(tx, key, currency) for key in amounts]
    transaction_id = await tx.connection.fetchval(
        _TRANSACTION, tx.tenant.id, kind, entity, entity_id, memo, tx.now
    )
    await tx.connection.execute(_ENTRIES, tx.tenant.id, transaction_id, accounts, list(amounts.values()))
