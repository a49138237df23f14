"""Every read of services."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, DateTime, Text, any_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.kernel.tables import status_change
from demarc.modules.services.models import provisioning_step, service, service_lock
from demarc.modules.services.rules import Standing
from demarc.modules.services.states import LockKind, ServiceStatus, StepStatus

ENTITY = "service"


@dataclass(frozen=True, slots=True)
class Service:
    """One row; `uid` is the id on `/api`, `id` the one on `/v1`. Speeds in bit/s.

    `status` is what is shown; `resumes_to` is what lies beneath a lock or a notice period, else None.
    """

    tenant_id: int
    id: int
    uid: UUID
    identifier: str
    customer_id: int
    subscription_id: int
    plan_id: int
    service_type: str
    name: str
    status: str
    provisioning_status: str
    resumes_to: str | None
    held_by: str | None
    config: dict[str, Any]
    download_bps: int
    upload_bps: int
    installation_address: str | None
    installation_scheduled_at: datetime | None
    activated_at: datetime | None
    suspended_at: datetime | None
    terminates_at: datetime | None
    terminated_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def standing(self) -> Standing:
        """What the status shown is made of."""
        held_by = None if self.held_by is None else LockKind(self.held_by)
        return Standing(ServiceStatus(self.resumes_to or self.status), held_by, self.terminates_at)

    @property
    def is_up(self) -> bool:
        """Whether its subscribers may be on line: active and without a lock, also during a notice period."""
        return self.standing.is_up


@dataclass(frozen=True, slots=True)
class ServiceLock:
    """Why a service is or was held down, from when to when."""

    tenant_id: int
    id: int
    service_id: int
    kind: str
    reason: str
    placed_by: str
    lifted_by: str | None
    placed_at: datetime
    lifted_at: datetime | None


@dataclass(frozen=True, slots=True)
class ProvisioningStep:
    """One step of bringing a service up; `detail` holds what it made, and the last failure."""

    tenant_id: int
    service_id: int
    position: int
    name: str
    status: str
    attempts: int
    detail: dict[str, Any]
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class StatusChange:
    """One line of a service's history; `from_status` None means that it was made."""

    tenant_id: int
    id: int
    entity: str
    entity_id: int
    from_status: str | None
    to_status: str
    reason: str
    actor: str
    changed_at: datetime
    recorded_at: datetime


_BY_UID = Query(select(service).where(mine(service), service.c.uid == bindparam("uid")))
_BY_ID = Query(select(service).where(mine(service), service.c.id == bindparam("id")))
_HELD_ROW = Query(
    select(service).where(mine(service), service.c.id == bindparam("id")).with_for_update(key_share=True)
)
_OF_SUBSCRIPTION = Query(
    select(service)
    .where(mine(service), service.c.subscription_id == bindparam("subscription_id"))
    .order_by(service.c.id)
)
_LIVE_OF_SUBSCRIPTION = Query(
    select(service).where(
        mine(service),
        service.c.subscription_id == bindparam("subscription_id"),
        service.c.status != ServiceStatus.TERMINATED.value,
    )
)
_OVER = select(service).where(
    mine(service),
    service.c.status == ServiceStatus.TERMINATING.value,
    service.c.terminates_at <= bindparam("now", type_=DateTime(timezone=True)),
)
_OVER_IDS = Query(_OVER.with_only_columns(service.c.id).order_by(service.c.id))
_OVER_ONE = Query(
    _OVER.where(service.c.id == bindparam("id")).with_for_update(skip_locked=True, key_share=True)
)
_UIDS = Query(
    select(service.c.id, service.c.uid).where(
        mine(service), service.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))
    )
)
_OPEN_LOCKS = Query(
    select(service_lock)
    .where(
        mine(service_lock),
        service_lock.c.service_id == bindparam("service_id"),
        service_lock.c.lifted_at.is_(None),
    )
    .order_by(service_lock.c.id)
)
_STEPS = Query(
    select(provisioning_step)
    .where(mine(provisioning_step), provisioning_step.c.service_id == bindparam("service_id"))
    .order_by(provisioning_step.c.position)
)
_SEARCH = func.concat("%", bindparam("search", type_=Text), "%")

