from __future__ import annotations

from enum import StrEnum


class ActionType(StrEnum):
    EMAIL = "email"
    SMS = "sms"
    SUSPEND_SERVICE = "suspend_service"
    TERMINATE_SERVICE = "terminate_service"
    WEBHOOK = "webhook"
    CUSTOM = "custom"


class ExecutionStatus(StrEnum):
    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELED = "canceled"
    FAILED = "failed"


class ActionOutcome(StrEnum):
    DONE = "done"
    FAILED = "failed"
    WAITING = "waiting"
