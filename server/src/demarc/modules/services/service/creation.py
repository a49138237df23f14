"""Making services, and their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from uuid import UUID

from sqlalchemy import bindparam
from sqlalchemy.dialects.postgresql import insert

from demarc.kernel.clock import local_date
from demarc.kernel.db import Tx
from demarc.kernel.sql import Query
from demarc.kernel.states import record_status_change
from demarc.modules.audit.service import record
from demarc.modules.services.inputs import NewService
from demarc.modules.services.models import provisioning_step, service, service_number
from demarc.modules.services.queries import ENTITY, ProvisioningStep, Service
from demarc.modules.services.service.standing import tell
from demarc.modules.services.states import ProvisioningStatus, ServiceStatus

_COUNT_UP = insert(service_number).values(
    tenant_id=bindparam("tenant_id"), day=bindparam("day", type_=service_number.c.day.type), last=1
)
_NEXT_NUMBER = Query(
    _COUNT_UP.on_conflict_do_update(
        index_elements=["tenant_id", "day"], set_={"last": service_number.c.last + 1}
    ).returning(service_number.c.last)
)


async def next_identifier(tx: Tx) -> str:
    """`SVC-YYYYMMDD-<n>`, the day being the tenant's; two transactions never get the same, gaps may stay."""
    day: date = local_date(tx.now, tx.tenant.time_zone)
    number: int = await tx.value(_NEXT_NUMBER, day=day)
    return f"SVC-{day:%Y%m%d}-{number}"


async def create_service(
    tx: Tx,
    new: NewService,
    *,
    identifier: str | None = None,
    steps: Sequence[str] = (),
    uid: UUID | None = None,
    service_id: int | None = None,
) -> Service:
    """Make a service. With steps it is `provisioning`; without, there is nothing to do and it waits to be activated.

    Args:
        tx: the caller's transaction.
        new: what was sold.
        identifier: when the caller has taken one already.
        steps: names of the steps that bring it up, in order.
        uid: given by the sandbox only.
        service_id: likewise.
    """
    provisioning = bool(steps)
    fixed = {name: value for name, value in (("uid", uid), ("id", service_id)) if value is not None}
    made = await tx.insert(
        service,
        Service,
        **asdict(new),
        **fixed,
        identifier=identifier or await next_identifier(tx),
        status=(ServiceStatus.PROVISIONING if provisioning else ServiceStatus.PENDING).value,
        provisioning_status=_start_of_provisioning(provisioning=provisioning).value,
        created_at=tx.now,
        updated_at=tx.now,
    )
    for position, name in enumerate(steps, start=1):
        await tx.insert(
            provisioning_step,
            ProvisioningStep,
            service_id=made.id,
            position=position,
            name=name,
            updated_at=tx.now,
        )
    await record_status_change(tx, entity=ENTITY, entity_id=made.id, from_status=None, to_status=made.status)
    await record(tx, "service.create", entity=ENTITY, entity_id=made.id, after=asdict(made))
    await tell(tx, "service.created", made, identifier=made.identifier)
    return made


def _start_of_provisioning(*, provisioning: bool) -> ProvisioningStatus:
    return ProvisioningStatus.IN_PROGRESS if provisioning else ProvisioningStatus.COMPLETED
