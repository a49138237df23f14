"""Statements are compiled once; what they are run with is checked by name."""

from __future__ import annotations

import pytest
from sqlalchemy import Text, bindparam, select

from demarc.kernel.sql import Query, insert_query, mine, update_query
from demarc.modules.customers.models import customer


def test_parameters_are_positional_in_the_order_of_the_text():
    query = Query(
        select(customer.c.name).where(
            customer.c.tier == bindparam("tier"),
            mine(customer),
            customer.c.name == bindparam("name", type_=Text),
        )
    )
    assert query.parameters == {"tier", "tenant_id", "name"}
    assert query.arguments({"name": "n", "tenant_id": 7, "tier": "t"}) == ["t", 7, "n"]
    assert "$1" in query.sql
    assert "$3" in query.sql


def test_a_name_that_is_used_twice_is_bound_once():
    query = Query(
        select(customer.c.name).where(customer.c.tier == bindparam("x"), customer.c.name == bindparam("x"))
    )
    assert query.sql.count("$1") == 2
    assert query.arguments({"x": "v"}) == ["v"]


def test_constants_stay_and_unknown_names_are_an_error():
    query = Query(select(customer.c.name).where(customer.c.status == "active"))
    assert query.arguments({}) == ["active"]
    with pytest.raises(TypeError, match="nonsense"):
        query.arguments({"nonsense": 1})


def test_shapes_are_compiled_once():
    assert insert_query(customer, ("name", "tenant_id")) is insert_query(customer, ("name", "tenant_id"))
    assert update_query(customer, ("name",), ("id",)) is not update_query(customer, ("name",), ("uid",))


def test_values_never_enter_the_text():
    query = update_query(customer, ("name",), ("id", "tenant_id"))
    assert query.arguments({"name": "'; DROP TABLE customer; --", "key_id": 1, "key_tenant_id": 2})
    assert "DROP" not in query.sql
    assert "RETURNING" in query.sql
