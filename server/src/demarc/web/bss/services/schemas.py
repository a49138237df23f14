"""Bodies of `/api/services/lifecycle`, in document 002's words."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from demarc.kernel.errors import invalid
from demarc.modules.services.inputs import BULK_MAX, NOTES_LENGTH, BulkAction, BulkOrder, ServiceChanges
from demarc.modules.services.rules import lock_kind
from demarc.modules.services.states import (
    BulkOperation,
    BulkOutcome,
    BulkStatus,
    LockKind,
    OnError,
    PlanChangeStatus,
    ProvisioningStatus,
    ServiceStatus,
    StepStatus,
)
from demarc.web.bss.parameters import ApiDatetime, Listed
from demarc.workflows.provisioning import ServiceOrder
from demarc.workflows.service_health import Severity


def _underscored(word: Any) -> Any:
    """`non-payment` and `Non payment` are `non_payment`."""
    return word.strip().lower().replace("-", "_").replace(" ", "_") if isinstance(word, str) else word


_IDENTIFIERS = "what others know the line by"
_ONT = {"ont_serial": "HWTC1A2B3C4D"}
_COLUMNS = {
    "service_name": "name",
    "service_config": "config",
    "installation_scheduled_date": "installation_scheduled_at",
}


class Condition(StrEnum):
    """What staff may say of a line that was brought up."""

    ACTIVE = "active"
    DEGRADED = "degraded"
    MAINTENANCE = "maintenance"
    FAILED = "failed"


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
    scheduled_activation: ApiDatetime | None = Field(
        None, description="active by itself then; goes over auto_activate"
    )
    notes: str = Field("", max_length=NOTES_LENGTH)
    identifiers: dict[str, str] = Field(default_factory=dict, description=_IDENTIFIERS, examples=[_ONT])

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
            activates_at=self.scheduled_activation,
            notes=self.notes,
            identifiers=self.identifiers,
        )


class SuspendIn(BaseModel):
    """Why a service is held down. `reason_code` names the lock, else the fraud flag, else what the reason says."""

    reason: str = Field(
        min_length=1, max_length=500, examples=["Non-payment - invoice in_xyz789 overdue 30 days"]
    )
    reason_code: ReasonCode | None = None
    fraud_suspension: bool = False
    auto_resume_at: ApiDatetime | None = Field(
        None, description="the lock lifts by itself then; not for fraud"
    )

    @property
    def lock(self) -> LockKind:
        return lock_kind(reason_code=self.reason_code, fraud=self.fraud_suspension, reason=self.reason)


class ResumeIn(BaseModel):
    """Which lock to lift; without `reason_code` all but fraud."""

    reason_code: ReasonCode | None = None
    reason: str = Field("", max_length=500)


class ActivateIn(BaseModel):
    """Now, or on a date ahead."""

    activation_date: ApiDatetime | None = None


class ServicePatch(BaseModel):
    """The fields to change; what is left out stays.

    `service_config` and `identifiers` are merged by key, and null takes a key out. New speeds reach live sessions by CoA.
    """

    service_name: str | None = Field(None, min_length=1, max_length=100)
    notes: str | None = Field(None, max_length=NOTES_LENGTH)
    identifiers: dict[str, str | None] | None = Field(None, description=_IDENTIFIERS, examples=[_ONT])
    service_config: dict[str, Any] | None = Field(None, examples=[{"bandwidth_down_mbps": 200}])
    installation_address: str | None = Field(None, min_length=1, max_length=500)
    installation_scheduled_date: ApiDatetime | None = None
    reason: str = Field("", max_length=500)

    def fields(self) -> dict[str, Any]:
        """As `ServiceChanges` takes them.

        Raises:
            Invalid: a field was to be emptied that cannot be.
        """
        given = self.model_dump(exclude_unset=True, exclude={"reason"})
        for name, value in given.items():
            if value is None:
                raise invalid(name, "cannot be emptied")
        return {_COLUMNS.get(name, name): value for name, value in given.items()}

    def to_changes(self) -> ServiceChanges:
        return ServiceChanges(**self.fields())


class Effective(StrEnum):
    NOW = "now"
    PERIOD_END = "period_end"


class PlanChangeIn(BaseModel):
    """Another plan: now, at the end of the billing period, or on `effective_date`.

    Speeds that were agreed beside the old plan end with it; `service_config` may bring new ones.
    """

    plan_id: str = Field(min_length=1, max_length=50, examples=["plan_fiber_200"])
    effective: Effective = Effective.NOW
    effective_date: ApiDatetime | None = None
    service_config: dict[str, Any] | None = None
    reason: str = Field("", max_length=500)

    @model_validator(mode="after")
    def _one_date(self) -> Self:
        if self.effective is Effective.PERIOD_END and self.effective_date is not None:
            raise ValueError("effective is period_end, but an effective_date is given; leave out one of them")
        return self


class ConditionIn(BaseModel):
    """How the line works: active, degraded, maintenance or failed."""

    condition: Condition
    reason: str = Field(min_length=1, max_length=500, examples=["Splitter replaced, 2 dB over budget"])


class CancelProvisioningIn(BaseModel):
    """Why it is given up."""

    reason: str = Field("canceled by staff", min_length=1, max_length=500)


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
    identifiers: dict[str, str]
    notes: str
    installation_address: str | None
    installation_scheduled_date: datetime | None
    activates_at: datetime | None = Field(description="goes on line by itself then")
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
    lifts_at: datetime | None = Field(description="lifts by itself then")
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


class PlanChangeOut(BaseModel):
    """A move to another plan. `scheduled` until `due_at`; `error` is why it failed."""

    id: UUID
    service_id: UUID
    from_plan_id: str
    to_plan_id: str
    status: PlanChangeStatus
    service_config: dict[str, Any]
    reason: str
    error: str | None
    requested_by: str
    due_at: datetime
    closed_at: datetime | None
    created_at: datetime


class PlanChangeList(Listed):
    """A window of the list."""

    plan_changes: list[PlanChangeOut]


class PlanChangeAnswer(BaseModel):
    """The change, and the service as it is now."""

    plan_change: PlanChangeOut
    service: ServiceOut


class ProvisioningOut(BaseModel):
    """How far bringing the service up has come, what it waits for, and what may be done about it."""

    service_id: UUID
    status: ProvisioningStatus
    current_step: str | None
    steps_done: int
    steps_total: int
    last_error: str | None
    can_retry: bool
    can_cancel: bool
    steps: list[StepOut]


class SessionHealthOut(BaseModel):
    """A live session. `is_stale`: no Interim for two and a half intervals. The NAS is judged by its accounting."""

    session_id: UUID
    nas: str
    started_at: datetime
    age_seconds: int
    last_interim_at: datetime
    silent_seconds: int
    is_stale: bool
    address: str | None
    delegated_prefix: str | None
    nas_last_heard_at: datetime | None
    nas_is_reachable: bool


class LineOut(BaseModel):
    """One log-in of the service: what FreeRADIUS answers, how the last log-in went, what is live."""

    subscriber_id: UUID
    username: str
    decision: str | None
    decision_reason: str
    fixed_addresses: list[str]
    last_login_at: datetime | None
    last_login_accepted: bool | None
    last_reject_reason: str | None
    sessions: list[SessionHealthOut]


class HealthFindingOut(BaseModel):
    """What was found; `code` is stable, `message` is for a person."""

    severity: Severity
    code: str
    message: str


class HealthOut(BaseModel):
    """Whether the line works. `health` is the gravest finding; `is_online`: a session is live and is heard of."""

    service_id: UUID
    status: ServiceStatus
    health: Severity
    is_online: bool
    checked_at: datetime
    lines: list[LineOut]
    findings: list[HealthFindingOut]


class BulkIn(BaseModel):
    """One operation on up to 1,000 services. `on_error` fail: all or nothing; skip: refused ones are left out.

    `suspend` needs `reason`, `modify` needs `changes`, `change_plan` needs `plan_id`.
    """

    operation: BulkOperation
    service_ids: list[UUID] = Field(min_length=1, max_length=BULK_MAX)
    on_error: OnError = OnError.FAIL
    reason: str = Field("", max_length=500)
    reason_code: ReasonCode | None = None
    fraud_suspension: bool = False
    auto_resume_at: ApiDatetime | None = None
    activation_date: ApiDatetime | None = None
    termination_date: ApiDatetime | None = None
    effective_date: ApiDatetime | None = None
    plan_id: str | None = Field(None, min_length=1, max_length=50)
    changes: ServicePatch | None = None

    def to_order(self) -> BulkOrder:
        """Raises `Invalid`: the operation lacks what it needs."""
        return BulkOrder(self._action(), tuple(self.service_ids), self.on_error)

    def _action(self) -> BulkAction:
        match self.operation:
            case BulkOperation.SUSPEND:
                return self._suspension()
            case BulkOperation.RESUME:
                return BulkAction(self.operation, reason=self.reason, lock=self.reason_code)
            case BulkOperation.TERMINATE:
                reason = self.reason or "on request"
                return BulkAction(self.operation, reason=reason, at=self.termination_date)
            case BulkOperation.ACTIVATE:
                return BulkAction(self.operation, at=self.activation_date)
            case BulkOperation.MODIFY:
                return self._modification()
            case BulkOperation.CHANGE_PLAN:
                return self._plan_change()

    def _suspension(self) -> BulkAction:
        if not self.reason.strip():
            raise invalid("reason", "say why the services are suspended")
        kind = lock_kind(reason_code=self.reason_code, fraud=self.fraud_suspension, reason=self.reason)
        return BulkAction(self.operation, reason=self.reason, lock=kind, at=self.auto_resume_at)

    def _modification(self) -> BulkAction:
        fields = {} if self.changes is None else self.changes.fields()
        if not fields:
            raise invalid("changes", "say what to change")
        ServiceChanges(**fields)
        return BulkAction(self.operation, reason=self.reason, changes=fields)

    def _plan_change(self) -> BulkAction:
        if self.plan_id is None:
            raise invalid("plan_id", "say which plan")
        return BulkAction(self.operation, reason=self.reason, plan_ref=self.plan_id, at=self.effective_date)


class BulkRowOut(BaseModel):
    """What became of one service; `undone`: nothing was changed, since another one was refused."""

    position: int
    service_id: UUID
    outcome: BulkOutcome
    code: str | None
    message: str | None


class BulkOut(BaseModel):
    """A bulk order and how far it has come. `failures` are the first 100; see `/rows` for all."""

    id: UUID
    operation: BulkOperation
    on_error: OnError
    status: BulkStatus
    requested: int
    succeeded: int
    failed: int
    remaining: int
    requested_by: str
    failures: list[BulkRowOut]
    created_at: datetime
    finished_at: datetime | None


class BulkList(Listed):
    """A window of the list."""

    bulk_orders: list[BulkOut]


class BulkRowList(Listed):
    """A window of the list."""

    rows: list[BulkRowOut]


class StepList(BaseModel):
    """All of them, in order."""

    steps: list[StepOut]
    total: int
    provisioning_status: ProvisioningStatus
