"""`/api/subscriptions`: mostly opened by the provisioning of a service and canceled by its termination."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Response

from demarc.modules.catalog.queries import get_plan
from demarc.modules.customers.queries import get_customer
from demarc.modules.subscriptions.queries import (
    find_subscription,
    get_subscription,
    list_subscriptions,
    list_terms,
)
from demarc.modules.subscriptions.service import open_subscription
from demarc.modules.subscriptions.states import SubscriptionStatus
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.bss.references import customer_key, plan_key
from demarc.web.bss.subscriptions.schemas import (
    CancelIn,
    SubscriptionIn,
    SubscriptionList,
    SubscriptionOut,
    SubscriptionPlanIn,
    TermList,
    subscriptions_out,
    terms_out,
)
from demarc.web.routing import ApiRouter, TxDep
from demarc.workflows.agreements import cancel_agreement, move_to_plan

router = ApiRouter(prefix="/api/subscriptions", tag="subscriptions")


@router.on("POST", "", permission="services.write", status=201, also=(200,), problem=(404, 409))
async def create(body: SubscriptionIn, tx: TxDep, response: Response) -> SubscriptionOut:
    """Agree on a plan at its price of today; the same agreement again is 200 with the one there is."""
    is_known = await find_subscription(tx, body.subscription_id) is not None
    customer = await get_customer(tx, body.customer_id)
    plan = await get_plan(tx, body.plan_id)
    made = await open_subscription(tx, ref=body.subscription_id, customer_id=customer.id, plan_id=plan.id)
    if is_known:
        response.status_code = 200
    return (await subscriptions_out(tx, [made]))[0]


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


@router.on("GET", "/{subscription_id}/terms", permission="services.read", problem=(404,))
async def terms(subscription_id: Annotated[str, Path(max_length=50)], tx: TxDep) -> TermList:
    """What was agreed from when on: the plans and prices that months are billed by."""
    return await terms_out(tx, await list_terms(tx, await get_subscription(tx, subscription_id)))


@router.on("POST", "/{subscription_id}/change-plan", permission="services.write", problem=(404, 409))
async def to_another_plan(
    subscription_id: Annotated[str, Path(max_length=50)], body: SubscriptionPlanIn, tx: TxDep
) -> SubscriptionOut:
    """Move to another plan now; the service on it moves with it."""
    moved = await move_to_plan(tx, ref=subscription_id, plan_ref=body.plan_id, reason=body.reason)
    return (await subscriptions_out(tx, [moved]))[0]


@router.on("POST", "/{subscription_id}/cancel", permission="services.write", problem=(404, 409))
async def cancel(
    subscription_id: Annotated[str, Path(max_length=50)], tx: TxDep, body: CancelIn | None = None
) -> SubscriptionOut:
    """End a subscription on which no service runs."""
    asked = body or CancelIn()
    ended = await cancel_agreement(tx, ref=subscription_id, reason=asked.reason)
    return (await subscriptions_out(tx, [ended]))[0]
