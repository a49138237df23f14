"""Two customers that turn out to be one: their money on one account."""

from __future__ import annotations

from dataclasses import dataclass

from demarc.kernel.db import Tx
from demarc.modules.billing.ledger import close_accounts, lock_customer, post, receivable
from demarc.modules.billing.queries import customer_balance, list_customer_currencies
from demarc.modules.billing.service.settlement import use_credit


@dataclass(frozen=True, slots=True)
class MovedBalance:
    """What both owed in one currency, minor units; below zero it is credit."""

    currency: str
    source_minor: int
    survivor_minor: int


async def list_balances_to_move(tx: Tx, source_id: int, survivor_id: int) -> list[MovedBalance]:
    """In each currency that one of them has an account in."""
    return [
        MovedBalance(
            currency,
            await customer_balance(tx, source_id, currency),
            await customer_balance(tx, survivor_id, currency),
        )
        for currency in await list_customer_currencies(tx, (source_id, survivor_id))
    ]


async def hold_accounts(tx: Tx, source_id: int, survivor_id: int) -> None:
    """Let nobody else bill or allocate the money of either until the transaction ends."""
    for customer_id in sorted((source_id, survivor_id)):
        for currency in await list_customer_currencies(tx, (source_id, survivor_id)):
            await lock_customer(tx, customer_id, currency)


async def move_balances(tx: Tx, source_id: int, survivor_id: int, *, memo: str) -> list[MovedBalance]:
    """Book what the source owes (or has left over) onto the survivor; entries that are there stay where they are.

    The caller has moved invoices and payments; credit of one then pays what is open of the other.
    """
    moved = await list_balances_to_move(tx, source_id, survivor_id)
    for one in moved:
        await post(
            tx,
            f"customer.merged.{one.currency}",
            entity="customer",
            entity_id=source_id,
            currency=one.currency,
            amounts={receivable(source_id): -one.source_minor, receivable(survivor_id): one.source_minor},
            memo=memo,
        )
        await use_credit(tx, survivor_id, one.currency)
    await close_accounts(tx, source_id)
    return moved
