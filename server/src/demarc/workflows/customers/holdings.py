"""What hangs on a customer, found in the declared tables: a table that comes tomorrow is not forgotten.

A row is a customer's if it has his `customer_id`; a row of another table, if it names such a row by a foreign key, by
a column `<table>_id`, or by `entity` and `entity_id`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Table

from demarc.kernel.db import Tx
from demarc.kernel.schema import PERSONAL, TENANT_SCOPED
from demarc.modules.audit.service import public
from demarc.modules.registry import complete_metadata

KEPT = frozenset({"ledger_account"})
"""An account of the ledger stays whose it was; a merge books its balance over."""

COPIES = frozenset({"outbox_event"})
"""What is written of other rows: forgotten with them, but told nobody anything new."""

_LEFT_OUT = frozenset({"aaa_login", "audit_log"})
"""A projection, which ends with the subscriber; and the log, which is sealed and keeps its lines."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A table whose rows hang on a customer, with the SQL condition that finds them: `$1` tenant, `$2` customer."""

    table: Table
    condition: str

    @property
    def name(self) -> str:
        return self.table.name


@lru_cache(maxsize=1)
def direct_holdings() -> tuple[Holding, ...]:
    """The tables with a `customer_id`."""
    return tuple(
        Holding(table, "tenant_id = $1 AND customer_id = $2")
        for table in complete_metadata().sorted_tables
        if table.info.get(TENANT_SCOPED) and "customer_id" in table.c
    )


@lru_cache(maxsize=1)
def all_holdings() -> tuple[Holding, ...]:
    """The direct ones, and those that hang on them."""
    direct = {holding.name: holding for holding in direct_holdings()}
    further = [
        Holding(table, f"tenant_id = $1 AND ({' OR '.join(links)})")
        for table in complete_metadata().sorted_tables
        if table.info.get(TENANT_SCOPED)
        and table.name not in direct
        and table.name not in _LEFT_OUT
        and (links := _told_of(direct) if "entity_id" in table.c else _links(table, direct))
    ]
    return (*direct.values(), *further)


def _links(table: Table, direct: dict[str, Holding]) -> list[str]:
    by_key = {key.parent.name: key.column.table.name for key in table.foreign_keys if key.column.name == "id"}
    by_name = {f"{name}_id": name for name in direct}
    linked = {
        column.name: by_key.get(column.name, by_name.get(column.name, ""))
        for column in table.c
        if column.name != "tenant_id"
    }
    return [
        f"{column} IN (SELECT id FROM {target} WHERE {direct[target].condition})"  # noqa: S608 - names of our tables
        for column, target in linked.items()
        if target in direct
    ]


def _told_of(direct: dict[str, Holding]) -> list[str]:
    """Rows about the customer, or about a row of his that is known by the name of its table."""
    about = [
        f"(entity = '{name}' AND entity_id IN (SELECT id FROM {name} WHERE {holding.condition}))"  # noqa: S608 - our tables
        for name, holding in direct.items()
        if isinstance(getattr(holding.table.c.get("id"), "type", None), BigInteger)
    ]
    return ["(entity = 'customer' AND entity_id = $2)", *about]


async def count_rows(tx: Tx, holding: Holding, customer_id: int) -> int:
    sql = f"SELECT count(*) FROM {holding.name} WHERE {holding.condition}"  # noqa: S608 - names of our tables
    return int(await tx.connection.fetchval(sql, tx.tenant.id, customer_id))


async def hand_over(tx: Tx, holding: Holding, source_id: int, survivor_id: int) -> int:
    """Give the rows to another customer; how many."""
    sql = f"UPDATE {holding.name} SET customer_id = $3 WHERE {holding.condition}"  # noqa: S608 - names of our tables
    status: str = await tx.connection.execute(sql, tx.tenant.id, source_id, survivor_id)
    return int(status.rpartition(" ")[2])


async def forget_rows(tx: Tx, holding: Holding, customer_id: int) -> None:
    """Blank the columns that the tables declare as personal."""
    blanks = [
        f"{column.name} = {column.info[PERSONAL]}" for column in holding.table.c if PERSONAL in column.info
    ]
    if blanks:
        sql = f"UPDATE {holding.name} SET {', '.join(blanks)} WHERE {holding.condition}"  # noqa: S608 - declared
        await tx.connection.execute(sql, tx.tenant.id, customer_id)


async def read_uids(tx: Tx, holding: Holding, customer_id: int) -> list[str]:
    """The `/api` ids of the rows, where they have any."""
    if "uid" not in holding.table.c:
        return []
    sql = f"SELECT uid::text FROM {holding.name} WHERE {holding.condition}"  # noqa: S608 - names of our tables
    return [row[0] for row in await tx.connection.fetch(sql, tx.tenant.id, customer_id)]


async def read_rows(tx: Tx, holding: Holding, customer_id: int, *, limit: int) -> list[dict[str, Any]]:
    """The rows as they are stored, without secrets."""
    sql = f"SELECT * FROM {holding.name} WHERE {holding.condition} LIMIT $3"  # noqa: S608 - names of our tables
    rows = await tx.connection.fetch(sql, tx.tenant.id, customer_id, limit)
    return [public({name: value for name, value in row.items() if name != "tenant_id"}) for row in rows]
