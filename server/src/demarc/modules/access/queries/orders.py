"""Reads of what was ordered of a NAS: Disconnect and CoA."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    bindparam,
    select,
)

from demarc.kernel.db import Tx
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.access.models import (
    coa_request,
    subscriber,
)
from demarc.modules.access.states import CoaKind, CoaOutcome


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


async def get_order(tx: Tx, uid: UUID) -> Order:
    """Raises `NotFound`."""
    return await tx.get(_ORDER_BY_UID, Order, f"no order {uid}", uid=uid)


async def find_pending_order(tx: Tx, session_id: UUID, kind: CoaKind) -> Order | None:
    """The newest order of this kind that has no outcome yet."""
    return await tx.find(_PENDING_FOR_SESSION, Order, session_id=session_id, kind=kind.value)


async def list_orders(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[Order]:
    """Newest first. Filters: outcome, kind, subscriber_id, service_id, nas_id."""
    return await ORDER_LISTING.page(tx, Order, window, sort=sort, **filters)
