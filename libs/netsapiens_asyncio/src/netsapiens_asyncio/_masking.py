"""Takes what must not be repeated out of an answer before an error keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MASK = "[masked]"
SHORT = 4  # shorter texts are masked only where they stand alone between quotes
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
    """`text` with every secret replaced, in its plain and in its JSON spelling."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        for spelling in {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}:
            if len(spelling) >= SHORT:
                text = text.replace(spelling, MASK)
            else:
                text = text.replace(f'"{spelling}"', f'"{MASK}"')
    return text
