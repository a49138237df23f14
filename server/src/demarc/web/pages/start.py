"""What the start page shows."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from demarc.web.health import OK, Readiness, readiness
from demarc.web.platform import Platform, SandboxLogin

_ROLES = {
    "database": "PostgreSQL: customers, money, sessions, jobs",
    "api": "answers HTTP, this page too",
    "worker": "runs jobs and schedules: dunning, mail, CoA",
    "mail-trap": "keeps the sandbox's e-mail instead of sending it",
    "ingester": "loads accounting into sessions and usage",
    "radius": "FreeRADIUS: answers log-ins, takes accounting",
}
_READ_TOKEN = "python3 -c 'import json,sys; print(json.load(sys.stdin)[\"access_token\"])'"  # noqa: S105 - a command


@dataclass(frozen=True, slots=True)
class Part:
    """One process, or the database, in words; `is_well` picks its colour."""

    name: str
    role: str
    state: str
    is_well: bool


@dataclass(frozen=True, slots=True)
class Try:
    """One thing to paste into a shell."""

    what: str
    command: str


@dataclass(frozen=True, slots=True)
class Place:
    """What runs here, and how to try it."""

    base: str
    headline: str
    is_well: bool
    parts: tuple[Part, ...]
    logins: tuple[SandboxLogin, ...]
    tries: tuple[Try, ...]
    radius: str | None
    keeps_mail: bool


async def look_around(platform: Platform, base: str) -> Place:
    """Look at the platform as the reader at `base` (scheme, host and port) finds it."""
    found = await readiness(platform)
    login = next(iter(platform.sandbox_logins), None)
    settings = platform.settings
    return Place(
        base=base,
        headline=_headline(found),
        is_well=all(state == OK for state in found.checks.values()),
        parts=_parts(found),
        logins=platform.sandbox_logins,
        tries=_tries(base, login) if login else (),
        radius=f"{settings.radius_host}:{settings.radius_auth_port}" if "radius" in found.checks else None,
        keeps_mail="mail-trap" in found.checks,
    )


def _headline(found: Readiness) -> str:
    if found.checks["database"] != OK:
        return "The database does not answer"
    if not found.is_ready:
        return "Coming up"
    unwell = [name for name, state in found.checks.items() if state != OK]
    return f"Running without {' and '.join(unwell)}" if unwell else "Everything runs"


def _parts(found: Readiness) -> tuple[Part, ...]:
    states = {"api": OK, **found.checks}
    return tuple(
        Part(name, role, states[name], states[name] == OK) for name, role in _ROLES.items() if name in states
    )


def _tries(base: str, login: SandboxLogin) -> tuple[Try, ...]:
    """Each line works as printed, in this order."""
    credentials = json.dumps({"username": login.username, "password": login.password})
    customer = json.dumps({"name": "Ada Byron", "email": "ada@example.com"})
    as_json = "-H 'Content-Type: application/json'"
    who = f"-H \"Authorization: Bearer $TOKEN\" -H 'X-Tenant-ID: {login.tenant}'"
    return (
        Try(
            "Log in",
            f"TOKEN=$(curl -s {shlex.quote(f'{base}/api/auth/token')} \\\n  {as_json} \\\n"
            f"  -d {shlex.quote(credentials)} \\\n  | {_READ_TOKEN})",
        ),
        Try(
            "Take on a customer",
            f"curl -s {shlex.quote(f'{base}/api/customers')} \\\n  {as_json} \\\n  {who} \\\n  -d {shlex.quote(customer)}",
        ),
        Try(
            "See them all",
            f"curl -s {shlex.quote(f'{base}/api/customers?sort=-created_at&limit=5')} \\\n  {who}",
        ),
    )
