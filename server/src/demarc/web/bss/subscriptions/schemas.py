"""Bodies of `/api/subscriptions`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from demarc.kernel.db import Tx
from demarc.modules.catalog.queries import refs_of as plan_refs_of
from demarc.modules.customers.queries import uids_of
from demarc.modules.subscriptions.queries import Subscription, Term
from demarc.modules.subscriptions.states import SubscriptionStatus
from demarc.web.bss.parameters import Listed


class SubscriptionIn(BaseModel):
    """An agreement without a service yet; the reference again answers with the subscription that has it."""

    subscription_id: str = Field(min_length=1, max_length=50, examples=["sub_abc123"])
    customer_id: UUID
    plan_id: str = Field(min_length=1, max_length=50, examples=["plan_fiber_100"])


class SubscriptionPlanIn(BaseModel):
    """The plan to move to, now; for a day ahead see the service's change-plan."""

    plan_id: str = Field(min_length=1, max_length=50, examples=["plan_fiber_200"])
    reason: str = Field("", max_length=500)


class CancelIn(BaseModel):
    """Why it ends."""

    reason: str = Field("on request", min_length=1, max_length=500)


class TermOut(BaseModel):
    """The plan and price from `started_at` until before `ended_at`, in minor units."""

    plan_id: str
    monthly_fee: int
    started_at: datetime
    ended_at: datetime | None


class TermList(BaseModel):
    """All of them, the oldest first; the last one holds."""

    terms: list[TermOut]
    total: int


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


async def terms_out(tx: Tx, rows: Sequence[Term]) -> TermList:
    plans = await plan_refs_of(tx, {row.plan_id for row in rows})
    terms = [
        TermOut(
            plan_id=plans[row.plan_id],
            monthly_fee=row.monthly_minor,
            started_at=row.started_at,
            ended_at=row.ended_at,
        )
        for row in rows
    ]
    return TermList(terms=terms, total=len(terms))
