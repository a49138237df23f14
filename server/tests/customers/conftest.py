from __future__ import annotations

from itertools import count

import pytest_asyncio

from ..billing.conftest import Books  # noqa: TID252 - the tests' own books
from ..usage.shop import sell  # noqa: TID252 - the tests' own shop

_NUMBERS = count(1)


@pytest_asyncio.fixture
async def buyer(database):
    """A customer with a plan, a subscription, a service and books: `await buyer()`."""

    async def more(**kwargs):
        return Books(database, await sell(database, f"sub_{next(_NUMBERS)}", **kwargs))

    return more
