"""Bodies of `/api/services/lifecycle`, in document 002's words."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field

from demarc.modules.services.rules import lock_kind
from demarc.modules.services.states import LockKind, ProvisioningStatus, ServiceStatus, StepStatus
from demarc.web.bss.parameters import ApiDatetime, Listed
from demarc.workflows.provisioning import ServiceOrder


def _underscored(word: Any) -> Any:
    """`non-payment` and `Non payment` are `non_payment`."""
    return word.strip().lower().replace("-", "_").replace(" ", "_") if isinstance(word, str) else word


ReasonCode = Annotated[LockKind, BeforeValidator(_underscored)]


class ProvisionIn(BaseModel):
    """An order. Without `subscription_id` every call is a new sale: send one, or an Idempotency-Key, to repeat safely."""

    customer_id: UUID
    service_type: str = Field(min_length=1, max_length=40, examples=["fiber_internet"])
    service_name: str = Field(min_length=1, max_length=100, examples=["Fiber Internet 100 Mbps"])
    plan_id: str = Field(min_length=1, max_length=50, examples=["plan_fiber_100"])
    subscription_id: str | None = Field(None, min_length=1, max_length=50)
    service_config: dict[str, Any] = Field(
        default_factory=dict,
        description="bandwidth_down_mbps and bandwidth_up_mbps go over the plan's speeds; vlan_id is checked",
        examples=[{"bandwidth_down_mbps": 100, "bandwidth_up_mbps": 50, "vlan_id": 100}],
    )
    installation_address: str | None = Field(None, min_length=1, max_length=500)
    installation_scheduled_date: ApiDatetime | None = Field(None, description="information only")
    auto_activate: bool = Field(False, description="active at once; otherwise pending until it is activated")

    def to_order(self) -> ServiceOrder:
        return ServiceOrder(
            customer_uid=self.customer_id,
            plan_ref=self.plan_id,
            service_type=self.service_type,
            name=self.service_name,
            subscription_ref=self.subscription_id,
            config=self.service_config,
            installation_address=self.installation_address,
            installation_scheduled_at=self.installation_scheduled_date,
            auto_activate=self.auto_activate,
        )


class SuspendIn(BaseModel):
    """Why a service is held down. `reason_code` names the lock, else the fraud flag, else what the reason says."""

    reason: str = Field(
        min_length=1, max_length=500, examples=["Non-payment - invoice in_xyz789 overdue 30 days"]
    )
    reason_code: ReasonCode | None = None
    fraud_suspension: bool = False

    @property
    def lock(self) -> LockKind:
        return lock_kind(reason_code=self.reason_code, fraud=self.fraud_suspension, reason=self.reason)


class ResumeIn(BaseModel):
    """Which lock to lift; without `reason_code` all but fraud."""

    reason_code: ReasonCode | None = None
    reason: str = Field("", max_length=500)


class TerminateIn(BaseModel):
    """Now, or on a date ahead."""

    reason: str = Field("on request", min_length=1, max_length=500)
    termination_date: ApiDatetime | None = None


class BandwidthProfile(BaseModel):
    """The speeds the service runs at, Mbit/s."""

    download_mbps: float
    upload_mbps: float


class ServiceOut(BaseModel):
    """A service. `held_by` is the gravest lock that is on, and gives the status shown."""

    id: UUID
    service_identifier: str
    service_name: str
    service_type: str
    status: ServiceStatus
    provisioning_status: ProvisioningStatus
    held_by: LockKind | None
    customer_id: UUID
    subscription_id: str
    plan_id: str
    service_config: dict[str, Any]
    bandwidth_profile: BandwidthProfile
    installation_address: str | None
    installation_scheduled_date: datetime | None
    activated_at: datetime | None
    suspended_at: datetime | None
    terminates_at: datetime | None
    terminated_at: datetime | None
    created_at: datetime
    updated_at: datetime


class ServiceList(Listed):
    """A window of the list."""

    services: list[ServiceOut]


class ServiceEventOut(BaseModel):
    """A change of the status shown; `from_status` null means that the service was made."""

    from_status: ServiceStatus | None
    to_status: ServiceStatus
    reason: str
    actor: str
    changed_at: datetime


class ServiceEventList(Listed):
    """A window of the list."""

    events: list[ServiceEventOut]


class LockOut(BaseModel):
    """Why the service is or was held down; `lifted_at` null means that the lock is on."""

    kind: LockKind
    reason: str
    placed_by: str
    placed_at: datetime
    lifted_by: str | None
    lifted_at: datetime | None


class LockList(Listed):
    """A window of the list."""

    locks: list[LockOut]


class StepOut(BaseModel):
    """A step of bringing the service up; `last_error` is why it did not succeed."""

    position: int
    name: str
    status: StepStatus
    attempts: int
    last_error: str | None
    updated_at: datetime


class StepList(BaseModel):
    """All of them, in order."""

    steps: list[StepOut]
    total: int
    provisioning_status: ProvisioningStatus
