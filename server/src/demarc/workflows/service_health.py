"""Does the line work? The service, its log-ins, the live sessions and the NAS they hang on, with findings in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Address

from demarc.kernel.db import Tx
from demarc.modules.access.queries import (
    Login,
    LoginAttempt,
    Nas,
    Session,
    Subscriber,
    get_nas_by_id,
    list_login_attempts,
    list_logins,
    list_sessions_of_subscriber,
    list_subscribers_of_services,
    nas_last_heard,
)
from demarc.modules.access.states import LoginDecision
from demarc.modules.addressing.inputs import Block
from demarc.modules.addressing.queries import list_holdings
from demarc.modules.services.queries import Service
from demarc.modules.services.states import ServiceStatus

STALE_INTERVALS = 2.5
"""So many Interim intervals of silence, and a session counts as lost."""

INTERIM_SECONDS = 300
"""What counts as an interval when the subscriber's own is not known."""

RECENTLY = timedelta(minutes=30)
"""A log-in that was refused so lately is the trouble the customer calls about."""


class Severity(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


_GRAVITY = (Severity.PROBLEM, Severity.WARNING, Severity.OK)


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is stable; `message` says what was seen and what to do."""

    severity: Severity
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A live session and when its NAS was last heard of, by any session's accounting. Times are business time."""

    session: Session
    nas: Nas
    age_seconds: int
    silent_seconds: int
    is_stale: bool
    nas_heard_at: datetime | None
    nas_is_reachable: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One log-in of the service with all that is known of it."""

    subscriber: Subscriber
    login: Login | None
    attempt: LoginAttempt | None
    addresses: list[Block]
    sessions: list[LiveSession]

    @property
    def is_online(self) -> bool:
        return any(not live.is_stale for live in self.sessions)


@dataclass(frozen=True, slots=True)
class Health:
    """`grade` is the gravest finding."""

    checked_at: datetime
    lines: list[Line]
    findings: list[Finding]

    @property
    def is_online(self) -> bool:
        return any(line.is_online for line in self.lines)

    @property
    def grade(self) -> Severity:
        severities = {found.severity for found in self.findings}
        return next((one for one in _GRAVITY if one in severities), Severity.OK)


async def check_health(tx: Tx, service: Service) -> Health:
    """Look at everything between the service and its live session; nothing is changed."""
    subscribers = await list_subscribers_of_services(tx, [service.id])
    ids = [row.id for row in subscribers]
    logins = await list_logins(tx, ids)
    attempts = await list_login_attempts(tx, [row.username for row in subscribers])
    held = await list_holdings(tx, ids)
    lines = [
        Line(
            row,
            logins.get(row.id),
            attempts.get(row.username),
            [one.address for one in held.get(row.id, ())],
            await _live_sessions(tx, row, logins.get(row.id)),
        )
        for row in subscribers
    ]
    findings = [
        *_of_service(service, lines),
        *(found for line in lines for found in _of_line(tx, service, line)),
    ]
    return Health(tx.now, lines, findings or [_fine(lines)])


async def _live_sessions(tx: Tx, row: Subscriber, login: Login | None) -> list[LiveSession]:
    interval = (login.interim_seconds if login else 0) or INTERIM_SECONDS
    return [
        await _live_session(tx, session, interval * STALE_INTERVALS)
        for session in await list_sessions_of_subscriber(tx, row.id)
    ]


async def _live_session(tx: Tx, session: Session, patience: float) -> LiveSession:
    nas = await get_nas_by_id(tx, session.nas_id)
    heard_at = await nas_last_heard(tx, nas.id)
    silent = _seconds(tx.now - session.updated_at)
    return LiveSession(
        session=session,
        nas=nas,
        age_seconds=_seconds(tx.now - session.started_at),
        silent_seconds=silent,
        is_stale=silent > patience,
        nas_heard_at=heard_at,
        nas_is_reachable=heard_at is not None and _seconds(tx.now - heard_at) <= patience,
    )


def _seconds(span: timedelta) -> int:
    return max(int(span.total_seconds()), 0)


def _of_service(service: Service, lines: list[Line]) -> Iterator[Finding]:
    if service.standing.held_by is not None:
        yield Finding(
            Severity.PROBLEM,
            "SERVICE_SUSPENDED",
            f"the lock {service.held_by} is on the service; see its locks, or resume it",
        )
    elif not service.is_up:
        yield Finding(
            Severity.PROBLEM, "SERVICE_NOT_UP", f"the service is {service.status}, so nobody logs on"
        )
    if service.status in (ServiceStatus.DEGRADED, ServiceStatus.MAINTENANCE):
        yield Finding(Severity.WARNING, "SERVICE_NOT_WELL", f"the service is marked {service.status}")
    if service.status == ServiceStatus.TERMINATING:
        yield Finding(Severity.WARNING, "SERVICE_ENDS", f"the service ends at {service.terminates_at}")
    if not lines:
        yield Finding(
            Severity.PROBLEM, "NO_SUBSCRIBER", "nobody can log on for this service; create a subscriber"
        )


def _of_line(tx: Tx, service: Service, line: Line) -> Iterator[Finding]:
    name = line.subscriber.username
    yield from _of_login(service, line)
    if not line.sessions:
        if service.is_up:
            yield Finding(Severity.PROBLEM, "OFFLINE", f"{name} is not on line{_since_refusal(tx, line)}")
        return
    for live in line.sessions:
        yield from _of_session(line, live)


def _of_login(service: Service, line: Line) -> Iterator[Finding]:
    name = line.subscriber.username
    if line.login is None:
        yield Finding(
            Severity.PROBLEM, "NOT_PROJECTED", f"FreeRADIUS does not know {name}; reset its password"
        )
    elif line.login.decision == LoginDecision.REJECT and service.is_up:
        reason = line.login.decision_reason
        yield Finding(Severity.PROBLEM, "LOGIN_REFUSED", f"log-ins of {name} are refused: {reason}")
    elif line.login.decision == LoginDecision.GARDEN:
        yield Finding(Severity.WARNING, "IN_GARDEN", f"{name} reaches the payment page only")


def _since_refusal(tx: Tx, line: Line) -> str:
    attempt = line.attempt
    if attempt is None:
        return " and has never logged on"
    lately = attempt.attempted_at + tx.tenant.clock_offset > tx.now - RECENTLY
    if not attempt.accepted and lately:
        return f"; the last log-in was refused: {attempt.reason}"
    return "; no log-in was refused lately: look at the line and the customer's router"


def _of_session(line: Line, live: LiveSession) -> Iterator[Finding]:
    name, nas = line.subscriber.username, live.nas.name
    if live.is_stale and not live.nas_is_reachable:
        yield Finding(
            Severity.PROBLEM, "NAS_SILENT", f"the NAS {nas} sends no accounting at all; look at the NAS"
        )
    elif live.is_stale:
        yield Finding(
            Severity.PROBLEM,
            "SESSION_SILENT",
            f"the session of {name} was last heard of {live.silent_seconds} s ago, others of {nas} were since",
        )
    held = {str(address) for address in line.addresses if isinstance(address, IPv4Address)}
    used = live.session.framed_ip
    in_garden = line.login is not None and line.login.decision == LoginDecision.GARDEN
    if held and used is not None and str(used) not in held and not in_garden:
        yield Finding(
            Severity.WARNING,
            "OTHER_ADDRESS",
            f"{name} uses {used} instead of its fixed address {', '.join(sorted(held))}; disconnect it to dial anew",
        )
    if line.login is not None and line.login.decision == LoginDecision.REJECT:
        yield Finding(
            Severity.WARNING,
            "SHOULD_BE_OFF",
            f"{name} is on line although log-ins are refused; it is being cut",
        )


def _fine(lines: list[Line]) -> Finding:
    live = next(live for line in lines for live in line.sessions)
    return Finding(
        Severity.OK,
        "FINE",
        f"on line for {live.age_seconds} s on {live.nas.name}, last heard of {live.silent_seconds} s ago",
    )
