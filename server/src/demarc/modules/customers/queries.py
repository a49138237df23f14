"""Every read of customers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, Text, any_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import SEARCH, Query, mine
from demarc.modules.customers.models import customer, customer_note


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
    merged_into_id: int | None
    erased_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Note:
    """What a member of staff noted about a customer."""

    tenant_id: int
    id: int
    uid: UUID
    customer_id: int
    body: str
    author: str
    created_at: datetime
    updated_at: datetime


_BY_UID = Query(select(customer).where(mine(customer), customer.c.uid == bindparam("uid")))
_BY_ID = Query(select(customer).where(mine(customer), customer.c.id == bindparam("id")))
_LOCKED = Query(
    select(customer)
    .where(mine(customer), customer.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger))))
    .order_by(customer.c.id)
    .with_for_update(key_share=True)  # who books for a customer refers to the row, and must not wait for it
)
_SHARED = Query(
    select(customer.c.id).where(mine(customer), customer.c.uid == bindparam("uid")).with_for_update(read=True)
)
_NOTE = Query(
    select(customer_note).where(
        mine(customer_note),
        customer_note.c.customer_id == bindparam("customer_id"),
        customer_note.c.uid == bindparam("uid"),
    )
)
_UIDS = Query(
    select(customer.c.id, customer.c.uid).where(
        mine(customer), customer.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))
    )
)
LISTING = Listing(
    customer,
    filters={
        "is_present": customer.c.merged_into_id.is_(None) == bindparam("is_present", type_=Boolean),
        "status": customer.c.status == bindparam("status"),
        "reseller_id": customer.c.reseller_id == bindparam("reseller_id", type_=BigInteger),
        "tier": customer.c.tier == bindparam("tier"),
        "tag": bindparam("tag", type_=Text) == any_(customer.c.tags),
        "email": func.lower(customer.c.email) == func.lower(bindparam("email", type_=Text)),
        "search": or_(
            customer.c.name.ilike(SEARCH), customer.c.email.ilike(SEARCH), customer.c.phone.ilike(SEARCH)
        ),
    },
    sorts={"created_at": customer.c.created_at, "name": customer.c.name},
    default_sort="created_at",
)


NOTES = Listing(
    customer_note,
    filters={
        "customer_id": customer_note.c.customer_id == bindparam("customer_id"),
        "search": customer_note.c.body.ilike(SEARCH),
        "author": customer_note.c.author == bindparam("author"),
    },
    sorts={"created_at": customer_note.c.id, "updated_at": customer_note.c.updated_at},
    default_sort="-created_at",
)


async def get_customer(tx: Tx, uid: UUID) -> Customer:
    """Raises `NotFound`; for one that was merged into another it names that one."""
    found = await tx.find(_BY_UID, Customer, uid=uid)
    if found is None:
        raise NotFound(f"no customer {uid}")
    if found.merged_into_id is not None:
        survivor = await get_customer_by_id(tx, found.merged_into_id)
        raise NotFound(
            f"customer {uid} was merged into {survivor.uid}; ask for that one", code="CUSTOMER_MERGED"
        )
    return found


async def hold_customer(tx: Tx, uid: UUID) -> Customer:
    """`get_customer`, and nobody merges, erases or changes him until the transaction ends; others may hold him, too.

    For whoever gives him something that he does not have yet: it would stay with a customer who is no more.
    """
    await tx.connection.execute(_SHARED.sql, *_SHARED.arguments({"tenant_id": tx.tenant.id, "uid": uid}))
    return await get_customer(tx, uid)


async def lock_customers(tx: Tx, *ids: int) -> None:
    """Hold these customers' rows until the transaction ends, always in the same order."""
    await tx.fetch(_LOCKED, Customer, ids=[*ids])


async def get_note(tx: Tx, customer_id: int, uid: UUID) -> Note:
    """Raises `NotFound`."""
    return await tx.get(_NOTE, Note, f"no note {uid} on this customer", customer_id=customer_id, uid=uid)


async def list_notes(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Note]:
    """Newest first. Filters: customer_id (the row's), search (part of the text), author."""
    return await NOTES.page(tx, Note, window, sort=sort, **filters)


async def get_customer_by_id(tx: Tx, customer_id: int) -> Customer:
    """Raises `NotFound`."""
    return await tx.get(_BY_ID, Customer, f"no customer {customer_id}", id=customer_id)


async def uids_of(tx: Tx, ids: Collection[int]) -> dict[int, UUID]:
    """The `/api` ids of these customers: what other domains' answers name a customer by."""
    rows = await tx.connection.fetch(_UIDS.sql, *_UIDS.arguments({"tenant_id": tx.tenant.id, "ids": [*ids]}))
    return {row["id"]: row["uid"] for row in rows}


async def list_customers(
    tx: Tx, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[Customer]:
    """Filters: status, tier, tag, email (exact, any case), search (part of name, e-mail or phone), reseller_id.

    Without those that were merged into another.
    """
    return await LISTING.page(tx, Customer, window, sort=sort, is_present=True, **filters)
