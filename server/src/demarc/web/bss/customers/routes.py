"""`/api/customers`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query

from demarc.modules.customers.queries import get_customer, list_customers
from demarc.modules.customers.service import create_customer, update_customer
from demarc.modules.customers.states import CustomerStatus, CustomerTier
from demarc.web.bss.customers.schemas import (
    CustomerIn,
    CustomerList,
    CustomerOut,
    CustomerPatch,
    customer_out,
)
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/customers", tag="customers")


@router.on("POST", "", permission="customers.write", status=201, problem=(409,))
async def create(body: CustomerIn, tx: TxDep) -> CustomerOut:
    """Take on a customer."""
    return customer_out(await create_customer(tx, body.to_input()))


@router.on("GET", "", permission="customers.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    status: CustomerStatus | None = None,
    tier: CustomerTier | None = None,
    tag: Annotated[str | None, Query(max_length=50)] = None,
    email: Annotated[str | None, Query(max_length=254)] = None,
    search: Annotated[str | None, Query(max_length=100, description="part of name, e-mail or phone")] = None,
    sort: SortParam = None,
) -> CustomerList:
    """Customers in the order they came, unless `sort` says otherwise (created_at, name)."""
    page = await list_customers(
        tx, window, sort=sort, status=status, tier=tier, tag=tag, email=email, search=search
    )
    return CustomerList(customers=[customer_out(row) for row in page.rows], **counts(page))


@router.on("GET", "/{customer_id}", permission="customers.read", problem=(404,))
async def get(customer_id: UUID, tx: TxDep) -> CustomerOut:
    """One customer."""
    return customer_out(await get_customer(tx, customer_id))


@router.on("PATCH", "/{customer_id}", permission="customers.write", problem=(404, 409))
async def patch(customer_id: UUID, body: CustomerPatch, tx: TxDep) -> CustomerOut:
    """Change the fields given."""
    return customer_out(await update_customer(tx, customer_id, body.changes()))
