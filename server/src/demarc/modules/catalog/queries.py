"""Every read of the catalogue."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Date,
    Table,
    any_,
    bindparam,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import SEARCH, Query, mine
from demarc.modules.catalog.inputs import Rate, Tier
from demarc.modules.catalog.models import bandwidth_profile, plan, plan_price, plan_usage_price
from demarc.modules.catalog.states import PriceModel


@dataclass(frozen=True, slots=True)
class Plan:
    """One row; `ref` is the id on `/api`, `id` the one on `/v1`. Speeds in bit/s."""

    tenant_id: int
    id: int
    uid: UUID
    ref: str
    name: str
    description: str
    service_type: str
    download_bps: int
    upload_bps: int
    currency: str
    status: str
    cap_octets: int | None
    cap_action: str | None
    cap_download_bps: int | None
    cap_upload_bps: int | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class PlanPrice:
    """What the plan costs from `effective_on` on (before `until_on`, if there is one), in minor units."""

    tenant_id: int
    id: int
    plan_id: int
    effective_on: date
    monthly_minor: int
    activation_minor: int
    until_on: date | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PlanUsagePrice:
    """What usage costs from `effective_on` on, in major units; `unit_price` is that of the first unit that costs something."""

    tenant_id: int
    id: int
    plan_id: int
    usage_type: str
    unit: str
    unit_price: Decimal
    model: str
    included: Decimal
    tiers: list[dict[str, Any]]
    effective_on: date
    until_on: date | None
    created_at: datetime

    @property
    def rate(self) -> Rate:
        """How a month's usage is priced."""
        tiers = tuple(
            Tier(None if tier["up_to"] is None else Decimal(tier["up_to"]), Decimal(tier["unit_price"]))
            for tier in self.tiers
        )
        return Rate(PriceModel(self.model), self.unit_price, self.included, tiers)


@dataclass(frozen=True, slots=True)
class BandwidthProfile:
    """Speeds with a name, bit/s."""

    tenant_id: int
    id: int
    uid: UUID
    name: str
    description: str
    download_bps: int
    upload_bps: int
    created_at: datetime
    updated_at: datetime


def _in_force(table: Table) -> tuple[ColumnElement[bool], ...]:
    on = bindparam("on", type_=Date)
    return (table.c.effective_on <= on, or_(table.c.until_on.is_(None), table.c.until_on > on))


def _offer_first(table: Table) -> tuple[ColumnElement[Any], ...]:
    """An offer goes before the price that lasts; of those the latest."""
    return (table.c.until_on.is_(None), table.c.effective_on.desc())


_BY_REF = Query(select(plan).where(mine(plan), plan.c.ref == bindparam("ref")))
_BY_ID = Query(select(plan).where(mine(plan), plan.c.id == bindparam("id")))
_REFS = Query(
    select(plan.c.id, plan.c.ref).where(
        mine(plan), plan.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))
    )
)
_PRICE_ON = Query(
    select(plan_price)
    .where(
        mine(plan_price),
        plan_price.c.plan_id == bindparam("plan_id"),
        *_in_force(plan_price),
    )
    .order_by(*_offer_first(plan_price))
    .limit(1)
)
_PRICES_ON = Query(
    select(plan_price)
    .ext(distinct_on(plan_price.c.plan_id))
    .where(
        mine(plan_price),
        plan_price.c.plan_id == any_(bindparam("ids", type_=ARRAY(BigInteger))),
        *_in_force(plan_price),
    )
    .order_by(plan_price.c.plan_id, *_offer_first(plan_price))
)
_PRICE_FROM = Query(
    select(plan_price).where(
        mine(plan_price),
        plan_price.c.plan_id == bindparam("plan_id"),
        plan_price.c.effective_on == bindparam("effective_on"),
        plan_price.c.until_on.is_(None),
    )
)
_USAGE_PRICE_ON = Query(
    select(plan_usage_price)
    .where(
        mine(plan_usage_price),
        plan_usage_price.c.plan_id == bindparam("plan_id"),
        plan_usage_price.c.usage_type == bindparam("usage_type"),
        *_in_force(plan_usage_price),
    )
    .order_by(*_offer_first(plan_usage_price))
    .limit(1)
)
_USAGE_PRICE_FROM = Query(
    select(plan_usage_price).where(
        mine(plan_usage_price),
        plan_usage_price.c.plan_id == bindparam("plan_id"),
        plan_usage_price.c.usage_type == bindparam("usage_type"),
        plan_usage_price.c.effective_on == bindparam("effective_on"),
        plan_usage_price.c.until_on.is_(None),
    )
)
_USAGE_PRICES_BY_ID = Query(
    select(plan_usage_price).where(
        mine(plan_usage_price), plan_usage_price.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))
    )
)
_PROFILE_BY_UID = Query(
    select(bandwidth_profile).where(mine(bandwidth_profile), bandwidth_profile.c.uid == bindparam("uid"))
)
_PROFILE_BY_NAME = Query(
    select(bandwidth_profile).where(mine(bandwidth_profile), bandwidth_profile.c.name == bindparam("name"))
)
PLANS = Listing(
    plan,
    filters={
        "status": plan.c.status == bindparam("status"),
        "service_type": plan.c.service_type == bindparam("service_type"),
        "search": or_(plan.c.name.ilike(SEARCH), plan.c.ref.ilike(SEARCH)),
        "has_data_cap": plan.c.cap_octets.is_not(None) == bindparam("has_data_cap", type_=Boolean),
    },
    sorts={"created_at": plan.c.created_at, "plan_id": plan.c.ref, "name": plan.c.name},
    default_sort="created_at",
)
PRICES = Listing(
    plan_price,
    filters={"plan_id": plan_price.c.plan_id == bindparam("plan_id")},
    sorts={"effective_on": plan_price.c.effective_on},
    default_sort="effective_on",
)
USAGE_PRICES = Listing(
    plan_usage_price,
    filters={
        "plan_id": plan_usage_price.c.plan_id == bindparam("plan_id"),
        "usage_type": plan_usage_price.c.usage_type == bindparam("usage_type"),
    },
    sorts={"effective_on": plan_usage_price.c.effective_on, "usage_type": plan_usage_price.c.usage_type},
    default_sort="effective_on",
)
PROFILES = Listing(
    bandwidth_profile,
    filters={"search": bandwidth_profile.c.name.ilike(SEARCH)},
    sorts={
        "name": bandwidth_profile.c.name,
        "created_at": bandwidth_profile.c.created_at,
        "download_mbps": bandwidth_profile.c.download_bps,
    },
    default_sort="name",
)


