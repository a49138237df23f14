"""Reads of subscribers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Text,
    any_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
)

from demarc.kernel.db import Tx
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import SEARCH, Query, mine
from demarc.modules.access.models import (
    aaa_login,
    subscriber,
)
from demarc.modules.access.queries.nas import IDS, Named
from demarc.modules.access.rules import LOCK_REASONS
from demarc.modules.access.states import LoginDecision, SubscriberStatus


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
        subscriber.c.service_id == any_(IDS),
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

_UIDS = Query(select(subscriber.c.id, subscriber.c.uid).where(mine(subscriber), subscriber.c.id == any_(IDS)))

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

LISTING = Listing(
    subscriber,
    filters={
        "customer_id": subscriber.c.customer_id == bindparam("customer_id"),
        "service_id": subscriber.c.service_id == bindparam("service_id"),
        "status": bindparam("status", type_=Text) == _SHOWN_STATUS,
        "not_status": subscriber.c.status != bindparam("not_status"),
        "username": func.starts_with(subscriber.c.username, bindparam("username", type_=Text)),
        "search": or_(
            subscriber.c.username.ilike(SEARCH),
            subscriber.c.mac.ilike(SEARCH),
            subscriber.c.circuit_id.ilike(SEARCH),
            subscriber.c.remote_id.ilike(SEARCH),
        ),
    },
    sorts={"created_at": subscriber.c.created_at, "username": subscriber.c.username},
    default_sort="created_at",
)


async def find_subscriber_id(tx: Tx, uid: UUID) -> int | None:
    """The row's id, also of one who is gone: what was on line stays on record under its name."""
    found: int | None = await tx.value(_ID_OF, uid=uid)
    return found


async def get_subscriber(tx: Tx, uid: UUID) -> Subscriber:
    """Raises `NotFound`, also for a subscriber that was deleted."""
    return await tx.get(_BY_UID, Subscriber, f"no subscriber {uid}", uid=uid)


async def get_subscriber_by_id(tx: Tx, subscriber_id: int) -> Subscriber:
    """Deleted ones too. Raises `NotFound`."""
    return await tx.get(_BY_ID, Subscriber, f"no subscriber {subscriber_id}", id=subscriber_id)


async def lock_subscriber(tx: Tx, subscriber_id: int) -> Subscriber:
    """As `get_subscriber_by_id`, locked until the transaction ends. Raises `NotFound`."""
    return await tx.get(_LOCKED, Subscriber, f"no subscriber {subscriber_id}", id=subscriber_id)


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
    return {row.id: row.uid for row in await tx.fetch(_UIDS, Named, ids=list(ids))}
