"""Rows of services in the words of `/api`."""

from __future__ import annotations

from collections.abc import Sequence

from demarc.kernel.db import Tx
from demarc.modules.catalog.inputs import BITS_PER_MEGABIT
from demarc.modules.catalog.queries import refs_of as plan_refs_of
from demarc.modules.customers.queries import uids_of as customer_uids_of
from demarc.modules.services.queries import ProvisioningStep, Service, ServiceLock, StatusChange
from demarc.modules.services.states import LockKind, ProvisioningStatus, ServiceStatus, StepStatus
from demarc.modules.subscriptions.queries import refs_of as subscription_refs_of
from demarc.web.bss.services.schemas import BandwidthProfile, LockOut, ServiceEventOut, ServiceOut, StepOut


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
            installation_address=row.installation_address,
            installation_scheduled_date=row.installation_scheduled_at,
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
