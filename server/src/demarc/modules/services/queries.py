"""Every read of services."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, DateTime, Text, Uuid, any_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.kernel.tables import status_change
from demarc.modules.services.models import (
    plan_change,
    provisioning_step,
    service,
    service_bulk,
    service_bulk_row,
    service_lock,
)
from demarc.modules.services.rules import Standing
from demarc.modules.services.states import (
    BulkOutcome,
    LockKind,
    PlanChangeStatus,
    ProvisioningStatus,
    ServiceStatus,
    StepStatus,
)

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
    identifiers: dict[str, str]
    notes: str
    installation_address: str | None
    installation_scheduled_at: datetime | None
    activates_at: datetime | None
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
    """Why a service is or was held down, from when to when; at `lifts_at` it is lifted by itself."""

    tenant_id: int
    id: int
    service_id: int
    kind: str
    reason: str
    placed_by: str
    lifted_by: str | None
    placed_at: datetime
    lifts_at: datetime | None
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


@dataclass(frozen=True, slots=True)
class PlanChange:
    """A move to another plan, at `due_at`; `error` is why it failed."""

    tenant_id: int
    id: int
    uid: UUID
    service_id: int
    from_plan_id: int
    to_plan_id: int
    config: dict[str, Any]
    reason: str
    status: str
    error: str | None
    requested_by: str
    due_at: datetime
    closed_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Bulk:
    """One order to many services; `action` is a `BulkAction`."""

    tenant_id: int
    id: int
    uid: UUID
    operation: str
    action: dict[str, Any]
    on_error: str
    status: str
    total: int
    succeeded: int
    failed: int
    requested_by: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class BulkRow:
    """What became of one service of a bulk order."""

    tenant_id: int
    id: int
    bulk_id: int
    position: int
    service_uid: UUID
    outcome: str
    code: str | None
    message: str | None


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
_NOW = bindparam("now", type_=DateTime(timezone=True))
_ACTIVATING = select(service).where(
    mine(service),
    service.c.activates_at <= _NOW,
    service.c.status == ServiceStatus.PENDING.value,
    service.c.provisioning_status == ProvisioningStatus.COMPLETED.value,
)
_ACTIVATING_IDS = Query(_ACTIVATING.with_only_columns(service.c.id).order_by(service.c.id))
_ACTIVATING_ONE = Query(
    _ACTIVATING.where(service.c.id == bindparam("id")).with_for_update(skip_locked=True, key_share=True)
)
_LIFTING = select(service_lock).where(
    mine(service_lock), service_lock.c.lifted_at.is_(None), service_lock.c.lifts_at <= _NOW
)
_LIFTING_IDS = Query(_LIFTING.with_only_columns(service_lock.c.id).order_by(service_lock.c.id))
_LIFTING_ONE = Query(_LIFTING.where(service_lock.c.id == bindparam("id")))
_CHANGING = select(plan_change).where(
    mine(plan_change),
    plan_change.c.status == PlanChangeStatus.SCHEDULED.value,
    plan_change.c.due_at <= _NOW,
)
_CHANGING_IDS = Query(_CHANGING.with_only_columns(plan_change.c.id).order_by(plan_change.c.id))
_CHANGING_ONE = Query(_CHANGING.where(plan_change.c.id == bindparam("id")).with_for_update(skip_locked=True))
_SCHEDULED_CHANGE = Query(
    select(plan_change)
    .where(
        mine(plan_change),
        plan_change.c.service_id == bindparam("service_id"),
        plan_change.c.status == PlanChangeStatus.SCHEDULED.value,
    )
    .with_for_update()
)
_CHANGE_BY_UID = Query(
    select(plan_change).where(
        mine(plan_change),
        plan_change.c.service_id == bindparam("service_id"),
        plan_change.c.uid == bindparam("uid"),
    )
)
_BULK = select(service_bulk).where(mine(service_bulk))
_BULK_BY_UID = Query(_BULK.where(service_bulk.c.uid == bindparam("uid")))
_HELD_BULK = Query(_BULK.where(service_bulk.c.id == bindparam("id")).with_for_update())
_PENDING_ROWS = Query(
    select(service_bulk_row)
    .where(
        mine(service_bulk_row),
        service_bulk_row.c.bulk_id == bindparam("bulk_id"),
        service_bulk_row.c.outcome == BulkOutcome.PENDING.value,
    )
    .order_by(service_bulk_row.c.position)
    .limit(bindparam("limit", type_=BigInteger))
)
_BULK_FAILURES = Query(
    select(service_bulk_row)
    .where(
        mine(service_bulk_row),
        service_bulk_row.c.bulk_id == any_(bindparam("bulk_ids", type_=ARRAY(BigInteger))),
        service_bulk_row.c.outcome == BulkOutcome.FAILED.value,
    )
    .order_by(service_bulk_row.c.bulk_id, service_bulk_row.c.position)
    .limit(bindparam("limit", type_=BigInteger))
)
_IDS_OF = Query(
    select(service.c.id, service.c.uid).where(
        mine(service), service.c.uid == any_(bindparam("uids", type_=ARRAY(Uuid)))
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
        "held_by": service.c.held_by == bindparam("held_by"),
        "created_since": service.c.created_at >= bindparam("created_since"),
        "created_until": service.c.created_at < bindparam("created_until"),
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
        "from_status": status_change.c.from_status == bindparam("from_status"),
        "to_status": status_change.c.to_status == bindparam("to_status"),
        "actor": status_change.c.actor == bindparam("actor"),
        "since": status_change.c.changed_at >= bindparam("since"),
        "until": status_change.c.changed_at < bindparam("until"),
    },
    sorts={"changed_at": status_change.c.changed_at},
    default_sort="changed_at",
)
PLAN_CHANGES = Listing(
    plan_change,
    filters={
        "service_id": plan_change.c.service_id == bindparam("service_id"),
        "status": plan_change.c.status == bindparam("status"),
    },
    sorts={"created_at": plan_change.c.created_at, "due_at": plan_change.c.due_at},
    default_sort="created_at",
)
BULKS = Listing(
    service_bulk,
    filters={
        "operation": service_bulk.c.operation == bindparam("operation"),
        "status": service_bulk.c.status == bindparam("status"),
    },
    sorts={"created_at": service_bulk.c.created_at},
    default_sort="-created_at",
)
BULK_ROWS = Listing(
    service_bulk_row,
    filters={
        "bulk_id": service_bulk_row.c.bulk_id == bindparam("bulk_id"),
        "outcome": service_bulk_row.c.outcome == bindparam("outcome"),
    },
    sorts={"position": service_bulk_row.c.position},
    default_sort="position",
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
    """One window of the services.

    Filters: status, provisioning_status, service_type, held_by, customer_id, subscription_id, plan_id (internal ids),
    created_since (or at), created_until (before), search (part of name or identifier).
    """
    return await SERVICES.page(tx, Service, window, sort=sort, **filters)


async def list_services_of_subscription(tx: Tx, subscription_id: int) -> list[Service]:
    """Every service the subscription has and had, the oldest first."""
    return await tx.fetch(_OF_SUBSCRIPTION, Service, subscription_id=subscription_id)


async def find_live_service(tx: Tx, subscription_id: int) -> Service | None:
    """The subscription's one service that is not terminated."""
    return await tx.find(_LIVE_OF_SUBSCRIPTION, Service, subscription_id=subscription_id)


