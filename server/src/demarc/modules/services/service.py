"""Every write of services, one function per use case. Whoever changes a service holds its row until the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import any_, bindparam, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.types import DateTime, Text

from demarc.kernel.clock import local_date
from demarc.kernel.db import Tx
from demarc.kernel.outbox import emit
from demarc.kernel.sql import Query, mine
from demarc.kernel.states import change_status, record_status_change
from demarc.modules.audit.service import changes as changed_fields
from demarc.modules.audit.service import record
from demarc.modules.services.inputs import NewService, clean_reason
from demarc.modules.services.models import provisioning_step, service, service_lock, service_number
from demarc.modules.services.queries import (
    ENTITY,
    ProvisioningStep,
    Service,
    ServiceLock,
    hold_service,
    list_open_locks,
    list_steps,
    take_services_due_to_end,
)
from demarc.modules.services.rules import (
    Standing,
    check_may_activate,
    check_may_resume,
    check_may_suspend,
    end_of_notice,
    gravest,
    kinds_to_lift,
)
from demarc.modules.services.states import (
    PROVISIONING_STATES,
    SERVICE_STATES,
    STEP_STATES,
    LockKind,
    ProvisioningStatus,
    ServiceStatus,
    StepStatus,
)
from demarc.modules.subscriptions.queries import get_subscription_by_id
from demarc.modules.subscriptions.service import cancel_subscription
from demarc.modules.subscriptions.states import SubscriptionStatus

_COUNT_UP = insert(service_number).values(
    tenant_id=bindparam("tenant_id"), day=bindparam("day", type_=service_number.c.day.type), last=1
)
_NEXT_NUMBER = Query(
    _COUNT_UP.on_conflict_do_update(
        index_elements=["tenant_id", "day"], set_={"last": service_number.c.last + 1}
    ).returning(service_number.c.last)
)
_LIFT = Query(
    update(service_lock)
    .where(
        mine(service_lock),
        service_lock.c.service_id == bindparam("service_id"),
        service_lock.c.lifted_at.is_(None),
        service_lock.c.kind == any_(bindparam("kinds", type_=ARRAY(Text))),
    )
    .values(
        lifted_at=bindparam("now", type_=DateTime(timezone=True)),
        lifted_by=bindparam("lifted_by", type_=Text),
    )
)
_UNFINISHED = (ProvisioningStatus.PENDING, ProvisioningStatus.IN_PROGRESS)


async def next_identifier(tx: Tx) -> str:
    """`SVC-YYYYMMDD-<n>`, the day being the tenant's; two transactions never get the same, gaps may stay."""
    day: date = local_date(tx.now, tx.tenant.time_zone)
    number: int = await tx.value(_NEXT_NUMBER, day=day)
    return f"SVC-{day:%Y%m%d}-{number}"


async def create_service(
    tx: Tx,
    new: NewService,
    *,
    identifier: str | None = None,
    steps: Sequence[str] = (),
    uid: UUID | None = None,
    service_id: int | None = None,
) -> Service:
    """Make a service. With steps it is `provisioning`; without, there is nothing to do and it waits to be activated.

    Args:
        tx: the caller's transaction.
        new: what was sold.
        identifier: when the caller has taken one already.
        steps: names of the steps that bring it up, in order.
        uid: given by the sandbox only.
        service_id: likewise.
    """
    provisioning = bool(steps)
    fixed = {name: value for name, value in (("uid", uid), ("id", service_id)) if value is not None}
    made = await tx.insert(
        service,
        Service,
        **asdict(new),
        **fixed,
        identifier=identifier or await next_identifier(tx),
        status=(ServiceStatus.PROVISIONING if provisioning else ServiceStatus.PENDING).value,
        provisioning_status=_start_of_provisioning(provisioning=provisioning).value,
        created_at=tx.now,
        updated_at=tx.now,
    )
    for position, name in enumerate(steps, start=1):
        await tx.insert(
            provisioning_step,
            ProvisioningStep,
            service_id=made.id,
            position=position,
            name=name,
            updated_at=tx.now,
        )
    await record_status_change(tx, entity=ENTITY, entity_id=made.id, from_status=None, to_status=made.status)
    await record(tx, "service.create", entity=ENTITY, entity_id=made.id, after=asdict(made))
    await _emit(tx, "service.created", made, identifier=made.identifier)
    return made