async def find_plan(tx: Tx, ref: str) -> Plan | None:
    """The plan of that reference, on sale or retired."""
    return await tx.find(_BY_REF, Plan, ref=ref)


async def get_plan(tx: Tx, ref: str) -> Plan:
    """Raises `NotFound`."""
    found = await find_plan(tx, ref)
    if found is None:
        raise NotFound(f"no plan {ref}")
    return found


async def get_plan_by_id(tx: Tx, plan_id: int) -> Plan:
    """Raises `NotFound`."""
    return await tx.get(_BY_ID, Plan, f"no plan {plan_id}", id=plan_id)


async def refs_of(tx: Tx, ids: Collection[int]) -> dict[int, str]:
    """The `/api` ids of these plans."""
    rows = await tx.connection.fetch(_REFS.sql, *_REFS.arguments({"tenant_id": tx.tenant.id, "ids": [*ids]}))
    return {row["id"]: row["ref"] for row in rows}


async def list_plans(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Plan]:
    """Filters: status, service_type, has_data_cap, search (part of name or reference)."""
    return await PLANS.page(tx, Plan, window, sort=sort, **filters)


async def find_price(tx: Tx, plan_id: int, on: date) -> PlanPrice | None:
    """The price that is in force on that day of the tenant's calendar."""
    return await tx.find(_PRICE_ON, PlanPrice, plan_id=plan_id, on=on)


async def prices_on(tx: Tx, ids: Collection[int], on: date) -> dict[int, PlanPrice]:
    """The price in force on that day, by plan; a plan that has none yet is left out."""
    return {price.plan_id: price for price in await tx.fetch(_PRICES_ON, PlanPrice, ids=[*ids], on=on)}


async def find_price_from(tx: Tx, plan_id: int, effective_on: date) -> PlanPrice | None:
    """The price that starts on exactly that day."""
    return await tx.find(_PRICE_FROM, PlanPrice, plan_id=plan_id, effective_on=effective_on)


async def price_on(tx: Tx, plan_id: int, on: date) -> PlanPrice:
    """The price that is in force on that day.

    Raises:
        NotFound: the plan had no price yet.
    """
    found = await find_price(tx, plan_id, on)
    if found is None:
        raise NotFound(f"plan {plan_id} has no price on {on}; set one that is effective by then")
    return found


async def find_usage_price(tx: Tx, plan_id: int, usage_type: str, on: date) -> PlanUsagePrice | None:
    """What that usage costs on that day; None when the plan does not charge for it."""
    return await tx.find(_USAGE_PRICE_ON, PlanUsagePrice, plan_id=plan_id, usage_type=usage_type, on=on)


async def find_usage_price_from(
    tx: Tx, plan_id: int, usage_type: str, effective_on: date
) -> PlanUsagePrice | None:
    """The usage price that starts on exactly that day."""
    return await tx.find(
        _USAGE_PRICE_FROM, PlanUsagePrice, plan_id=plan_id, usage_type=usage_type, effective_on=effective_on
    )


async def list_prices(tx: Tx, plan_id: int, window: Window, *, sort: str | None = None) -> Page[PlanPrice]:
    """Every price the plan had, has and will have."""
    return await PRICES.page(tx, PlanPrice, window, sort=sort, plan_id=plan_id)


async def list_usage_prices(
    tx: Tx, plan_id: int, window: Window, *, sort: str | None = None, usage_type: str | None = None
) -> Page[PlanUsagePrice]:
    """Every usage price the plan had, has and will have."""
    return await USAGE_PRICES.page(
        tx, PlanUsagePrice, window, sort=sort, plan_id=plan_id, usage_type=usage_type
    )


async def usage_prices_of(tx: Tx, ids: Collection[int]) -> dict[int, PlanUsagePrice]:
    """Usage prices by their id."""
    return {price.id: price for price in await tx.fetch(_USAGE_PRICES_BY_ID, PlanUsagePrice, ids=[*ids])}


async def get_profile(tx: Tx, uid: UUID) -> BandwidthProfile:
    """Raises `NotFound`."""
    return await tx.get(_PROFILE_BY_UID, BandwidthProfile, f"no bandwidth profile {uid}", uid=uid)


async def find_profile_by_name(tx: Tx, name: str) -> BandwidthProfile | None:
    return await tx.find(_PROFILE_BY_NAME, BandwidthProfile, name=name)


async def list_profiles(
    tx: Tx, window: Window, *, sort: str | None = None, search: str | None = None
) -> Page[BandwidthProfile]:
    """Filter: search (part of the name)."""
    return await PROFILES.page(tx, BandwidthProfile, window, sort=sort, search=search)
