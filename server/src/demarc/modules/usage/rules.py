"""Decisions about usage: pure, exact, no float."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Context, Decimal

from demarc.kernel.errors import invalid
from demarc.kernel.money import round_to_minor
from demarc.modules.catalog.inputs import GB_OCTETS as GB_OCTETS  # noqa: PLC0414 - 2^30, as document 002 computes it
from demarc.modules.catalog.inputs import Rate

MIXED = "mixed"
_EXACT = Context(prec=100)
_SIX_PLACES = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Usage of one subscription, type, unit, price and period, added up exactly; it is rounded once, as a whole.

    `starts_at` is the period's beginning by the tenant's clock (no zone). `octets` is what was metered (None: nothing), `posted` the quantity that came without octets.

    With a `rate` the whole month is priced together: `before` is what is on invoices of that month already, `bonus` what was bought on
    top of a package, and the line costs what its quantity adds to the month. Its order does not matter: the lines of a month add up
    to the cost of the month. (A volume price that falls below what was billed takes nothing back.)
    """

    subscription_id: int
    subscription_ref: str
    usage_type: str
    unit: str
    unit_price: Decimal
    currency: str
    starts_at: datetime
    records: int
    posted: Decimal
    octets: int | None
    price_id: int | None = None
    rate: Rate | None = None
    before: Decimal = Decimal(0)
    bonus: Decimal = Decimal(0)

    @property
    def quantity(self) -> Decimal:
        """In `unit`, exact (up to 30 places)."""
        return _EXACT.add(self.posted, octets_to_gb(self.octets or 0))

    @property
    def shown_quantity(self) -> Decimal:
        """The quantity as invoices show it: six places."""
        return six_places(self.quantity)

    @property
    def shown_unit_price(self) -> Decimal:
        """What one unit costs; of a month that is priced as a whole, the first one that costs something."""
        return self.unit_price if self.rate is None else self.rate.unit_price

    @property
    def exact_amount(self) -> Decimal:
        """In major units, before it is rounded."""
        if self.rate is None:
            return _EXACT.multiply(self.quantity, self.unit_price)
        whole = self.rate.cost(_EXACT.add(self.before, self.quantity), bonus=self.bonus)
        return max(_EXACT.subtract(whole, self.rate.cost(self.before, bonus=self.bonus)), Decimal(0))

    @property
    def amount_minor(self) -> int:
        """The line's amount, rounded half up once."""
        return round_to_minor(self.exact_amount, self.currency)

    @property
    def month(self) -> tuple[int, str, int | None, date]:
        """What is rated together: subscription, type and price of one calendar month."""
        return self.subscription_id, self.usage_type, self.price_id, self.starts_at.date().replace(day=1)


@dataclass(frozen=True, slots=True)
class TypeTotal:
    """What the lines of one usage type come to. `quantity` is None when the type was counted in several units."""

    usage_type: str
    quantity: Decimal | None
    unit: str
    amount_minor: int
    records: int


def octets_to_gb(octets: int) -> Decimal:
    """Exact: the quotient has at most 30 decimal places."""
    return _EXACT.divide(Decimal(octets), GB_OCTETS)


def six_places(quantity: Decimal) -> Decimal:
    """A quantity as it is shown and stored."""
    return quantity.quantize(_SIX_PLACES, ROUND_HALF_UP, _EXACT)


def reading_minor(quantity: Decimal, octets: int | None, unit_price: Decimal, currency: str) -> int:
    """One record's own rounded amount: for the eye; invoices round sums, not records."""
    exact = quantity if octets is None else octets_to_gb(octets)
    return round_to_minor(_EXACT.multiply(exact, unit_price), currency)


def totals_by_type(lines: Iterable[UsageLine]) -> list[TypeTotal]:
    """One total per usage type, in the order the types first appear."""
    grouped: dict[str, list[UsageLine]] = {}
    for line in lines:
        grouped.setdefault(line.usage_type, []).append(line)
    return [_type_total(usage_type, of_type) for usage_type, of_type in grouped.items()]


def _type_total(usage_type: str, lines: Sequence[UsageLine]) -> TypeTotal:
    units = {line.unit for line in lines}
    unit, quantity = MIXED, None
    if len(units) == 1:
        unit = units.pop()
        quantity = total_quantity(lines)
    return TypeTotal(
        usage_type,
        quantity,
        unit,
        sum(line.amount_minor for line in lines),
        sum(line.records for line in lines),
    )


def overall(lines: Sequence[UsageLine], asked_type: str | None) -> TypeTotal:
    """One total over all lines: of the one type there is, else `mixed`; zeros when there are none."""
    by_type = totals_by_type(lines)
    if not by_type:
        return TypeTotal(asked_type or "", Decimal(0), "", 0, 0)
    if len(by_type) == 1:
        return by_type[0]
    units = {line.unit for line in lines}
    same_unit = len(units) == 1
    return TypeTotal(
        MIXED,
        total_quantity(lines) if same_unit else None,
        units.pop() if same_unit else MIXED,
        sum(total.amount_minor for total in by_type),
        sum(total.records for total in by_type),
    )


def total_quantity(lines: Iterable[UsageLine]) -> Decimal:
    """Six places, rounded once."""
    total = Decimal(0)
    for line in lines:
        total = _EXACT.add(total, line.quantity)
    return six_places(total)


def only_currency(lines: Iterable[UsageLine], otherwise: str) -> str:
    """The currency of all lines.

    Raises:
        Invalid: they have several, so that no total exists.
    """
    currencies = {line.currency for line in lines} or {otherwise}
    if len(currencies) > 1:
        listed = ", ".join(sorted(currencies))
        raise invalid("subscription_id", f"the usage asked for is in {listed}: ask for one subscription")
    return currencies.pop()


Month = tuple[int, str, int | None, date]
"""See `UsageLine.month`."""


def rate_lines(
    lines: Iterable[UsageLine],
    rates: Mapping[int, Rate],
    billed: Mapping[Month, Decimal],
    bonuses: Mapping[Month, Decimal],
) -> list[UsageLine]:
    """The lines with what prices them, in their order.

    Args:
        lines: of whole months or of shorter periods, which then go on where the one before ended.
        rates: by price.
        billed: what other invoices bill of each month.
        bonuses: what was bought on top of each month's package.
    """
    reached: dict[Month, Decimal] = {}
    rated = []
    for line in lines:
        if line.price_id is None:
            rated.append(line)
            continue
        before = reached.get(line.month, billed.get(line.month, Decimal(0)))
        reached[line.month] = _EXACT.add(before, line.quantity)
        bonus = bonuses.get(line.month, Decimal(0))
        rated.append(replace(line, rate=rates[line.price_id], before=before, bonus=bonus))
    return rated
