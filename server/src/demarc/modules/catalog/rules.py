"""Decisions about plans and prices, without I/O."""

from __future__ import annotations

from datetime import date

from demarc.kernel.errors import invalid
from demarc.modules.catalog.states import PriceModel


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


def check_end_of_price(start: date, until: date | None) -> None:
    """Raises `Invalid`: an offer has to end after it has begun."""
    if until is not None and until <= start:
        raise invalid("effective_until", f"has to be after {start}, the day from which the price counts")


def check_whole_months(model: PriceModel, start: date, until: date | None, *, follows_another: bool) -> None:
    """What is added up over a month cannot change within it.

    Raises:
        Invalid: a price other than flat that takes over, or ends, within a month. The first price of a kind may begin on any day.
    """
    if model is PriceModel.FLAT:
        return
    if follows_another and start.day != 1:
        raise invalid("effective_on", f"a {model} price counts whole months: the first day of a month")
    if until is not None and until.day != 1:
        raise invalid("effective_until", f"a {model} price counts whole months: the first day of a month")
