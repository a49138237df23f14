"""A service has used its data up: its customer is told, the line is throttled, charged or blocked, and comes back.

`usage` counts and notes what was reached, in the ingester's transaction. What follows is here: the messages (one for each threshold
of an allowance) and the policy on the line, which `access` tells the NAS by CoA. A policy lasts until the tenant's month ends.
"""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID, uuid4

import msgspec

from demarc.kernel.clock import local_date, next_month_start
from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, Invalid
from demarc.kernel.jobs import Work, defer, job
from demarc.kernel.logs import logger
from demarc.kernel.outbox import Event, projects
from demarc.modules.access.inputs import BITS_PER_MEGABIT, NewPolicy
from demarc.modules.access.service import lift_service_policy, place_policy
from demarc.modules.access.states import PolicyKind
from demarc.modules.catalog.inputs import TOP_UP_TYPE, NewDataCap, gb_to_octets
from demarc.modules.catalog.queries import find_usage_price
from demarc.modules.catalog.service import check_can_charge
from demarc.modules.catalog.states import CapAction
from demarc.modules.customers.queries import get_customer_by_id
from demarc.modules.notifications.errors import TemplateMissing
from demarc.modules.notifications.service import queue_notification
from demarc.modules.notifications.states import Channel
from demarc.modules.services.queries import Service, get_service_by_id, hold_service
from demarc.modules.subscriptions.queries import get_subscription_by_id
from demarc.modules.usage.caps import (
    CapStanding,
    Crossing,
    TopUp,
    add_top_up,
    current_month,
    find_cap,
    get_cap,
    list_waiting_crossings,
    remove_cap,
    set_cap,
    settle_crossing,
    take_crossing,
    take_crossing_of,
)
from demarc.modules.usage.inputs import NewUsage
from demarc.modules.usage.rules import octets_to_gb
from demarc.modules.usage.service import record_usage
from demarc.modules.usage.states import CrossingOutcome

_LOG = logger(__name__)
FAIR_USE_REASON = "data limit reached"
TOP_UP_SYSTEM = "top_up"
_SHOWN = Decimal("0.1")


class ActOnCrossing(msgspec.Struct, frozen=True):
    """Which reached threshold."""

    crossing_id: int


@job("data_caps.act", ActOnCrossing, attempts=10)
async def act_on_crossing(work: Work, payload: ActOnCrossing) -> None:
    """Do what follows from one threshold that was reached, unless somebody has."""
    async with work.begin() as tx:
        crossing = await take_crossing(tx, payload.crossing_id)
        if crossing is not None:
            await settle_crossing(tx, crossing, await _act(tx, crossing))


async def queue_crossings(tx: Tx) -> int:
    """Queue a job for every reached threshold that waits; how many. One that waits or runs already is not queued twice.

    Each is a job of its own, so that one that cannot be acted on holds up nobody else's.
    """
    waiting = await list_waiting_crossings(tx)
    for crossing_id in waiting:
        key = f"data_caps.act:{tx.tenant.id}:{crossing_id}"
        await defer(tx, act_on_crossing, ActOnCrossing(crossing_id), dedupe_key=key)
    return len(waiting)


async def _act_on_service(tx: Tx, service_id: int) -> None:
    """At once, for a service that the transaction holds."""
    while (crossing := await take_crossing_of(tx, service_id)) is not None:
        await settle_crossing(tx, crossing, await _act(tx, crossing))


async def _act(tx: Tx, crossing: Crossing) -> CrossingOutcome:
    service = await hold_service(tx, crossing.service_id)
    if crossing.month_on < current_month(tx):
        return CrossingOutcome.LATE
    cap = await find_cap(tx, service.id)
    if cap is None or cap.allowance_octets != crossing.allowance_octets:
        return CrossingOutcome.SURPASSED
    if crossing.threshold >= 100:  # noqa: PLR2004 - per cent
        await enforce_cap(tx, service.id)
    return await _tell_customer(tx, service, cap, crossing)


async def enforce_cap(tx: Tx, service_id: int) -> None:
    """Make the policy on the line what the cap and this month's usage ask for; again changes nothing."""
    cap = await find_cap(tx, service_id)
    wanted = None if cap is None or not cap.is_used_up else _policy(tx, cap)
    if wanted is None:
        await lift_service_policy(tx, service_id, PolicyKind.FAIR_USE, reason="data allowance not used up")
    else:
        await place_policy(tx, wanted)


def _policy(tx: Tx, cap: CapStanding) -> NewPolicy | None:
    """What a used-up cap does to the line; None: nothing."""
    if cap.action not in (CapAction.THROTTLE, CapAction.BLOCK):
        return None
    return NewPolicy(
        service_id=cap.service_id,
        kind=PolicyKind.FAIR_USE,
        download_bps=cap.download_bps,
        upload_bps=cap.upload_bps,
        blocks=cap.action == CapAction.BLOCK,
        reason=FAIR_USE_REASON,
        expires_at=next_month_start(tx.now, tx.tenant.time_zone),
    )


