"""Every write of the catalogue, one function per use case."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import bindparam, delete

from demarc.kernel.clock import local_date
from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, invalid
from demarc.kernel.outbox import emit
from demarc.kernel.sql import Query, mine
from demarc.kernel.states import change_status, record_status_change
from demarc.modules.audit.service import changes as changed_fields
from demarc.modules.audit.service import record
from demarc.modules.catalog.inputs import (
    METERED_TYPE,
    NO_CAP,
    PROFILE_CLEANERS,
    NewDataCap,
    NewPlan,
    NewPrice,
    NewProfile,
    NewUsagePrice,
    Tier,
    clean_changes,
)
from demarc.modules.catalog.models import bandwidth_profile, plan, plan_price, plan_usage_price
from demarc.modules.catalog.queries import (
    BandwidthProfile,
    Plan,
    PlanPrice,
    PlanUsagePrice,
    find_plan,
    find_price_from,
    find_profile_by_name,
    find_usage_price,
    find_usage_price_from,
    get_plan,
    get_profile,
)
from demarc.modules.catalog.rules import check_end_of_price, check_whole_months, start_of_price
from demarc.modules.catalog.states import PLAN_STATES, CapAction, PlanStatus, PriceModel

ENTITY = "plan"
PROFILE = "bandwidth_profile"
_OVERLAPS = frozenset({"ex_plan_price_offers", "ex_plan_usage_price_offers"})
_DROP_PROFILE = Query(
    delete(bandwidth_profile).where(mine(bandwidth_profile), bandwidth_profile.c.id == bindparam("id"))
)


async def create_plan(tx: Tx, new: NewPlan) -> Plan:
    """Put a plan on sale, with its first price.

    Raises:
        Conflict: the reference is taken.
        Invalid: the currency is not the tenant's, or a price starts in the past.
    """
    if new.currency not in (None, tx.tenant.currency):
        raise invalid("currency", f"has to be {tx.tenant.currency}, the currency this tenant bills in")
    if await find_plan(tx, new.ref) is not None:
        raise Conflict(f"there is a plan {new.ref} already; choose another plan_id", code="PLAN_EXISTS")
    made = await tx.insert(
        plan,
        Plan,
        ref=new.ref,
        name=new.name,
        description=new.description,
        service_type=new.service_type,
        download_bps=new.download_bps,
        upload_bps=new.upload_bps,
        currency=tx.tenant.currency,
        status=PlanStatus.ACTIVE.value,
        created_at=tx.now,
        updated_at=tx.now,
        **(NO_CAP if new.cap is None else new.cap.columns()),
    )
    await record_status_change(tx, entity=ENTITY, entity_id=made.id, from_status=None, to_status=made.status)
    await record(tx, "plan.create", entity=ENTITY, entity_id=made.id, after=asdict(made))
    await emit(tx, "plan.created", entity=ENTITY, entity_id=made.id, ref=made.ref)
    await set_price(tx, made.id, new.price)
    for price in new.usage_prices:
        await set_usage_price(tx, made.id, price)
    return made


async def update_plan(tx: Tx, ref: str, changes: dict[str, Any]) -> Plan:
    """Change name, description or speeds; services sold before keep the speeds they were sold with.

    Raises:
        NotFound: no such plan.
        Invalid: a value is not acceptable.
    """
    before = await get_plan(tx, ref)
    cleaned = clean_changes(changes)
    if not cleaned:
        return before
    after = await tx.update(plan, Plan, {"id": before.id}, **cleaned, updated_at=tx.now)
    old, new = changed_fields(asdict(before), asdict(after))
    await record(tx, "plan.update", entity=ENTITY, entity_id=after.id, before=old, after=new)
    await emit(tx, "plan.updated", entity=ENTITY, entity_id=after.id, fields=sorted(cleaned))
    return after


async def set_plan_cap(tx: Tx, ref: str, cap: NewDataCap | None) -> Plan:
    """Sell the plan with another data cap from now on, or with none; services sold before keep theirs.

    Raises:
        NotFound: no such plan.
        Conflict: the cap charges what is over, and the plan has no package price for it.
    """
    before = await get_plan(tx, ref)
    if cap is not None and cap.action is CapAction.CHARGE:
        await check_can_charge(tx, before.id)
    columns = NO_CAP if cap is None else cap.columns()
    after = await tx.update(plan, Plan, {"id": before.id}, **columns, updated_at=tx.now)
    old, new = changed_fields(asdict(before), asdict(after))
    await record(tx, "plan.set_cap", entity=ENTITY, entity_id=after.id, before=old, after=new)
    await emit(tx, "plan.updated", entity=ENTITY, entity_id=after.id, fields=["data_cap"])
    return after


async def check_can_charge(tx: Tx, plan_id: int) -> None:
    """Raises `Conflict`: what is over a cap can be charged only by a package price of the plan."""
    price = await find_usage_price(tx, plan_id, METERED_TYPE, _today(tx))
    if price is None or price.model != PriceModel.PACKAGE:
        raise Conflict(
            f"the plan has no package price for {METERED_TYPE}, so what is over the cap would cost nothing more; "
            "set one first (POST /api/plans/{plan_id}/usage-prices)",
            code="NO_PACKAGE_PRICE",
        )


async def change_plan_status(tx: Tx, ref: str, target: PlanStatus) -> Plan:
    """Retire a plan, or put it on sale again; the status it has already is no change.

    Raises:
        NotFound: no such plan.
    """
    before = await get_plan(tx, ref)
    current = PlanStatus(before.status)
    if current is target:
        return before
    after = await change_status(
        tx, PLAN_STATES, plan, Plan, entity_id=before.id, current=current, target=target
    )
    await record(
        tx,
        "plan.change_status",
        entity=ENTITY,
        entity_id=after.id,
        before={"status": before.status},
        after={"status": after.status},
    )
    await emit(tx, "plan.status_changed", entity=ENTITY, entity_id=after.id, to_status=after.status)
    return after


async def set_price(tx: Tx, plan_id: int, new: NewPrice) -> PlanPrice:
    """Set the price from a day on; a lasting price that starts on that very day is replaced.

    What was sold keeps the price it was sold at: the subscription holds its own.

    Raises:
        Invalid: the day has gone by (a sandbox tenant may set it all the same), or the end is not after it.
        Conflict: an offer of these days is there already (PRICE_OVERLAPS).
    """
    start = _start(tx, new.effective_on)
    check_end_of_price(start, new.until_on)
    values = {"monthly_minor": new.monthly_minor, "activation_minor": new.activation_minor}
    before = None if new.until_on is not None else await find_price_from(tx, plan_id, start)
    if before is None:
        keys = {"plan_id": plan_id, "effective_on": start, "until_on": new.until_on}
        async with _no_overlap(tx):
            after = await tx.insert(plan_price, PlanPrice, created_at=tx.now, **keys, **values)
    else:
        after = await tx.update(plan_price, PlanPrice, {"id": before.id}, **values)
    await _record_price(tx, "plan.set_price", plan_id, before, after)
    return after


async def set_usage_price(tx: Tx, plan_id: int, new: NewUsagePrice) -> PlanUsagePrice:
    """Set what usage costs from a day on; a lasting price that starts on that very day is replaced.

    Raises:
        Invalid: the day has gone by (a sandbox tenant may set it all the same), the end is not after it, or a price that counts
            whole months would take over within one.
        Conflict: an offer of these days is there already (PRICE_OVERLAPS).
    """
    start = _start(tx, new.effective_on)
    check_end_of_price(start, new.until_on)
    earlier = await find_usage_price(tx, plan_id, new.usage_type, start - timedelta(days=1))
    check_whole_months(new.model, start, new.until_on, follows_another=earlier is not None)
    values: dict[str, Any] = {
        "unit": new.unit,
        "unit_price": new.first_unit_price,
        "model": new.model.value,
        "included": new.included,
        "tiers": [_tier_row(tier) for tier in new.tiers],
    }
    before = None
    if new.until_on is None:
        before = await find_usage_price_from(tx, plan_id, new.usage_type, start)
    if before is None:
        keys = {
            "plan_id": plan_id,
            "usage_type": new.usage_type,
            "effective_on": start,
            "until_on": new.until_on,
        }
        async with _no_overlap(tx):
            after = await tx.insert(plan_usage_price, PlanUsagePrice, created_at=tx.now, **keys, **values)
    else:
        after = await tx.update(plan_usage_price, PlanUsagePrice, {"id": before.id}, **values)
    await _record_price(tx, "plan.set_usage_price", plan_id, before, after)
    return after


def _tier_row(tier: Tier) -> dict[str, str | None]:
    """Decimals as text: JSON numbers would come back as floats."""
    return {"up_to": None if tier.up_to is None else str(tier.up_to), "unit_price": str(tier.unit_price)}


@asynccontextmanager
async def _no_overlap(tx: Tx) -> AsyncIterator[None]:
    """Offers of one plan never share a day; the database watches, so that two requests at once cannot either."""
    try:
        async with tx.connection.transaction():
            yield
    except asyncpg.ExclusionViolationError as error:
        if error.constraint_name not in _OVERLAPS:
            raise
        raise Conflict(
            "another price with an end counts on some of these days already; choose other days",
            code="PRICE_OVERLAPS",
        ) from None


async def create_profile(tx: Tx, new: NewProfile) -> BandwidthProfile:
    """Give speeds a name.

    Raises:
        Conflict: the name is taken.
    """
    if await find_profile_by_name(tx, new.name) is not None:
        raise _profile_exists(new.name)
    made = await tx.insert(
        bandwidth_profile, BandwidthProfile, **asdict(new), created_at=tx.now, updated_at=tx.now
    )
    await record(tx, "bandwidth_profile.create", entity=PROFILE, entity_id=made.id, after=asdict(made))
    await emit(tx, "bandwidth_profile.created", entity=PROFILE, entity_id=made.id, name_of_profile=made.name)
    return made


async def update_profile(tx: Tx, uid: UUID, changes: dict[str, Any]) -> BandwidthProfile:
    """Change name, description or speeds; what was sold with the profile keeps the speeds of then.

    Raises:
        NotFound: no such profile.
        Conflict: the name is taken.
    """
    before = await get_profile(tx, uid)
    cleaned = clean_changes(changes, PROFILE_CLEANERS)
    if not cleaned:
        return before
    same_name = await find_profile_by_name(tx, cleaned.get("name", before.name))
    if same_name is not None and same_name.id != before.id:
        raise _profile_exists(same_name.name)
    after = await tx.update(
        bandwidth_profile, BandwidthProfile, {"id": before.id}, **cleaned, updated_at=tx.now
    )
    old, new = changed_fields(asdict(before), asdict(after))
    await record(tx, "bandwidth_profile.update", entity=PROFILE, entity_id=after.id, before=old, after=new)
    return after


async def delete_profile(tx: Tx, uid: UUID) -> BandwidthProfile:
    """Forget the name; nothing that was sold changes. Raises `NotFound`."""
    before = await get_profile(tx, uid)
    await tx.execute(_DROP_PROFILE, id=before.id)
    await record(tx, "bandwidth_profile.delete", entity=PROFILE, entity_id=before.id, before=asdict(before))
    return before


def _profile_exists(name: str) -> Conflict:
    return Conflict(f"there is a profile {name} already; choose another name", code="PROFILE_EXISTS")


def _today(tx: Tx) -> date:
    return local_date(tx.now, tx.tenant.time_zone)


def _start(tx: Tx, asked: date | None) -> date:
    return start_of_price(asked, today=_today(tx), may_be_past=tx.tenant.is_sandbox)


async def _record_price(
    tx: Tx,
    action: str,
    plan_id: int,
    before: PlanPrice | PlanUsagePrice | None,
    after: PlanPrice | PlanUsagePrice,
) -> None:
    await record(
        tx,
        action,
        entity=ENTITY,
        entity_id=plan_id,
        before=None if before is None else asdict(before),
        after=asdict(after),
    )
    await emit(
        tx, "plan.price_set", entity=ENTITY, entity_id=plan_id, effective_on=after.effective_on.isoformat()
    )
