"""What a tenant is opened with, and what may be set for it; an instance that exists is valid."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from email_validator import EmailNotValidError, validate_email

from demarc.kernel.errors import Invalid, invalid
from demarc.kernel.money import exponent

SLUG_LENGTH = 40
NAME_LENGTH = 100
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_MOST_DAYS = 365
_MOST_MINOR = 10**12
_GARDEN_SPEEDS = frozenset({"download_bps", "upload_bps"})


@dataclass(frozen=True, slots=True)
class NewTenant:
    """An operator. `slug` is what `X-Tenant-ID` carries; a sandbox's clock can be moved; money is in `currency` for good."""

    slug: str
    name: str
    currency: str
    time_zone: str
    is_sandbox: bool = False

    def __post_init__(self) -> None:
        if len(self.slug) > SLUG_LENGTH or _SLUG.fullmatch(self.slug) is None:
            raise invalid(
                "slug",
                f"has to be 1 to {SLUG_LENGTH} lower-case letters, digits and single hyphens, as in acme-fibre",
            )
        object.__setattr__(self, "name", _words("name", self.name))
        exponent(self.currency)
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise invalid("time_zone", f"{self.time_zone!r} is not an IANA time zone") from None


def clean_setting(key: str, value: object) -> object:
    """The value as it is kept; None, which gives the setting up, is always possible.

    Raises:
        Invalid: there is no such setting, or it cannot have this value; names what is possible.
    """
    check = SETTINGS.get(key)
    if check is None:
        raise Invalid(f"{key!r} is no setting of a tenant; there are {', '.join(sorted(SETTINGS))}")
    return None if value is None else check(key, value)


def _words(key: str, value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not 1 <= len(text) <= NAME_LENGTH or not text.isprintable():
        raise invalid(key, f"has to be 1 to {NAME_LENGTH} printable characters")
    return text


def _switch(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise invalid(key, "has to be true or false")
    return value


def _choice(words: tuple[str, ...], key: str, value: object) -> str:
    if not isinstance(value, str) or value not in words:
        raise invalid(key, f"has to be {' or '.join(words)}")
    return value


def _number(most: int, key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise invalid(key, f"has to be a whole number from 0 to {most}")
    return value


def _address(key: str, value: object) -> str:
    try:
        return validate_email(str(value), check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError:
        raise invalid(key, "is not an e-mail address") from None


def _plans(key: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(plan, str) and plan for plan in value.values()):
        raise invalid(
            key, 'has to be service types with their plans, as in {"fiber_internet": "plan_fiber_100"}'
        )
    return value


def _garden(key: str, value: object) -> dict[str, object]:
    given = value if isinstance(value, dict) else {}
    pool, speeds = given.get("pool"), {name: given[name] for name in given if name != "pool"}
    positive = all(isinstance(speed, int) and speed is not True and speed > 0 for speed in speeds.values())
    if not isinstance(pool, str) or not pool or not speeds.keys() <= _GARDEN_SPEEDS or not positive:
        raise invalid(key, 'has to be as {"pool": "garden", "download_bps": 1000000, "upload_bps": 1000000}')
    return given


SETTINGS: Mapping[str, Callable[[str, object], object]] = MappingProxyType(
    {
        "chap_enabled": _switch,
        "suspended_policy": partial(_choice, ("reject", "garden")),
        "garden": _garden,
        "default_plans": _plans,
        "payment_terms_days": partial(_number, _MOST_DAYS),
        "dunning_tolerance_minor": partial(_number, _MOST_MINOR),
        "metering": partial(_choice, ("platform", "external")),
        "mail_from": _address,
        "company_name": _words,
        "webhook_private_addresses": _switch,
    }
)
"""What a tenant may choose; docs/reference/settings.md says what each means."""
