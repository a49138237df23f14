"""Query parameters that every list of `/api` shares, and the words its bodies are made of."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, datetime
from typing import Annotated, Any, TypedDict

from fastapi import Depends, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator

from demarc.kernel.clock import as_utc
from demarc.kernel.paging import LIMIT_DEFAULT, LIMIT_MAX, Page, Window


async def window(
    skip: Annotated[int, Query(ge=0, le=10_000_000, description="rows to pass over")] = 0,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="rows to answer at most")] = LIMIT_DEFAULT,
) -> Window:
    return Window(skip, limit)


WindowDep = Annotated[Window, Depends(window)]
SortParam = Annotated[
    str | None, Query(description="a column of the list; -column sorts downwards", max_length=40)
]


class Listed(BaseModel):
    """What every list carries beside its rows."""

    total: int
    skip: int
    limit: int


class Counts(TypedDict):
    """The numbers of a `Listed`."""

    total: int
    skip: int
    limit: int


def counts(page: Page[Any]) -> Counts:
    return Counts(total=page.total, skip=page.window.skip, limit=page.window.limit)


_LAST_DAY_ASKED = 31
_DATE = re.compile(r"(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>\d{2})(?P<rest>$|[T ].*)", re.DOTALL)
_YEARS = range(1970, 3000)  # the ends of `datetime` overflow when an offset is applied


def clamp_day(value: Any) -> Any:
    """`2025-02-31…` becomes `2025-02-28…`: 002 asks for day 31 of every month. Other bad dates stay as they are."""
    if isinstance(value, datetime | date):
        return value
    found = _DATE.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found["year"]) not in _YEARS:
        raise ValueError("has to be a date as in RFC 3339, e.g. 2025-10-31 or 2025-10-31T23:59:59Z")
    last = monthrange(int(found["year"]), int(found["month"]))[1]
    if not last < int(found["day"]) <= _LAST_DAY_ASKED:
        return value
    return f"{found['year']}-{found['month']}-{last:02}{found['rest']}"


ApiDatetime = Annotated[datetime, BeforeValidator(clamp_day), AfterValidator(as_utc)]
"""A point in time of a request: naive means UTC, a day past the month's end is its last day."""

ApiDate = Annotated[date, BeforeValidator(clamp_day)]
"""A calendar day of a request, clamped likewise."""
