"""Where the PBX is: a checked host, and paths whose segments cannot escape."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from netsapiens_asyncio.errors import InvalidInput

HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?")
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
WANTED = "must be a bare host such as api.example.com (or http://localhost:PORT for tests)"


def check_base_url(value: object) -> str:
    """The origin for a `base_url`: `https://host[:port]`, or plain http to this machine.

    Raises:
        InvalidInput: for anything else: another scheme, credentials, a path, a query, blanks.
    """
    if not isinstance(value, str):
        raise InvalidInput("base_url", WANTED)
    if value.startswith("http://"):
        return _check_local(value)
    if not HOST.fullmatch(value):
        raise InvalidInput("base_url", WANTED)
    _check_port(f"https://{value}")
    return f"https://{value}"


def _check_local(value: str) -> str:
    parts = _check_port(value)
    host = parts.hostname or ""
    port = "" if parts.port is None else f":{parts.port}"
    origin = f"http://[{host}]{port}" if ":" in host else f"http://{host}{port}"
    if host not in LOOPBACK or value.rstrip("/") != origin:
        raise InvalidInput("base_url", WANTED)
    return origin


def _check_port(value: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise InvalidInput("base_url", WANTED) from None
    return parts


def join(*segments: str) -> str:
    """A path below `/ns-api/v2`, each segment quoted.

    Raises:
        InvalidInput: for an empty segment, `.` or `..`.
    """
    for segment in segments:
        if not segment or segment in {".", ".."}:
            raise InvalidInput("path", f"{segment!r} cannot name anything on the PBX")
    return "/" + "/".join(quote(segment, safe="~@*:") for segment in segments)
