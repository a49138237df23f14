"""`/api/subscriptions`: opened by the provisioning of a service, canceled by its termination."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query

from demarc.modules.subscriptions.queries import get_subscription, list_subscriptions
from demarc.modules.subscriptions.states import SubscriptionStatus
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.bss.references import customer_key, plan_key
from demarc.web.bss.subscriptions.schemas import SubscriptionList, SubscriptionOut, subscriptions_out
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/subscriptions", tag="subscriptions")


@router.on("GET", "", permission="services.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    customer_id: UUID | None = None,
    plan_id: Annotated[str | None, Query(max_length=50)] = None,
    status: SubscriptionStatus | None = None,
    sort: SortParam = None,
) -> SubscriptionList:
    """Subscriptions in the order they were opened, unless `sort` says otherwise (created_at, subscription_id)."""
    page = await list_subscriptions(
        tx,
        window,
        sort=sort,
        customer_id=await customer_key(tx, customer_id),
        plan_id=await plan_key(tx, plan_id),
        status=status,
    )
    return SubscriptionList(subscriptions=await subscriptions_out(tx, page.rows), **counts(page))


@router.on("GET", "/{subscription_id}", permission="services.read", problem=(404,))
async def get(subscription_id: Annotated[str, Path(max_length=50)], tx: TxDep) -> SubscriptionOut:
    """One subscription."""
    return (await subscriptions_out(tx, [await get_subscription(tx, subscription_id)]))[0]
