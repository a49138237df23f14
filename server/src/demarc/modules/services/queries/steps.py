"""Reads of provisioning steps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select

from demarc.kernel.db import Tx
from demarc.kernel.sql import Query, mine
from demarc.modules.services.models import (
    provisioning_step,
)
from demarc.modules.services.states import (
    StepStatus,
)


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


_STEPS = Query(
    select(provisioning_step)
    .where(mine(provisioning_step), provisioning_step.c.service_id == bindparam("service_id"))
    .order_by(provisioning_step.c.position)
)


async def list_steps(tx: Tx, service_id: int) -> list[ProvisioningStep]:
    """The steps of bringing the service up, in order."""
    return await tx.fetch(_STEPS, ProvisioningStep, service_id=service_id)


async def find_next_step(tx: Tx, service_id: int) -> ProvisioningStep | None:
    """The first step that is still to be done."""
    return next(
        (step for step in await list_steps(tx, service_id) if step.status == StepStatus.PENDING), None
    )
