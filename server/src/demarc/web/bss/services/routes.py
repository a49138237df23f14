"""`/api/services/lifecycle`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from demarc.modules.services.queries import (
    get_service,
    list_history,
    list_locks,
    list_services,
    list_steps,
)
from demarc.modules.services.service import activate_service, place_lock, resume_service, terminate_service
from demarc.modules.services.states import LockKind, ProvisioningStatus, ServiceStatus
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.bss.references import customer_key, plan_key, subscription_key
from demarc.web.bss.services.convert import event_out, lock_out, service_out, services_out, step_out
from demarc.web.bss.services.schemas import (
    LockList,
    ProvisionIn,
    ResumeIn,
    ServiceEventList,
    ServiceList,
    ServiceOut,
    StepList,
    SuspendIn,
    TerminateIn,
)
from demarc.web.routing import ApiRouter, TxDep
from demarc.workflows.provisioning import provision_service

router = ApiRouter(prefix="/api/services/lifecycle", tag="services")


@router.on("POST", "/provision", permission="services.write", status=201, also=(200,), problem=(404, 409))
async def provision(body: ProvisionIn, tx: TxDep, response: Response) -> ServiceOut:
    """Sell and bring up a service; the same order for the same subscription again is 200 with the one there is."""
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
    """Add a lock; the gravest lock gives the status. Its subscribers are cut in the same transaction."""
    found = await get_service(tx, service_id)
    return await service_out(
        tx, await place_lock(tx, service_id=found.id, kind=body.lock, reason=body.reason)
    )


@router.on("POST", "/{service_id}/resume", permission="services.write", problem=(404, 409))
async def resume(service_id: UUID, tx: TxDep, body: ResumeIn | None = None) -> ServiceOut:
    """Lift the lock named, without a name all but fraud; back on line when none is left."""
    asked = body or ResumeIn()
    found = await get_service(tx, service_id)
    resumed = await resume_service(tx, service_id=found.id, kind=asked.reason_code, reason=asked.reason)
    return await service_out(tx, resumed)


@router.on("POST", "/{service_id}/activate", permission="services.write", problem=(404, 409))
async def activate(service_id: UUID, tx: TxDep) -> ServiceOut:
    """Put a provisioned service on line."""
    found = await get_service(tx, service_id)
    return await service_out(tx, await activate_service(tx, found.id))


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
    to_status: ServiceStatus | None = None,
    sort: SortParam = None,
) -> ServiceEventList:
    """Every change of the status shown, the oldest first unless sorted by -changed_at."""
    found = await get_service(tx, service_id)
    page = await list_history(tx, found.id, window, sort=sort, to_status=to_status)
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
