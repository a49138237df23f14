"""Every write of subscriptions, one function per use case."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import bindparam
from sqlalchemy.dialects.postgresql import insert

from demarc.kernel.clock import local_date
from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict
from demarc.kernel.outbox import emit
from demarc.kernel.sql import Query
from demarc.kernel.states import change_status, record_status_change
from demarc.modules.audit.service import record
from demarc.modules.catalog.queries import Plan, get_plan_by_id, price_on
from demarc.modules.catalog.states import PlanStatus
from demarc.modules.customers.queries import get_customer_by_id, hold_customer
from demarc.modules.customers.states import CustomerStatus
from demarc.modules.subscriptions.inputs import clean_ref
from demarc.modules.subscriptions.models import subscription, subscription_term
from demarc.modules.subscriptions.queries import (
    PastTerm,
    Subscription,
    find_subscription,
    get_subscription,
    hold_subscription,
)
from demarc.modules.subscriptions.states import SUBSCRIPTION_STATES, SubscriptionStatus

ENTITY = "subscription"
_COLUMNS = (
    "tenant_id",
    "ref",
    "customer_id",
    "plan_id",
    "status",
    "currency",
    "monthly_minor",
    "started_at",
    "created_at",
    "updated_at",
)
# Two at once: the second waits for the first one's end, makes nothing and reads what the first has made.
_OPEN = Query(
    insert(subscription)
    .values({name: bindparam(name, type_=subscription.c[name].type) for name in _COLUMNS})
    .on_conflict_do_nothing(index_elements=["tenant_id", "ref"])
    .returning(*subscription.c)
)


async def open_subscription(tx: Tx, *, ref: str, customer_id: int, plan_id: int) -> Subscription:
    """Agree on a plan at its price of today; the reference again answers with the subscription that has it.

    Raises:
        NotFound: no such customer or plan, or the plan has no price yet.
        Conflict: the reference is another customer's or of another plan, the subscription was canceled, the
            plan is retired or the customer is not active.
        Invalid: the reference is not acceptable.
    """
    existing = await find_subscription(tx, clean_ref(ref))
    if existing is not None:
        return _check_existing(existing, customer_id=customer_id, plan_id=plan_id)
    await _check_customer(tx, customer_id)
    plan = await get_plan_by_id(tx, plan_id)
    _check_sold(plan)
    price = await price_on(tx, plan_id, local_date(tx.now, tx.tenant.time_zone))
    made = await tx.find(
        _OPEN,
        Subscription,
        ref=ref,
        customer_id=customer_id,
        plan_id=plan_id,
        status=SubscriptionStatus.ACTIVE.value,
        currency=plan.currency,
        monthly_minor=price.monthly_minor,
        started_at=tx.now,
        created_at=tx.now,
        updated_at=tx.now,
    )
    if made is None:
        return _check_existing(await get_subscription(tx, ref), customer_id=customer_id, plan_id=plan_id)
    await record_status_change(tx, entity=ENTITY, entity_id=made.id, from_status=None, to_status=made.status)
    await record(tx, "subscription.open", entity=ENTITY, entity_id=made.id, after=asdict(made))
    await emit(
        tx,
        "subscription.opened",
        entity=ENTITY,
        entity_id=made.id,
        ref=made.ref,
        customer_id=customer_id,
        activation_minor=price.activation_minor,
    )
    return made


async def change_plan(tx: Tx, *, subscription_id: int, plan_id: int) -> Subscription:
    """Agree on another plan from now on, at its price of today. Proration is billing's: see `list_terms`.

    Raises:
        NotFound: no such subscription or plan, or the plan has no price yet.
        Conflict: the subscription was canceled or has this plan already, the plan is retired or in another currency.
    """
    before = await hold_subscription(tx, subscription_id)
    plan = await get_plan_by_id(tx, plan_id)
    _check_may_change(before, plan)
    price = await price_on(tx, plan_id, local_date(tx.now, tx.tenant.time_zone))
    changed_at = _not_before(tx, before)
    after = await tx.update(
        subscription,
        Subscription,
        {"id": before.id},
        plan_id=plan_id,
        monthly_minor=price.monthly_minor,
        updated_at=changed_at,
    )
    await tx.insert(
        subscription_term,
        PastTerm,
        subscription_id=before.id,
        plan_id=before.plan_id,
        monthly_minor=before.monthly_minor,
        ended_at=changed_at,
    )
    change = {
        "from_plan_id": before.plan_id,
        "to_plan_id": after.plan_id,
        "from_monthly_minor": before.monthly_minor,
        "to_monthly_minor": after.monthly_minor,
    }
    await record(tx, "subscription.change_plan", entity=ENTITY, entity_id=after.id, after=change)
    await emit(
        tx,
        "subscription.plan_changed",
        entity=ENTITY,
        entity_id=after.id,
        ref=after.ref,
        customer_id=after.customer_id,
        currency=after.currency,
        changed_at=changed_at.isoformat(),
        **change,
    )
    return after


def _not_before(tx: Tx, row: Subscription) -> datetime:
    """Now; but who waited for another change has the earlier time, and terms that overlap would be billed wrongly."""
    return max(tx.now, row.updated_at)


def _check_may_change(before: Subscription, plan: Plan) -> None:
    if before.status != SubscriptionStatus.ACTIVE:
        raise Conflict(
            f"a subscription that is {before.status} cannot change its plan; allowed from here: nothing: it is final",
            code="ILLEGAL_STATE_CHANGE",
        )
    if plan.id == before.plan_id:
        raise Conflict(f"the subscription {before.ref} is of plan {plan.ref} already", code="SAME_PLAN")
    _check_sold(plan)
    if plan.currency != before.currency:
        raise Conflict(
            f"plan {plan.ref} is sold in {plan.currency}, the subscription runs in {before.currency}; "
            "open another subscription",
            code="CURRENCY_MISMATCH",
        )


def _check_sold(plan: Plan) -> None:
    if plan.status != PlanStatus.ACTIVE:
        raise Conflict(f"plan {plan.ref} is retired and not sold any more", code="PLAN_RETIRED")


async def _check_customer(tx: Tx, customer_id: int) -> None:
    customer = await hold_customer(tx, (await get_customer_by_id(tx, customer_id)).uid)
    if customer.status != CustomerStatus.ACTIVE:
        raise Conflict(f"customer {customer.uid} is {customer.status}; only an active customer can subscribe")


def _check_existing(found: Subscription, *, customer_id: int, plan_id: int) -> Subscription:
    if found.customer_id != customer_id:
        raise Conflict(
            f"the subscription {found.ref} is another customer's; choose another subscription_id",
            code="SUBSCRIPTION_TAKEN",
        )
    if found.plan_id != plan_id:
        raise Conflict(
            f"the subscription {found.ref} is of another plan; choose another subscription_id",
            code="SUBSCRIPTION_OF_ANOTHER_PLAN",
        )
    if found.status != SubscriptionStatus.ACTIVE:
        raise Conflict(
            f"the subscription {found.ref} was canceled; choose another subscription_id",
            code="SUBSCRIPTION_CANCELED",
        )
    return found


async def cancel_subscription(tx: Tx, *, subscription_id: int, reason: str = "") -> Subscription:
    """End the agreement now; a canceled subscription stays canceled.

    Raises:
        NotFound: no such subscription.
        Conflict: it is canceled already.
    """
    before = await hold_subscription(tx, subscription_id)
    after = await change_status(
        tx,
        SUBSCRIPTION_STATES,
        subscription,
        Subscription,
        entity_id=before.id,
        current=SubscriptionStatus(before.status),
        target=SubscriptionStatus.CANCELED,
        reason=reason,
        canceled_at=_not_before(tx, before),
    )
    await record(
        tx,
        "subscription.cancel",
        entity=ENTITY,
        entity_id=after.id,
        before={"status": before.status},
        after={"status": after.status},
    )
    await emit(
        tx,
        "subscription.canceled",
        entity=ENTITY,
        entity_id=after.id,
        ref=after.ref,
        customer_id=after.customer_id,
    )
    return after
