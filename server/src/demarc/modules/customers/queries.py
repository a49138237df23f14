"""Every read of customers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Text, any_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.customers.models import customer


@dataclass(frozen=True, slots=True)
class Customer:
    """One row; `uid` is the id on `/api`, `id` the one on `/v1`."""

    tenant_id: int
    id: int
    uid: UUID
    portal_id: str | None
    name: str
    email: str | None
    phone: str | None
    tier: str
    tags: list[str]
    address: dict[str, Any] | None
    billing_address: dict[str, Any] | None
    language: str
    status: str
    reseller_id: int | None
    created_at: datetime
    updated_at: datetime


_BY_UID = Query(select(customer).where(mine(customer), customer.c.uid == bindparam("uid")))
_BY_ID = Query(select(customer).where(mine(customer), customer.c.id == bindparam("id")))
_UIDS = Query(
    select(customer.c.id, customer.c.uid).where(
        mine(customer), customer.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))
    )
)
_SEARCH = func.concat("%", bindparam("search", type_=Text), "%")

LISTING = Listing(
    customer,
    filters={
        "status": customer.c.status == bindparam("status"),
        "tier": customer.c.tier == bindparam("tier"),
        "tag": bindparam("tag", type_=Text) == any_(customer.c.tags),
        "email": func.lower(customer.c.email) == func.lower(bindparam("email", type_=Text)),
        "search": or_(
            customer.c.name.ilike(_SEARCH), customer.c.email.ilike(_SEARCH), customer.c.phone.ilike(_SEARCH)
        ),
    },
    sorts={"created_at": customer.c.created_at, "name": customer.c.name},
    default_sort="created_at",
)


async def get_customer(tx: Tx, uid: UUID) -> Customer:
    """Raises `NotFound`."""
    found = await tx.find(_BY_UID, Customer, uid=uid)
    if found is None:
        raise NotFound(f"no customer {uid}")
    return found


async def get_customer_by_id(tx: Tx, customer_id: int) -> Customer:
    """Raises `NotFound`."""
    found = await tx.find(_BY_ID, Customer, id=customer_id)
    if found is None:
        raise NotFound(f"no customer {customer_id}")
    return found


async def uids_of(tx: Tx, ids: Collection[int]) -> dict[int, UUID]:
    """The `/api` ids of these customers: what other domains' answers name a customer by."""
    rows = await tx.connection.fetch(_UIDS.sql, *_UIDS.arguments({"tenant_id": tx.tenant.id, "ids": [*ids]}))
    return {row["id"]: row["uid"] for row in rows}


async def list_customers(
    tx: Tx, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[Customer]:
    """Filters: status, tier, tag, email (exact, any case), search (part of name, e-mail or phone)."""
    return await LISTING.page(tx, Customer, window, sort=sort, **filters)
