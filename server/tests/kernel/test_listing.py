"""Lists: windows that neither repeat nor lose a row, totals that are right even beyond the end."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam

from demarc.kernel.context import system
from demarc.kernel.errors import Invalid
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Window
from demarc.modules.customers.inputs import NewCustomer
from demarc.modules.customers.models import customer
from demarc.modules.customers.queries import Customer
from demarc.modules.customers.service import create_customer

LIST = Listing(
    customer,
    filters={"tier": customer.c.tier == bindparam("tier"), "name": customer.c.name == bindparam("name")},
    sorts={"created_at": customer.c.created_at, "name": customer.c.name},
    default_sort="created_at",
)


async def fill(tx, names):
    for name in names:
        await create_customer(tx, NewCustomer(name=name))


async def names(tx, window, **options):
    page = await LIST.page(tx, Customer, window, **options)
    return [row.name for row in page.rows], page.total


async def test_rows_with_equal_keys_keep_their_order_over_windows(tx):
    await fill(tx, "abcdefg")  # one transaction: every created_at is the same
    seen = []
    for skip in range(0, 8, 2):
        part, total = await names(tx, Window(skip, 2))
        assert total == 7
        seen += part
    assert seen == list("abcdefg")
    assert (await names(tx, Window(0, 100), sort="-created_at"))[0] == list("gfedcba")


async def test_totals_beyond_the_end_and_of_nothing(tx):
    await fill(tx, "abc")
    assert await names(tx, Window(50, 10)) == ([], 3)
    assert await names(tx, Window(0, 10), name="zzz") == ([], 0)
    assert await names(tx, Window(5, 10), name="zzz") == ([], 0)


async def test_filters_that_are_none_do_not_count(tx):
    await fill(tx, "ab")
    assert await names(tx, Window(), tier=None, name="b") == (["b"], 1)


async def test_an_unknown_sort_names_the_known_ones(tx):
    with pytest.raises(Invalid) as refused:
        await LIST.page(tx, Customer, Window(), sort="password_hash")
    assert refused.value.details[0].field == "sort"
    for name in ("created_at", "-created_at", "name", "-name"):
        assert name in refused.value.message


async def test_a_sort_is_no_way_into_the_statement(tx):
    with pytest.raises(Invalid):
        await LIST.page(tx, Customer, Window(), sort="name; DROP TABLE customer")


async def test_other_tenants_rows_are_neither_listed_nor_counted(tx, database):
    await fill(tx, "ab")
    async with database.begin(2, system("test")) as theirs:
        await fill(theirs, "xyz")
        assert await names(theirs, Window()) == (["x", "y", "z"], 3)
    assert await names(tx, Window()) == (["a", "b"], 2)
