"""The record of a provisioning: what its steps did; `workflows/provisioning` decides what they do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from demarc.kernel.db import Tx
from demarc.modules.services.models import provisioning_step
from demarc.modules.services.queries import ProvisioningStep, Service, hold_service, list_steps
from demarc.modules.services.rules import Standing
from demarc.modules.services.service.standing import settle, tell
from demarc.modules.services.states import (
    PROVISIONING_STATES,
    SERVICE_STATES,
    STEP_STATES,
    ProvisioningStatus,
    ServiceStatus,
    StepStatus,
)


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
    await tell(tx, "service.provisioning_failed", after, step=step.name, reason=error)
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
    return await settle(
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
