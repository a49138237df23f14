from __future__ import annotations

from enum import StrEnum

from demarc.kernel.states import StateMachine


class ActionType(StrEnum):
    EMAIL = "email"
    SMS = "sms"
    SUSPEND_SERVICE = "suspend_service"
    TERMINATE_SERVICE = "terminate_service"
    WEBHOOK = "webhook"
    CUSTOM = "custom"


class ExecutionStatus(StrEnum):
    """`in_progress` goes on after the last step: it ends when the debt is settled."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELED = "canceled"
    FAILED = "failed"


class ActionOutcome(StrEnum):
    """`waiting`: handed on, the other side's word is not known yet."""

    DONE = "done"
    FAILED = "failed"
    WAITING = "waiting"


_ENDS = frozenset({ExecutionStatus.COMPLETED, ExecutionStatus.CANCELED, ExecutionStatus.FAILED})

EXECUTION = StateMachine(
    "dunning_execution",
    {
        ExecutionStatus.PENDING: _ENDS | {ExecutionStatus.IN_PROGRESS, ExecutionStatus.PAUSED},
        ExecutionStatus.IN_PROGRESS: _ENDS | {ExecutionStatus.PAUSED},
        ExecutionStatus.PAUSED: _ENDS | {ExecutionStatus.PENDING, ExecutionStatus.IN_PROGRESS},
        ExecutionStatus.COMPLETED: frozenset(),
        ExecutionStatus.CANCELED: frozenset(),
        ExecutionStatus.FAILED: frozenset(),
    },
)

RUNNING = (ExecutionStatus.PENDING, ExecutionStatus.IN_PROGRESS, ExecutionStatus.PAUSED)
"""One execution in one of these per subscription; the database keeps it."""
