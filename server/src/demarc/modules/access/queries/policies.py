"""Reads of policies: other speeds, or none, for a while."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    DateTime,
    bindparam,
    select,
)

from demarc.kernel.db import Tx
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.access.models import (
    access_policy,
)


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


async def list_open_policies(tx: Tx, service_id: int) -> list[Policy]:
    """Those of the service and of its subscribers that are not lifted; an expired one may still be among them."""
    return await tx.fetch(_OPEN_POLICIES, Policy, service_id=service_id)


async def list_expired_policies(tx: Tx) -> list[Policy]:
    """Up to 500 whose time is over at `tx.now`, in order of service."""
    return await tx.fetch(_EXPIRED_POLICIES, Policy, now=tx.now)


async def get_policy(tx: Tx, uid: UUID) -> Policy:
    """Raises `NotFound`."""
    return await tx.get(_POLICY_BY_UID, Policy, f"no access policy {uid}", uid=uid)


async def list_policies(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Policy]:
    """Newest first. Filters: service_id, subscriber_id, kind, is_open."""
    return await POLICY_LISTING.page(tx, Policy, window, sort=sort, **filters)
