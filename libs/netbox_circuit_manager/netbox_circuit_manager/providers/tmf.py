"""Shapes that carriers share because they come from TM Forum's Open APIs: prices, terms, tickets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from .errors import RowRefused
from .paging import Row
from .records import CENT, TicketPriority, TicketStatus, read_currency, read_money

MONTHS_OF_UNIT = {"calendarMonths": 1, "month": 1, "months": 1, "year": 12, "years": 12}

# MEF 113's and TMF 621's words for the plugin's five
TICKET_STATUS: dict[str, TicketStatus] = {
    "acknowledged": "open",
    "reopened": "open",
    "inprogress": "in_progress",
    "pending": "pending",
    "held": "pending",
    "assessingcancellation": "pending",
    "resolved": "resolved",
    "closed": "closed",
    "cancelled": "closed",
    "rejected": "closed",
}
TICKET_PRIORITY: dict[str, TicketPriority] = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "critical": "critical",
}


@dataclass(frozen=True, slots=True)
class Prices:
    """A product's charges; None where the carrier states none of that kind."""

    mrc: Decimal | None = None
    nrc: Decimal | None = None
    currency: str = ""


def read_prices(prices: Any, supported: frozenset[str]) -> Prices:
    """MRC and NRC of a productPrice list, usage left out. Raises `RowRefused`."""
    if prices is None:
        return Prices()
    if not isinstance(prices, list):
        raise RowRefused("is not a list", "productPrice")
    monthly: list[Decimal] = []
    once: list[Decimal] = []
    currencies: set[str] = set()
    for price in prices:
        kind = text_of(price, "priceType")
        if kind == "usageBased":
            continue
        amount, currency = read_tmf_money(price, supported)
        currencies.add(currency)
        if kind == "recurring":
            monthly.append(per_month(amount, text_of(price, "recurringChargePeriod")))
        elif kind in ("nonRecurring", "oneTime"):
            once.append(amount)
        else:
            raise RowRefused(f"{kind!r} is not recurring, nonRecurring or usageBased", "priceType")
    if len(currencies) > 1:
        raise RowRefused(f"its charges are in {' and '.join(sorted(currencies))}", "currency")
    return Prices(sum_of(monthly), sum_of(once), next(iter(currencies), ""))


def read_tmf_money(price: Any, supported: frozenset[str]) -> tuple[Decimal, str]:
    """The amount without tax. Raises `RowRefused` when there is none: a price without an amount says nothing."""
    money = price.get("price", {}).get("dutyFreeAmount") if isinstance(price, Mapping) else None
    if not isinstance(money, Mapping):
        raise RowRefused("has no dutyFreeAmount", "price")
    return read_tmf_amount(money, supported)


def read_tmf_amount(money: Any, supported: frozenset[str]) -> tuple[Decimal, str]:
    """A TMF Money, {unit, value}. Raises `RowRefused` when a part is missing."""
    if not isinstance(money, Mapping):
        raise RowRefused("is not an amount with a unit", "price")
    amount = read_money(money.get("value"), "price")
    currency = read_currency(money.get("unit"), supported)
    if amount is None or not currency:
        raise RowRefused("an amount needs a value and a unit", "price")
    return amount, currency


def per_month(amount: Decimal, period: str) -> Decimal:
    """A recurring amount for a month. Raises `RowRefused` for periods that months do not divide."""
    months = MONTHS_OF_UNIT.get(period or "month")
    if months is None:
        raise RowRefused(f"a charge per {period} has no monthly amount", "recurringChargePeriod")
    return (amount / months).quantize(CENT, ROUND_HALF_UP)


def read_term_months(duration: Any) -> int | None:
    """The months of a duration, {amount, units}; None when it is in days or hours, or not stated."""
    if not isinstance(duration, Mapping):
        return None
    amount, months = duration.get("amount"), MONTHS_OF_UNIT.get(str(duration.get("units")))
    if months is None or isinstance(amount, bool) or not isinstance(amount, int) or amount <= 0:
        return None
    return amount * months


def read_ticket_status(value: Any) -> TicketStatus:
    """Raises `RowRefused` for a status that is not of MEF 113 or TMF 621."""
    status = TICKET_STATUS.get(str(value).lower())
    if status is None:
        raise RowRefused(f"{value!r} is no known status of a ticket", "status")
    return status


def read_ticket_priority(row: Row) -> TicketPriority:
    """The seller's priority before the buyer's; medium when neither is stated. Raises `RowRefused`."""
    value = row.get("sellerPriority") or row.get("priority")
    if value is None:
        return "medium"
    priority = TICKET_PRIORITY.get(str(value).lower())
    if priority is None:
        raise RowRefused(f"{value!r} is no known priority of a ticket", "priority")
    return priority


def related_product(row: Row) -> str:
    """The id of the product that a ticket is about; empty when it names none."""
    entities = row.get("relatedEntity")
    for entity in entities if isinstance(entities, list) else ():
        if isinstance(entity, Mapping) and "product" in str(entity.get("@referredType", "")).lower():
            return str(entity.get("id") or "")
    return ""


def first(value: Any) -> Mapping[str, Any]:
    """The first object of a list, an empty one when there is none."""
    entry = value[0] if isinstance(value, list) and value else value
    return entry if isinstance(entry, Mapping) else {}


def text_of(row: Any, name: str) -> str:
    """A field as text, empty when missing."""
    value = row.get(name) if isinstance(row, Mapping) else None
    return str(value) if value is not None else ""


def sum_of(amounts: Iterable[Decimal]) -> Decimal | None:
    """The sum, None of nothing."""
    listed = list(amounts)
    return sum(listed, Decimal(0)) if listed else None
