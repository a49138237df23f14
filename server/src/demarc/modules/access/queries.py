"""Every read of NAS, subscribers, their projection, sessions and orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    DateTime,
    Text,
    any_,
    bindparam,
    case,
    exists,
    func,
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
    aaa_login,
    aaa_nas,
    access_policy,
    coa_request,
    login_attempt,
    nas,
    radius_session,
    radius_session_history,
    subscriber,
)
from demarc.modules.access.rules import LOCK_REASONS
from demarc.modules.access.states import CoaKind, CoaOutcome, LoginDecision, SubscriberStatus
from demarc.modules.addressing.inputs import Block


@dataclass(frozen=True, slots=True)
class Nas:
    """One row. `unanswered_until` (real time): no order is sent before, since the NAS did not answer the last one."""

    tenant_id: int
    id: int
    uid: UUID
    name: str
    source_ip: IPv4Address
    secret_encrypted: bytes = field(repr=False)
    vendor: str
    coa_port: int
    message_authenticator: str
    status: str
    unanswered_until: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NasProjection:
    """What FreeRADIUS knows of a NAS."""

    tenant_id: int
    nas_id: int
    source_ip: IPv4Address
    secret: str = field(repr=False)
    shortname: str
    vendor: str
    speed_replies: list[str] | None
    message_authenticator: str
    message_authenticator_seen: bool
    clock_offset: timedelta


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One row; speeds are the subscriber's own (bit/s), None: those of the service."""

    tenant_id: int
    id: int
    uid: UUID
    customer_id: int
    service_id: int
    username: str
    secret_encrypted: bytes = field(repr=False)
    status: str
    mac: str | None
    circuit_id: str | None
    remote_id: str | None
    download_bps: int | None
    upload_bps: int | None
    ip_pool_id: int | None
    session_limit: int
    clear_text_enabled: bool
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Policy:
    """Other speeds (bit/s) than those that were sold, or no access at all. `subscriber_id` None: for the whole service."""

    tenant_id: int
    id: int
    uid: UUID
    service_id: int
    subscriber_id: int | None
    kind: str
    download_bps: int | None
    upload_bps: int | None
    blocks: bool
    reason: str
    placed_by: str
    placed_at: datetime
    expires_at: datetime | None
    lifted_by: str | None
    lifted_at: datetime | None


@dataclass(frozen=True, slots=True)
class Login:
    """The projection of a subscriber: what an Access-Request is answered from."""

    tenant_id: int
    subscriber_id: int
    service_id: int
    username: str
    mac: str | None
    circuit_id: str | None
    remote_id: str | None
    decision: str
    decision_reason: str
    nt_hash: str = field(repr=False)
    clear_text: str | None = field(repr=False)
    framed_ip: IPv4Address | None
    framed_pool: str | None
    replies: list[str] | None
    download_bps: int | None
    upload_bps: int | None
    session_limit: int
    interim_seconds: int
    expires_at: datetime | None

    @property
    def is_held_by_service(self) -> bool:
        """A lock on the service keeps the subscriber off line, or in the garden."""
        return self.decision != LoginDecision.ACCEPT and self.decision_reason in LOCK_REASONS.values()


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


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """The last answer that a user name got, and the last refusal. `reason` is empty for an Access-Accept."""

    tenant_id: int
    username: str
    accepted: bool
    reason: str
    calling_station_id: str
    nas_id: int
    attempted_at: datetime
    reject_reason: str | None
    rejected_at: datetime | None


@dataclass(frozen=True, slots=True)
class Order:
    """An order to a NAS; `requested_at` and `answered_at` are real time."""

    tenant_id: int
    id: int
    uid: UUID
    kind: str
    nas_id: int
    subscriber_id: int
    session_id: UUID
    acct_session_id: str
    username: str
    framed_ip: IPv4Address | IPv6Address | None
    attributes: dict[str, Any]
    reason: str
    outcome: str
    error_cause: int | None
    attempts: int
    requested_at: datetime
    answered_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Named:
    id: int
    uid: UUID


_IDS = bindparam("ids", type_=ARRAY(BigInteger))
_NAS_BY_UID = Query(select(nas).where(mine(nas), nas.c.uid == bindparam("uid")))
_NAS_BY_ID = Query(select(nas).where(mine(nas), nas.c.id == bindparam("id")))
_NAS_PROJECTION = Query(select(aaa_nas).where(mine(aaa_nas), aaa_nas.c.nas_id == bindparam("nas_id")))
_NAS_UIDS = Query(select(nas.c.id, nas.c.uid).where(mine(nas), nas.c.id == any_(_IDS)))

