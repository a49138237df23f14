from __future__ import annotations

from enum import StrEnum

from demarc.kernel.states import StateMachine


class BilledStatus(StrEnum):
    PENDING = "pending"
    BILLED = "billed"
    ERROR = "error"
    EXCLUDED = "excluded"


class CrossingOutcome(StrEnum):
    """What came of a reached threshold. `surpassed`: a top-up or another limit came first. `late`: the month was over."""

    PENDING = "pending"
    TOLD = "told"
    UNREACHABLE = "unreachable"
    SURPASSED = "surpassed"
    LATE = "late"


BILLING = StateMachine[BilledStatus](
    "usage record",
    {
        BilledStatus.PENDING: frozenset({BilledStatus.BILLED, BilledStatus.ERROR, BilledStatus.EXCLUDED}),
        BilledStatus.BILLED: frozenset({BilledStatus.PENDING}),  # its invoice was voided
        BilledStatus.ERROR: frozenset({BilledStatus.PENDING, BilledStatus.EXCLUDED}),
        BilledStatus.EXCLUDED: frozenset({BilledStatus.PENDING}),
    },
)
