"""Reads of live and ended sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    DateTime,
    any_,
    bindparam,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import CIDR, INET

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, NotFound
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.access.models import (
    radius_session,
    radius_session_history,
)
from demarc.modules.addressing.inputs import Block


@dataclass(frozen=True, slots=True)
class Session:
    """A live session. Input octets are the subscriber's upload (RFC 2866); times are business time."""

    tenant_id: int
    id: UUID
    nas_id: int
    subscriber_id: int
    service_id: int
    username: str
    acct_session_id: str
    generation: int
    started_at: datetime
    updated_at: datetime
    session_seconds: int
    input_octets: int
    output_octets: int
    nas_port: str
    framed_ip: IPv4Address | IPv6Address | None
    delegated_prefix: IPv6Network | None
    calling_station_id: str
    called_station_id: str


@dataclass(frozen=True, slots=True)
class EndedSession(Session):
    """`provisional`: the platform ended it (silence, NAS reboot); a late packet may amend it."""

    stopped_at: datetime
    terminate_cause: str
    provisional: bool


_LIVE_OF_SUBSCRIBER = Query(
    select(radius_session)
    .where(mine(radius_session), radius_session.c.subscriber_id == bindparam("subscriber_id"))
    .order_by(radius_session.c.started_at, radius_session.c.id)
)

_SESSION = Query(select(radius_session).where(mine(radius_session), radius_session.c.id == bindparam("id")))

_ENDED_SESSION = Query(
    select(radius_session_history)
    .where(mine(radius_session_history), radius_session_history.c.id == bindparam("id"))
    .order_by(radius_session_history.c.stopped_at.desc())
    .limit(1)
)

_ADDRESS = bindparam("address", type_=INET)

_AT = bindparam("at", type_=DateTime(timezone=True))

_LIVE_WITH = Query(
    select(radius_session).where(
        mine(radius_session),
        radius_session.c.framed_ip == _ADDRESS,
        or_(_AT.is_(None), radius_session.c.started_at <= _AT),
    )
)

_ENDED_WITH = Query(
    select(radius_session_history)
    .where(
        mine(radius_session_history),
        radius_session_history.c.framed_ip == _ADDRESS,
        or_(_AT.is_(None), radius_session_history.c.stopped_at > _AT),
        or_(_AT.is_(None), radius_session_history.c.started_at <= _AT),
    )
    .order_by(radius_session_history.c.stopped_at.desc())
    .limit(100)
)

_AROUND = bindparam("around", type_=ARRAY(CIDR))

_LIVE_BEHIND = Query(
    select(radius_session).where(
        mine(radius_session),
        radius_session.c.delegated_prefix == any_(_AROUND),
        or_(_AT.is_(None), radius_session.c.started_at <= _AT),
    )
)

_ENDED_BEHIND = Query(
    select(radius_session_history)
    .where(
        mine(radius_session_history),
        radius_session_history.c.delegated_prefix == any_(_AROUND),
        or_(_AT.is_(None), radius_session_history.c.stopped_at > _AT),
        or_(_AT.is_(None), radius_session_history.c.started_at <= _AT),
    )
    .order_by(radius_session_history.c.stopped_at.desc())
    .limit(100)
)

LIVE_LISTING = Listing(
    radius_session,
    filters={
        "subscriber_id": radius_session.c.subscriber_id == bindparam("subscriber_id"),
        "nas_id": radius_session.c.nas_id == bindparam("nas_id"),
        "username": radius_session.c.username == bindparam("username"),
        "service_id": radius_session.c.service_id == bindparam("service_id"),
        "framed_ip": radius_session.c.framed_ip == bindparam("framed_ip"),
        "calling_station_id": radius_session.c.calling_station_id == bindparam("calling_station_id"),
        "since": radius_session.c.updated_at >= bindparam("since"),
        "until": radius_session.c.started_at < bindparam("until"),
    },
    sorts={"started_at": radius_session.c.started_at, "updated_at": radius_session.c.updated_at},
    default_sort="started_at",
)

ENDED_LISTING = Listing(
    radius_session_history,
    filters={
        "subscriber_id": radius_session_history.c.subscriber_id == bindparam("subscriber_id"),
        "nas_id": radius_session_history.c.nas_id == bindparam("nas_id"),
        "username": radius_session_history.c.username == bindparam("username"),
        "service_id": radius_session_history.c.service_id == bindparam("service_id"),
        "framed_ip": radius_session_history.c.framed_ip == bindparam("framed_ip"),
        "calling_station_id": radius_session_history.c.calling_station_id == bindparam("calling_station_id"),
        "terminate_cause": radius_session_history.c.terminate_cause == bindparam("terminate_cause"),
        "since": radius_session_history.c.stopped_at >= bindparam("since"),
        "until": radius_session_history.c.started_at < bindparam("until"),
    },
    sorts={
        "started_at": radius_session_history.c.started_at,
        "stopped_at": radius_session_history.c.stopped_at,
    },
    default_sort="-stopped_at",
)


