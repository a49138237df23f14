"""Lists: filters, a stable order and a window, each shape compiled once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from asyncpg import Record
from sqlalchemy import ColumnElement, FromClause, Table, and_, bindparam, func, select
from sqlalchemy.types import Integer

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine

T = TypeVar("T")


class Listing:
    """A list over one table.

    Args:
        table: what is listed; its primary key's `id` makes the order stable.
        filters: filter name -> condition that holds a `bindparam` of the same name.
        sorts: sort name -> column; `-name` in a request sorts downwards.
        default_sort: used when the request names none.
        joined: the table with what `extra` needs beside it, each row of the table exactly once.
        extra: columns answered beside the table's own.
    """

    def __init__(
        self,
        table: Table,
        *,
        filters: Mapping[str, ColumnElement[bool]],
        sorts: Mapping[str, ColumnElement[Any]],
        default_sort: str,
        joined: FromClause | None = None,
        extra: Sequence[ColumnElement[Any]] = (),
    ) -> None:
        self._table = table
        self._filters = filters
        self._sorts = sorts
        self._default_sort = default_sort
        self._source = table if joined is None else joined
        self._extra = tuple(extra)
        self._compiled: dict[tuple[frozenset[str], str], tuple[Query, Query]] = {}

    @cached_property
    def sort_names(self) -> tuple[str, ...]:
        return tuple(name for column in self._sorts for name in (column, f"-{column}"))

    async def page(
        self, tx: Tx, row: type[T], window: Window, *, sort: str | None = None, **filters: Any
    ) -> Page[T]:
        """One window of the list; filters that are None do not count.

        Raises:
            Invalid: the sort is not known.
        """
        records, total = await self.records(tx, window, sort=sort, **filters)
        if not records:
            return Page([], total, window)
        names = tuple(records[0].keys())[:-1]
        rows = [row(**dict(zip(names, record, strict=False))) for record in records]
        return Page(rows, total, window)

    async def records(
        self, tx: Tx, window: Window, *, sort: str | None = None, **filters: Any
    ) -> tuple[list[Record], int]:
        """Like `page`, as the driver's own records, whose last column is the total: for lists that have to be fast."""
        given = {name: value for name, value in filters.items() if value is not None}
        rows_query, count_query = self._queries(frozenset(given), sort or self._default_sort)
        records = await tx.connection.fetch(
            rows_query.sql,
            *rows_query.arguments(
                {**given, "tenant_id": tx.tenant.id, "window_skip": window.skip, "window_limit": window.limit}
            ),
        )
        total = records[0]["total"] if records else 0
        if not records and window.skip:
            total = await tx.value(count_query, **given)
        return records, total

    def _queries(self, names: frozenset[str], sort: str) -> tuple[Query, Query]:
        known = self._compiled.get((names, sort))
        if known is None:
            known = self._compiled[names, sort] = self._compile(names, sort)
        return known

    def _compile(self, names: frozenset[str], sort: str) -> tuple[Query, Query]:
        column = self._sorts.get(sort.removeprefix("-"))
        if column is None:
            raise invalid("sort", f"sort by one of {', '.join(self.sort_names)}")
        table = self._table
        condition = and_(mine(table), *(self._filters[name] for name in sorted(names)))
        count = select(func.count()).select_from(table).where(condition)
        order = (
            (column.desc(), table.c.id.desc()) if sort.startswith("-") else (column.asc(), table.c.id.asc())
        )
        rows = (
            select(table, *self._extra, count.scalar_subquery().label("total"))
            .select_from(self._source)
            .where(condition)
            .order_by(*order)
            .limit(bindparam("window_limit", type_=Integer))
            .offset(bindparam("window_skip", type_=Integer))
        )
        return Query(rows), Query(count)
