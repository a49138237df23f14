"""Reads of services and of what was done to them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Uuid, any_, bindparam, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.db import Tx
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import SEARCH, Query, mine
from demarc.kernel.tables import status_change
from demarc.modules.services.models import (
    service,
)
from demarc.modules.services.rules import Standing
from demarc.modules.services.states import (
    LockKind,
    ServiceStatus,
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

_IDS_OF = Query(
    select(service.c.id, service.c.uid).where(
        mine(service), service.c.uid == any_(bindparam("uids", type_=ARRAY(Uuid)))
    )
)

_UIDS = Query(
    select(service.c.id, service.c.uid).where(
        mine(service), service.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))
    )
)

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
        "search": or_(service.c.name.ilike(SEARCH), service.c.identifier.ilike(SEARCH)),
    },
    sorts={
        "created_at": service.c.created_at,
        "service_identifier": service.c.identifier,
        "service_name": service.c.name,
    },
    default_sort="created_at",
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
    sorts={
        "changed_at": status_change.c.id
    },  # who waited for the row's lock has the earlier time, not the earlier change
    default_sort="changed_at",
)


async def get_service(tx: Tx, uid: UUID) -> Service:
    """Raises `NotFound`."""
    return await tx.get(_BY_UID, Service, f"no service {uid}", uid=uid)


async def get_service_by_id(tx: Tx, service_id: int) -> Service:
    """Raises `NotFound`."""
    return await tx.get(_BY_ID, Service, f"no service {service_id}", id=service_id)


async def hold_service(tx: Tx, service_id: int) -> Service:
    """The row, locked until the transaction ends: whoever changes a service comes one after the other.

    Raises:
        NotFound: no such service.
    """
    return await tx.get(_HELD_ROW, Service, f"no service {service_id}", id=service_id)


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


async def list_history(
    tx: Tx, service_id: int, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[StatusChange]:
    """Every change of the status shown. Filters: from_status, to_status, actor, since (or at), until (before)."""
    return await HISTORY.page(
        tx, StatusChange, window, sort=sort, entity=ENTITY, entity_id=service_id, **filters
    )


async def ids_of(tx: Tx, uids: Collection[UUID]) -> dict[UUID, int]:
    """The internal ids of the services that exist."""
    rows = await tx.connection.fetch(
        _IDS_OF.sql, *_IDS_OF.arguments({"tenant_id": tx.tenant.id, "uids": [*uids]})
    )
    return {row["uid"]: row["id"] for row in rows}
