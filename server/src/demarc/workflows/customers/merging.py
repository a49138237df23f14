"""Two records of one customer become one."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.modules.billing.service import MovedBalance, hold_accounts, list_balances_to_move, move_balances
from demarc.modules.customers.queries import Customer, get_customer, lock_customers
from demarc.modules.customers.service import mark_merged, refuse_erased
from demarc.workflows.customers.holdings import KEPT, count_rows, direct_holdings, hand_over


@dataclass(frozen=True, slots=True)
class Merged:
    """What moved, or would: table -> rows, and what both owed before, by currency."""

    survivor: Customer
    source: Customer
    moved: dict[str, int]
    balances: list[MovedBalance]


async def preview_merge(tx: Tx, survivor_uid: UUID, source_uid: UUID) -> Merged:
    """What `merge_customers` would do; nothing is changed.

    Raises:
        NotFound: one of them is not there, or was merged already.
        Invalid: they are the same.
        CustomerErased: of one of them nothing is known any more.
    """
    survivor, source = await _both(tx, survivor_uid, source_uid)
    moved = {
        holding.name: await count_rows(tx, holding, source.id)
        for holding in direct_holdings()
        if holding.name not in KEPT
    }
    balances = await list_balances_to_move(tx, source.id, survivor.id)
    return Merged(survivor, source, moved, balances)


async def merge_customers(tx: Tx, survivor_uid: UUID, source_uid: UUID) -> Merged:
    """Everything that hangs on the source hangs on the survivor from now on, its balance too.

    The ledger's entries stay where they were written: what the source owed is booked over, so that both accounts and
    the whole still add up. Credit of one pays what is open of the other. Asked for again, the source names the survivor.

    Raises:
        NotFound: one of them is not there, or was merged already.
        Invalid: they are the same.
        CustomerErased: of one of them nothing is known any more.
    """
    survivor, source = await _both(tx, survivor_uid, source_uid)
    await lock_customers(tx, survivor.id, source.id)
    survivor, source = await _both(tx, survivor_uid, source_uid)
    await hold_accounts(tx, source.id, survivor.id)
    moved = {
        holding.name: await hand_over(tx, holding, source.id, survivor.id)
        for holding in direct_holdings()
        if holding.name not in KEPT
    }
    memo = f"{source.uid} merged into {survivor.uid}"
    balances = await move_balances(tx, source.id, survivor.id, memo=memo)
    return Merged(await mark_merged(tx, source, survivor), source, moved, balances)


async def _both(tx: Tx, survivor_uid: UUID, source_uid: UUID) -> tuple[Customer, Customer]:
    if survivor_uid == source_uid:
        raise invalid("duplicate_id", "is the customer itself")
    survivor, source = await get_customer(tx, survivor_uid), await get_customer(tx, source_uid)
    refuse_erased(survivor)
    refuse_erased(source)
    return survivor, source
