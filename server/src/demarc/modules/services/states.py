"""The life of a service, as in document 002."""

from __future__ import annotations

from enum import StrEnum

from demarc.kernel.states import StateMachine


class ServiceStatus(StrEnum):
    PENDING = "pending"
    PROVISIONING = "provisioning"
    PROVISIONING_FAILED = "provisioning_failed"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    SUSPENDED_NON_PAYMENT = "suspended_non_payment"
    SUSPENDED_FRAUD = "suspended_fraud"
    DEGRADED = "degraded"
    MAINTENANCE = "maintenance"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"


class ProvisioningStatus(StrEnum):
    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"


class LockKind(StrEnum):
    """Why a service is held down; the gravest lock gives the status shown."""

    FRAUD = "fraud"
    NON_PAYMENT = "non_payment"
    OTHER = "other"


class StepStatus(StrEnum):
    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    COMPENSATED = "compensated"


class PlanChangeStatus(StrEnum):
    SCHEDULED = "scheduled"
    DONE = "done"
    CANCELED = "canceled"
    FAILED = "failed"


class BulkOperation(StrEnum):
    ACTIVATE = "activate"
    SUSPEND = "suspend"
    RESUME = "resume"
    TERMINATE = "terminate"
    MODIFY = "modify"
    CHANGE_PLAN = "change_plan"


class OnError(StrEnum):
    """What one bad row does to the others: `fail` undoes them all, `skip` leaves it out."""

    FAIL = "fail"
    SKIP = "skip"


class BulkStatus(StrEnum):
    """`failed`: with on_error `fail` one row was refused, so that nothing was changed."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class BulkOutcome(StrEnum):
    """`undone`: nothing was changed, because another row of the request was refused."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNDONE = "undone"


_HELD = frozenset(
    {ServiceStatus.SUSPENDED, ServiceStatus.SUSPENDED_NON_PAYMENT, ServiceStatus.SUSPENDED_FRAUD}
)
_ENDINGS = frozenset({ServiceStatus.TERMINATING, ServiceStatus.TERMINATED})
_LOCKABLE = _HELD | _ENDINGS
CARRYING = frozenset({ServiceStatus.ACTIVE, ServiceStatus.DEGRADED, ServiceStatus.MAINTENANCE})
"""The statuses in which a service is on line as far as the business is concerned."""

_BENEATH: dict[ServiceStatus, frozenset[ServiceStatus]] = {
    ServiceStatus.PENDING: frozenset({ServiceStatus.PROVISIONING, ServiceStatus.ACTIVE}),
    ServiceStatus.PROVISIONING: frozenset(
        {ServiceStatus.PENDING, ServiceStatus.ACTIVE, ServiceStatus.PROVISIONING_FAILED}
    ),
    ServiceStatus.PROVISIONING_FAILED: frozenset({ServiceStatus.PROVISIONING}),
    ServiceStatus.ACTIVE: frozenset(
        {ServiceStatus.DEGRADED, ServiceStatus.MAINTENANCE, ServiceStatus.FAILED}
    ),
    ServiceStatus.DEGRADED: frozenset(
        {ServiceStatus.ACTIVE, ServiceStatus.MAINTENANCE, ServiceStatus.FAILED}
    ),
    ServiceStatus.MAINTENANCE: frozenset(
        {ServiceStatus.ACTIVE, ServiceStatus.DEGRADED, ServiceStatus.FAILED}
    ),
    ServiceStatus.FAILED: frozenset(
        {ServiceStatus.ACTIVE, ServiceStatus.DEGRADED, ServiceStatus.MAINTENANCE}
    ),
}
"""What a service goes through by itself; a lock or a notice period hides it and leaves it as it is."""

SERVICE_STATES: StateMachine[ServiceStatus] = StateMachine(
    "service",
    {
        **{status: moves | _LOCKABLE for status, moves in _BENEATH.items()},
        **{held: frozenset(_BENEATH) | _LOCKABLE - {held} for held in _HELD},
        ServiceStatus.TERMINATING: frozenset({ServiceStatus.TERMINATED}),
        ServiceStatus.TERMINATED: frozenset(),
    },
)

HELD_STATUS: dict[LockKind, ServiceStatus] = {
    LockKind.FRAUD: ServiceStatus.SUSPENDED_FRAUD,
    LockKind.NON_PAYMENT: ServiceStatus.SUSPENDED_NON_PAYMENT,
    LockKind.OTHER: ServiceStatus.SUSPENDED,
}
"""What each lock shows; the order is that of gravity."""

PROVISIONING_STATES: StateMachine[ProvisioningStatus] = StateMachine(
    "provisioning",
    {
        ProvisioningStatus.PENDING: frozenset({ProvisioningStatus.IN_PROGRESS, ProvisioningStatus.FAILED}),
        ProvisioningStatus.IN_PROGRESS: frozenset({ProvisioningStatus.COMPLETED, ProvisioningStatus.FAILED}),
        ProvisioningStatus.COMPLETED: frozenset(),
        ProvisioningStatus.FAILED: frozenset({ProvisioningStatus.ROLLED_BACK}),
        ProvisioningStatus.ROLLED_BACK: frozenset({ProvisioningStatus.IN_PROGRESS}),
    },
)

STEP_STATES: StateMachine[StepStatus] = StateMachine(
    "provisioning step",
    {
        StepStatus.PENDING: frozenset({StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.COMPENSATED}),
        StepStatus.COMPLETED: frozenset({StepStatus.COMPENSATED}),
        StepStatus.FAILED: frozenset({StepStatus.PENDING, StepStatus.COMPENSATED}),
        StepStatus.COMPENSATED: frozenset({StepStatus.PENDING}),
    },
)

PLAN_CHANGE_STATES: StateMachine[PlanChangeStatus] = StateMachine(
    "plan change",
    {
        PlanChangeStatus.SCHEDULED: frozenset(
            {PlanChangeStatus.DONE, PlanChangeStatus.CANCELED, PlanChangeStatus.FAILED}
        ),
        PlanChangeStatus.DONE: frozenset(),
        PlanChangeStatus.CANCELED: frozenset(),
        PlanChangeStatus.FAILED: frozenset(),
    },
)

BULK_STATES: StateMachine[BulkStatus] = StateMachine(
    "bulk order",
    {
        BulkStatus.RUNNING: frozenset({BulkStatus.COMPLETED, BulkStatus.FAILED}),
        BulkStatus.COMPLETED: frozenset(),
        BulkStatus.FAILED: frozenset(),
    },
)

CONDITIONS = frozenset(
    {ServiceStatus.ACTIVE, ServiceStatus.DEGRADED, ServiceStatus.MAINTENANCE, ServiceStatus.FAILED}
)
"""What staff may say of a line that was brought up: how it works."""
