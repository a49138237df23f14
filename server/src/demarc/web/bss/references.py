"""From the ids of `/api` to the rows' own, for the filters of lists: what leads nowhere matches nothing."""

from __future__ import annotations

from uuid import UUID

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.modules.catalog.queries import find_plan
from demarc.modules.customers.queries import get_customer
from demarc.modules.identity.queries import get_user
from demarc.modules.services.queries import get_service
from demarc.modules.subscriptions.queries import find_subscription

NOTHING = -1
"""No row has this id."""


async def customer_key(tx: Tx, uid: UUID | None) -> int | None:
    """None when no customer is asked for."""
    if uid is None:
        return None
    try:
        return (await get_customer(tx, uid)).id
    except NotFound:
        return NOTHING


async def user_key(tx: Tx, uid: UUID | None) -> int | None:
    """None when no user is asked for."""
    if uid is None:
        return None
    try:
        return (await get_user(tx, uid)).id
    except NotFound:
        return NOTHING


async def plan_key(tx: Tx, ref: str | None) -> int | None:
    """None when no plan is asked for."""
    if ref is None:
        return None
    found = await find_plan(tx, ref)
    return NOTHING if found is None else found.id


async def subscription_key(tx: Tx, ref: str | None) -> int | None:
    """None when no subscription is asked for."""
    if ref is None:
        return None
    found = await find_subscription(tx, ref)
    return NOTHING if found is None else found.id


async def service_key(tx: Tx, uid: UUID | None) -> int | None:
    """None when no service is asked for."""
    if uid is None:
        return None
    try:
        return (await get_service(tx, uid)).id
    except NotFound:
        return NOTHING
