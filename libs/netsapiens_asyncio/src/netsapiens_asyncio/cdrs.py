"""Call detail records: every one of a time span, each once, also while new ones arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from netsapiens_asyncio import _inputs as inputs
from netsapiens_asyncio._address import join
from netsapiens_asyncio._paging import PAGE, read_pages
from netsapiens_asyncio.auth import NetsapiensAPI, as_client
from netsapiens_asyncio.errors import InvalidInput, NetsapiensError, NotFound
from netsapiens_asyncio.records import Cdr, Count, UserCdr, as_list, put_right

SLICE = timedelta(days=1)
PASSES = 10
KINDS = ("Inbound", "Outbound", "On-net", "Off-net", "Missed", "Received")
T = TypeVar("T", Cdr, UserCdr)


class IncompleteCdrs(NetsapiensError):
    """The PBX counts more records than it lists, also after several passes. All that it lists were yielded."""


class CdrsAPI:
    """Call detail records.

    Args:
        auth_client: a `NetsapiensAPI`, or the dictionary its `get_token()` returned.
    """

    def __init__(self, auth_client: NetsapiensAPI | Mapping[str, Any]) -> None:
        self._client = as_client(auth_client)

    async def iterate(
        self,
        start: datetime,
        end: datetime,
        *,
        domain: str | None = "~",
        kind: str | None = None,
        page: int = PAGE,
    ) -> AsyncIterator[Cdr]:
        """Every CDR from `start` to `end` (both with a time zone), each exactly once.

        Read by slices of a day, so that memory holds the ids of two days. After each slice the PBX's own count is
        compared; what arrived late, anywhere in the order, is read in another pass.

        Args:
            start: of the span.
            end: of the span.
            domain: `~` is the account's own; None is all that the account may see.
            kind: Inbound, Outbound, On-net, Off-net, Missed or Received.
            page: records per request, 1 to 1000.

        Raises:
            InvalidInput: a time without zone, an unknown kind.
            IncompleteCdrs: the PBX counts more than it lists.
            ApiError, AuthenticationError, Unreachable, NoAnswer
        """
        _check(start, end, kind, page)
        owner = () if domain is None else ("domains", domain)
        before: set[object] = set()
        for since, until in slices(start, end):
            seen: set[object] = set()
            async for record in self._slice(owner, since, until, kind, page, seen):
                if _identity(record) not in before:  # the ends of slices belong to both
                    yield record
            before = seen

    async def _slice(
        self,
        owner: tuple[str, ...],
        since: datetime,
        until: datetime,
        kind: str | None,
        page: int,
        seen: set[object],
    ) -> AsyncIterator[Cdr]:
        params = _window(since, until, kind)

        async def fetch(offset: int, limit: int) -> list[Cdr]:
            wanted: dict[str, str | int] = {**params, "start": offset, "limit": limit}
            return as_list(await self._client.request("GET", join(*owner, "cdrs"), params=wanted), Cdr)

        idle = 0
        for _ in range(PASSES):
            known = len(seen)
            # A pass reads everything again, and yields what it did not know.
            async for record in _unseen(fetch, seen, page):
                yield record
            if await self._counted(owner, params) <= len(seen):
                return
            idle = idle + 1 if len(seen) == known else 0
            if idle > 1:
                break
        raise IncompleteCdrs(
            f"the PBX counts more CDRs from {since} to {until} than the {len(seen)} it lists; read that span again later"
        )

    async def _counted(self, owner: tuple[str, ...], params: Mapping[str, str]) -> int:
        """The PBX's own count; 0 on cores without that route."""
        try:
            answer = await self._client.request("GET", join(*owner, "cdrs", "count"), params=dict(params))
        except NotFound:
            return 0
        return int(put_right(answer, Count).get("total", 0))

    async def count(
        self, start: datetime, end: datetime, *, domain: str | None = "~", kind: str | None = None
    ) -> Count:
        """How many there are, with their minutes and seconds in all."""
        _check(start, end, kind, PAGE)
        owner = () if domain is None else ("domains", domain)
        answer = await self._client.request(
            "GET", join(*owner, "cdrs", "count"), params=_window(start, end, kind)
        )
        return put_right(answer, Count)

    async def iterate_user(
        self,
        start: datetime,
        end: datetime,
        *,
        domain: str = "~",
        user: str = "~",
        kind: str | None = None,
        page: int = PAGE,
    ) -> AsyncIterator[UserCdr]:
        """Every CDR of one user, in the shorter form that the PBX has for users."""
        _check(start, end, kind, page)
        path = join("domains", domain, "users", user, "cdrs")
        params = _window(start, end, kind)

        async def fetch(offset: int, limit: int) -> list[UserCdr]:
            wanted: dict[str, str | int] = {**params, "start": offset, "limit": limit}
            return as_list(await self._client.request("GET", path, params=wanted), UserCdr)

        async for record in read_pages(fetch, lambda each: each.get("cdr_id"), page=page):
            yield record


async def _unseen(fetch: Any, seen: set[object], page: int) -> AsyncIterator[Cdr]:
    known = frozenset(seen)
    async for record in read_pages(fetch, _identity, page=page):
        identity = _identity(record)
        seen.add(identity)
        if identity not in known:
            yield record


def _identity(record: Cdr) -> object:
    return record.get("id")


def slices(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The span in parts of a day at most."""
    while start < end:
        until = min(start + SLICE, end)
        yield start, until
        start = until


def _check(start: object, end: object, kind: str | None, page: int) -> None:
    if _check_moment("end", end) <= _check_moment("start", start):
        raise InvalidInput("end", "must be after start")
    if kind is not None and kind not in KINDS:
        raise InvalidInput("kind", f"{kind!r} is unknown; known are {', '.join(KINDS)}")
    if not 2 <= page <= PAGE:  # noqa: PLR2004
        raise InvalidInput("page", f"must be 2 to {PAGE}")


def _check_moment(field: str, value: object) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidInput(field, "must be a datetime with a time zone: datetime(..., tzinfo=UTC)")
    return value


def _window(start: datetime, end: datetime, kind: str | None) -> dict[str, str]:
    window = {
        "datetime-start": inputs.spell_moment("start", start),
        "datetime-end": inputs.spell_moment("end", end),
    }
    return window if kind is None else {**window, "type": kind}
