"""Decisions about plans and prices, without I/O."""

from __future__ import annotations

from datetime import date

from demarc.kernel.errors import invalid


def start_of_price(asked: date | None, *, today: date, may_be_past: bool) -> date:
    """From which day a price counts.

    Args:
        asked: the day of the request; None means today.
        today: the tenant's day.
        may_be_past: a sandbox tenant accepts the documents' dates, which lie in the past.

    Raises:
        Invalid: the day has gone by; what was charged stays as it was.
    """
    start = asked or today
    if start < today and not may_be_past:
        raise invalid("effective_on", f"has to be today ({today}) or later; past prices stay as they were")
    return start
