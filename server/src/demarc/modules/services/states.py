"""The life of a service, as in document 002."""

from __future__ import annotations

from enum import StrEnum


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
