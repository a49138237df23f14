"""Decisions about money: pure, exact, no float."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

from demarc.kernel.errors import invalid
from demarc.kernel.money import round_to_minor, to_major
from demarc.modules.billing.inputs import Credit

FACTOR_PLACES = Decimal("0.0001")
_DECEMBER = 12
_YEARS = range(1970, 3000)


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A billing month: a calendar month by the tenant's clock."""

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> Month:
        """From `YYYY-MM`.

        Raises:
            Invalid: it is no month.
        """
        year, dash, month = text.partition("-")
        parsed = year.isascii() and year.isdigit() and month.isascii() and month.isdigit()
        if not parsed or (len(year), dash, len(month)) != (4, "-", 2):
            raise invalid("period", "has to be a month as YYYY-MM, e.g. 2025-10")
        if int(year) not in _YEARS or not 1 <= int(month) <= _DECEMBER:
            raise invalid("period", f"{text} is not a month of the calendar")
        return cls(int(year), int(month))

    @classmethod
    def of(cls, day: date) -> Month:
        return cls(day.year, day.month)

    @property
    def first_day(self) -> date:
        return date(self.year, self.month, 1)

    @property
    def last_day(self) -> date:
        return date(self.year, self.month, self.days)

    @property
    def days(self) -> int:
        return monthrange(self.year, self.month)[1]

    def next(self) -> Month:
        return Month(self.year + 1, 1) if self.month == _DECEMBER else Month(self.year, self.month + 1)

    def starts_at(self, time_zone: str) -> datetime:
        """Midnight of the first day where the tenant is, as UTC."""
        return datetime(self.year, self.month, 1, tzinfo=ZoneInfo(time_zone)).astimezone(UTC)

    def ends_at(self, time_zone: str) -> datetime:
        """The next month's beginning."""
        return self.next().starts_at(time_zone)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"


def proration_factor(month: Month, started_on: date, canceled_on: date | None) -> Decimal:
    """Share of the month's days in which the subscription ran, both ends included, 4 decimals half up; 0: none."""
    first = max(month.first_day, started_on)
    last = month.last_day if canceled_on is None else min(month.last_day, canceled_on)
    days = max((last - first).days + 1, 0)
    return (Decimal(days) / month.days).quantize(FACTOR_PLACES, ROUND_HALF_UP)


def prorated_minor(amount_minor: int, factor: Decimal, currency: str) -> int:
    """An amount times a factor, rounded half up once."""
    return round_to_minor(to_major(amount_minor, currency) * factor, currency)


def tax_minor(subtotal_minor: int, rates: Iterable[Decimal], currency: str) -> int:
    """Tax on a subtotal, rounded half up once; several rules add up."""
    return round_to_minor(to_major(subtotal_minor, currency) * sum(rates, Decimal(0)), currency)


@dataclass(frozen=True, slots=True)
class Share:
    """Part of a payment that goes to an invoice."""

    payment_id: int
    invoice_id: int
    amount_minor: int


def allocate(credits_: Iterable[tuple[int, int]], debts: Iterable[tuple[int, int]]) -> list[Share]:
    """Credits `(payment id, free)` to debts `(invoice id, open)`, each in the order given, until one side is used up."""
    shares: list[Share] = []
    waiting = iter(debts)
    invoice_id, owed = next(waiting, (0, 0))
    for payment_id, free in credits_:
        left = free
        while left and owed:
            amount = min(left, owed)
            shares.append(Share(payment_id, invoice_id, amount))
            left, owed = left - amount, owed - amount
            if not owed:
                invoice_id, owed = next(waiting, (0, 0))
    return shares


def days_overdue(today: date, due_on: date, issued_on: date) -> int:
    """Days since the later of due date and issue; 0 when not overdue."""
    return max((today - max(due_on, issued_on)).days, 0)


def spread_credit(amount_minor: int, left: Iterable[tuple[int, int]]) -> list[Credit]:
    """An amount over lines `(position, what is left of it)` in their order, each used up before the next is touched."""
    credits_: list[Credit] = []
    for position, free in left:
        taken = min(amount_minor, free)
        if taken:
            credits_.append(Credit(position, taken))
            amount_minor -= taken
    return credits_


def credited_tax_minor(
    tax_total_minor: int, subtotal_minor: int, *, credited_before_minor: int, credit_minor: int, currency: str
) -> int:
    """The tax that goes back with a part of the subtotal.

    It is the difference of two shares counted from the beginning, so that parts that add up to the whole give back
    exactly the tax that was charged.
    """
    before, after = (
        prorated_minor(tax_total_minor, Decimal(part) / subtotal_minor, currency)
        for part in (credited_before_minor, credited_before_minor + credit_minor)
    )
    return after - before


def releases(allocations: Iterable[tuple[int, int]], excess_minor: int) -> list[tuple[int, int]]:
    """Which `(payment id, amount)` to take off an invoice that is paid too much: the last payment gives back first."""
    freed: list[tuple[int, int]] = []
    for payment_id, allocated in reversed(list(allocations)):
        amount = min(allocated, excess_minor)
        if amount:
            freed.append((payment_id, amount))
            excess_minor -= amount
    return freed
