"""Every read of subscriptions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, any_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.subscriptions.models import subscription, subscription_term


@dataclass(frozen=True, slots=True)
class Subscription:
    """One row; `ref` is the id on `/api`. `monthly_minor` is the price it was sold at."""

    tenant_id: int
    id: int
    uid: UUID
    ref: str
    customer_id: int
    plan_id: int
    status: str
    currency: str
    monthly_minor: int
    started_at: datetime
    canceled_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Term:
    """The plan and price of a subscription in [started_at, ended_at); None: up to now and on."""

    plan_id: int
    monthly_minor: int
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class PastTerm:
    """One row: what was agreed before a change of plan."""

    tenant_id: int
    id: int
    subscription_id: int
    plan_id: int
    monthly_minor: int
    ended_at: datetime


_BY_REF = Query(select(subscription).where(mine(subscription), subscription.c.ref == bindparam("ref")))
_BY_ID = Query(select(subscription).where(mine(subscription), subscription.c.id == bindparam("id")))
_HELD_ROW = Query(
    select(subscription)
    .where(mine(subscription), subscription.c.id == bindparam("id"))
    .with_for_update(key_share=True)
)
_REFS = Query(
    select(subscription.c.id, subscription.c.ref).where(
        mine(subscription), subscription.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))
    )
)
_TERMS = Query(
    select(subscription_term)
    .where(mine(subscription_term), subscription_term.c.subscription_id == bindparam("subscription_id"))
    .order_by(subscription_term.c.ended_at, subscription_term.c.id)
)
_PAST_TERMS = Query(
    select(subscription_term)
    .where(
        mine(subscription_term),
        subscription_term.c.subscription_id == any_(bindparam("ids", type_=ARRAY(BigInteger))),
    )
    .order_by(subscription_term.c.ended_at, subscription_term.c.id)
)

LISTING = Listing(
    subscription,
    filters={
        "status": subscription.c.status == bindparam("status"),
        "customer_id": subscription.c.customer_id == bindparam("customer_id"),
        "plan_id": subscription.c.plan_id == bindparam("plan_id"),
    },
    sorts={"created_at": subscription.c.created_at, "subscription_id": subscription.c.ref},
    default_sort="created_at",
)


async def find_subscription(tx: Tx, ref: str) -> Subscription | None:
    """The subscription of that reference, running or canceled."""
    return await tx.find(_BY_REF, Subscription, ref=ref)


async def get_subscription(tx: Tx, ref: str) -> Subscription:
    """Raises `NotFound`."""
    found = await find_subscription(tx, ref)
    if found is None:
        raise NotFound(f"no subscription {ref}")
    return found


async def get_subscription_by_id(tx: Tx, subscription_id: int) -> Subscription:
    """Raises `NotFound`."""
    return await tx.get(_BY_ID, Subscription, f"no subscription {subscription_id}", id=subscription_id)


async def hold_subscription(tx: Tx, subscription_id: int) -> Subscription:
    """The row, locked until the transaction ends.

    Raises:
        NotFound: no such subscription.
    """
    return await tx.get(_HELD_ROW, Subscription, f"no subscription {subscription_id}", id=subscription_id)


async def list_terms(tx: Tx, agreed: Subscription) -> list[Term]:
    """What was agreed from when on, the oldest first; the last one is the present plan's."""
    terms, started_at = [], agreed.started_at
    for past in await tx.fetch(_TERMS, PastTerm, subscription_id=agreed.id):
        terms.append(Term(past.plan_id, past.monthly_minor, started_at, past.ended_at))
        started_at = past.ended_at
    return [*terms, Term(agreed.plan_id, agreed.monthly_minor, started_at, None)]


async def list_past_terms(tx: Tx, ids: Collection[int]) -> dict[int, list[PastTerm]]:
    """What was agreed before each change of plan, the oldest first, of those subscriptions that changed theirs."""
    past: dict[int, list[PastTerm]] = {}
    for term in await tx.fetch(_PAST_TERMS, PastTerm, ids=[*ids]):
        past.setdefault(term.subscription_id, []).append(term)
    return past


async def refs_of(tx: Tx, ids: Collection[int]) -> dict[int, str]:
    """The `/api` ids of these subscriptions."""
    rows = await tx.connection.fetch(_REFS.sql, *_REFS.arguments({"tenant_id": tx.tenant.id, "ids": [*ids]}))
    return {row["id"]: row["ref"] for row in rows}


async def list_subscriptions(
    tx: Tx, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[Subscription]:
    """Filters: status, customer_id, plan_id (both internal ids)."""
    return await LISTING.page(tx, Subscription, window, sort=sort, **filters)


_BILLABLE = (
    mine(subscription),
    subscription.c.started_at < bindparam("started_before", type_=subscription.c.started_at.type),
    or_(
        subscription.c.canceled_at.is_(None),
        subscription.c.canceled_at >= bindparam("running_at", type_=subscription.c.started_at.type),
        subscription.c.id == any_(bindparam("left_over", type_=ARRAY(BigInteger))),
    ),
)
_COUNT_BILLABLE = Query(select(func.count()).select_from(subscription).where(*_BILLABLE))
_LIST_BILLABLE = Query(
    select(subscription)
    .where(*_BILLABLE, subscription.c.id > bindparam("after_id", type_=BigInteger))
    .order_by(subscription.c.id)
    .limit(bindparam("limit", type_=BigInteger))
    .offset(bindparam("skip", type_=BigInteger))
)


async def count_billable(
    tx: Tx, *, running_at: datetime, started_before: datetime, left_over: Collection[int]
) -> int:
    """How many subscriptions `list_billable` walks through."""
    return int(
        await tx.value(
            _COUNT_BILLABLE, running_at=running_at, started_before=started_before, left_over=[*left_over]
        )
    )


async def list_billable(
    tx: Tx,
    *,
    running_at: datetime,
    started_before: datetime,
    left_over: Collection[int],
    after_id: int,
    limit: int,
    skip: int = 0,
) -> list[Subscription]:
    """Subscriptions that ran for some time between the two moments, and those left over, in order of id, behind `after_id`."""
    return await tx.fetch(
        _LIST_BILLABLE,
        Subscription,
        running_at=running_at,
        started_before=started_before,
        left_over=[*left_over],
        after_id=after_id,
        limit=limit,
        skip=skip,
    )