async def list_sessions_of_subscriber(tx: Tx, subscriber_id: int) -> list[Session]:
    """Live ones, oldest first."""
    return await tx.fetch(_LIVE_OF_SUBSCRIBER, Session, subscriber_id=subscriber_id)


async def find_session(tx: Tx, session_id: UUID) -> Session | None:
    """A live session; None: it has ended."""
    return await tx.find(_SESSION, Session, id=session_id)


async def get_session(tx: Tx, session_id: UUID) -> Session | EndedSession:
    """Live or ended. Raises `NotFound`."""
    found = await find_session(tx, session_id) or await tx.find(_ENDED_SESSION, EndedSession, id=session_id)
    if found is None:
        raise NotFound(f"no session {session_id}")
    return found


async def get_live_session(tx: Tx, session_id: UUID) -> Session:
    """Raises `NotFound`, and `Conflict` for one that has ended."""
    found = await get_session(tx, session_id)
    if isinstance(found, EndedSession):
        raise Conflict(f"the session ended at {found.stopped_at.isoformat()}", code="SESSION_ENDED")
    return found


async def list_sessions(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Session]:
    """Live ones.

    Filters: subscriber_id, service_id, nas_id, username, framed_ip, calling_station_id, since (heard of at or after), until (started
    before).
    """
    return await LIVE_LISTING.page(tx, Session, window, sort=sort, **filters)


async def list_ended_sessions(
    tx: Tx, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[EndedSession]:
    """Newest first. Filters: as for live ones, where `since` means ended at or after; terminate_cause."""
    return await ENDED_LISTING.page(tx, EndedSession, window, sort=sort, **filters)


async def list_sessions_with_address(
    tx: Tx, address: Block, at: datetime | None
) -> tuple[list[Session], list[EndedSession]]:
    """Live and the newest 100 ended sessions that had this address, at that moment if one is given.

    An IPv6 address or prefix is looked for within the delegated prefixes. Addresses that a NAS gives out of pools of its
    own are known by their sessions only.
    """
    if isinstance(address, IPv6Address | IPv6Network):
        own = ip_network(address)
        around = [own.supernet(new_prefix=length) for length in range(own.prefixlen + 1)]
        behind = await tx.fetch(_LIVE_BEHIND, Session, around=around, at=at)
        return behind, await tx.fetch(_ENDED_BEHIND, EndedSession, around=around, at=at)
    live = await tx.fetch(_LIVE_WITH, Session, address=address, at=at)
    return live, await tx.fetch(_ENDED_WITH, EndedSession, address=address, at=at)


@dataclass(frozen=True, slots=True)
class NamedSession:
    """A session, live or ended, found by what its NAS calls it."""

    session_id: UUID
    subscription_ref: str
    acct_session_id: str


_NAMED_SESSIONS = """
SELECT s.id AS session_id, u.ref AS subscription_ref, s.acct_session_id
FROM subscription u
JOIN service v ON v.tenant_id = u.tenant_id AND v.subscription_id = u.id
JOIN subscriber b ON b.tenant_id = v.tenant_id AND b.service_id = v.id
CROSS JOIN LATERAL (
    SELECT l.id, l.acct_session_id FROM radius_session l
    WHERE l.tenant_id = b.tenant_id AND l.subscriber_id = b.id AND l.acct_session_id = ANY($3::text[])
    UNION
    SELECT h.id, h.acct_session_id FROM radius_session_history h
    WHERE h.tenant_id = b.tenant_id AND h.subscriber_id = b.id AND h.acct_session_id = ANY($3::text[])
) s
WHERE u.tenant_id = $1 AND u.ref = ANY($2::text[])
"""


async def list_named_sessions(
    tx: Tx, subscription_refs: Sequence[str], acct_session_ids: Sequence[str]
) -> list[NamedSession]:
    """Sessions of these subscriptions that have one of these Acct-Session-Ids (a NAS may use one again)."""
    rows = await tx.connection.fetch(
        _NAMED_SESSIONS, tx.tenant.id, list(subscription_refs), list(acct_session_ids)
    )
    return [NamedSession(**row) for row in rows]