SERVICES = Listing(
    service,
    filters={
        "status": service.c.status == bindparam("status"),
        "provisioning_status": service.c.provisioning_status == bindparam("provisioning_status"),
        "service_type": service.c.service_type == bindparam("service_type"),
        "customer_id": service.c.customer_id == bindparam("customer_id"),
        "subscription_id": service.c.subscription_id == bindparam("subscription_id"),
        "plan_id": service.c.plan_id == bindparam("plan_id"),
        "search": or_(service.c.name.ilike(_SEARCH), service.c.identifier.ilike(_SEARCH)),
    },
    sorts={
        "created_at": service.c.created_at,
        "service_identifier": service.c.identifier,
        "service_name": service.c.name,
    },
    default_sort="created_at",
)
LOCKS = Listing(
    service_lock,
    filters={
        "service_id": service_lock.c.service_id == bindparam("service_id"),
        "kind": service_lock.c.kind == bindparam("kind"),
        "is_open": service_lock.c.lifted_at.is_(None) == bindparam("is_open", type_=Boolean),
    },
    sorts={"placed_at": service_lock.c.placed_at},
    default_sort="placed_at",
)
HISTORY = Listing(
    status_change,
    filters={
        "entity": status_change.c.entity == bindparam("entity"),
        "entity_id": status_change.c.entity_id == bindparam("entity_id"),
        "to_status": status_change.c.to_status == bindparam("to_status"),
    },
    sorts={"changed_at": status_change.c.changed_at},
    default_sort="changed_at",
)


async def get_service(tx: Tx, uid: UUID) -> Service:
    """Raises `NotFound`."""
    found = await tx.find(_BY_UID, Service, uid=uid)
    if found is None:
        raise NotFound(f"no service {uid}")
    return found


async def get_service_by_id(tx: Tx, service_id: int) -> Service:
    """Raises `NotFound`."""
    found = await tx.find(_BY_ID, Service, id=service_id)
    if found is None:
        raise NotFound(f"no service {service_id}")
    return found


async def hold_service(tx: Tx, service_id: int) -> Service:
    """The row, locked until the transaction ends: whoever changes a service comes one after the other.

    Raises:
        NotFound: no such service.
    """
    found = await tx.find(_HELD_ROW, Service, id=service_id)
    if found is None:
        raise NotFound(f"no service {service_id}")
    return found


async def uids_of(tx: Tx, ids: Collection[int]) -> dict[int, UUID]:
    """The `/api` ids of these services."""
    rows = await tx.connection.fetch(_UIDS.sql, *_UIDS.arguments({"tenant_id": tx.tenant.id, "ids": [*ids]}))
    return {row["id"]: row["uid"] for row in rows}


async def list_services(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Service]:
    """Filters: status, provisioning_status, service_type, customer_id, subscription_id, plan_id (internal ids), search."""
    return await SERVICES.page(tx, Service, window, sort=sort, **filters)


async def list_services_of_subscription(tx: Tx, subscription_id: int) -> list[Service]:
    """Every service the subscription has and had, the oldest first."""
    return await tx.fetch(_OF_SUBSCRIPTION, Service, subscription_id=subscription_id)


async def find_live_service(tx: Tx, subscription_id: int) -> Service | None:
    """The subscription's one service that is not terminated."""
    return await tx.find(_LIVE_OF_SUBSCRIPTION, Service, subscription_id=subscription_id)


async def list_services_due_to_end(tx: Tx) -> list[int]:
    """Ids of those whose notice period is over at `tx.now`."""
    rows = await tx.connection.fetch(
        _OVER_IDS.sql, *_OVER_IDS.arguments({"tenant_id": tx.tenant.id, "now": tx.now})
    )
    return [row[0] for row in rows]


async def take_service_due_to_end(tx: Tx, service_id: int) -> Service | None:
    """One of them, locked; None when another sweep holds it or its notice is over no longer."""
    return await tx.find(_OVER_ONE, Service, id=service_id, now=tx.now)


async def list_open_locks(tx: Tx, service_id: int) -> list[ServiceLock]:
    """The locks that are on, in the order they came."""
    return await tx.fetch(_OPEN_LOCKS, ServiceLock, service_id=service_id)


async def list_locks(
    tx: Tx, service_id: int, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[ServiceLock]:
    """Every lock the service has and had. Filters: kind, is_open."""
    return await LOCKS.page(tx, ServiceLock, window, sort=sort, service_id=service_id, **filters)


async def list_history(
    tx: Tx, service_id: int, window: Window, *, sort: str | None = None, to_status: str | None = None
) -> Page[StatusChange]:
    """Every change of the status shown."""
    return await HISTORY.page(
        tx, StatusChange, window, sort=sort, entity=ENTITY, entity_id=service_id, to_status=to_status
    )


async def list_steps(tx: Tx, service_id: int) -> list[ProvisioningStep]:
    """The steps of bringing the service up, in order."""
    return await tx.fetch(_STEPS, ProvisioningStep, service_id=service_id)


async def find_next_step(tx: Tx, service_id: int) -> ProvisioningStep | None:
    """The first step that is still to be done."""
    return next(
        (step for step in await list_steps(tx, service_id) if step.status == StepStatus.PENDING), None
    )
