"""Reads of changes of plan."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select

from demarc.kernel.db import Tx
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.services.models import (
    plan_change,
)
from demarc.modules.services.states import (
    PlanChangeStatus,
)


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

PLAN_CHANGES = Listing(
    plan_change,
    filters={
        "service_id": plan_change.c.service_id == bindparam("service_id"),
        "status": plan_change.c.status == bindparam("status"),
    },
    sorts={"created_at": plan_change.c.created_at, "due_at": plan_change.c.due_at},
    default_sort="created_at",
)


async def find_scheduled_plan_change(tx: Tx, service_id: int) -> PlanChange | None:
    """The one that is still to come, locked; None when there is none."""
    return await tx.find(_SCHEDULED_CHANGE, PlanChange, service_id=service_id)


async def get_plan_change(tx: Tx, service_id: int, uid: UUID) -> PlanChange:
    """Raises `NotFound`."""
    return await tx.get(
        _CHANGE_BY_UID, PlanChange, f"no plan change {uid} of this service", service_id=service_id, uid=uid
    )


async def list_plan_changes(
    tx: Tx, service_id: int, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[PlanChange]:
    """Past ones and the one to come. Filters: status."""
    return await PLAN_CHANGES.page(tx, PlanChange, window, sort=sort, service_id=service_id, **filters)
