"""What a plan and its prices may be made or changed from; an instance that exists is valid."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from demarc.kernel.errors import invalid
from demarc.kernel.money import exponent

REF_LENGTH = 50
NAME_LENGTH = 100
DESCRIPTION_LENGTH = 2000
UNIT_LENGTH = 20
SPEED_MAX_MBPS = 1_000_000
BITS_PER_MEGABIT = 1_000_000
SPEED_MAX_BPS = SPEED_MAX_MBPS * BITS_PER_MEGABIT
MONEY_MAX_MINOR = 10**15
UNIT_PRICE_MAX = Decimal(10) ** 9
UNIT_PRICE_DIGITS = 6
_REF = re.compile(r"[^\s/\x00-\x1f\x7f](?:[^/\x00-\x1f\x7f]*[^\s/\x00-\x1f\x7f])?")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def clean_ref(ref: str, *, field: str = "plan_id") -> str:
    """Free text of 1 to 50 characters that can stand in a path."""
    if not 1 <= len(ref) <= REF_LENGTH or not _REF.fullmatch(ref):
        raise invalid(
            field, f"has to be 1 to {REF_LENGTH} characters without slash, control or outer white space"
        )
    return ref


def clean_name(name: str) -> str:
    trimmed = name.strip()
    if not 1 <= len(trimmed) <= NAME_LENGTH or _CONTROL.search(trimmed):
        raise invalid("name", f"has to be 1 to {NAME_LENGTH} characters")
    return trimmed


def clean_description(text: str) -> str:
    if len(text) > DESCRIPTION_LENGTH or _CONTROL.search(text):
        raise invalid("description", f"has to be at most {DESCRIPTION_LENGTH} characters")
    return text.strip()


def clean_word(word: str, *, field: str) -> str:
    """A word of the business such as `fiber_internet` or `bandwidth_gb`."""
    if not _WORD.fullmatch(word):
        raise invalid(field, "has to be 1 to 40 lower-case letters, digits and underscores, a letter first")
    return word


def bits_per_second(mbps: Any, *, field: str) -> int:
    """A speed in Mbit/s, whole bits, up to 1 Tbit/s.

    Raises:
        Invalid: not a number, not positive, or not a whole number of bits.
    """
    if isinstance(mbps, bool) or not isinstance(mbps, int | float | Decimal) or not math.isfinite(mbps):
        raise invalid(field, "has to be a number of Mbit/s")
    if not 0 < mbps <= SPEED_MAX_MBPS:
        raise invalid(field, f"has to be above 0 and at most {SPEED_MAX_MBPS} Mbit/s")
    bits = Decimal(str(mbps)) * BITS_PER_MEGABIT
    if bits != bits.to_integral_value():
        raise invalid(field, "has to be a whole number of bit/s")
    return int(bits)


def clean_speed(bps: int, *, field: str) -> int:
    """Bit/s; up to 1 Tbit/s."""
    if not 1 <= bps <= SPEED_MAX_BPS:
        raise invalid(field, f"has to be 1 to {SPEED_MAX_BPS} bit/s")
    return bps


def clean_currency(currency: str) -> str:
    exponent(currency)
    return currency


@dataclass(frozen=True, slots=True)
class NewPrice:
    """Recurring price and activation fee, in minor units, from a day on (the tenant's calendar)."""

    monthly_minor: int
    activation_minor: int = 0
    effective_on: date | None = None

    def __post_init__(self) -> None:
        for field, value in (("monthly_fee", self.monthly_minor), ("activation_fee", self.activation_minor)):
            if not 0 <= value <= MONEY_MAX_MINOR:
                raise invalid(field, f"has to be 0 to {MONEY_MAX_MINOR} minor units")


@dataclass(frozen=True, slots=True)
class NewUsagePrice:
    """What one unit of a kind of usage costs, in major units with at most six decimals, from a day on."""

    usage_type: str
    unit: str
    unit_price: Decimal
    effective_on: date | None = None

    def __post_init__(self) -> None:
        clean_word(self.usage_type, field="usage_type")
        if not 1 <= len(self.unit) <= UNIT_LENGTH or _CONTROL.search(self.unit):
            raise invalid("unit", f"has to be 1 to {UNIT_LENGTH} characters")
        clean_unit_price(self.unit_price)


def clean_unit_price(price: Decimal) -> Decimal:
    """Not negative, not infinite, at most six decimals."""
    if not price.is_finite() or not 0 <= price <= UNIT_PRICE_MAX:
        raise invalid("unit_price", f"has to be 0 to {UNIT_PRICE_MAX:,}")
    if price != price.quantize(Decimal(1).scaleb(-UNIT_PRICE_DIGITS)):
        raise invalid("unit_price", f"has to have at most {UNIT_PRICE_DIGITS} decimals")
    return price


@dataclass(frozen=True, slots=True)
class NewPlan:
    """A plan with its first price. `currency` None means the tenant's, which is the only one it may be."""

    ref: str
    name: str
    service_type: str
    download_bps: int
    upload_bps: int
    price: NewPrice
    description: str = ""
    currency: str | None = None
    usage_prices: tuple[NewUsagePrice, ...] = ()

    def __post_init__(self) -> None:
        clean_ref(self.ref)
        object.__setattr__(self, "name", clean_name(self.name))
        object.__setattr__(self, "description", clean_description(self.description))
        clean_word(self.service_type, field="service_type")
        clean_speed(self.download_bps, field="bandwidth_down_mbps")
        clean_speed(self.upload_bps, field="bandwidth_up_mbps")
        if self.currency is not None:
            clean_currency(self.currency)
        types = [price.usage_type for price in self.usage_prices]
        if len(types) != len(set(types)):
            raise invalid("usage_prices", "names a usage_type twice")


CLEANERS: dict[str, Callable[[Any], Any]] = {
    "name": clean_name,
    "description": clean_description,
    "download_bps": lambda bps: clean_speed(bps, field="bandwidth_down_mbps"),
    "upload_bps": lambda bps: clean_speed(bps, field="bandwidth_up_mbps"),
}


def clean_changes(changes: dict[str, Any]) -> dict[str, Any]:
    """The fields of a patch, each cleaned; a plan has no field that may be emptied."""
    for field, value in changes.items():
        if value is None:
            raise invalid(field, "cannot be emptied")
    return {field: CLEANERS[field](value) for field, value in changes.items()}