async def list_services_due_to_end(tx: Tx) -> list[int]:
    """Ids of those whose notice period is over at `tx.now`."""
    return await _ids(tx, _OVER_IDS)


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
    tx: Tx, service_id: int, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[StatusChange]:
    """Every change of the status shown. Filters: from_status, to_status, actor, since (or at), until (before)."""
    return await HISTORY.page(
        tx, StatusChange, window, sort=sort, entity=ENTITY, entity_id=service_id, **filters
    )


async def list_steps(tx: Tx, service_id: int) -> list[ProvisioningStep]:
    """The steps of bringing the service up, in order."""
    return await tx.fetch(_STEPS, ProvisioningStep, service_id=service_id)


async def find_next_step(tx: Tx, service_id: int) -> ProvisioningStep | None:
    """The first step that is still to be done."""
    return next(
        (step for step in await list_steps(tx, service_id) if step.status == StepStatus.PENDING), None
    )


async def list_services_due_to_start(tx: Tx) -> list[int]:
    """Ids of those that go on line by themselves by `tx.now`; while a lock is on they wait."""
    return await _ids(tx, _ACTIVATING_IDS)


async def take_service_due_to_start(tx: Tx, service_id: int) -> Service | None:
    """One of them, locked; None when another sweep holds it or it is due no longer."""
    return await tx.find(_ACTIVATING_ONE, Service, id=service_id, now=tx.now)


