"""Which state of an order may follow which, as data, and the TMF641 words for them."""

from __future__ import annotations

from fno_portal.models import OrderStatus as S

_RUNNING = frozenset({S.ACCEPTED, S.SCHEDULED, S.IN_PROGRESS, S.HELD, S.PARTIAL})
_END = frozenset({S.COMPLETED, S.CANCELLED, S.FAILED, S.REJECTED})

# Steps may be missed (we poll, mails get lost), so every step forward is legal; a step back is not, except out of a
# hold, by a new appointment, or when a cancellation is refused.
LEGAL: dict[S, frozenset[S]] = {
    S.PENDING: frozenset({S.SUBMITTED, S.PENDING_CANCELLATION}) | _RUNNING | _END,
    S.SUBMITTED: frozenset({S.PENDING_CANCELLATION}) | _RUNNING | _END,
    S.ACCEPTED: frozenset(
        {S.SCHEDULED, S.IN_PROGRESS, S.HELD, S.PARTIAL, S.PENDING_CANCELLATION, S.REJECTED}
        | (_END - {S.REJECTED})
    ),
    S.SCHEDULED: frozenset(
        {S.IN_PROGRESS, S.HELD, S.PARTIAL, S.PENDING_CANCELLATION, S.COMPLETED, S.CANCELLED, S.FAILED}
    ),
    S.IN_PROGRESS: frozenset(
        {S.SCHEDULED, S.HELD, S.PARTIAL, S.PENDING_CANCELLATION, S.COMPLETED, S.CANCELLED, S.FAILED}
    ),
    S.HELD: frozenset(
        {
            S.ACCEPTED,
            S.SCHEDULED,
            S.IN_PROGRESS,
            S.PARTIAL,
            S.PENDING_CANCELLATION,
            S.COMPLETED,
            S.CANCELLED,
            S.FAILED,
        }
    ),
    S.PARTIAL: frozenset({S.IN_PROGRESS, S.HELD, S.PENDING_CANCELLATION, S.COMPLETED, S.CANCELLED, S.FAILED}),
    S.PENDING_CANCELLATION: frozenset({S.SUBMITTED, S.CANCELLED, S.COMPLETED, S.FAILED}) | _RUNNING,
    S.COMPLETED: frozenset(),
    S.CANCELLED: frozenset(),
    S.FAILED: frozenset(),
    S.REJECTED: frozenset(),
}

# TMF641 v4 ServiceOrderStateType.
FROM_TMF641: dict[str, S] = {
    "acknowledged": S.SUBMITTED,
    "rejected": S.REJECTED,
    "pending": S.HELD,
    "held": S.HELD,
    "inProgress": S.IN_PROGRESS,
    "cancelled": S.CANCELLED,
    "completed": S.COMPLETED,
    "failed": S.FAILED,
    "partial": S.PARTIAL,
    "assessingCancellation": S.PENDING_CANCELLATION,
    "pendingCancellation": S.PENDING_CANCELLATION,
}
TO_TMF641: dict[S, str] = {
    S.PENDING: "acknowledged",
    S.SUBMITTED: "acknowledged",
    S.ACCEPTED: "inProgress",
    S.SCHEDULED: "inProgress",
    S.IN_PROGRESS: "inProgress",
    S.COMPLETED: "completed",
    S.CANCELLED: "cancelled",
    S.FAILED: "failed",
    S.REJECTED: "rejected",
    S.HELD: "held",
    S.PARTIAL: "partial",
    S.PENDING_CANCELLATION: "pendingCancellation",
}


def may_follow(current: S, proposed: S) -> bool:
    """Whether an order may go from one state to the other."""
    return proposed in LEGAL[current]


def is_final(status: S) -> bool:
    """Whether nothing can follow."""
    return not LEGAL[status]