def _start_of_provisioning(*, provisioning: bool) -> ProvisioningStatus:
    return ProvisioningStatus.IN_PROGRESS if provisioning else ProvisioningStatus.COMPLETED


async def activate_service(tx: Tx, service_id: int) -> Service:
    """Put a provisioned service on line.

    Raises:
        NotFound: no such service.
        Conflict: its state does not allow it, it is not provisioned yet, or a lock is on.
    """
    before = await hold_service(tx, service_id)
    check_may_activate(
        ServiceStatus(before.status), ProvisioningStatus(before.provisioning_status), before.standing.held_by
    )
    return await _activate(tx, before)


async def activate_when_free(tx: Tx, service_id: int) -> Service:
    """The end of a provisioning that activates: at once, or when the last lock is lifted.

    Raises:
        Conflict: the service is past that.
    """
    before = await hold_service(tx, service_id)
    SERVICE_STATES.check(before.standing.beneath, ServiceStatus.ACTIVE)
    return await _activate(tx, before)


async def _activate(tx: Tx, before: Service) -> Service:
    return await _settle(
        tx, before, replace(before.standing, beneath=ServiceStatus.ACTIVE), action="service.activate"
    )


async def place_lock(tx: Tx, *, service_id: int, kind: LockKind, reason: str) -> Service:
    """Hold a service down. A lock that is on already stays as it is.

    Raises:
        NotFound: no such service.
        Conflict: the service is terminating or terminated.
        Invalid: no reason.
    """
    before = await hold_service(tx, service_id)
    check_may_suspend(ServiceStatus(before.status))
    kinds = {LockKind(lock.kind) for lock in await list_open_locks(tx, service_id)}
    if kind in kinds:
        return before
    await tx.insert(
        service_lock,
        ServiceLock,
        service_id=service_id,
        kind=kind.value,
        reason=clean_reason(reason),
        placed_by=tx.actor.name,
        placed_at=tx.now,
    )
    after = await _settle(
        tx,
        before,
        replace(before.standing, held_by=gravest({*kinds, kind})),
        action="service.suspend",
        reason=reason,
        suspended_at=before.suspended_at or tx.now,
    )
    await _emit(tx, "service.suspended", after, lock=kind.value, reason=reason)
    return after


async def lift_lock(tx: Tx, *, service_id: int, kind: LockKind | None, reason: str = "") -> Service:
    """Lift one lock, or all but fraud; a service on which no such lock is on stays as it is.

    Raises:
        NotFound: no such service.
    """
    before = await hold_service(tx, service_id)
    kinds = {LockKind(lock.kind) for lock in await list_open_locks(tx, service_id)}
    lifted = kinds_to_lift(kinds, kind)
    return await _lift(tx, before, kinds, lifted, reason) if lifted else before


async def resume_service(tx: Tx, *, service_id: int, kind: LockKind | None, reason: str = "") -> Service:
    """Lift one lock, or all but fraud, as a person asks for it.

    Raises:
        NotFound: no such service.
        Conflict: no such lock is on.
    """
    before = await hold_service(tx, service_id)
    kinds = {LockKind(lock.kind) for lock in await list_open_locks(tx, service_id)}
    check_may_resume(ServiceStatus(before.status), kinds, kind)
    return await _lift(tx, before, kinds, kinds_to_lift(kinds, kind), reason)


async def _lift(
    tx: Tx, before: Service, kinds: set[LockKind], lifted: frozenset[LockKind], reason: str
) -> Service:
    await _close_locks(tx, before.id, lifted)
    held_by = gravest(kinds - lifted)
    after = await _settle(
        tx,
        before,
        replace(before.standing, held_by=held_by),
        action="service.resume",
        reason=reason,
        suspended_at=before.suspended_at if held_by else None,
    )
    await _emit(tx, "service.resumed", after, locks=sorted(lifted), held_by=after.held_by, reason=reason)
    return after