_BY_UID = Query(
    select(subscriber).where(
        mine(subscriber),
        subscriber.c.uid == bindparam("uid"),
        subscriber.c.status != SubscriberStatus.TERMINATED.value,
    )
)
_BY_ID = Query(select(subscriber).where(mine(subscriber), subscriber.c.id == bindparam("id")))
_LOCKED = Query(
    select(subscriber).where(mine(subscriber), subscriber.c.id == bindparam("id")).with_for_update()
)
_BY_USERNAME = Query(
    select(subscriber).where(
        mine(subscriber),
        subscriber.c.username == bindparam("username"),
        subscriber.c.status != SubscriberStatus.TERMINATED.value,
    )
)
_OF_SERVICES = Query(
    select(subscriber)
    .where(
        mine(subscriber),
        subscriber.c.service_id == any_(_IDS),
        subscriber.c.status != SubscriberStatus.TERMINATED.value,
    )
    .order_by(subscriber.c.id)
)
_LIVING = Query(
    select(subscriber)
    .where(mine(subscriber), subscriber.c.status != SubscriberStatus.TERMINATED.value)
    .order_by(subscriber.c.id)
)
_ID_OF = Query(select(subscriber.c.id).where(mine(subscriber), subscriber.c.uid == bindparam("uid")))
_UIDS = Query(
    select(subscriber.c.id, subscriber.c.uid).where(mine(subscriber), subscriber.c.id == any_(_IDS))
)

_OPEN_POLICIES = Query(
    select(access_policy)
    .where(
        mine(access_policy),
        access_policy.c.service_id == bindparam("service_id"),
        access_policy.c.lifted_at.is_(None),
    )
    .order_by(access_policy.c.id)
)
_POLICY_BY_UID = Query(
    select(access_policy).where(mine(access_policy), access_policy.c.uid == bindparam("uid"))
)
_EXPIRED_POLICIES = Query(
    select(access_policy)
    .where(
        mine(access_policy),
        access_policy.c.lifted_at.is_(None),
        access_policy.c.expires_at <= bindparam("now", type_=DateTime(timezone=True)),
    )
    .order_by(access_policy.c.service_id, access_policy.c.id)
    .limit(500)
)

_LOGIN = Query(
    select(aaa_login).where(mine(aaa_login), aaa_login.c.subscriber_id == bindparam("subscriber_id"))
)
_LOGINS = Query(select(aaa_login).where(mine(aaa_login), aaa_login.c.subscriber_id == any_(_IDS)))
_ATTEMPTS = Query(
    select(login_attempt).where(
        mine(login_attempt),
        login_attempt.c.username == any_(bindparam("usernames", type_=ARRAY(Text))),
    )
)

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

_NAS_HEARD = Query(
    select(func.max(radius_session.c.updated_at)).where(
        mine(radius_session), radius_session.c.nas_id == bindparam("nas_id")
    )
)
_ORDER_BY_UID = Query(select(coa_request).where(mine(coa_request), coa_request.c.uid == bindparam("uid")))
_PENDING_FOR_SESSION = Query(
    select(coa_request)
    .where(
        mine(coa_request),
        coa_request.c.session_id == bindparam("session_id"),
        coa_request.c.kind == bindparam("kind"),
        coa_request.c.outcome == CoaOutcome.PENDING.value,
    )
    .order_by(coa_request.c.id.desc())
    .limit(1)
)

_HELD_BY_SERVICE = exists().where(
    aaa_login.c.tenant_id == subscriber.c.tenant_id,
    aaa_login.c.subscriber_id == subscriber.c.id,
    aaa_login.c.decision != LoginDecision.ACCEPT.value,
    or_(*(aaa_login.c.decision_reason == reason for reason in LOCK_REASONS.values())),
)
_SHOWN_STATUS = case(
    (subscriber.c.status != SubscriberStatus.ACTIVE.value, subscriber.c.status),
    (_HELD_BY_SERVICE, SubscriberStatus.SUSPENDED.value),
    else_=SubscriberStatus.ACTIVE.value,
)

