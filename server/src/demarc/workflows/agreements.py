"""Subscriptions by themselves, and the services that run on them: neither is changed behind the other's back."""

from __future__ import annotations

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict
from demarc.modules.catalog.queries import get_plan
from demarc.modules.services.queries import find_live_service
from demarc.modules.services.service import change_plan as change_plan_of_service
from demarc.modules.subscriptions.queries import Subscription, get_subscription, hold_subscription
from demarc.modules.subscriptions.service import cancel_subscription, change_plan


async def move_to_plan(tx: Tx, *, ref: str, plan_ref: str, reason: str = "") -> Subscription:
    """Agree on another plan now; a service that runs on the subscription moves with it, its new speeds by CoA.

    Raises:
        NotFound: no such subscription or plan.
        Conflict: it was canceled, has the plan already, or the service's state does not allow it.
        Invalid: the plan is for another type of service.
    """
    agreed = await get_subscription(tx, ref)
    # Whoever commands a service holds it before its subscription; in the other order two would wait for each other.
    service = await find_live_service(tx, agreed.id)
    if service is None:
        await hold_subscription(tx, agreed.id)
        service = await find_live_service(tx, agreed.id)  # ordered a moment ago
    if service is not None:
        await change_plan_of_service(tx, service_id=service.id, plan_ref=plan_ref, reason=reason)
        return await get_subscription(tx, ref)
    plan = await get_plan(tx, plan_ref)
    return await change_plan(tx, subscription_id=agreed.id, plan_id=plan.id)


async def cancel_agreement(tx: Tx, *, ref: str, reason: str) -> Subscription:
    """End a subscription on which no service runs.

    Raises:
        NotFound: no such subscription.
        Conflict: it is canceled, or a service runs on it (SUBSCRIPTION_HAS_SERVICE).
    """
    agreed = await hold_subscription(tx, (await get_subscription(tx, ref)).id)
    service = await find_live_service(tx, agreed.id)
    if service is not None:
        raise Conflict(
            f"the service {service.identifier} runs on the subscription {ref}; terminate it, which ends both",
            code="SUBSCRIPTION_HAS_SERVICE",
        )
    return await cancel_subscription(tx, subscription_id=agreed.id, reason=reason)
