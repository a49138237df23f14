"""What the operators write, as data: patterns by operator, with a version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime

from fno_portal.models import OrderStatus

VERSION = 2

# The document's patterns, with references that hold hyphens. Operators it does not print get assumed ones.
EMAIL_PATTERNS: dict[str, dict[str, str]] = {
    "vumatel": {
        "order_complete": r"Order ([\w-]+) has been completed",
        "installation_scheduled": r"Installation scheduled for (\d{4}-\d{2}-\d{2})",
        "fault_resolved": r"Fault ([\w-]+) has been resolved",
    },
    "openserve": {
        "order_complete": r"Activation Complete - Ref: ([\w-]+)",
        "installation_scheduled": r"Technician visit: (\d{2}/\d{2}/\d{4})",
        "fault_resolved": r"Fault ([\w-]+) has been resolved",
    },
}
_ASSUMED: dict[str, str] = {
    "order_complete": r"Order ([\w-]+) has been completed",
    "order_accepted": r"Order ([\w-]+) has been accepted",
    "order_cancelled": r"Order ([\w-]+) has been cancelled",
    "installation_scheduled": r"Installation scheduled for (\d{4}-\d{2}-\d{2})",
    "fault_resolved": r"Fault ([\w-]+) has been resolved",
}
for _name in ("frogfoot", "octotel", "evotel", "metrofibre"):
    EMAIL_PATTERNS[_name] = dict(_ASSUMED)

STATUS: dict[str, OrderStatus] = {
    "order_complete": OrderStatus.COMPLETED,
    "order_accepted": OrderStatus.ACCEPTED,
    "order_cancelled": OrderStatus.CANCELLED,
    "installation_scheduled": OrderStatus.SCHEDULED,
}
_REFERENCE = re.compile(
    r"\b(?:Order(?: number| no\.?)?|Ref(?:erence)?)\s*[:#]?\s*([A-Z]*[\w-]*\d[\w-]*)", re.IGNORECASE
)
_DATES = ("%Y-%m-%d", "%d/%m/%Y")


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of news in a mail. `reference` is the order's or the fault's number, None where the mail names none."""

    type: str
    reference: str | None
    scheduled_date: str | None = None


def find_news(patterns: dict[str, str], text: str) -> list[Finding]:
    """Everything that the patterns find. A pattern that catches a date takes its reference from the rest of the mail."""
    return [
        finding
        for kind, pattern in patterns.items()
        for found in re.finditer(pattern, text)
        if (finding := _finding(kind, found[1], text)) is not None
    ]


def _finding(kind: str, caught: str, text: str) -> Finding | None:
    if not kind.endswith("_scheduled"):
        return Finding(kind, caught.rstrip("-."))
    day = read_date(caught)
    if day is None:
        return None
    numbers = {one.rstrip("-.") for one in _REFERENCE.findall(text)}
    # Two different numbers: guessing would move the wrong order.
    return Finding(kind, numbers.pop() if len(numbers) == 1 else None, day.isoformat())


def read_date(text: str) -> date | None:
    """A date as the operators write it, day before month; None where it is none."""
    for form in _DATES:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a date has no zone
        except ValueError:
            continue
    return None