async def terminate_service(tx: Tx, *, service_id: int, reason: str, at: datetime | None = None) -> Service:
    """End a service, and the subscription with it: now, or with notice when `at` lies ahead.

    During the notice period it is `terminating` and stays on line; the sweep `terminate_due` ends it. A new date
    replaces the old one.

    Raises:
        NotFound: no such service.
        Conflict: it is terminated.
        Invalid: no reason, or the day has gone by and the tenant is no sandbox.
    """
    before = await hold_service(tx, service_id)
    reason = clean_reason(reason)
    if before.status == ServiceStatus.TERMINATED:
        SERVICE_STATES.check(ServiceStatus.TERMINATED, ServiceStatus.TERMINATED)
    ends_at = end_of_notice(at, now=tx.now, time_zone=tx.tenant.time_zone, may_be_past=tx.tenant.is_sandbox)
    if ends_at is None:
        return await _end(tx, before, reason)
    after = await _settle(
        tx,
        before,
        replace(before.standing, terminates_at=ends_at),
        action="service.give_notice",
        reason=reason,
    )
    await _emit(tx, "service.notice_given", after, terminates_at=ends_at.isoformat(), reason=reason)
    return after


async def terminate_due(tx: Tx) -> int:
    """Sweep: end a batch of services whose notice period is over at `tx.now`; how many."""
    due = await take_services_due_to_end(tx)
    for one in due:
        await _end(tx, one, "end of the notice period")
    return len(due)


async def _end(tx: Tx, before: Service, reason: str) -> Service:
    await _close_locks(tx, before.id, frozenset(LockKind))
    unfinished = before.provisioning_status in _UNFINISHED
    after = await _settle(
        tx,
        before,
        Standing(ServiceStatus.TERMINATED),
        action="service.terminate",
        reason=reason,
        terminated_at=tx.now,
        suspended_at=None,
        **({"provisioning_status": ProvisioningStatus.FAILED.value} if unfinished else {}),
    )
    agreement = await get_subscription_by_id(tx, before.subscription_id)
    if agreement.status == SubscriptionStatus.ACTIVE:
        await cancel_subscription(tx, subscription_id=agreement.id, reason=reason)
    await _emit(tx, "service.terminated", after, reason=reason)
    return after


async def start_step(tx: Tx, step: ProvisioningStep) -> ProvisioningStep:
    """Store the intent: from now on the step may have left something outside. The caller holds the service's row."""
    return await _update_step(tx, step, attempts=step.attempts + 1)


async def complete_step(tx: Tx, step: ProvisioningStep, detail: dict[str, Any]) -> ProvisioningStep:
    """Keep what the step made."""
    STEP_STATES.check(StepStatus(step.status), StepStatus.COMPLETED)
    return await _update_step(
        tx, step, status=StepStatus.COMPLETED.value, attempts=max(step.attempts, 1), detail=detail
    )


async def note_failed_attempt(tx: Tx, step: ProvisioningStep, error: str) -> ProvisioningStep:
    """Show that the step did not succeed this time; it will be tried again."""
    return await _update_step(tx, step, detail={**step.detail, "last_error": error})


async def compensate_step(tx: Tx, step: ProvisioningStep) -> ProvisioningStep:
    """Show that what the step made is undone."""
    STEP_STATES.check(StepStatus(step.status), StepStatus.COMPENSATED)
    return await _update_step(tx, step, status=StepStatus.COMPENSATED.value)


async def complete_provisioning(tx: Tx, service_id: int) -> Service:
    """Every step is done: the service is active if a step made it so, else it waits to be activated."""
    before = await hold_service(tx, service_id)
    standing = before.standing
    if standing.beneath is ServiceStatus.PROVISIONING:
        standing = replace(standing, beneath=ServiceStatus.PENDING)
    return await _provision_to(tx, before, ProvisioningStatus.COMPLETED, standing)


