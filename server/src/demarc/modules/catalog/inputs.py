"""What a plan and its prices may be made or changed from; an instance that exists is valid."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal
from typing import Any

from demarc.kernel.errors import invalid
from demarc.kernel.money import exponent
from demarc.modules.catalog.states import CapAction, PriceModel

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
QUANTITY_MAX = Decimal(10) ** 11
TIERS_MAX = 20
GB_OCTETS = 1 << 30
METERED_TYPE = "bandwidth_gb"
"""The usage that the platform meters itself, in GB of 2^30 octets."""
TOP_UP_TYPE = "data_topup"
"""The usage price of a GB that is bought beyond a data cap."""
_POLICY = "data_limit_policy"
_EXACT = Context(prec=100)
_REF = re.compile(r"[^\s/\x00-\x1f\x7f](?:[^/\x00-\x1f\x7f]*[^\s/\x00-\x1f\x7f])?")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def clean_ref(ref: str, *, field: str = "plan_id") -> str:
    """Free text of 1 to 50 characters that can stand in a path: clients take `.` and `..` out of one (RFC 3986, 5.2.4)."""
    if not 1 <= len(ref) <= REF_LENGTH or not _REF.fullmatch(ref) or ref in (".", ".."):
        raise invalid(
            field,
            f"has to be 1 to {REF_LENGTH} characters without slash, control or outer white space, not just dots",
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
    """Recurring price and activation fee, in minor units, from a day on (the tenant's calendar).

    With `until_on` (exclusive) it is an offer that ends by itself.
    """

    monthly_minor: int
    activation_minor: int = 0
    effective_on: date | None = None
    until_on: date | None = None

    def __post_init__(self) -> None:
        for field, value in (("monthly_fee", self.monthly_minor), ("activation_fee", self.activation_minor)):
            if not 0 <= value <= MONEY_MAX_MINOR:
                raise invalid(field, f"has to be 0 to {MONEY_MAX_MINOR} minor units")


@dataclass(frozen=True, slots=True)
class Tier:
    """The price of the units up to and including `up_to`; None: of all further ones."""

    up_to: Decimal | None
    unit_price: Decimal


@dataclass(frozen=True, slots=True)
class Rate:
    """What the usage of one month costs, exact and in major units.

    `flat`: each unit `unit_price`. `package`: the first `included` units nothing, each further one `unit_price`. `tiered`: each unit
    the price of the tier it falls into. `volume`: every unit the price of the tier that the whole quantity falls into.
    """

    model: PriceModel
    unit_price: Decimal
    included: Decimal = Decimal(0)
    tiers: tuple[Tier, ...] = ()

    def cost(self, quantity: Decimal, *, bonus: Decimal = Decimal(0)) -> Decimal:
        """The whole month's cost; `bonus` units more are in a package (top-ups). Nothing is rounded."""
        match self.model:
            case PriceModel.FLAT:
                return _EXACT.multiply(quantity, self.unit_price)
            case PriceModel.PACKAGE:
                over = _EXACT.subtract(quantity, _EXACT.add(self.included, bonus))
                return _EXACT.multiply(max(over, Decimal(0)), self.unit_price)
            case PriceModel.VOLUME:
                return _EXACT.multiply(quantity, self._reached(quantity).unit_price)
            case PriceModel.TIERED:
                return self._by_tiers(quantity)

    def _reached(self, quantity: Decimal) -> Tier:
        return next(tier for tier in self.tiers if tier.up_to is None or quantity <= tier.up_to)

    def _by_tiers(self, quantity: Decimal) -> Decimal:
        total, below = Decimal(0), Decimal(0)
        for tier in self.tiers:
            top = quantity if tier.up_to is None else min(tier.up_to, quantity)
            if top > below:
                units = _EXACT.subtract(top, below)
                total = _EXACT.add(total, _EXACT.multiply(units, tier.unit_price))
                below = top
        return total


@dataclass(frozen=True, slots=True)
class NewUsagePrice:
    """What usage of a kind costs, in major units with at most six decimals, from a day on: see `Rate`."""

    usage_type: str
    unit: str
    unit_price: Decimal | None = None
    effective_on: date | None = None
    model: PriceModel = PriceModel.FLAT
    included: Decimal = Decimal(0)
    tiers: tuple[Tier, ...] = ()
    until_on: date | None = None

    def __post_init__(self) -> None:
        clean_word(self.usage_type, field="usage_type")
        if not 1 <= len(self.unit) <= UNIT_LENGTH or _CONTROL.search(self.unit):
            raise invalid("unit", f"has to be 1 to {UNIT_LENGTH} characters")
        if self.model in (PriceModel.TIERED, PriceModel.VOLUME):
            clean_tiers(self.tiers)
            if self.unit_price is not None:
                raise invalid("unit_price", f"a {self.model} price has its prices in `tiers`; leave it out")
        elif self.tiers:
            raise invalid("tiers", f"a {self.model} price has none; the model has to be tiered or volume")
        elif self.unit_price is None:
            raise invalid("unit_price", f"a {self.model} price needs one")
        else:
            clean_unit_price(self.unit_price)
        if self.model is not PriceModel.PACKAGE and self.included:
            raise invalid(
                "included_quantity", f"a {self.model} price includes nothing; use the model package"
            )
        clean_quantity(self.included, field="included_quantity")

    @property
    def first_unit_price(self) -> Decimal:
        """What is stored beside the model: the price of the first unit that costs something."""
        return self.tiers[0].unit_price if self.unit_price is None else self.unit_price


def clean_unit_price(price: Decimal, *, field: str = "unit_price") -> Decimal:
    """Not negative, not infinite, at most six decimals."""
    if not price.is_finite() or not 0 <= price <= UNIT_PRICE_MAX:
        raise invalid(field, f"has to be 0 to {UNIT_PRICE_MAX:,}")
    if price != price.quantize(Decimal(1).scaleb(-UNIT_PRICE_DIGITS)):
        raise invalid(field, f"has to have at most {UNIT_PRICE_DIGITS} decimals")
    return price


def clean_quantity(quantity: Decimal, *, field: str) -> Decimal:
    """Not negative, at most six decimals."""
    if not quantity.is_finite() or not 0 <= quantity <= QUANTITY_MAX:
        raise invalid(field, f"has to be 0 to {QUANTITY_MAX:,}")
    if quantity != quantity.quantize(Decimal(1).scaleb(-UNIT_PRICE_DIGITS)):
        raise invalid(field, f"has to have at most {UNIT_PRICE_DIGITS} decimals")
    return quantity


def clean_tiers(tiers: Sequence[Tier]) -> None:
    """Ascending, the last one without an end."""
    if not 1 <= len(tiers) <= TIERS_MAX:
        raise invalid("tiers", f"has to be 1 to {TIERS_MAX} tiers")
    below = Decimal(0)
    for at, tier in enumerate(tiers):
        clean_unit_price(tier.unit_price, field=f"tiers.{at}.unit_price")
        is_last = at == len(tiers) - 1
        if (tier.up_to is None) != is_last:
            raise invalid(f"tiers.{at}.up_to", "the last tier, and only that one, has no up_to")
        if tier.up_to is None:
            continue
        if clean_quantity(tier.up_to, field=f"tiers.{at}.up_to") <= below:
            raise invalid(f"tiers.{at}.up_to", f"has to be more than {below}: tiers must not overlap")
        below = tier.up_to


def gb_to_octets(gb: Decimal, *, field: str) -> int:
    """GB of 2^30 octets, as whole octets.

    Raises:
        Invalid: nothing, or more than can be counted.
    """
    if not gb.is_finite() or not 0 < gb <= QUANTITY_MAX / 1000:
        raise invalid(field, f"has to be more than 0 and at most {QUANTITY_MAX / 1000:,} GB")
    octets = int(_EXACT.multiply(gb, GB_OCTETS))
    if octets == 0:
        raise invalid(field, "has to be at least one octet")
    return octets


@dataclass(frozen=True, slots=True)
class NewDataCap:
    """How much a service may carry in a month (both directions), and what follows: see `CapAction`. Speeds are the throttled ones."""

    limit_octets: int
    action: CapAction
    download_bps: int | None = None
    upload_bps: int | None = None

    def __post_init__(self) -> None:
        speeds = (self.download_bps, self.upload_bps)
        if self.action is not CapAction.THROTTLE:
            if speeds != (None, None):
                raise invalid(
                    "data_cap.throttle", f"the action {self.action} throttles nothing; leave it out"
                )
            return
        if self.download_bps is None or self.upload_bps is None:
            raise invalid("data_cap.throttle", "the action throttle needs the speeds to throttle to")
        clean_speed(self.download_bps, field="data_cap.throttle.download_mbps")
        clean_speed(self.upload_bps, field="data_cap.throttle.upload_mbps")

    def columns(self) -> dict[str, Any]:
        """As `plan` keeps it."""
        return {
            "cap_octets": self.limit_octets,
            "cap_action": self.action.value,
            "cap_download_bps": self.download_bps,
            "cap_upload_bps": self.upload_bps,
        }


NO_CAP: dict[str, Any] = dict.fromkeys(("cap_octets", "cap_action", "cap_download_bps", "cap_upload_bps"))


@dataclass(frozen=True, slots=True)
class NewProfile:
    """Speeds with a name, bit/s."""

    name: str
    download_bps: int
    upload_bps: int
    description: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", clean_name(self.name))
        object.__setattr__(self, "description", clean_description(self.description))
        clean_speed(self.download_bps, field="download_mbps")
        clean_speed(self.upload_bps, field="upload_mbps")


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
    cap: NewDataCap | None = None

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
        if self.cap is not None and self.cap.action is CapAction.CHARGE:
            check_charges(self.usage_prices)


def check_charges(prices: Sequence[NewUsagePrice]) -> None:
    """Raises `Invalid`: a cap that charges what is over needs a package price to charge."""
    models = {price.model for price in prices if price.usage_type == METERED_TYPE}
    if PriceModel.PACKAGE not in models:
        raise invalid(
            f"{_POLICY}.action",
            f"charge needs `overage_price`, or a package price for {METERED_TYPE} in `usage_prices`",
        )


CLEANERS: dict[str, Callable[[Any], Any]] = {
    "name": clean_name,
    "description": clean_description,
    "download_bps": lambda bps: clean_speed(bps, field="bandwidth_down_mbps"),
    "upload_bps": lambda bps: clean_speed(bps, field="bandwidth_up_mbps"),
}
PROFILE_CLEANERS: dict[str, Callable[[Any], Any]] = {
    "name": clean_name,
    "description": clean_description,
    "download_bps": lambda bps: clean_speed(bps, field="download_mbps"),
    "upload_bps": lambda bps: clean_speed(bps, field="upload_mbps"),
}


def clean_changes(
    changes: dict[str, Any], cleaners: dict[str, Callable[[Any], Any]] = CLEANERS
) -> dict[str, Any]:
    """The fields of a patch, each cleaned; none of them may be emptied."""
    for field, value in changes.items():
        if value is None:
            raise invalid(field, "cannot be emptied")
    return {field: cleaners[field](value) for field, value in changes.items()}
