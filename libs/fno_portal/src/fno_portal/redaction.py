"""What must never leave the process in clear: SA identity numbers and credentials. Every log, event and error passes here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

ID_NUMBER_MARK = "[id number]"
SECRET_MARK = "[secret]"  # noqa: S105 - what is put in a secret's place

# YYMMDD SSSS C A Z with optional blanks (of any kind, as &nbsp;) or dashes, standing alone. The check digit is not asked for:
# a mistyped identity number is still somebody's.
_ID_NUMBER = re.compile(
    r"(?<!\d)\d{2}[\s-]?(?:0[1-9]|1[0-2])[\s-]?(?:0[1-9]|[12]\d|3[01])[\s-]?\d{4}[\s-]?\d[\s-]?\d[\s-]?\d(?!\d)"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}")
_SECRET_KEYS = re.compile(
    r"(?i)(password|passwd|secret|token|api[_-]?key|authorization|cookie|totp|(?:^|_)otp)"
)
_ID_KEYS = re.compile(r"(?i)^(id[_-]?(number|no)|identity[_-]?(number|no)|sa[_-]?id|rsa[_-]?id|passport.*)$")


def contains_id_number(text: str) -> bool:
    """Whether the text holds something shaped like a South African identity number."""
    return _ID_NUMBER.search(text) is not None


def redact_text(text: str) -> str:
    """The text without identity numbers and without bearer or basic credentials."""
    return _BEARER.sub(rf"\1 {SECRET_MARK}", _ID_NUMBER.sub(ID_NUMBER_MARK, text))


def redact(value: Any) -> Any:
    """A copy of a JSON-like value, safe to store: keys that name a secret or an identity lose their value."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {redact_text(str(key)): _redact_field(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and contains_id_number(f"{value:013d}"):
        return ID_NUMBER_MARK
    return value


def _redact_field(key: str, value: Any) -> Any:
    if _ID_KEYS.match(key) and value is not None:
        return ID_NUMBER_MARK
    if _SECRET_KEYS.search(key) and isinstance(value, str):
        return SECRET_MARK
    return redact(value)
