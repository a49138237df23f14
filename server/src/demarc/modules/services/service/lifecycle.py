"""Going on line, and coming to an end."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from demarc.kernel.db import Tx
from demarc.modules.services.inputs import clean_reason
from demarc.modules.services.queries import (
    Service,
    hold_service,
    list_services_due_to_end,
    take_service_due_to_end,
    take_service_due_to_start,
)
from demarc.modules.services.rules import Standing, check_condition, check_may_activate, check_may_schedule
from demarc.modules.services.service.locks import close_locks
from demarc.modules.services.service.plan_changes import drop_scheduled_change
from demarc.modules.services.service.standing import ahead, settle, tell
from demarc.modules.services.states import SERVICE_STATES, LockKind, ProvisioningStatus, ServiceStatus
from demarc.modules.subscriptions.queries import get_subscription_by_id
from demarc.modules.subscriptions.service import cancel_subscription
from demarc.modules.subscriptions.states import SubscriptionStatus

_UNFINISHED = (ProvisioningStatus.PENDING, ProvisioningStatus.IN_PROGRESS)


async def activate_service(tx: Tx, service_id: int, *, at: datetime | None = None) -> Service:
    """Put a provisioned service on line: now, or by the sweep when `at` lies ahead. A new date replaces the old one.

    Raises:
        NotFound: no such service.
        Conflict: its state does not allow it, it is not provisioned yet, or a lock is on.
        Invalid: the day has gone by and the tenant is no sandbox.
    """
    before = await hold_service(tx, service_id)
    starts_at = ahead(tx, at, field="activation_date")
    if starts_at is not None:
        check_may_schedule(before.standing.beneath, ServiceStatus(before.status))
        return await settle(
            tx, before, before.standing, action="service.schedule_activation", activates_at=starts_at
        )
    check_may_activate(
        ServiceStatus(before.status), ProvisioningStatus(before.provisioning_status), before.standing.held_by
    )
    return await _activate(tx, before)


async def start_service_due(tx: Tx, service_id: int) -> bool:
    """Activate one whose day has come; False when it has not, or another sweep has it."""
    due = await take_service_due_to_start(tx, service_id)
    if due is not None:
        await _activate(tx, due)
    return due is not None


async def set_condition(tx: Tx, *, service_id: int, condition: ServiceStatus, reason: str) -> Service:
    """Say how the line works: active, degraded, maintenance or failed. A lock that is on stays what is shown.

    Raises:
        NotFound: no such service.
        Conflict: it was not brought up, has ended, or is in that condition already.
        Invalid: no reason.
    """
    before = await hold_service(tx, service_id)
    check_condition(before.standing.beneath, condition)
    return await settle(
        tx,
        before,
        replace(before.standing, beneath=condition),
        action="service.set_condition",
        reason=clean_reason(reason),
    )


async def activate_when_free(tx: Tx, service_id: int) -> Service:
    """The end of a provisioning that activates: at once, or when the last lock is lifted.

    Raises:
        Conflict: the service is past that.
    """
    before = await hold_service(tx, service_id)
    SERVICE_STATES.check(before.standing.beneath, ServiceStatus.ACTIVE)
    return await _activate(tx, before)


async def _activate(tx: Tx, before: Service) -> Service:
    return await settle(
        tx,
        before,
        replace(before.standing, beneath=ServiceStatus.ACTIVE),
        action="service.activate",
        activates_at=None,
    )


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
    ends_at = ahead(tx, at, field="termination_date")
    if ends_at is None:
        return await _end(tx, before, reason)
    after = await settle(
        tx,
        before,
        replace(before.standing, terminates_at=ends_at),
        action="service.give_notice",
        reason=reason,
    )
    await tell(tx, "service.notice_given", after, terminates_at=ends_at.isoformat(), reason=reason)
    return after


async def terminate_due(tx: Tx) -> int:
    """Sweep: end the services whose notice period is over at `tx.now`; how many."""
    return sum([await end_service_due(tx, one) for one in await list_services_due_to_end(tx)])


async def end_service_due(tx: Tx, service_id: int) -> bool:
    """End one whose notice period is over; False when it is not, or another sweep has it."""
    due = await take_service_due_to_end(tx, service_id)
    if due is not None:
        await _end(tx, due, "end of the notice period")
    return due is not None


async def _end(tx: Tx, before: Service, reason: str) -> Service:
    await close_locks(tx, before.id, frozenset(LockKind))
    await drop_scheduled_change(tx, before.id)
    unfinished = before.provisioning_status in _UNFINISHED
    after = await settle(
        tx,
        before,
        Standing(ServiceStatus.TERMINATED),
        action="service.terminate",
        reason=reason,
        terminated_at=tx.now,
        suspended_at=None,
        activates_at=None,
        provisioning_status=ProvisioningStatus.FAILED.value if unfinished else before.provisioning_status,
    )
    agreement = await get_subscription_by_id(tx, before.subscription_id)
    if agreement.status == SubscriptionStatus.ACTIVE:
        await cancel_subscription(tx, subscription_id=agreement.id, reason=reason)
    await tell(tx, "service.terminated", after, reason=reason)
    return after