async def fail_provisioning(tx: Tx, service_id: int, step: ProvisioningStep, error: str) -> Service:
    """A step failed for good; what was done has to be undone next."""
    before = await hold_service(tx, service_id)
    STEP_STATES.check(StepStatus(step.status), StepStatus.FAILED)
    await _update_step(
        tx,
        step,
        status=StepStatus.FAILED.value,
        detail={**step.detail, "last_error": error},
    )
    standing = replace(before.standing, beneath=ServiceStatus.PROVISIONING_FAILED)
    after = await _provision_to(tx, before, ProvisioningStatus.FAILED, standing, reason=error)
    await _emit(tx, "service.provisioning_failed", after, step=step.name, reason=error)
    return after


async def finish_rollback(tx: Tx, service_id: int) -> Service:
    """All that was done is undone."""
    before = await hold_service(tx, service_id)
    return await _provision_to(tx, before, ProvisioningStatus.ROLLED_BACK, before.standing)


async def restart_provisioning(tx: Tx, service_id: int) -> Service:
    """Try a rolled-back provisioning again from its first step.

    Raises:
        Conflict: it has not failed, or is not rolled back yet.
    """
    before = await hold_service(tx, service_id)
    SERVICE_STATES.check(before.standing.beneath, ServiceStatus.PROVISIONING)
    for step in await list_steps(tx, service_id):
        if step.status != StepStatus.PENDING:
            await _update_step(tx, step, status=StepStatus.PENDING.value, attempts=0, detail={})
    standing = replace(before.standing, beneath=ServiceStatus.PROVISIONING)
    return await _provision_to(tx, before, ProvisioningStatus.IN_PROGRESS, standing)


async def _provision_to(
    tx: Tx, before: Service, target: ProvisioningStatus, standing: Standing, *, reason: str = ""
) -> Service:
    PROVISIONING_STATES.check(ProvisioningStatus(before.provisioning_status), target)
    return await _settle(
        tx,
        before,
        standing,
        action=f"service.provisioning_{target.value}",
        reason=reason,
        provisioning_status=target.value,
    )


async def _update_step(tx: Tx, step: ProvisioningStep, **values: Any) -> ProvisioningStep:
    keys = {"service_id": step.service_id, "position": step.position}
    return await tx.update(provisioning_step, ProvisioningStep, keys, **values, updated_at=tx.now)


async def _close_locks(tx: Tx, service_id: int, kinds: frozenset[LockKind]) -> None:
    await tx.execute(_LIFT, service_id=service_id, kinds=sorted(kinds), now=tx.now, lifted_by=tx.actor.name)


async def _settle(
    tx: Tx, before: Service, standing: Standing, *, action: str, reason: str = "", **values: Any
) -> Service:
    """Write where the service stands now; the status shown changes only by its transition table."""
    columns = {
        "resumes_to": standing.hidden,
        "held_by": standing.held_by,
        "terminates_at": standing.terminates_at,
        **values,
    }
    first_time_up = standing.is_up and before.activated_at is None
    if first_time_up:
        columns["activated_at"] = tx.now
    after = await _write(tx, before, standing.shown, reason, columns)
    old, new = changed_fields(asdict(before), asdict(after))
    await record(tx, action, entity=ENTITY, entity_id=after.id, before=old, after=new)
    if (before.status, before.is_up) != (after.status, after.is_up):
        await _emit(
            tx,
            "service.status_changed",
            after,
            from_status=before.status,
            to_status=after.status,
            reason=reason,
        )
    if first_time_up:
        await _emit(tx, "service.activated", after)
    return after


async def _write(
    tx: Tx, before: Service, shown: ServiceStatus, reason: str, columns: dict[str, Any]
) -> Service:
    current = ServiceStatus(before.status)
    if current is shown:
        return await tx.update(service, Service, {"id": before.id}, updated_at=tx.now, **columns)
    return await change_status(
        tx,
        SERVICE_STATES,
        service,
        Service,
        entity_id=before.id,
        current=current,
        target=shown,
        reason=reason,
        **columns,
    )


async def _emit(tx: Tx, name: str, one: Service, **payload: Any) -> None:
    await emit(
        tx,
        name,
        entity=ENTITY,
        entity_id=one.id,
        service_uid=str(one.uid),
        customer_id=one.customer_id,
        subscription_id=one.subscription_id,
        **payload,
    )