NAS_LISTING = Listing(
    nas,
    filters={"status": nas.c.status == bindparam("status"), "vendor": nas.c.vendor == bindparam("vendor")},
    sorts={"created_at": nas.c.created_at, "name": nas.c.name, "source_ip": nas.c.source_ip},
    default_sort="created_at",
)
_SEARCH = func.concat("%", bindparam("search", type_=Text), "%")
LISTING = Listing(
    subscriber,
    filters={
        "customer_id": subscriber.c.customer_id == bindparam("customer_id"),
        "service_id": subscriber.c.service_id == bindparam("service_id"),
        "status": bindparam("status", type_=Text) == _SHOWN_STATUS,
        "not_status": subscriber.c.status != bindparam("not_status"),
        "username": func.starts_with(subscriber.c.username, bindparam("username", type_=Text)),
        "search": or_(
            subscriber.c.username.ilike(_SEARCH),
            subscriber.c.mac.ilike(_SEARCH),
            subscriber.c.circuit_id.ilike(_SEARCH),
            subscriber.c.remote_id.ilike(_SEARCH),
        ),
    },
    sorts={"created_at": subscriber.c.created_at, "username": subscriber.c.username},
    default_sort="created_at",
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
ORDER_LISTING = Listing(
    coa_request,
    filters={
        "outcome": coa_request.c.outcome == bindparam("outcome"),
        "kind": coa_request.c.kind == bindparam("kind"),
        "subscriber_id": coa_request.c.subscriber_id == bindparam("subscriber_id"),
        "service_id": coa_request.c.subscriber_id.in_(
            select(subscriber.c.id).where(
                mine(subscriber), subscriber.c.service_id == bindparam("service_id", type_=BigInteger)
            )
        ),
        "nas_id": coa_request.c.nas_id == bindparam("nas_id"),
    },
    sorts={"requested_at": coa_request.c.requested_at},
    default_sort="-requested_at",
)


POLICY_LISTING = Listing(
    access_policy,
    filters={
        "service_id": access_policy.c.service_id == bindparam("service_id"),
        "subscriber_id": access_policy.c.subscriber_id == bindparam("subscriber_id"),
        "kind": access_policy.c.kind == bindparam("kind"),
        "is_open": access_policy.c.lifted_at.is_(None) == bindparam("is_open", type_=Boolean),
    },
    sorts={"placed_at": access_policy.c.placed_at},
    default_sort="-placed_at",
)


async def get_nas(tx: Tx, uid: UUID) -> Nas:
    """Raises `NotFound`."""
    found = await tx.find(_NAS_BY_UID, Nas, uid=uid)
    if found is None:
        raise NotFound(f"no NAS {uid}")
    return found


async def get_nas_by_id(tx: Tx, nas_id: int) -> Nas:
    """Raises `NotFound`."""
    found = await tx.find(_NAS_BY_ID, Nas, id=nas_id)
    if found is None:
        raise NotFound(f"no NAS {nas_id}")
    return found


async def find_nas_projection(tx: Tx, nas_id: int) -> NasProjection | None:
    """None: the NAS is disabled, so FreeRADIUS does not know it."""
    return await tx.find(_NAS_PROJECTION, NasProjection, nas_id=nas_id)


async def list_nas(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Nas]:
    """Filters: status, vendor."""
    return await NAS_LISTING.page(tx, Nas, window, sort=sort, **filters)


async def nas_uids_of(tx: Tx, ids: Sequence[int]) -> dict[int, UUID]:
    """NAS id -> its id on `/api`."""
    return {row.id: row.uid for row in await tx.fetch(_NAS_UIDS, _Named, ids=list(ids))}


async def find_subscriber_id(tx: Tx, uid: UUID) -> int | None:
    """The row's id, also of one who is gone: what was on line stays on record under its name."""
    found: int | None = await tx.value(_ID_OF, uid=uid)
    return found


async def get_subscriber(tx: Tx, uid: UUID) -> Subscriber:
    """Raises `NotFound`, also for a subscriber that was deleted."""
    found = await tx.find(_BY_UID, Subscriber, uid=uid)
    if found is None:
        raise NotFound(f"no subscriber {uid}")
    return found


async def get_subscriber_by_id(tx: Tx, subscriber_id: int) -> Subscriber:
    """Deleted ones too. Raises `NotFound`."""
    found = await tx.find(_BY_ID, Subscriber, id=subscriber_id)
    if found is None:
        raise NotFound(f"no subscriber {subscriber_id}")
    return found


async def lock_subscriber(tx: Tx, subscriber_id: int) -> Subscriber:
    """As `get_subscriber_by_id`, locked until the transaction ends. Raises `NotFound`."""
    found = await tx.find(_LOCKED, Subscriber, id=subscriber_id)
    if found is None:
        raise NotFound(f"no subscriber {subscriber_id}")
    return found


async def find_subscriber_by_username(tx: Tx, username: str) -> Subscriber | None:
    """Only this tenant's."""
    return await tx.find(_BY_USERNAME, Subscriber, username=username)


async def list_subscribers(
    tx: Tx, window: Window, *, sort: str | None = None, status: SubscriberStatus | None = None, **filters: Any
) -> Page[Subscriber]:
    """Filters: customer_id, service_id, status, username (its beginning), search (part of username, MAC, circuit or remote id).

    A subscriber counts as suspended also while a lock is on its service. Deleted ones are listed only when `status`
    asks for `terminated`.
    """
    if status is None:
        filters["not_status"] = SubscriberStatus.TERMINATED.value
    else:
        filters["status"] = status.value
    return await LISTING.page(tx, Subscriber, window, sort=sort, **filters)


async def list_subscribers_of_services(tx: Tx, service_ids: Sequence[int]) -> list[Subscriber]:
    """All that are not deleted, oldest first."""
    return await tx.fetch(_OF_SERVICES, Subscriber, ids=list(service_ids))


async def list_all_subscribers(tx: Tx) -> list[Subscriber]:
    """Every subscriber that is not deleted; for rebuilding the projection."""
    return await tx.fetch(_LIVING, Subscriber)


async def uids_of(tx: Tx, ids: Sequence[int]) -> dict[int, UUID]:
    """Subscriber id -> its id on `/api`; deleted ones too."""
    return {row.id: row.uid for row in await tx.fetch(_UIDS, _Named, ids=list(ids))}


async def list_open_policies(tx: Tx, service_id: int) -> list[Policy]:
    """Those of the service and of its subscribers that are not lifted; an expired one may still be among them."""
    return await tx.fetch(_OPEN_POLICIES, Policy, service_id=service_id)


async def list_expired_policies(tx: Tx) -> list[Policy]:
    """Up to 500 whose time is over at `tx.now`, in order of service."""
    return await tx.fetch(_EXPIRED_POLICIES, Policy, now=tx.now)


async def get_policy(tx: Tx, uid: UUID) -> Policy:
    """Raises `NotFound`."""
    found = await tx.find(_POLICY_BY_UID, Policy, uid=uid)
    if found is None:
        raise NotFound(f"no access policy {uid}")
    return found


async def list_policies(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Policy]:
    """Newest first. Filters: service_id, subscriber_id, kind, is_open."""
    return await POLICY_LISTING.page(tx, Policy, window, sort=sort, **filters)


async def find_login(tx: Tx, subscriber_id: int) -> Login | None:
    return await tx.find(_LOGIN, Login, subscriber_id=subscriber_id)


async def list_logins(tx: Tx, subscriber_ids: Sequence[int]) -> dict[int, Login]:
    """Projections by subscriber id."""
    rows = await tx.fetch(_LOGINS, Login, ids=list(subscriber_ids))
    return {row.subscriber_id: row for row in rows}


async def list_login_attempts(tx: Tx, usernames: Sequence[str]) -> dict[str, LoginAttempt]:
    """The last log-in of each, by user name."""
    rows = await tx.fetch(_ATTEMPTS, LoginAttempt, usernames=list(usernames))
    return {row.username: row for row in rows}


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


async def nas_last_heard(tx: Tx, nas_id: int) -> datetime | None:
    """When accounting of any live session last came from the NAS, business time; None: it has no live session."""
    heard: datetime | None = await tx.value(_NAS_HEARD, nas_id=nas_id)
    return heard


async def get_order(tx: Tx, uid: UUID) -> Order:
    """Raises `NotFound`."""
    found = await tx.find(_ORDER_BY_UID, Order, uid=uid)
    if found is None:
        raise NotFound(f"no order {uid}")
    return found


async def find_pending_order(tx: Tx, session_id: UUID, kind: CoaKind) -> Order | None:
    """The newest order of this kind that has no outcome yet."""
    return await tx.find(_PENDING_FOR_SESSION, Order, session_id=session_id, kind=kind.value)


async def list_orders(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Order]:
    """Newest first. Filters: outcome, kind, subscriber_id, service_id, nas_id."""
    return await ORDER_LISTING.page(tx, Order, window, sort=sort, **filters)


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
