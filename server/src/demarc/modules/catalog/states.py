from __future__ import annotations

from enum import StrEnum

from demarc.kernel.states import StateMachine


class PlanStatus(StrEnum):
    """A retired plan is not sold any more; what was sold of it goes on."""

    ACTIVE = "active"
    RETIRED = "retired"


class CapAction(StrEnum):
    """What follows when a service has used its data up: `notify` only tells, `charge` bills what is over (a package price)."""

    NOTIFY = "notify"
    THROTTLE = "throttle"
    CHARGE = "charge"
    BLOCK = "block"


class PriceModel(StrEnum):
    """How the usage of a month is priced: see `rules.Rate`."""

    FLAT = "flat"
    TIERED = "tiered"
    VOLUME = "volume"
    PACKAGE = "package"


PLAN_STATES: StateMachine[PlanStatus] = StateMachine(
    "plan",
    {
        PlanStatus.ACTIVE: frozenset({PlanStatus.RETIRED}),
        PlanStatus.RETIRED: frozenset({PlanStatus.ACTIVE}),
    },
)
