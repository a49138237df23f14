"""Moving a service to another plan, now or on a day ahead."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, DemarcError, Unavailable
from demarc.modules.audit.service import record
from demarc.modules.catalog.queries import Plan, get_plan, get_plan_by_id
from demarc.modules.services.inputs import merged_config
from demarc.modules.services.models import plan_change
from demarc.modules.services.queries import (
    ENTITY,
    PlanChange,
    Service,
    find_scheduled_plan_change,
    get_plan_change,
    get_service_by_id,
    hold_service,
    take_plan_change_due,
)
from demarc.modules.services.rules import check_may_change_plan, check_new_plan, speeds_of, without_speeds
from demarc.modules.services.service.modification import rewrite
from demarc.modules.services.service.standing import ahead, tell
from demarc.modules.services.states import (
    PLAN_CHANGE_STATES,
    PlanChangeStatus,
    ProvisioningStatus,
    ServiceStatus,
)
from demarc.modules.subscriptions.service import change_plan as agree_on_plan


async def change_plan(
    tx: Tx,
    *,
    service_id: int,
    plan_ref: str,
    at: datetime | None = None,
    config: dict[str, Any] | None = None,
    reason: str = "",
) -> PlanChange:
    """Move a service to another plan: now, or by the sweep when `at` lies ahead.

    Speeds that were agreed beside the old plan end with it; `config` may bring new ones. Only one change may be
    scheduled; a change now takes its place.

    Raises:
        NotFound: no such service or plan.
        Conflict: its state does not allow it, it has the plan already, another change is scheduled, the plan is
            retired, or in another currency.
        Invalid: the plan is for another type of service, a setting is not acceptable, or the day has gone by.
    """
    before = await hold_service(tx, service_id)
    check_may_change_plan(ServiceStatus(before.status), ProvisioningStatus(before.provisioning_status))
    plan = await get_plan(tx, plan_ref)
    check_new_plan(before.service_type, before.plan_id, plan)
    merged_config({}, config or {})
    due_at = ahead(tx, at, field="effective_date")
    if due_at is None:
        await drop_scheduled_change(tx, service_id)
    elif await find_scheduled_plan_change(tx, service_id) is not None:
        raise Conflict(
            "another plan change is scheduled for this service; cancel it first", code="PLAN_CHANGE_SCHEDULED"
        )
    change = await _insert(tx, before, plan, due_at or tx.now, config or {}, reason)
    if due_at is not None:
        return change
    await _move(tx, before, plan, change)
    return await _close(tx, change, PlanChangeStatus.DONE)


async def cancel_plan_change(tx: Tx, *, service_id: int, uid: UUID) -> PlanChange:
    """Take back a change that is still to come.

    Raises:
        NotFound: no such change of this service.
        Conflict: it is done, canceled or failed.
    """
    await hold_service(tx, service_id)
    change = await get_plan_change(tx, service_id, uid)
    PLAN_CHANGE_STATES.check(PlanChangeStatus(change.status), PlanChangeStatus.CANCELED)
    return await _close(tx, change, PlanChangeStatus.CANCELED)


async def drop_scheduled_change(tx: Tx, service_id: int) -> None:
    """Cancel what is still to come, if anything; the caller holds the service."""
    change = await find_scheduled_plan_change(tx, service_id)
    if change is not None:
        await _close(tx, change, PlanChangeStatus.CANCELED)


async def carry_out_plan_change(tx: Tx, change_id: int) -> bool:
    """Do one whose day has come; False when it has not, or another sweep has it. A refusal is kept with it."""
    change = await take_plan_change_due(tx, change_id)
    if change is None:
        return False
    try:
        async with tx.connection.transaction():
            await _carry_out(tx, change)
    except Unavailable:
        raise
    except DemarcError as refusal:
        if refusal.code == "CONCURRENT_CHANGE":
            raise
        await _close(tx, change, PlanChangeStatus.FAILED, error=refusal.message)
        one = await get_service_by_id(tx, change.service_id)
        await tell(tx, "service.plan_change_failed", one, reason=refusal.message)
        return True
    await _close(tx, change, PlanChangeStatus.DONE)
    return True


async def _carry_out(tx: Tx, change: PlanChange) -> None:
    before = await hold_service(tx, change.service_id)
    check_may_change_plan(ServiceStatus(before.status), ProvisioningStatus(before.provisioning_status))
    plan = await get_plan_by_id(tx, change.to_plan_id)
    check_new_plan(before.service_type, before.plan_id, plan)
    await _move(tx, before, plan, change)


async def _move(tx: Tx, before: Service, plan: Plan, change: PlanChange) -> None:
    await agree_on_plan(tx, subscription_id=before.subscription_id, plan_id=plan.id)
    config = merged_config(without_speeds(before.config), change.config)
    down, up = speeds_of(config, download_bps=plan.download_bps, upload_bps=plan.upload_bps)
    columns = {"plan_id": plan.id, "config": config, "download_bps": down, "upload_bps": up}
    changed = {name: value for name, value in columns.items() if getattr(before, name) != value}
    after = await rewrite(tx, before, changed, action="service.change_plan", reason=change.reason)
    await tell(
        tx,
        "service.plan_changed",
        after,
        from_plan_id=before.plan_id,
        to_plan_id=after.plan_id,
        changed_at=tx.now.isoformat(),
        reason=change.reason,
    )


async def _insert(
    tx: Tx, before: Service, plan: Plan, due_at: datetime, config: dict[str, Any], reason: str
) -> PlanChange:
    made = await tx.insert(
        plan_change,
        PlanChange,
        service_id=before.id,
        from_plan_id=before.plan_id,
        to_plan_id=plan.id,
        config=config,
        reason=reason,
        status=PlanChangeStatus.SCHEDULED.value,
        requested_by=tx.actor.name,
        due_at=due_at,
        created_at=tx.now,
        updated_at=tx.now,
    )
    if due_at > tx.now:
        detail = {"to_plan": plan.ref, "due_at": due_at, "reason": reason}
        await record(tx, "service.schedule_plan_change", entity=ENTITY, entity_id=before.id, after=detail)
        await tell(tx, "service.plan_change_scheduled", before, to_plan_id=plan.id, due_at=due_at.isoformat())
    return made


async def _close(
    tx: Tx, change: PlanChange, status: PlanChangeStatus, *, error: str | None = None
) -> PlanChange:
    PLAN_CHANGE_STATES.check(PlanChangeStatus(change.status), status)
    if status is PlanChangeStatus.CANCELED:
        await record(
            tx,
            "service.cancel_plan_change",
            entity=ENTITY,
            entity_id=change.service_id,
            after={"uid": str(change.uid)},
        )
    return await tx.update(
        plan_change,
        PlanChange,
        {"id": change.id},
        status=status.value,
        error=error,
        closed_at=tx.now,
        updated_at=tx.now,
    )
