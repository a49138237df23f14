"""Bodies of `/api/subscriptions`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from demarc.kernel.db import Tx
from demarc.modules.catalog.queries import refs_of as plan_refs_of
from demarc.modules.customers.queries import uids_of
from demarc.modules.subscriptions.queries import Subscription
from demarc.modules.subscriptions.states import SubscriptionStatus
from demarc.web.bss.parameters import Listed


class SubscriptionOut(BaseModel):
    """What a customer agreed to pay for. `monthly_fee` is the price it was sold at, in minor units."""

    id: str
    subscription_id: str
    customer_id: UUID
    plan_id: str
    status: SubscriptionStatus
    currency: str
    monthly_fee: int
    started_at: datetime
    canceled_at: datetime | None
    created_at: datetime
    updated_at: datetime


class SubscriptionList(Listed):
    """A window of the list."""

    subscriptions: list[SubscriptionOut]


async def subscriptions_out(tx: Tx, rows: Sequence[Subscription]) -> list[SubscriptionOut]:
    """The rows with the ids that `/api` knows their customers and plans by."""
    customers = await uids_of(tx, {row.customer_id for row in rows})
    plans = await plan_refs_of(tx, {row.plan_id for row in rows})
    return [
        SubscriptionOut.model_construct(
            id=row.ref,
            subscription_id=row.ref,
            customer_id=customers[row.customer_id],
            plan_id=plans[row.plan_id],
            status=SubscriptionStatus(row.status),
            currency=row.currency,
            monthly_fee=row.monthly_minor,
            started_at=row.started_at,
            canceled_at=row.canceled_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
        for row in rows
    ]
