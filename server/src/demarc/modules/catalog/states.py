from __future__ import annotations

from enum import StrEnum

from demarc.kernel.states import StateMachine


class PlanStatus(StrEnum):
    """A retired plan is not sold any more; what was sold of it goes on."""

    ACTIVE = "active"
    RETIRED = "retired"


PLAN_STATES: StateMachine[PlanStatus] = StateMachine(
    "plan",
    {
        PlanStatus.ACTIVE: frozenset({PlanStatus.RETIRED}),
        PlanStatus.RETIRED: frozenset({PlanStatus.ACTIVE}),
    },
)
