"""What is due at `tx.now`: starts, ends, locks and changes of plan."""

from __future__ import annotations

from sqlalchemy import DateTime, bindparam, select

from demarc.kernel.db import Tx
from demarc.kernel.sql import Query, mine
from demarc.modules.services.models import (
    plan_change,
    service,
    service_lock,
)
from demarc.modules.services.queries.locks import ServiceLock
from demarc.modules.services.queries.plan_changes import PlanChange
from demarc.modules.services.queries.services import Service
from demarc.modules.services.states import (
    PlanChangeStatus,
    ProvisioningStatus,
    ServiceStatus,
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

_OVER = select(service).where(
    mine(service),
    service.c.status == ServiceStatus.TERMINATING.value,
    service.c.terminates_at <= bindparam("now", type_=DateTime(timezone=True)),
)

_OVER_IDS = Query(_OVER.with_only_columns(service.c.id).order_by(service.c.id))

_OVER_ONE = Query(
    _OVER.where(service.c.id == bindparam("id")).with_for_update(skip_locked=True, key_share=True)
)


async def list_services_due_to_end(tx: Tx) -> list[int]:
    """Ids of those whose notice period is over at `tx.now`."""
    return await _ids(tx, _OVER_IDS)


async def take_service_due_to_end(tx: Tx, service_id: int) -> Service | None:
    """One of them, locked; None when another sweep holds it or its notice is over no longer."""
    return await tx.find(_OVER_ONE, Service, id=service_id, now=tx.now)


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


async def _ids(tx: Tx, query: Query) -> list[int]:
    rows = await tx.connection.fetch(query.sql, *query.arguments({"tenant_id": tx.tenant.id, "now": tx.now}))
    return [row[0] for row in rows]
