"""Every write of the catalogue, one function per use case."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Any

from demarc.kernel.clock import local_date
from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, invalid
from demarc.kernel.outbox import emit
from demarc.kernel.states import change_status, record_status_change
from demarc.modules.audit.service import changes as changed_fields
from demarc.modules.audit.service import record
from demarc.modules.catalog.inputs import NewPlan, NewPrice, NewUsagePrice, clean_changes
from demarc.modules.catalog.models import plan, plan_price, plan_usage_price
from demarc.modules.catalog.queries import (
    Plan,
    PlanPrice,
    PlanUsagePrice,
    find_plan,
    find_price_from,
    find_usage_price_from,
    get_plan,
)
from demarc.modules.catalog.rules import start_of_price
from demarc.modules.catalog.states import PLAN_STATES, PlanStatus

ENTITY = "plan"


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
    """Set the price from a day on; a price that starts on that very day is replaced.

    What was sold keeps the price it was sold at: the subscription holds its own.

    Raises:
        Invalid: the day has gone by (a sandbox tenant may set it all the same).
    """
    start = _start(tx, new.effective_on)
    values = {"monthly_minor": new.monthly_minor, "activation_minor": new.activation_minor}
    before = await find_price_from(tx, plan_id, start)
    if before is None:
        after = await tx.insert(
            plan_price, PlanPrice, plan_id=plan_id, effective_on=start, created_at=tx.now, **values
        )
    else:
        after = await tx.update(plan_price, PlanPrice, {"id": before.id}, **values)
    await _record_price(tx, "plan.set_price", plan_id, before, after)
    return after


async def set_usage_price(tx: Tx, plan_id: int, new: NewUsagePrice) -> PlanUsagePrice:
    """Set what a unit of usage costs from a day on; a price that starts on that very day is replaced.

    Raises:
        Invalid: the day has gone by (a sandbox tenant may set it all the same).
    """
    start = _start(tx, new.effective_on)
    values = {"unit": new.unit, "unit_price": new.unit_price}
    before = await find_usage_price_from(tx, plan_id, new.usage_type, start)
    if before is None:
        keys = {"plan_id": plan_id, "usage_type": new.usage_type, "effective_on": start}
        after = await tx.insert(plan_usage_price, PlanUsagePrice, created_at=tx.now, **keys, **values)
    else:
        after = await tx.update(plan_usage_price, PlanUsagePrice, {"id": before.id}, **values)
    await _record_price(tx, "plan.set_usage_price", plan_id, before, after)
    return after


def _start(tx: Tx, asked: date | None) -> date:
    today = local_date(tx.now, tx.tenant.time_zone)
    return start_of_price(asked, today=today, may_be_past=tx.tenant.is_sandbox)


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
