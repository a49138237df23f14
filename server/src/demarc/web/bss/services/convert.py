"""Rows of services in the words of `/api`."""

from __future__ import annotations

from collections.abc import Sequence

from demarc.kernel.db import Tx
from demarc.modules.catalog.inputs import BITS_PER_MEGABIT
from demarc.modules.catalog.queries import refs_of as plan_refs_of
from demarc.modules.customers.queries import uids_of as customer_uids_of
from demarc.modules.services.queries import (
    Bulk,
    BulkRow,
    PlanChange,
    ProvisioningStep,
    Service,
    ServiceLock,
    StatusChange,
)
from demarc.modules.services.states import (
    BulkOperation,
    BulkOutcome,
    BulkStatus,
    LockKind,
    OnError,
    PlanChangeStatus,
    ProvisioningStatus,
    ServiceStatus,
    StepStatus,
)
from demarc.modules.subscriptions.queries import refs_of as subscription_refs_of
from demarc.web.bss.services.schemas import (
    BandwidthProfile,
    BulkOut,
    BulkRowOut,
    HealthFindingOut,
    HealthOut,
    LineOut,
    LockOut,
    PlanChangeOut,
    ProvisioningOut,
    ServiceEventOut,
    ServiceOut,
    SessionHealthOut,
    StepOut,
)
from demarc.workflows.service_health import Health, Line, LiveSession

FAILURES_SHOWN = 100
_UNDER_WAY = (ProvisioningStatus.PENDING, ProvisioningStatus.IN_PROGRESS, ProvisioningStatus.FAILED)


