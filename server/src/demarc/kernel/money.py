"""Money: integer minor units and a currency; Decimal for prices and quantities; one rounding function (ADR 0003)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache

from babel.numbers import get_currency_precision, list_currencies

from demarc.kernel.errors import invalid

# Babel knows how currencies are written (CLDR); these have more digits in ISO 4217 than people write.
_ISO_4217 = dict.fromkeys(
    ("AFN", "ALL", "IRR", "KPW", "LAK", "LBP", "MGA", "MMK", "RSD", "SOS", "SYP", "YER"), 2
) | {"IQD": 3}
_EXACT = Context(prec=100)  # wide enough that nothing but the last step rounds


@lru_cache(maxsize=256)
def exponent(currency: str) -> int:
    """Digits after the point (ISO 4217): USD 2, JPY 0, KWD 3.

    Raises:
        Invalid: the code is not a currency.
    """
    if currency not in list_currencies():
        raise invalid("currency", f"{currency!r} is not an ISO 4217 currency code")
    return _ISO_4217.get(currency, get_currency_precision(currency))


def round_to_minor(amount: Decimal, currency: str) -> int:
    """Major units to minor units, half up: the only place where money is rounded."""
    return int(amount.scaleb(exponent(currency), _EXACT).quantize(Decimal(1), ROUND_HALF_UP, _EXACT))


def to_major(amount_minor: int, currency: str) -> Decimal:
    """Minor units to major units, exact."""
    return Decimal(amount_minor).scaleb(-exponent(currency))


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of one currency. Amounts of different currencies never mix."""

    minor: int
    currency: str

    def __add__(self, other: Money) -> Money:
        return Money(self.minor + self._same(other).minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.minor - self._same(other).minor, self.currency)

    def __str__(self) -> str:
        return f"{to_major(self.minor, self.currency):.{exponent(self.currency)}f} {self.currency}"

    def _same(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise invalid("currency", f"{other.currency} cannot be added to {self.currency}")
        return other
