"""What bringing a service up consists of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict
from demarc.kernel.jobs import Work
from demarc.modules.customers.queries import get_customer_by_id
from demarc.modules.customers.states import CustomerStatus
from demarc.modules.services.queries import Service
from demarc.modules.services.service import activate_when_free
from demarc.modules.subscriptions.queries import get_subscription_by_id
from demarc.modules.subscriptions.states import SubscriptionStatus

Detail = dict[str, Any]


async def undo_nothing(_tx: Tx, _service: Service, _detail: Detail) -> None:
    """For a step that leaves nothing behind."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the sequence, known by its name in the database.

    Args:
        name: stays the same for ever; a service that is half-way up knows its steps by it.
        perform: changes our own state in one transaction, given what `call` brought; answers with what to keep.
        undo: takes that back in one transaction, when a later step failed for good or the service ends.
        call: work outside, with no transaction open. It may run again after a crash, so it looks up by the
            service's uid what an earlier run has made. `Unavailable` is tried again, any other refusal is final.
        recall: takes the work outside back, in the same manner.
    """

    name: str
    perform: Callable[[Tx, Service, Detail], Awaitable[Detail]]
    undo: Callable[[Tx, Service, Detail], Awaitable[None]] = undo_nothing
    call: Callable[[Work, Service], Awaitable[Detail]] | None = None
    recall: Callable[[Work, Service, Detail], Awaitable[None]] | None = None


async def check_agreement(tx: Tx, service: Service, _: Detail) -> Detail:
    """The customer and the subscription still want it.

    Raises:
        Conflict: one of them is no longer active.
    """
    customer = await get_customer_by_id(tx, service.customer_id)
    if customer.status != CustomerStatus.ACTIVE:
        raise Conflict(f"customer {customer.uid} is {customer.status}", code="CUSTOMER_NOT_ACTIVE")
    agreement = await get_subscription_by_id(tx, service.subscription_id)
    if agreement.status != SubscriptionStatus.ACTIVE:
        raise Conflict(f"subscription {agreement.ref} is {agreement.status}", code="SUBSCRIPTION_CANCELED")
    return {}


async def activate(tx: Tx, service: Service, _: Detail) -> Detail:
    """On line, or as soon as the last lock is lifted; its subscribers' log-ins follow in the same transaction."""
    await activate_when_free(tx, service.id)
    return {}


STEPS: dict[str, Step] = {
    step.name: step for step in (Step("check_agreement", check_agreement), Step("activate", activate))
}
"""Every step that a service may go through."""


def steps_for(*, auto_activate: bool) -> tuple[str, ...]:
    """The sequence of an order."""
    return ("check_agreement", "activate") if auto_activate else ("check_agreement",)