async def services_out(tx: Tx, rows: Sequence[Service]) -> list[ServiceOut]:
    """The rows with the ids that `/api` knows their customers, subscriptions and plans by."""
    customers = await customer_uids_of(tx, {row.customer_id for row in rows})
    subscriptions = await subscription_refs_of(tx, {row.subscription_id for row in rows})
    plans = await plan_refs_of(tx, {row.plan_id for row in rows})
    return [
        ServiceOut.model_construct(
            id=row.uid,
            service_identifier=row.identifier,
            service_name=row.name,
            service_type=row.service_type,
            status=ServiceStatus(row.status),
            provisioning_status=ProvisioningStatus(row.provisioning_status),
            held_by=row.standing.held_by,
            customer_id=customers[row.customer_id],
            subscription_id=subscriptions[row.subscription_id],
            plan_id=plans[row.plan_id],
            service_config=row.config,
            bandwidth_profile=BandwidthProfile.model_construct(
                download_mbps=row.download_bps / BITS_PER_MEGABIT,
                upload_mbps=row.upload_bps / BITS_PER_MEGABIT,
            ),
            identifiers=row.identifiers,
            notes=row.notes,
            installation_address=row.installation_address,
            installation_scheduled_date=row.installation_scheduled_at,
            activates_at=row.activates_at,
            activated_at=row.activated_at,
            suspended_at=row.suspended_at,
            terminates_at=row.terminates_at,
            terminated_at=row.terminated_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
        for row in rows
    ]


async def service_out(tx: Tx, row: Service) -> ServiceOut:
    return (await services_out(tx, [row]))[0]


def event_out(row: StatusChange) -> ServiceEventOut:
    return ServiceEventOut(
        from_status=None if row.from_status is None else ServiceStatus(row.from_status),
        to_status=ServiceStatus(row.to_status),
        reason=row.reason,
        actor=row.actor,
        changed_at=row.changed_at,
    )


def lock_out(row: ServiceLock) -> LockOut:
    return LockOut(
        kind=LockKind(row.kind),
        reason=row.reason,
        placed_by=row.placed_by,
        placed_at=row.placed_at,
        lifts_at=row.lifts_at,
        lifted_by=row.lifted_by,
        lifted_at=row.lifted_at,
    )


def step_out(row: ProvisioningStep) -> StepOut:
    return StepOut(
        position=row.position,
        name=row.name,
        status=StepStatus(row.status),
        attempts=row.attempts,
        last_error=row.detail.get("last_error"),
        updated_at=row.updated_at,
    )


async def plan_changes_out(tx: Tx, one: Service, rows: Sequence[PlanChange]) -> list[PlanChangeOut]:
    plans = await plan_refs_of(tx, {plan for row in rows for plan in (row.from_plan_id, row.to_plan_id)})
    return [
        PlanChangeOut(
            id=row.uid,
            service_id=one.uid,
            from_plan_id=plans[row.from_plan_id],
            to_plan_id=plans[row.to_plan_id],
            status=PlanChangeStatus(row.status),
            service_config=row.config,
            reason=row.reason,
            error=row.error,
            requested_by=row.requested_by,
            due_at=row.due_at,
            closed_at=row.closed_at,
            created_at=row.created_at,
        )
        for row in rows
    ]


def provisioning_out(one: Service, steps: Sequence[ProvisioningStep]) -> ProvisioningOut:
    status = ProvisioningStatus(one.provisioning_status)
    ended = one.status in (ServiceStatus.TERMINATING, ServiceStatus.TERMINATED)
    under_way = status is ProvisioningStatus.IN_PROGRESS
    waiting = next((step for step in steps if step.status == StepStatus.PENDING), None) if under_way else None
    errors = [step.detail["last_error"] for step in steps if "last_error" in step.detail]
    return ProvisioningOut(
        service_id=one.uid,
        status=status,
        current_step=None if waiting is None else waiting.name,
        steps_done=sum(step.status == StepStatus.COMPLETED for step in steps),
        steps_total=len(steps),
        last_error=errors[-1] if errors else None,
        can_retry=status is ProvisioningStatus.ROLLED_BACK and not ended,
        can_cancel=status in _UNDER_WAY and not ended,
        steps=[step_out(step) for step in steps],
    )


def bulk_row_out(row: BulkRow) -> BulkRowOut:
    return BulkRowOut(
        position=row.position,
        service_id=row.service_uid,
        outcome=BulkOutcome(row.outcome),
        code=row.code,
        message=row.message,
    )


def bulk_out(row: Bulk, failures: Sequence[BulkRow]) -> BulkOut:
    running = row.status == BulkStatus.RUNNING
    return BulkOut(
        id=row.uid,
        operation=BulkOperation(row.operation),
        on_error=OnError(row.on_error),
        status=BulkStatus(row.status),
        requested=row.total,
        succeeded=row.succeeded,
        failed=row.failed,
        remaining=row.total - row.succeeded - row.failed if running else 0,
        requested_by=row.requested_by,
        failures=[bulk_row_out(one) for one in failures if one.bulk_id == row.id][:FAILURES_SHOWN],
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def health_out(one: Service, health: Health) -> HealthOut:
    return HealthOut(
        service_id=one.uid,
        status=ServiceStatus(one.status),
        health=health.grade,
        is_online=health.is_online,
        checked_at=health.checked_at,
        lines=[_line_out(line) for line in health.lines],
        findings=[
            HealthFindingOut(severity=found.severity, code=found.code, message=found.message)
            for found in health.findings
        ],
    )


def _line_out(line: Line) -> LineOut:
    attempt = line.attempt
    return LineOut(
        subscriber_id=line.subscriber.uid,
        username=line.subscriber.username,
        decision=None if line.login is None else line.login.decision,
        decision_reason="" if line.login is None else line.login.decision_reason,
        fixed_addresses=[str(address) for address in line.addresses],
        last_login_at=None if attempt is None else attempt.attempted_at,
        last_login_accepted=None if attempt is None else attempt.accepted,
        last_reject_reason=None if attempt is None or attempt.accepted else attempt.reason,
        sessions=[_session_out(session) for session in line.sessions],
    )


def _session_out(live: LiveSession) -> SessionHealthOut:
    session = live.session
    return SessionHealthOut(
        session_id=session.id,
        nas=live.nas.name,
        started_at=session.started_at,
        age_seconds=live.age_seconds,
        last_interim_at=session.updated_at,
        silent_seconds=live.silent_seconds,
        is_stale=live.is_stale,
        address=None if session.framed_ip is None else str(session.framed_ip),
        delegated_prefix=None if session.delegated_prefix is None else str(session.delegated_prefix),
        nas_last_heard_at=live.nas_heard_at,
        nas_is_reachable=live.nas_is_reachable,
    )
