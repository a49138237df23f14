"""`/api/services/lifecycle`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from demarc.kernel.clock import next_month_start
from demarc.kernel.db import Tx
from demarc.modules.services.queries import (
    get_service,
    list_history,
    list_locks,
    list_plan_changes,
    list_services,
    list_steps,
)
from demarc.modules.services.service import (
    activate_service,
    cancel_plan_change,
    change_plan,
    modify_service,
    place_lock,
    resume_service,
    set_condition,
    terminate_service,
)
from demarc.modules.services.states import LockKind, PlanChangeStatus, ProvisioningStatus, ServiceStatus
from demarc.web.bss.parameters import ApiDatetime, SortParam, WindowDep, counts
from demarc.web.bss.references import customer_key, plan_key, subscription_key
from demarc.web.bss.services.convert import (
    event_out,
    health_out,
    lock_out,
    plan_changes_out,
    provisioning_out,
    service_out,
    services_out,
    step_out,
)
from demarc.web.bss.services.schemas import (
    ActivateIn,
    CancelProvisioningIn,
    ConditionIn,
    Effective,
    HealthOut,
    LockList,
    PlanChangeAnswer,
    PlanChangeIn,
    PlanChangeList,
    PlanChangeOut,
    ProvisionIn,
    ProvisioningOut,
    ResumeIn,
    ServiceEventList,
    ServiceList,
    ServiceOut,
    ServicePatch,
    StepList,
    SuspendIn,
    TerminateIn,
)
from demarc.web.routing import ApiRouter, TxDep
from demarc.workflows.provisioning import cancel_provisioning, provision_service, retry_provisioning
from demarc.workflows.service_health import check_health

router = ApiRouter(prefix="/api/services/lifecycle", tag="services")


@router.on("POST", "/provision", permission="services.write", status=201, also=(200,), problem=(404, 409))
async def provision(body: ProvisionIn, tx: TxDep, response: Response) -> ServiceOut:
    """Sell and bring up a service; the same order for the same subscription again is 200 with the one there is.

    Without `subscription_id` each order is a sale of its own; an `Idempotency-Key` makes it safe to send again.
    """
    provisioned = await provision_service(tx, body.to_order())
    if not provisioned.is_new:
        response.status_code = 200
    return await service_out(tx, provisioned.service)


@router.on("GET", "", permission="services.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    customer_id: UUID | None = None,
    subscription_id: Annotated[str | None, Query(max_length=50)] = None,
    plan_id: Annotated[str | None, Query(max_length=50)] = None,
    status: ServiceStatus | None = None,
    provisioning_status: ProvisioningStatus | None = None,
    held_by: LockKind | None = None,
    created_since: ApiDatetime | None = None,
    created_until: ApiDatetime | None = None,
    service_type: Annotated[str | None, Query(max_length=40)] = None,
    search: Annotated[str | None, Query(max_length=100, description="part of name or identifier")] = None,
    sort: SortParam = None,
) -> ServiceList:
    """Services in the order they came; `sort` by created_at, service_identifier or service_name."""
    page = await list_services(
        tx,
        window,
        sort=sort,
        customer_id=await customer_key(tx, customer_id),
        subscription_id=await subscription_key(tx, subscription_id),
        plan_id=await plan_key(tx, plan_id),
        status=status,
        provisioning_status=provisioning_status,
        held_by=held_by,
        created_since=created_since,
        created_until=created_until,
        service_type=service_type,
        search=search,
    )
    return ServiceList(services=await services_out(tx, page.rows), **counts(page))


@router.on("GET", "/{service_id}", permission="services.read", problem=(404,))
async def get(service_id: UUID, tx: TxDep) -> ServiceOut:
    """One service."""
    return await service_out(tx, await get_service(tx, service_id))


@router.on("POST", "/{service_id}/suspend", permission="services.write", problem=(404, 409))
async def suspend(service_id: UUID, body: SuspendIn, tx: TxDep) -> ServiceOut:
    """Add a lock, until `auto_resume_at` if given; the gravest lock gives the status. Its subscribers are cut."""
    found = await get_service(tx, service_id)
    return await service_out(
        tx,
        await place_lock(
            tx, service_id=found.id, kind=body.lock, reason=body.reason, lifts_at=body.auto_resume_at
        ),
    )


@router.on("POST", "/{service_id}/resume", permission="services.write", problem=(404, 409))
async def resume(service_id: UUID, tx: TxDep, body: ResumeIn | None = None) -> ServiceOut:
    """Lift the lock named, without a name all but fraud; back on line when none is left."""
    asked = body or ResumeIn()
    found = await get_service(tx, service_id)
    resumed = await resume_service(tx, service_id=found.id, kind=asked.reason_code, reason=asked.reason)
    return await service_out(tx, resumed)


@router.on("POST", "/{service_id}/activate", permission="services.write", problem=(404, 409))
async def activate(service_id: UUID, tx: TxDep, body: ActivateIn | None = None) -> ServiceOut:
    """Put a provisioned service on line, now or on `activation_date`."""
    found = await get_service(tx, service_id)
    at = None if body is None else body.activation_date
    return await service_out(tx, await activate_service(tx, found.id, at=at))


@router.on("PATCH", "/{service_id}", permission="services.write", problem=(404, 409))
async def patch(service_id: UUID, body: ServicePatch, tx: TxDep) -> ServiceOut:
    """Change the fields given; new speeds reach live sessions by CoA."""
    return await _modify(tx, service_id, body)


@router.on("POST", "/{service_id}/modify", permission="services.write", problem=(404, 409))
async def modify(service_id: UUID, body: ServicePatch, tx: TxDep) -> ServiceOut:
    """The same as PATCH, as a command."""
    return await _modify(tx, service_id, body)


@router.on("POST", "/{service_id}/condition", permission="services.write", problem=(404, 409))
async def condition(service_id: UUID, body: ConditionIn, tx: TxDep) -> ServiceOut:
    """Say how the line works: active, degraded, maintenance or failed; a lock stays what is shown."""
    found = await get_service(tx, service_id)
    wanted = ServiceStatus(body.condition.value)
    return await service_out(
        tx, await set_condition(tx, service_id=found.id, condition=wanted, reason=body.reason)
    )


@router.on("POST", "/{service_id}/change-plan", permission="services.write", also=(202,), problem=(404, 409))
async def to_another_plan(
    service_id: UUID, body: PlanChangeIn, tx: TxDep, response: Response
) -> PlanChangeAnswer:
    """Move to another plan. 200: done, new speeds are on their way to live sessions; 202: scheduled."""
    found = await get_service(tx, service_id)
    at = body.effective_date
    if body.effective is Effective.PERIOD_END:
        at = next_month_start(tx.now, tx.tenant.time_zone)
    change = await change_plan(
        tx, service_id=found.id, plan_ref=body.plan_id, at=at, config=body.service_config, reason=body.reason
    )
    if change.status == PlanChangeStatus.SCHEDULED:
        response.status_code = 202
    after = await get_service(tx, service_id)
    shown = (await plan_changes_out(tx, after, [change]))[0]
    return PlanChangeAnswer(plan_change=shown, service=await service_out(tx, after))


@router.on("GET", "/{service_id}/plan-changes", permission="services.read", problem=(404,))
async def plan_changes(
    service_id: UUID,
    tx: TxDep,
    window: WindowDep,
    status: PlanChangeStatus | None = None,
    sort: SortParam = None,
) -> PlanChangeList:
    """Past plan changes and the one to come, the oldest first, unless `sort` says otherwise (created_at, due_at)."""
    found = await get_service(tx, service_id)
    page = await list_plan_changes(tx, found.id, window, sort=sort, status=status)
    return PlanChangeList(plan_changes=await plan_changes_out(tx, found, page.rows), **counts(page))


@router.on(
    "POST", "/{service_id}/plan-changes/{change_id}/cancel", permission="services.write", problem=(404, 409)
)
async def cancel_change(service_id: UUID, change_id: UUID, tx: TxDep) -> PlanChangeOut:
    """Take back a plan change that is still to come."""
    found = await get_service(tx, service_id)
    canceled = await cancel_plan_change(tx, service_id=found.id, uid=change_id)
    return (await plan_changes_out(tx, found, [canceled]))[0]


@router.on("POST", "/{service_id}/terminate", permission="services.write", problem=(404, 409))
async def terminate(service_id: UUID, tx: TxDep, body: TerminateIn | None = None) -> ServiceOut:
    """End the service and its subscription, now or on `termination_date`."""
    asked = body or TerminateIn()
    found = await get_service(tx, service_id)
    ended = await terminate_service(tx, service_id=found.id, reason=asked.reason, at=asked.termination_date)
    return await service_out(tx, ended)


@router.on("GET", "/{service_id}/events", permission="services.read", problem=(404,))
async def events(
    service_id: UUID,
    tx: TxDep,
    window: WindowDep,
    from_status: ServiceStatus | None = None,
    to_status: ServiceStatus | None = None,
    actor: Annotated[str | None, Query(max_length=200)] = None,
    since: ApiDatetime | None = None,
    until: ApiDatetime | None = None,
    sort: SortParam = None,
) -> ServiceEventList:
    """Every change of the status shown, the oldest first unless sorted by -changed_at."""
    found = await get_service(tx, service_id)
    page = await list_history(
        tx,
        found.id,
        window,
        sort=sort,
        from_status=from_status,
        to_status=to_status,
        actor=actor,
        since=since,
        until=until,
    )
    return ServiceEventList(events=[event_out(row) for row in page.rows], **counts(page))


@router.on("GET", "/{service_id}/locks", permission="services.read", problem=(404,))
async def locks(
    service_id: UUID,
    tx: TxDep,
    window: WindowDep,
    kind: LockKind | None = None,
    is_open: bool | None = None,
    sort: SortParam = None,
) -> LockList:
    """Every lock that is or was on, the oldest first unless sorted by -placed_at."""
    found = await get_service(tx, service_id)
    page = await list_locks(tx, found.id, window, sort=sort, kind=kind, is_open=is_open)
    return LockList(locks=[lock_out(row) for row in page.rows], **counts(page))


@router.on("GET", "/{service_id}/steps", permission="services.read", problem=(404,))
async def steps(service_id: UUID, tx: TxDep) -> StepList:
    """How far provisioning has come, and why a step did not succeed."""
    found = await get_service(tx, service_id)
    rows = await list_steps(tx, found.id)
    return StepList(
        steps=[step_out(row) for row in rows],
        total=len(rows),
        provisioning_status=ProvisioningStatus(found.provisioning_status),
    )


@router.on("GET", "/{service_id}/provisioning", permission="services.read", problem=(404,))
async def provisioning(service_id: UUID, tx: TxDep) -> ProvisioningOut:
    """How far bringing the service up has come, why it stopped, and whether it can be retried or canceled."""
    return await _provisioning(tx, service_id)


@router.on("POST", "/{service_id}/provisioning/retry", permission="services.write", problem=(404, 409))
async def retry(service_id: UUID, tx: TxDep) -> ProvisioningOut:
    """Bring a service up again whose provisioning was rolled back."""
    await retry_provisioning(tx, (await get_service(tx, service_id)).id)
    return await _provisioning(tx, service_id)


@router.on("POST", "/{service_id}/provisioning/cancel", permission="services.write", problem=(404, 409))
async def cancel(service_id: UUID, tx: TxDep, body: CancelProvisioningIn | None = None) -> ProvisioningOut:
    """Stop bringing the service up; what was done is undone step by step."""
    asked = body or CancelProvisioningIn()
    await cancel_provisioning(tx, (await get_service(tx, service_id)).id, reason=asked.reason)
    return await _provisioning(tx, service_id)


async def _provisioning(tx: Tx, service_id: UUID) -> ProvisioningOut:
    found = await get_service(tx, service_id)
    return provisioning_out(found, await list_steps(tx, found.id))


async def _modify(tx: Tx, service_id: UUID, body: ServicePatch) -> ServiceOut:
    found = await get_service(tx, service_id)
    changed = await modify_service(tx, service_id=found.id, changes=body.to_changes(), reason=body.reason)
    return await service_out(tx, changed)


@router.on("GET", "/{service_id}/health", permission="services.read", problem=(404,))
async def health(service_id: UUID, tx: TxDep) -> HealthOut:
    """Whether the line works: the service, its log-ins, the live session and the NAS, with findings in words."""
    found = await get_service(tx, service_id)
    return health_out(found, await check_health(tx, found))
