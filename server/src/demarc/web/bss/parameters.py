"""Query parameters that every list of `/api` shares, and the words its bodies are made of."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from fastapi import Depends, Query
from pydantic import BaseModel

from demarc.kernel.paging import LIMIT_DEFAULT, LIMIT_MAX, Page, Window


def window(
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
