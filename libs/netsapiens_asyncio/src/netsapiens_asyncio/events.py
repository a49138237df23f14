"""What the PBX posts to a subscription, as typed records.

A post is one record or a list of them, in JSON. It does not name its model: give each subscription a URL of its own.
Cores spell keys with hyphens (API v2) or underscores (older); both are read. `raw` keeps all that was sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from netsapiens_asyncio.clock import parse_time
from netsapiens_asyncio.errors import InvalidResponse
from netsapiens_asyncio.subscribe import check_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Anything posted.

    Attributes:
        model: of the subscription.
        identity: the same for the same thing posted twice; None where the record has none.
        at: seconds since the epoch, None when the record carries no time.
    """

    model: str
    identity: str | None = None
    at: float | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrEvent(Event):
    """A finished call leg. Times in seconds since the epoch, durations in seconds; `answered_at` None: not answered."""

    id: str
    domain: str | None
    direction: int | None
    caller: str | None
    dialled: str | None
    orig_user: str | None
    term_user: str | None
    started_at: float | None
    answered_at: float | None
    ended_at: float | None
    talk_seconds: int
    through_user: str | None
    parent_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEvent(Event):
    """A message or a change of its delivery state. The text is left out of `repr`."""

    id: str
    session: str | None
    type: str | None
    text: str = field(repr=False)
    from_number: str | None
    to_number: str | None
    status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSessionEvent(Event):
    """A message session began or changed."""

    session: str
    user: str | None
    domain: str | None
    remote: str | None
    last_status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvent(Event):
    """A call began, was answered, changed or ended (models call and call_origid)."""

    call_id: str | None
    orig_user: str | None
    term_user: str | None
    caller: str | None
    dialled: str | None
    state: str | None
    answered_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEvent(Event):
    """Something of one user changed (models subscriber, presence, voicemail, agent)."""

    user: str | None
    domain: str | None
    state: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent(Event):
    """Someone changed something (models auditlog and auditlog_lite)."""

    actor: str | None
    action: str | None
    object: str | None


def parse_events(body: bytes | str | Mapping[str, Any] | list[Any], model: str) -> list[Event]:
    """The events of one post.

    Args:
        body: as received, or already decoded.
        model: of the subscription that the URL belongs to.

    Raises:
        InvalidInput: (a ValueError) unknown model.
        InvalidResponse: not JSON, or no object in it.
    """
    make = _MAKERS[check_model(model)]
    if isinstance(body, bytes | str):
        try:
            body = json.loads(body)
        except ValueError:
            raise InvalidResponse("a posted event is not JSON") from None
    records: list[Any] = body if isinstance(body, list) else [body]
    if not all(isinstance(record, Mapping) for record in records):
        raise InvalidResponse("a posted event is no object")
    return [make(model, record) for record in records]


def _text(record: Mapping[str, Any], *keys: str) -> str | None:
    """The first of the keys that has content, as text."""
    for key in keys:
        value = record.get(key)
        if value is not None and value != "":
            return str(value)
    return None


def _whole(record: Mapping[str, Any], *keys: str) -> int | None:
    value = _text(record, *keys)
    try:
        return None if value is None else int(float(value))
    except ValueError:
        return None


def _time(record: Mapping[str, Any], *keys: str) -> float | None:
    for key in keys:
        moment = parse_time(record.get(key))
        if moment:
            return moment
    return None


def _cdr(model: str, record: Mapping[str, Any]) -> CdrEvent:
    identity = _text(record, "id", "cdr-id", "cdr_id") or ""
    ended_at = _time(record, "call-disconnect-datetime", "time_release")
    return CdrEvent(
        model=model,
        identity=identity or None,
        at=ended_at or _time(record, "call-start-datetime", "time_start"),
        raw=record,
        id=identity,
        domain=_text(record, "domain"),
        direction=_whole(record, "call-direction", "type"),
        caller=_text(record, "call-orig-caller-id", "orig_from_user"),
        dialled=_text(record, "call-orig-to-user", "orig_to_user"),
        orig_user=_text(record, "call-orig-user", "orig_sub"),
        term_user=_text(record, "call-term-user", "term_sub"),
        started_at=_time(record, "call-start-datetime", "time_start"),
        answered_at=_time(record, "call-answer-datetime", "time_answer"),
        ended_at=ended_at,
        talk_seconds=_whole(record, "call-talking-duration-seconds", "time_talking") or 0,
        through_user=_text(record, "call-through-user", "by_sub"),
        parent_id=_text(record, "call-parent-cdr-id"),
    )


def _message(model: str, record: Mapping[str, Any]) -> MessageEvent:
    identity = _text(record, "id") or ""
    status = _text(record, "status")
    return MessageEvent(
        model=model,
        # A message is posted again when its delivery state changes: that is another event.
        identity=f"{identity}:{status}" if identity else None,
        at=_time(record, "timestamp"),
        raw=record,
        id=identity,
        session=_text(record, "messagesession-id", "session_id"),
        type=_text(record, "type"),
        text=_text(record, "text", "message") or "",
        from_number=_text(record, "from-number", "from_num"),
        to_number=_text(record, "terminating-number", "dialed", "term_num"),
        status=status,
    )


def _session(model: str, record: Mapping[str, Any]) -> MessageSessionEvent:
    session = _text(record, "messagesession-id", "session_id") or ""
    last = _text(record, "messagesession-last-datetime", "messagesession-last-timestamp", "last_timestamp")
    return MessageSessionEvent(
        model=model,
        identity=f"{session}:{last}" if session and last else None,
        at=parse_time(last),
        raw=record,
        session=session,
        user=_text(record, "user"),
        domain=_text(record, "domain"),
        remote=_text(record, "messagesession-remote", "remote"),
        last_status=_text(record, "messagesession-last-status", "last_status"),
    )


def _call(model: str, record: Mapping[str, Any]) -> CallEvent:
    return CallEvent(
        model=model,
        at=_time(record, "call-start-datetime", "time_begin"),
        raw=record,
        call_id=_text(record, "call-orig-call-id", "orig_callid"),
        orig_user=_text(record, "call-orig-user", "orig_user"),
        term_user=_text(record, "call-term-user", "term_user"),
        caller=_text(record, "caller-id-number", "ani"),
        dialled=_text(record, "call-dialed-number", "dnis"),
        state=_text(record, "term-orig-info", "term_call_info", "call-orig-info", "orig_call_info"),
        answered_at=_time(record, "call-answer-datetime", "time_answer"),
    )


def _account(model: str, record: Mapping[str, Any]) -> AccountEvent:
    return AccountEvent(
        model=model,
        raw=record,
        at=_time(record, "datetime", "timestamp"),
        user=_text(record, "user"),
        domain=_text(record, "domain"),
        state=_text(record, "presence", "status", "state", "callqueue-agent-availability-type"),
    )


def _audit(model: str, record: Mapping[str, Any]) -> AuditEvent:
    identity = _text(record, "id")
    return AuditEvent(
        model=model,
        identity=identity,
        at=_time(record, "datetime", "timestamp", "time"),
        raw=record,
        actor=_text(record, "uid", "user", "login"),
        action=_text(record, "action"),
        object=_text(record, "object"),
    )


_MAKERS: dict[str, Callable[[str, Mapping[str, Any]], Event]] = {
    "cdr": _cdr,
    "message": _message,
    "messagesession": _session,
    "call": _call,
    "call_origid": _call,
    "subscriber": _account,
    "presence": _account,
    "voicemail": _account,
    "agent": _account,
    "auditlog": _audit,
    "auditlog_lite": _audit,
}
