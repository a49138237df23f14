"""Where a service stands: the one place that writes its status."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from demarc.kernel.db import Tx
from demarc.kernel.outbox import emit
from demarc.kernel.states import change_status
from demarc.modules.audit.service import changes as changed_fields
from demarc.modules.audit.service import record
from demarc.modules.services.models import service
from demarc.modules.services.queries import ENTITY, Service
from demarc.modules.services.rules import Standing, moment_ahead
from demarc.modules.services.states import SERVICE_STATES, ServiceStatus


def ahead(tx: Tx, asked: datetime | None, *, field: str) -> datetime | None:
    """When the caller wants it, if that lies ahead; None means now.

    Raises:
        Invalid: the day has gone by and the tenant is no sandbox.
    """
    return moment_ahead(
        asked, field=field, now=tx.now, time_zone=tx.tenant.time_zone, may_be_past=tx.tenant.is_sandbox
    )


async def settle(
    tx: Tx,
    before: Service,
    standing: Standing,
    *,
    action: str,
    reason: str = "",
    locks_changed: bool = False,
    **values: Any,
) -> Service:
    """Write where the service stands now; the status shown changes only by its transition table.

    `service.status_changed` is told whenever the network may have to answer otherwise: the status shown, being up
    or the set of locks has changed, even if the status shown is the same.
    """
    columns = {
        "resumes_to": standing.hidden,
        "held_by": standing.held_by,
        "terminates_at": standing.terminates_at,
        **values,
    }
    first_time_up = standing.is_up and before.activated_at is None
    if first_time_up:
        columns["activated_at"] = tx.now
    after = await _write(tx, before, standing.shown, reason, columns)
    old, new = changed_fields(asdict(before), asdict(after))
    await record(tx, action, entity=ENTITY, entity_id=after.id, before=old, after=new)
    if locks_changed or (before.status, before.is_up) != (after.status, after.is_up):
        await tell(
            tx,
            "service.status_changed",
            after,
            from_status=before.status,
            to_status=after.status,
            reason=reason,
        )
    if first_time_up:
        await tell(tx, "service.activated", after)
    return after


async def _write(
    tx: Tx, before: Service, shown: ServiceStatus, reason: str, columns: dict[str, Any]
) -> Service:
    current = ServiceStatus(before.status)
    if current is shown:
        return await tx.update(service, Service, {"id": before.id}, updated_at=tx.now, **columns)
    return await change_status(
        tx,
        SERVICE_STATES,
        service,
        Service,
        entity_id=before.id,
        current=current,
        target=shown,
        reason=reason,
        **columns,
    )


async def tell(tx: Tx, name: str, one: Service, **payload: Any) -> None:
    await emit(
        tx,
        name,
        entity=ENTITY,
        entity_id=one.id,
        service_uid=str(one.uid),
        customer_id=one.customer_id,
        subscription_id=one.subscription_id,
        **payload,
    )
