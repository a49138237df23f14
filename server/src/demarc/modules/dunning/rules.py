"""The decisions of dunning: pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from demarc.modules.dunning.inputs import ExclusionRules

HOLD = timedelta(days=1)
"""How long a step whose outcome is unknown holds the ladder."""


PUT_BACK = timedelta(hours=1)
"""How long an execution rests after an error that nobody foresaw."""

MAX_FAILURES = 5
"""So many unforeseen errors in a row, and a person has to look."""


def overdue_since(issued_on: date, due_on: date) -> date:
    """The day that days overdue are counted from: an invoice cannot be late before it exists."""
    return max(issued_on, due_on)


def days_overdue(issued_on: date, due_on: date, today: date) -> int:
    return (today - overdue_since(issued_on, due_on)).days


def excluding_rule(
    rules: ExclusionRules, *, tier: str, tags: Collection[str], lifetime_minor: int
) -> str | None:
    """The first rule that leaves the customer alone, in words; None when none does."""
    if tier in rules.customer_tiers:
        return f"customer_tiers: the customer's tier is {tier}"
    shared = sorted(set(rules.customer_tags) & set(tags))
    if shared:
        return f"customer_tags: the customer is tagged {shared[0]}"
    if rules.min_lifetime_minor is not None and lifetime_minor >= rules.min_lifetime_minor:
        return "min_lifetime_value: the customer has paid at least that much"
    return None


def due_at(previous_at: datetime, delay_days: int) -> datetime:
    """When a step is due: so many days after the step before it acted (the first: after the start)."""
    return previous_at + timedelta(days=delay_days)


def after_pause(due: datetime | None, *, paused_at: datetime, now: datetime) -> datetime | None:
    """The time that was left when it was paused is left when it goes on."""
    return None if due is None else due + (now - paused_at)


def success_rate(successful: int, executions: int) -> Decimal | None:
    """Percent with two decimals; None when there is nothing to rate."""
    if executions == 0:
        return None
    return (Decimal(100) * successful / executions).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