async def _tell_customer(tx: Tx, service: Service, cap: CapStanding, crossing: Crossing) -> CrossingOutcome:
    """By e-mail, else by SMS. That nobody can be told holds nothing up."""
    customer = await get_customer_by_id(tx, service.customer_id)
    channel, recipient = (Channel.EMAIL, customer.email) if customer.email else (Channel.SMS, customer.phone)
    if not recipient:
        return CrossingOutcome.UNREACHABLE
    context = _context(tx, service, cap, crossing) | {"customer_name": customer.name}
    try:
        async with tx.connection.transaction():
            await queue_notification(
                tx,
                customer_id=customer.id,
                channel=channel,
                template=f"data_usage_{crossing.threshold}",
                recipient=recipient,
                about=f"data_usage:{crossing.id}",
                context=context,
                language=customer.language,
            )
    except (TemplateMissing, Invalid) as error:
        _LOG.error("a customer is not told of used-up data", crossing=crossing.id, reason=error.message)
        return CrossingOutcome.UNREACHABLE
    return CrossingOutcome.TOLD


def _context(tx: Tx, service: Service, cap: CapStanding, crossing: Crossing) -> dict[str, object]:
    return {
        "company_name": str(tx.tenant.settings.get("company_name") or tx.tenant.slug),
        "service_name": service.name,
        "used_gb": _shown_gb(crossing.used_octets),
        "allowance_gb": _shown_gb(crossing.allowance_octets),
        "percent": crossing.threshold,
        "action": cap.action,
        "download_mbps": f"{(cap.download_bps or 0) / BITS_PER_MEGABIT:g}",
        "upload_mbps": f"{(cap.upload_bps or 0) / BITS_PER_MEGABIT:g}",
        "renews_on": local_date(
            next_month_start(tx.now, tx.tenant.time_zone), tx.tenant.time_zone
        ).isoformat(),
    }


def _shown_gb(octets: int) -> str:
    """One decimal, without a trailing zero."""
    return f"{octets_to_gb(octets).quantize(_SHOWN):f}".removesuffix(".0")


async def cap_service(tx: Tx, service: Service, new: NewDataCap) -> CapStanding:
    """Set a service's own cap, in place of the one it was sold with; the line follows at once.

    Raises:
        Conflict: the cap charges what is over, and the service's plan has no package price (NO_PACKAGE_PRICE).
    """
    await hold_service(tx, service.id)
    if new.action is CapAction.CHARGE:
        await check_can_charge(tx, service.plan_id)
    await set_cap(tx, service, new)
    await _act_on_service(tx, service.id)
    await enforce_cap(tx, service.id)
    return await get_cap(tx, service.id)


async def uncap_service(tx: Tx, service: Service) -> None:
    """Take the cap away, and what it did to the line.

    Raises:
        NotFound: the service has none.
    """
    await hold_service(tx, service.id)
    await get_cap(tx, service.id)
    await remove_cap(tx, service)
    await enforce_cap(tx, service.id)


async def top_up(tx: Tx, service: Service, *, gb: Decimal, is_bought: bool, reason: str = "") -> TopUp:
    """Let a service carry more this month: bought, on the next invoice, or given. A throttled line is fast again at once.

    Raises:
        NotFound: the service has no cap.
        Conflict: it is bought, and the plan has no price for it (NO_TOP_UP_PRICE).
    """
    octets = gb_to_octets(gb, field="gb")
    await hold_service(tx, service.id)
    cap = await get_cap(tx, service.id)
    uid = uuid4()
    record_id = await _bill_top_up(tx, service, gb, uid) if is_bought else None
    made = await add_top_up(tx, cap, uid=uid, octets=octets, usage_record_id=record_id, reason=reason)
    await _act_on_service(tx, service.id)
    await enforce_cap(tx, service.id)
    return made


async def _bill_top_up(tx: Tx, service: Service, gb: Decimal, uid: UUID) -> int:
    """The usage record that the next invoice bills."""
    price = await find_usage_price(tx, service.plan_id, TOP_UP_TYPE, local_date(tx.now, tx.tenant.time_zone))
    if price is None:
        raise Conflict(
            f"the plan has no usage price of the type {TOP_UP_TYPE}; set one, or give the data (grant: true)",
            code="NO_TOP_UP_PRICE",
        )
    subscription = await get_subscription_by_id(tx, service.subscription_id)
    new = NewUsage(
        subscription_id=subscription.ref,
        usage_type=TOP_UP_TYPE,
        quantity=gb,
        unit=price.unit,
        period_start=tx.now,
        period_end=tx.now,
        source_system=TOP_UP_SYSTEM,
        source_record_id=str(uid),
        description=f"Data top-up of {service.identifier}",
    )
    record, _ = await record_usage(tx, new)
    return record.id


@projects("service.plan_changed")
async def enforce_new_plan(tx: Tx, event: Event) -> None:
    """The cap of the new plan holds at once: `usage` has taken it over in this transaction."""
    service = await get_service_by_id(tx, event.entity_id)
    await enforce_cap(tx, service.id)
