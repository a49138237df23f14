from __future__ import annotations

from enum import StrEnum

from demarc.kernel.states import StateMachine


class SubscriptionStatus(StrEnum):
    ACTIVE = "active"
    CANCELED = "canceled"


SUBSCRIPTION_STATES: StateMachine[SubscriptionStatus] = StateMachine(
    "subscription",
    {
        SubscriptionStatus.ACTIVE: frozenset({SubscriptionStatus.CANCELED}),
        SubscriptionStatus.CANCELED: frozenset(),
    },
)
