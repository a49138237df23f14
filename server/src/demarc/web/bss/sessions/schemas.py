"""Bodies of `/api/sessions` and `/api/coa-requests`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from demarc.modules.access.queries import EndedSession, Order, Session
from demarc.modules.access.states import CoaKind, CoaOutcome
from demarc.web.bss.parameters import Listed


class SessionOut(BaseModel):
    """A session. Octets follow RFC 2866: input is from the subscriber (upload)."""

    id: UUID
    subscriber_id: UUID | None
    service_id: UUID | None
    nas_id: UUID | None
    username: str
    acct_session_id: str
    started_at: datetime
    updated_at: datetime = Field(description="of the last packet")
    session_seconds: int
    input_octets: int
    output_octets: int
    framed_ip: str | None
    delegated_prefix: str | None
    calling_station_id: str
    called_station_id: str
    nas_port: str


class EndedSessionOut(SessionOut):
    """An ended session. `provisional`: the platform ended it; a late packet may still amend it."""

    stopped_at: datetime
    terminate_cause: str
    provisional: bool


class SessionDetail(SessionOut):
    """A session, live or ended; `stopped_at` null: it is live."""

    stopped_at: datetime | None
    terminate_cause: str | None
    provisional: bool


class ReasonIn(BaseModel):
    """Why; kept with the order."""

    reason: str = Field("", max_length=500)


class DisconnectOut(BaseModel):
    """The session that its NAS was ordered to end."""

    session_id: UUID
    username: str


class SessionList(Listed):
    """A window of the list."""

    sessions: list[SessionOut]


class EndedSessionList(Listed):
    """A window of the list."""

    sessions: list[EndedSessionOut]


class OrderOut(BaseModel):
    """An order to a NAS. `gone`: the session had ended; `timeout`: the NAS did not answer; times are real time."""

    id: UUID
    kind: CoaKind
    nas_id: UUID | None
    subscriber_id: UUID | None
    session_id: UUID
    username: str
    acct_session_id: str
    attributes: dict[str, Any]
    reason: str
    outcome: CoaOutcome
    error_cause: int | None = Field(description="of a NAK (RFC 5176 section 3.5)")
    attempts: int
    requested_at: datetime
    answered_at: datetime | None


class OrderList(Listed):
    """A window of the list."""

    coa_requests: list[OrderOut]


@dataclass(frozen=True, slots=True)
class Uids:
    """Internal id -> id on `/api`, for a whole page."""

    subscribers: Mapping[int, UUID]
    services: Mapping[int, UUID]
    nas: Mapping[int, UUID]


def session_out(row: Session, uids: Uids) -> SessionOut:
    return SessionOut(**_fields(row, uids))


def session_detail(row: Session | EndedSession, uids: Uids) -> SessionDetail:
    ended = row if isinstance(row, EndedSession) else None
    return SessionDetail(
        **_fields(row, uids),
        stopped_at=None if ended is None else ended.stopped_at,
        terminate_cause=None if ended is None else ended.terminate_cause,
        provisional=ended is not None and ended.provisional,
    )


def ended_session_out(row: EndedSession, uids: Uids) -> EndedSessionOut:
    return EndedSessionOut(
        **_fields(row, uids),
        stopped_at=row.stopped_at,
        terminate_cause=row.terminate_cause,
        provisional=row.provisional,
    )


def _fields(row: Session, uids: Uids) -> dict[str, Any]:
    return {
        "id": row.id,
        "subscriber_id": uids.subscribers.get(row.subscriber_id),
        "service_id": uids.services.get(row.service_id),
        "nas_id": uids.nas.get(row.nas_id),
        "username": row.username,
        "acct_session_id": row.acct_session_id,
        "started_at": row.started_at,
        "updated_at": row.updated_at,
        "session_seconds": row.session_seconds,
        "input_octets": row.input_octets,
        "output_octets": row.output_octets,
        "framed_ip": None if row.framed_ip is None else str(row.framed_ip),
        "delegated_prefix": None if row.delegated_prefix is None else str(row.delegated_prefix),
        "calling_station_id": row.calling_station_id,
        "called_station_id": row.called_station_id,
        "nas_port": row.nas_port,
    }


def order_out(row: Order, uids: Uids) -> OrderOut:
    return OrderOut(
        id=row.uid,
        kind=CoaKind(row.kind),
        nas_id=uids.nas.get(row.nas_id),
        subscriber_id=uids.subscribers.get(row.subscriber_id),
        session_id=row.session_id,
        username=row.username,
        acct_session_id=row.acct_session_id,
        attributes=row.attributes,
        reason=row.reason,
        outcome=CoaOutcome(row.outcome),
        error_cause=row.error_cause,
        attempts=row.attempts,
        requested_at=row.requested_at,
        answered_at=row.answered_at,
    )
