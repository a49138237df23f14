"""SQLAlchemy Core as builder, asyncpg as driver: a statement is compiled once and run many times (ADR 0001)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Table, Text, bindparam, func, insert, update
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.sql.elements import ClauseElement

_DIALECT = asyncpg_dialect.dialect()  # type: ignore[no-untyped-call]


class Query:
    """A compiled statement. Its `bindparam` names are the keyword arguments it is run with."""

    __slots__ = ("_constants", "_names", "sql")

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self.sql = str(compiled)
        self._names: tuple[str, ...] = tuple(getattr(compiled, "positiontup", None) or ())
        constants: dict[str, Any] = dict(compiled.params)
        self._constants = constants

    @property
    def parameters(self) -> frozenset[str]:
        """The names it may be run with."""
        return frozenset(self._constants)

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Positional arguments in the order of `$1, $2, …`; an unknown name is a programming error."""
        unknown = values.keys() - self._constants.keys()
        if unknown:
            raise TypeError(f"the statement has no parameter {sorted(unknown)}")
        merged = {**self._constants, **values}
        return [merged[name] for name in self._names]


@lru_cache(maxsize=1024)
def insert_query(table: Table, columns: tuple[str, ...]) -> Query:
    """`INSERT … RETURNING *` for exactly these columns."""
    return Query(
        insert(table)
        .values({name: bindparam(name, type_=table.c[name].type) for name in columns})
        .returning(*table.c)
    )


@lru_cache(maxsize=1024)
def update_query(table: Table, columns: tuple[str, ...], keys: tuple[str, ...]) -> Query:
    """`UPDATE … WHERE key = :key_<name> … RETURNING *`."""
    statement = update(table).values({name: bindparam(name, type_=table.c[name].type) for name in columns})
    for name in keys:
        statement = statement.where(table.c[name] == bindparam(f"key_{name}", type_=table.c[name].type))
    return Query(statement.returning(*table.c))


def mine(table: Table) -> ColumnElement[bool]:
    """The explicit tenant predicate beside row-level security; `Tx` fills `:tenant_id` by itself."""
    return table.c.tenant_id == bindparam("tenant_id")


SEARCH = func.concat(
    "%", func.regexp_replace(bindparam("search", type_=Text), r"([\\%_])", r"\\\1", "g"), "%"
)
"""What `ilike` takes to find `:search` as a part of a text; in it `%`, `_` and a backslash mean themselves."""