async def list_locks_due_to_lift(tx: Tx) -> list[int]:
    """Ids of the locks whose time is over at `tx.now`."""
    return await _ids(tx, _LIFTING_IDS)


async def find_lock_due_to_lift(tx: Tx, lock_id: int) -> ServiceLock | None:
    """One of them; None when it is due no longer."""
    return await tx.find(_LIFTING_ONE, ServiceLock, id=lock_id, now=tx.now)


async def list_plan_changes_due(tx: Tx) -> list[int]:
    """Ids of the scheduled plan changes whose time has come at `tx.now`."""
    return await _ids(tx, _CHANGING_IDS)


async def take_plan_change_due(tx: Tx, change_id: int) -> PlanChange | None:
    """One of them, locked; None when another sweep holds it or it is due no longer."""
    return await tx.find(_CHANGING_ONE, PlanChange, id=change_id, now=tx.now)


async def find_scheduled_plan_change(tx: Tx, service_id: int) -> PlanChange | None:
    """The one that is still to come, locked; None when there is none."""
    return await tx.find(_SCHEDULED_CHANGE, PlanChange, service_id=service_id)


async def get_plan_change(tx: Tx, service_id: int, uid: UUID) -> PlanChange:
    """Raises `NotFound`."""
    found = await tx.find(_CHANGE_BY_UID, PlanChange, service_id=service_id, uid=uid)
    if found is None:
        raise NotFound(f"no plan change {uid} of this service")
    return found


async def list_plan_changes(
    tx: Tx, service_id: int, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[PlanChange]:
    """Past ones and the one to come. Filters: status."""
    return await PLAN_CHANGES.page(tx, PlanChange, window, sort=sort, service_id=service_id, **filters)


async def ids_of(tx: Tx, uids: Collection[UUID]) -> dict[UUID, int]:
    """The internal ids of the services that exist."""
    rows = await tx.connection.fetch(
        _IDS_OF.sql, *_IDS_OF.arguments({"tenant_id": tx.tenant.id, "uids": [*uids]})
    )
    return {row["uid"]: row["id"] for row in rows}


async def get_bulk(tx: Tx, uid: UUID) -> Bulk:
    """Raises `NotFound`."""
    found = await tx.find(_BULK_BY_UID, Bulk, uid=uid)
    if found is None:
        raise NotFound(f"no bulk order {uid}")
    return found


async def hold_bulk(tx: Tx, bulk_id: int) -> Bulk:
    """The row, locked until the transaction ends. Raises `NotFound`."""
    found = await tx.find(_HELD_BULK, Bulk, id=bulk_id)
    if found is None:
        raise NotFound(f"no bulk order {bulk_id}")
    return found


async def list_bulks(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Bulk]:
    """Newest first. Filters: operation, status."""
    return await BULKS.page(tx, Bulk, window, sort=sort, **filters)


async def list_bulk_rows(
    tx: Tx, bulk_id: int, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[BulkRow]:
    """In the order of the request. Filters: outcome."""
    return await BULK_ROWS.page(tx, BulkRow, window, sort=sort, bulk_id=bulk_id, **filters)


async def list_pending_rows(tx: Tx, bulk_id: int, *, limit: int) -> list[BulkRow]:
    """The next services of a bulk order that are still to be done."""
    return await tx.fetch(_PENDING_ROWS, BulkRow, bulk_id=bulk_id, limit=limit)


async def list_bulk_failures(tx: Tx, bulk_ids: Collection[int], *, limit: int) -> list[BulkRow]:
    """The refused rows of these bulk orders, in order."""
    return await tx.fetch(_BULK_FAILURES, BulkRow, bulk_ids=[*bulk_ids], limit=limit)


async def _ids(tx: Tx, query: Query) -> list[int]:
    rows = await tx.connection.fetch(query.sql, *query.arguments({"tenant_id": tx.tenant.id, "now": tx.now}))
    return [row[0] for row in rows]
