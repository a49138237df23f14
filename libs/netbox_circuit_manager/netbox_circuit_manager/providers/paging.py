"""How carriers cut a list into pages, as data: page numbers, offsets, cursors, days with a next key.

A list counts as read only when it is complete. Where the carrier states a total it must be reached; where it does
not, pages are asked for until an empty one comes, so that a page cut short cannot pass for the last.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Literal, Protocol

from .errors import BadAnswer, IncompleteList

MAX_PAGES = 20_000
Row = Mapping[str, Any]
Where = Literal["query", "body"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One decoded answer: the JSON and the headers (lower case names)."""

    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListRequest:
    """What to ask for a list, before paging.

    Args:
        path: below the endpoint, beginning with a slash.
        rows: where the rows stand in the answer, as a dotted path; empty when the answer is the list itself.
        query: the query parameters; a value may be a list.
        body: the JSON body of a POST.
    """

    path: str
    rows: str = ""
    method: Literal["GET", "POST"] = "GET"
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None

    def with_values(self, values: Mapping[str, Any], where: Where) -> "ListRequest":
        """The same request with values added; a dotted name reaches into the body."""
        if where == "query":
            return replace(self, query={**self.query, **values})
        body: dict[str, Any] = dict(self.body or {})
        for name, value in values.items():
            _set(body, name, value)
        return replace(self, body=body)


Fetch = Callable[[ListRequest], Answer]


class Paging(Protocol):
    """Walks a list page by page."""

    def pages(self, fetch: Fetch, request: ListRequest) -> Iterator[list[Row]]:
        """The pages in order. Raises `BadAnswer` or `IncompleteList`."""
        ...


@dataclass(frozen=True, slots=True)
class SinglePage:
    """The whole list is one answer; `total`, where stated, must agree."""

    total: str = ""

    def pages(self, fetch: Fetch, request: ListRequest) -> Iterator[list[Row]]:
        answer = fetch(request)
        rows = read_rows(answer, request.rows)
        yield rows
        check_total(read_total(answer, self.total, ""), len(rows))


@dataclass(frozen=True, slots=True)
class PageNumber:
    """page=1, page=2, …; `more` is the path of a flag that says whether another page follows."""

    page: str = "page"
    size: str = "per_page"
    limit: int = 100
    first: int = 1
    more: str = ""
    total: str = ""
    where: Where = "query"

    def pages(self, fetch: Fetch, request: ListRequest) -> Iterator[list[Row]]:
        seen = 0
        total = None
        for number in range(self.first, self.first + MAX_PAGES):
            values = {self.page: number, self.size: self.limit}
            answer = fetch(request.with_values(values, self.where))
            rows = read_rows(answer, request.rows)
            seen += len(rows)
            yield rows
            total = read_total(answer, self.total, "") if self.total else total
            if self._ends(answer, rows, seen, total):
                check_total(total, seen)
                return
        raise BadAnswer(f"the list did not end within {MAX_PAGES} pages")

    def _ends(self, answer: Answer, rows: list[Row], seen: int, total: int | None) -> bool:
        if self.more:
            return not find(answer.body, self.more)
        return not rows or (total is not None and seen >= total)


@dataclass(frozen=True, slots=True)
class Offset:
    """offset/limit, top/skip: the next page begins where the rows received so far end."""

    offset: str = "offset"
    limit_name: str = "limit"
    limit: int = 100
    total: str = ""
    total_header: str = ""
    where: Where = "query"

    def pages(self, fetch: Fetch, request: ListRequest) -> Iterator[list[Row]]:
        seen = 0
        for _ in range(MAX_PAGES):
            answer = fetch(request.with_values({self.offset: seen, self.limit_name: self.limit}, self.where))
            rows = read_rows(answer, request.rows)
            total = read_total(answer, self.total, self.total_header)
            seen += len(rows)
            yield rows
            if not rows or (total is not None and seen >= total):
                check_total(total, seen)
                return
        raise BadAnswer(f"the list did not end within {MAX_PAGES} pages")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Each page names the next; the last one names none."""

    cursor: str = "cursor"
    next: str = "next"
    limit_name: str = ""
    limit: int = 100
    total: str = ""
    where: Where = "query"

    def pages(self, fetch: Fetch, request: ListRequest) -> Iterator[list[Row]]:
        if self.limit_name:
            request = request.with_values({self.limit_name: self.limit}, self.where)
        asked: set[str] = set()
        seen = 0
        position = ""
        for _ in range(MAX_PAGES):
            step = request.with_values({self.cursor: position}, self.where) if position else request
            answer = fetch(step)
            rows = read_rows(answer, request.rows)
            seen += len(rows)
            yield rows
            asked.add(position)
            position = str(find(answer.body, self.next) or "")
            if not position:
                check_total(read_total(answer, self.total, ""), seen)
                return
            if position in asked:
                raise BadAnswer("the list names a page that was read before: it would never end")
        raise BadAnswer(f"the list did not end within {MAX_PAGES} pages")


@dataclass(frozen=True, slots=True)
class DayWindows:
    """What changed, asked for in windows of days, each with its own cursor.

    Args:
        begin: the name of the parameter that takes the window's first day.
        days: the longest window that the carrier answers.
        end: the name of the parameter of the window's last day, empty when the carrier counts to today itself.
        within: how one window is cut into pages.
    """

    since: date
    until: date
    begin: str
    days: int
    within: Paging
    end: str = ""
    where: Where = "body"

    def pages(self, fetch: Fetch, request: ListRequest) -> Iterator[list[Row]]:
        first = self.since
        while first <= self.until:
            last = min(first + timedelta(days=self.days - 1), self.until)
            values = {self.begin: first.isoformat(), **({self.end: last.isoformat()} if self.end else {})}
            yield from self.within.pages(fetch, request.with_values(values, self.where))
            first = last + timedelta(days=1)


def find(body: Any, path: str) -> Any:
    """The value at a dotted path (`data.records`, `billing.0.amount`), None where there is none."""
    value = body
    for step in path.split(".") if path else ():
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def read_rows(answer: Answer, path: str) -> list[Row]:
    """The rows of one page. Raises `BadAnswer` when there is no list there."""
    rows = find(answer.body, path)
    if not isinstance(rows, list):
        place = f"under {path}" if path else "at the top"
        raise BadAnswer(f"the answer has no list {place}")
    return rows


def read_total(answer: Answer, path: str, header: str) -> int | None:
    """The total that the carrier states in a header or the body, None when it states none."""
    stated = answer.headers.get(header.lower()) if header else None
    if stated is None and path:
        stated = find(answer.body, path)
    if stated is None or isinstance(stated, bool):
        return None
    try:
        return int(stated)
    except (TypeError, ValueError) as error:
        raise BadAnswer("the total number of rows is not a number") from error


def check_total(total: int | None, seen: int) -> None:
    """Raises `IncompleteList` when fewer rows came than were announced."""
    if total is not None and seen < total:
        raise IncompleteList(f"the list ended after {seen} of {total} rows")


def _set(body: dict[str, Any], path: str, value: Any) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        body[parent] = dict(body.get(parent) or {})
        body = body[parent]
    body[name] = value
