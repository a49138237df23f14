"""Pages of a list that changes while it is read."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from netsapiens_asyncio.errors import InvalidInput

log = logging.getLogger("netsapiens_asyncio")

PAGE = 1000  # the API's own most
T = TypeVar("T", bound=Mapping[str, Any])
Fetch = Callable[[int, int], Awaitable[list[T]]]


def check_limit(limit: object) -> None:
    """None for no limit, else a whole number from 1.

    Raises:
        InvalidInput
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InvalidInput("limit", "must be a whole number from 1, or None for no limit")


async def read_pages(
    fetch: Fetch[T],
    key: Callable[[T], object],
    *,
    page: int = PAGE,
    seen: set[object] | None = None,
) -> AsyncIterator[T]:
    """Every record once, in the PBX's order, by pages of `page`.

    `fetch(start, limit)` answers one page. Each page overlaps the one before it by a record. Records that arrived
    meanwhile push known ones onto the next page: these are left out. Records that went away pull unknown ones
    onto the page before: the overlap is then unknown, and that page is read again.
    """
    seen = set() if seen is None else seen
    overlap = 1 if page > 1 else 0
    start = 0
    steps_back = 0
    while True:
        records = await fetch(start, page)
        if start and overlap and records and key(records[0]) not in seen and steps_back < 10:  # noqa: PLR2004
            steps_back += 1
            start = max(0, start - page)
            continue
        fresh = 0
        for record in records:
            if (identity := key(record)) not in seen:
                seen.add(identity)
                fresh += 1
                yield record
        if len(records) < page:
            return
        if not fresh and start:
            log.warning("a list route repeats its page; it seems not to page, and may have more records")
            return
        start += len(records) - overlap


async def take(records: AsyncIterator[T], limit: int | None) -> list[T]:
    """The first `limit` records; all for None."""
    taken: list[T] = []
    async for record in records:
        taken.append(record)
        if limit is not None and len(taken) >= limit:
            break
    return taken
