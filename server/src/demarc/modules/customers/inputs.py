"""What a customer may be made or changed from; an instance that exists is valid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import phonenumbers
from babel import Locale
from email_validator import EmailNotValidError, validate_email

from demarc.kernel.errors import invalid
from demarc.modules.customers.states import CustomerTier

NAME_LENGTH = 255
PHONE_DIGITS = range(7, 21)
TAGS_MAX = 50
NOTE_LENGTH = 5_000
ADDRESS_BYTES = 4_096
_COUNTRIES = frozenset(
    code
    for code in map(str, Locale("en").territories)
    if len(code) == 2 and code.isalpha()  # noqa: PLR2004 - ISO 3166
)


def clean_name(name: str) -> str:
    """1 to 255 characters after trimming."""
    trimmed = name.strip()
    if not 1 <= len(trimmed) <= NAME_LENGTH:
        raise invalid("name", f"has to be 1 to {NAME_LENGTH} characters")
    return trimmed


def clean_email(email: str) -> str:
    """The address in its normal form; no look-up on the network."""
    try:
        return validate_email(email, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError:
        raise invalid("email", "is not an e-mail address") from None


def clean_phone(phone: str) -> str:
    """Digits with an optional leading plus: 7 to 20 digits once spaces and punctuation are gone."""
    digits = phonenumbers.normalize_digits_only(phone)
    if len(digits) not in PHONE_DIGITS:
        raise invalid("phone", f"has to have {PHONE_DIGITS.start} to {PHONE_DIGITS.stop - 1} digits")
    return f"+{digits}" if phone.strip().startswith("+") else digits


def clean_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Trimmed, without repeats, in the order given."""
    cleaned = tuple(dict.fromkeys(tag.strip() for tag in tags))
    if len(cleaned) > TAGS_MAX or not all(1 <= len(tag) <= 50 for tag in cleaned):  # noqa: PLR2004
        raise invalid("tags", f"at most {TAGS_MAX} tags of 1 to 50 characters")
    return cleaned


def clean_address(address: dict[str, Any]) -> dict[str, Any]:
    """An object of bounded size; its `country`, if there is one, is an ISO 3166 code of two letters."""
    encoded = msgspec.json.encode(address)
    if len(encoded) > ADDRESS_BYTES or b"\\u0000" in encoded:
        raise invalid("address", f"has to be at most {ADDRESS_BYTES} bytes of JSON without NUL characters")
    country = address.get("country")
    if country is not None and not (isinstance(country, str) and country.upper() in _COUNTRIES):
        raise invalid("address", f"country: {country!r} is not an ISO 3166 code of two letters, such as US")
    return address if country is None else {**address, "country": country.upper()}


def clean_note(body: str) -> str:
    """1 to 5,000 characters after trimming."""
    trimmed = body.strip()
    if not 1 <= len(trimmed) <= NOTE_LENGTH or "\0" in trimmed:
        raise invalid("body", f"has to be 1 to {NOTE_LENGTH} characters")
    return trimmed


@dataclass(frozen=True, slots=True)
class NewCustomer:
    """Only the name is required; two customers may share an e-mail address (a household)."""

    name: str
    email: str | None = None
    phone: str | None = None
    tier: CustomerTier = CustomerTier.BASIC
    tags: tuple[str, ...] = ()
    address: dict[str, Any] | None = None
    billing_address: dict[str, Any] | None = None
    language: str = "en"

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", clean_name(self.name))
        object.__setattr__(self, "tags", clean_tags(self.tags))
        if self.email is not None:
            object.__setattr__(self, "email", clean_email(self.email))
        if self.phone is not None:
            object.__setattr__(self, "phone", clean_phone(self.phone))
        for name in ("address", "billing_address"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, clean_address(getattr(self, name)))


CLEANERS: dict[str, Callable[[Any], Any]] = {
    "name": clean_name,
    "email": clean_email,
    "phone": clean_phone,
    "tags": clean_tags,
    "address": clean_address,
    "billing_address": clean_address,
}


def clean_changes(changes: dict[str, Any]) -> dict[str, Any]:
    """The fields of a patch, each cleaned; None empties a field that may be empty."""
    if changes.get("name", "") is None:
        raise invalid("name", "cannot be emptied")
    return {
        field: value if value is None or field not in CLEANERS else CLEANERS[field](value)
        for field, value in changes.items()
    }
