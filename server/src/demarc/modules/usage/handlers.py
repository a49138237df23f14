"""What usage follows: a service is sold with its plan's data cap, in the same transaction."""

from __future__ import annotations

from demarc.kernel.db import Tx
from demarc.kernel.outbox import Event, projects
from demarc.modules.catalog.queries import get_plan_by_id
from demarc.modules.services.queries import get_service_by_id
from demarc.modules.usage.caps import follow_plan, remove_cap
from demarc.modules.usage.service import close_open


@projects("service.created")
async def cap_as_sold(tx: Tx, event: Event) -> None:
    """A plan's cap becomes the service's own."""
    service = await get_service_by_id(tx, event.entity_id)
    plan = await get_plan_by_id(tx, service.plan_id)
    if plan.cap_octets is not None:
        await follow_plan(tx, service, plan)


@projects("service.plan_changed")
async def cap_as_changed(tx: Tx, event: Event) -> None:
    """Another plan, another cap, or none; what was carried this month counts on."""
    service = await get_service_by_id(tx, event.entity_id)
    await follow_plan(tx, service, await get_plan_by_id(tx, service.plan_id))


@projects("subscription.plan_changed")
async def part_what_is_metered(tx: Tx, event: Event) -> None:
    """A session goes on over a change of plan; what it uses afterwards is the new plan's."""
    await close_open(tx, subscription_id=event.entity_id)


@projects("service.terminated")
async def uncap_what_is_over(tx: Tx, event: Event) -> None:
    """Nobody is told of a service that is over."""
    await remove_cap(tx, await get_service_by_id(tx, event.entity_id))
