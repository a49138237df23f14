"""What FreeRADIUS would answer a log-in: the dry run, from the rows and the functions that FreeRADIUS itself asks.

The order of things is that of the generated configuration (`adapters.freeradius`): the line before the name, refusals before the
session limit, expiry before both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address
from typing import Any

from demarc.kernel.db import Tx
from demarc.modules.access.queries import Nas
from demarc.modules.access.rules import WIDEST_RATE
from demarc.modules.access.states import LoginDecision, NasStatus

_MAC = re.compile(r"(?:[0-9a-f]{2}[-:.]?){5}[0-9a-f]{2}", re.IGNORECASE)
_PART = "\x1f"
_ESCAPED_BACKSLASH = "\\" * 8
_FIND = """
SELECT l.subscriber_id, l.username, l.found_by, l.decision, l.decision_reason, l.framed_ip, l.download_bps, l.upload_bps,
       l.interim_seconds, l.expires_at,
       (l.mac = nullif($3, '') OR l.circuit_id = nullif($4, '') AND (l.remote_id IS NULL OR l.remote_id = nullif($5, ''))
        OR l.circuit_id IS NULL AND l.remote_id = nullif($5, '')) IS TRUE AS by_line,
       aaa_session_limit(l.tenant_id, l.username, $6, l.session_limit) AS crowded,
       aaa_extras(l.tenant_id, l.subscriber_id, $7) AS extras
FROM (
    SELECT 1 AS precedence, 'username' AS found_by, a.* FROM aaa_login a WHERE a.tenant_id = $1 AND a.username = $2
    UNION ALL
    SELECT 2, 'mac', a.* FROM aaa_login a WHERE a.tenant_id = $1 AND a.mac = nullif($3, '')
    UNION ALL
    SELECT 3, 'circuit_id', a.* FROM aaa_login a WHERE a.tenant_id = $1 AND a.circuit_id = nullif($4, '')
       AND (a.remote_id IS NULL OR a.remote_id = nullif($5, ''))
    UNION ALL
    SELECT 4, 'remote_id', a.* FROM aaa_login a WHERE a.tenant_id = $1 AND a.remote_id = nullif($5, '') AND a.circuit_id IS NULL
) l
ORDER BY l.precedence, l.remote_id NULLS LAST LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class LoginTry:
    """A log-in as a NAS would bring it. Lines count without PPP only: `is_ppp` is a dial-in with a password."""

    username: str
    calling_station_id: str = ""
    circuit_id: str = ""
    remote_id: str = ""
    is_ppp: bool = True

    @property
    def mac(self) -> str:
        """The device, where both User-Name and Calling-Station-Id are its MAC address; else empty."""
        if self.is_ppp or _MAC.fullmatch(self.username) is None:
            return ""
        name, caller = _digits(self.username), _digits(self.calling_station_id.removeprefix("1:"))
        return ":".join(name[at : at + 2] for at in range(0, len(name), 2)) if name == caller else ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. `reply`: attributes by name, a list where one comes several times.

    `accepted` None: no answer at all. `needs_password`: accepted if the password is right; False: the line is enough.
    """

    accepted: bool | None
    reason: str
    subscriber_id: int | None = None
    username: str | None = None
    found_by: str | None = None
    needs_password: bool = True
    reply: dict[str, Any] = field(default_factory=dict)


async def try_login(tx: Tx, nas: Nas, asked: LoginTry) -> Answer:
    """The answer that FreeRADIUS would give now; nothing is sent, counted or written."""
    if nas.status != NasStatus.ACTIVE:
        return Answer(None, "the NAS is disabled: FreeRADIUS does not know it and does not answer")
    line = ("", "", "") if asked.is_ppp else (asked.mac, asked.circuit_id, asked.remote_id)
    row = await tx.connection.fetchrow(
        _FIND, tx.tenant.id, asked.username, *line, asked.calling_station_id, nas.id
    )
    if row is None:
        return _refuse("unknown user", "Log-in refused")
    found = {"subscriber_id": row["subscriber_id"], "username": row["username"], "found_by": row["found_by"]}
    refusal = _refusal(row, tx.now)
    if refusal is not None:
        return _refuse(*refusal, **found)
    by_line = row["by_line"]
    reply = dict(_reply(row, tx.now))
    if by_line:
        reply["User-Name"] = row["username"]
    garden = row["decision"] == LoginDecision.GARDEN
    return Answer(True, "garden" if garden else "", needs_password=not by_line, reply=reply, **found)


def _refuse(reason: str, message: str, **found: Any) -> Answer:
    return Answer(False, reason, reply={"Reply-Message": message}, **found)


def _refusal(row: Any, now: datetime) -> tuple[str, str] | None:
    if row["expires_at"] is not None and row["expires_at"] <= now:
        return "expired", "Access suspended" if row["decision"] == LoginDecision.REJECT else "Access expired"
    if row["decision"] == LoginDecision.REJECT:
        return row["decision_reason"] or "suspended", "Access suspended"
    if row["crowded"] is not None:
        return row["crowded"], "Too many sessions"
    return None


def _reply(row: Any, now: datetime) -> Iterator[tuple[str, Any]]:
    if isinstance(row["framed_ip"], IPv4Address):
        yield "Framed-IP-Address", str(row["framed_ip"])
    for name, column in (
        ("WISPr-Bandwidth-Max-Down", "download_bps"),
        ("WISPr-Bandwidth-Max-Up", "upload_bps"),
    ):
        if row[column]:
            yield name, min(row[column], WIDEST_RATE)
    if row["interim_seconds"]:
        yield "Acct-Interim-Interval", row["interim_seconds"]
    if row["expires_at"] is not None:
        yield "Session-Timeout", int((row["expires_at"] - now).total_seconds())
    if row["decision"] == LoginDecision.GARDEN:
        yield "Filter-Id", "garden"
    yield from _extras(row["extras"] or "").items()


def _extras(packed: str) -> dict[str, Any]:
    """What only some subscribers and some vendors get; secrets and internals left out."""
    several: dict[str, list[str]] = {}
    for part in packed.split(_PART):
        name, _, value = part.partition("=")
        if name.startswith("reply:"):
            several.setdefault(name.removeprefix("reply:"), []).append(
                value.replace(_ESCAPED_BACKSLASH, "\\")
            )
    return {name: values[0] if len(values) == 1 else values for name, values in several.items()}


def _digits(mac: str) -> str:
    return re.sub(r"[^0-9a-f]", "", mac.lower())
