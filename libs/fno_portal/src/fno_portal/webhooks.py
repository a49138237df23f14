"""Calls from operators: proven by an HMAC over time and body before anything in them is read."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fno_portal.errors import FNONotConfiguredError, FNOWebhookError

SIGNATURE = "x-fno-signature"
TIMESTAMP = "x-fno-timestamp"
TOLERANCE_S = 300
LARGEST = 256 * 1024


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The signature that the operator sends: `sha256=` and the HMAC-SHA256 over `timestamp.body`."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={digest.hexdigest()}"


def read_signed(
    fno: str, secret: str | None, body: bytes, headers: Mapping[str, str], now: datetime
) -> dict[str, Any]:
    """The payload of a proven call.

    Raises:
        FNONotConfiguredError: no webhook_secret. FNOWebhookError: not proven, too old, too large or no JSON object.
    """
    if not secret:
        raise FNONotConfiguredError("no webhook_secret", fno=fno, hint="Agree on one with the operator")
    given = {key.lower(): value for key, value in headers.items()}
    stamp, signature = given.get(TIMESTAMP, ""), given.get(SIGNATURE, "")
    if len(body) > LARGEST or not hmac.compare_digest(sign(secret, stamp, body).encode(), signature.encode()):
        raise FNOWebhookError("the call is not signed with our secret", fno=fno, hint="Answer it with 401")
    if not stamp.isdigit() or abs(now.timestamp() - int(stamp)) > TOLERANCE_S:
        raise FNOWebhookError("the call is too old", fno=fno, hint="Check both clocks")
    try:
        payload = json.loads(body)
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        raise FNOWebhookError("the call carries no JSON object", fno=fno, hint="Answer it with 400")
    return payload
