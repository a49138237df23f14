"""An order becomes a service: the subscription is opened, the service made and brought up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, invalid, naming
from demarc.modules.catalog.queries import Plan, get_plan
from demarc.modules.customers.queries import Customer, hold_customer
from demarc.modules.services.inputs import NewService, clean_config
from demarc.modules.services.queries import Service, find_live_service
from demarc.modules.services.rules import speeds_of
from demarc.modules.services.service import ahead, create_service, next_identifier, restart_provisioning
from demarc.modules.services.states import ProvisioningStatus
from demarc.modules.subscriptions.queries import Subscription, hold_subscription
from demarc.modules.subscriptions.service import open_subscription
from demarc.workflows.provisioning.driver import run_at_once
from demarc.workflows.provisioning.steps import steps_for


@dataclass(frozen=True, slots=True)
class ServiceOrder:
    """What is ordered, in the words of `/api`. Without a subscription reference each order is a new sale."""

    customer_uid: UUID
    plan_ref: str
    service_type: str
    name: str
    subscription_ref: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    installation_address: str | None = None
    installation_scheduled_at: datetime | None = None
    auto_activate: bool = False
    activates_at: datetime | None = None
    notes: str = ""
    identifiers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Provisioned:
    """The service, and whether this order made it."""

    service: Service
    customer: Customer
    plan: Plan
    subscription: Subscription
    is_new: bool


async def provision_service(tx: Tx, order: ServiceOrder) -> Provisioned:
    """Sell and bring up a service. With no step outside it is done when this returns.

    The same order for the same subscription again answers with the service that is there; if its provisioning had
    failed, that starts over.

    Raises:
        NotFound: no such customer or plan; the detail names the field.
        Invalid: the plan is for another type of service, or a value is not acceptable.
        Conflict: the plan is retired, the customer is not active, or the subscription cannot take this service.
    """
    clean_config(order.config)
    customer = await naming("customer_id", hold_customer(tx, order.customer_uid))
    plan = await naming("plan_id", get_plan(tx, order.plan_ref))
    if order.service_type != plan.service_type:
        raise invalid("service_type", f"the plan {plan.ref} is for {plan.service_type}")
    identifier = await next_identifier(tx) if order.subscription_ref is None else None
    agreement = await open_subscription(
        tx,
        ref=f"sub_{identifier}" if order.subscription_ref is None else order.subscription_ref,
        customer_id=customer.id,
        plan_id=plan.id,
    )
    await hold_subscription(tx, agreement.id)
    existing = await find_live_service(tx, agreement.id)
    if existing is not None:
        same = await _answer_again(tx, existing, order)
        return Provisioned(same, customer, plan, agreement, is_new=False)
    starts_at = ahead(tx, order.activates_at, field="scheduled_activation")
    made = await create_service(
        tx,
        _new_service(order, agreement, plan, starts_at),
        identifier=identifier,
        steps=steps_for(auto_activate=_at_once(order, starts_at)),
    )
    return Provisioned(await run_at_once(tx, made.id), customer, plan, agreement, is_new=True)


async def _answer_again(tx: Tx, existing: Service, order: ServiceOrder) -> Service:
    if existing.config != order.config or existing.service_type != order.service_type:
        raise Conflict(
            f"the subscription has the service {existing.identifier} with other settings; "
            "change that one, or order with another subscription_id",
            code="SUBSCRIPTION_HAS_SERVICE",
        )
    if existing.provisioning_status != ProvisioningStatus.ROLLED_BACK:
        return existing
    await restart_provisioning(tx, existing.id)
    return await run_at_once(tx, existing.id)


def _at_once(order: ServiceOrder, starts_at: datetime | None) -> bool:
    """A day that has gone by (a sandbox may name it) means now; one ahead outweighs `auto_activate`."""
    return starts_at is None and (order.auto_activate or order.activates_at is not None)


def _new_service(
    order: ServiceOrder, agreement: Subscription, plan: Plan, starts_at: datetime | None
) -> NewService:
    down, up = speeds_of(order.config, download_bps=plan.download_bps, upload_bps=plan.upload_bps)
    return NewService(
        customer_id=agreement.customer_id,
        subscription_id=agreement.id,
        plan_id=plan.id,
        service_type=plan.service_type,
        name=order.name,
        download_bps=down,
        upload_bps=up,
        config=order.config,
        installation_address=order.installation_address,
        installation_scheduled_at=order.installation_scheduled_at,
        activates_at=starts_at,
        notes=order.notes,
        identifiers=order.identifiers,
    )
