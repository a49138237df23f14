"""Takes what must not be repeated out of an answer before an error keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "[masked]"
SHORT = 4  # shorter texts are masked only where they stand alone between quotes
NESTED = 3
PRIVATE_KEYS = frozenset(
    {
        "message",
        "text",
        "data",
        "password",
        "passcode",
        "client_secret",
        "access_token",
        "refresh_token",
        "refresh",
        "token",
        "key",
        "device-sip-registration-password",
        "device-provisioning-password",
        "voicemail-login-pin",
    }
)


def private_values(body: Mapping[str, Any] | None) -> Iterator[str]:
    """The values of a request body that no log and no error may show."""
    for key, value in (body or {}).items():
        if key in PRIVATE_KEYS and isinstance(value, str) and value:
            yield value


def mask(text: str, secrets: Iterable[str]) -> str:
    """`text` with every secret replaced, however it is spelt there."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        for spelling in sorted(_spellings(secret), key=len, reverse=True):
            if len(spelling) >= SHORT:
                text = text.replace(spelling, MASK)
            else:
                text = text.replace(f'"{spelling}"', f'"{MASK}"')
    return text


def _spellings(secret: str) -> set[str]:
    """Plain, in a URL, in JSON, and in JSON inside JSON (an error that quotes the request), three deep."""
    found = {secret, quote(secret), quote_plus(secret)}
    layer = {secret}
    for _ in range(NESTED):
        layer = {
            json.dumps(each, ensure_ascii=only_ascii)[1:-1] for each in layer for only_ascii in (True, False)
        }
        found |= layer
    return found
