"""Writes of executions: starting, pausing, ending; `service` is their public face."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import BigInteger, any_, bindparam, update
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.clock import local_date
from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.kernel.outbox import emit
from demarc.kernel.paging import Window
from demarc.kernel.sql import Query, mine
from demarc.kernel.states import change_status, record_status_change
from demarc.modules.audit.service import record
from demarc.modules.billing.queries import (
    Invoice,
    get_invoice,
    get_invoice_by_id,
    lifetime_value,
    list_invoices,
    overdue_balance,
)
from demarc.modules.billing.states import InvoiceStatus
from demarc.modules.customers.queries import Customer, get_customer, get_customer_by_id
from demarc.modules.dunning.errors import AlreadyRunning, CampaignInactive, Excluded, NothingOverdue
from demarc.modules.dunning.inputs import NewExecution
from demarc.modules.dunning.models import dunning_execution
from demarc.modules.dunning.queries import (
    Campaign,
    Execution,
    count_actions,
    find_running_execution,
    get_campaign_to_start,
    get_execution_to_change,
    list_active_campaigns,
    taken_invoices,
    taken_subscriptions,
)
from demarc.modules.dunning.rules import after_pause, days_overdue, due_at, excluding_rule
from demarc.modules.dunning.states import EXECUTION, ExecutionStatus
from demarc.modules.subscriptions.queries import get_subscription

ENTITY = EXECUTION.entity
_PAGE = 500
_RELEASE = Query(
    update(dunning_execution)
    .where(
        mine(dunning_execution),
        dunning_execution.c.invoice_id == any_(bindparam("ids", type_=ARRAY(BigInteger))),
        dunning_execution.c.status == ExecutionStatus.COMPLETED.value,
    )
    .values(released_at=bindparam("released_at", type_=dunning_execution.c.released_at.type))
)


def tolerance_minor(tx: Tx) -> int:
    """The debt that the tenant does not collect (setting `dunning_tolerance_minor`), minor units."""
    return int(str(tx.tenant.settings.get("dunning_tolerance_minor", 0)))


async def start_execution(tx: Tx, new: NewExecution) -> Execution:
    """Start by hand; earlier than the campaign's `trigger_after_days` is allowed.

    Raises:
        NotFound: campaign, subscription, customer or invoice is not known.
        Invalid: subscription or invoice is another customer's.
        CampaignInactive: the campaign is switched off.
        NothingOverdue: the invoice is settled, or the subscription owes nothing that is past due.
        Excluded: a rule of the campaign leaves this customer alone; the message names it.
        AlreadyRunning: the subscription has an execution that has not ended.
    """
    campaign = await get_campaign_to_start(tx, new.campaign_uid)
    customer = await get_customer(tx, new.customer_uid)
    subscription_id = await _subscription_of(tx, customer, new.subscription_ref)
    invoice = await get_invoice(tx, new.invoice_ref)
    if invoice.customer_id != customer.id or invoice.subscription_id != subscription_id:
        raise invalid("invoice_id", f"{invoice.ref} is not an invoice of subscription {new.subscription_ref}")
    if not campaign.is_active:
        raise CampaignInactive(f"the campaign {campaign.name!r} is not active; set is_active to true first")
    await _refuse_second(tx, subscription_id)
    await _refuse_settled(tx, invoice, subscription_id)
    rule = await _excluding(tx, campaign, customer)
    if rule is not None:
        raise Excluded(f"the campaign's exclusion rules leave this customer alone: {rule}")
    return await _start(tx, campaign, invoice, subscription_id, new.outstanding_minor)


async def _subscription_of(tx: Tx, customer: Customer, ref: str) -> int:
    subscription = await get_subscription(tx, ref)
    if subscription.customer_id != customer.id:
        raise invalid("subscription_id", f"{ref} is not a subscription of customer {customer.uid}")
    return subscription.id


async def _refuse_second(tx: Tx, subscription_id: int) -> None:
    running = await find_running_execution(tx, subscription_id)
    if running is not None:
        raise AlreadyRunning(
            f"execution {running.uid} of this subscription is {running.status}; one runs at a time"
        )


async def _refuse_settled(tx: Tx, invoice: Invoice, subscription_id: int) -> None:
    if invoice.status not in (InvoiceStatus.PENDING, InvoiceStatus.OVERDUE):
        raise NothingOverdue(f"invoice {invoice.ref} is {invoice.status}: there is nothing to collect")
    if await overdue_balance(tx, subscription_id) <= tolerance_minor(tx):
        raise NothingOverdue(
            f"invoice {invoice.ref} is due on {invoice.due_on} and the subscription owes nothing that is past due"
        )


async def _excluding(tx: Tx, campaign: Campaign, customer: Customer) -> str | None:
    rules = campaign.exclusions
    paid = await lifetime_value(tx, customer.id) if rules.min_lifetime_minor is not None else 0
    return excluding_rule(rules, tier=customer.tier, tags=customer.tags, lifetime_minor=paid)


async def _start(
    tx: Tx, campaign: Campaign, invoice: Invoice, subscription_id: int, outstanding_minor: int
) -> Execution:
    values = {
        "campaign_id": campaign.id,
        "subscription_id": subscription_id,
        "customer_id": invoice.customer_id,
        "invoice_id": invoice.id,
        "outstanding_minor": outstanding_minor,
        "status": ExecutionStatus.PENDING.value,
        "actions": campaign.actions,
        "max_retries": campaign.max_retries,
        "retry_interval_days": campaign.retry_interval_days,
        "next_action_at": due_at(tx.now, campaign.steps[0].delay_days),
        **dict.fromkeys(("started_at", "created_at", "updated_at"), tx.now),
    }
    try:
        async with tx.connection.transaction():
            made = await tx.insert(dunning_execution, Execution, **values)
    except asyncpg.UniqueViolationError:
        raise AlreadyRunning("an execution of this subscription was started at the same time") from None
    await record_status_change(tx, entity=ENTITY, entity_id=made.id, from_status=None, to_status=made.status)
    await record(tx, "dunning_execution.start", entity=ENTITY, entity_id=made.id, after=asdict(made))
    await emit(tx, "dunning.execution_started", entity=ENTITY, entity_id=made.id, execution_uid=str(made.uid))
    return made


async def pause_execution(tx: Tx, uid: UUID, *, reason: str = "") -> Execution:
    """Hold the ladder; a payment still completes it.

    Raises:
        NotFound: no such execution.
        Conflict: it has ended, or is paused already.
    """
    execution = await get_execution_to_change(tx, uid)
    paused = await move(tx, execution, ExecutionStatus.PAUSED, reason=reason, paused_at=tx.now)
    return await _told(tx, "paused", execution, paused, reason)


async def resume_execution(tx: Tx, uid: UUID, *, reason: str = "") -> Execution:
    """Go on: the time that was left to the next step when it was paused is left again.

    Raises:
        NotFound: no such execution.
        Conflict: it is not paused.
    """
    execution = await get_execution_to_change(tx, uid)
    acted = await count_actions(tx, execution.id) > 0
    target = ExecutionStatus.IN_PROGRESS if acted else ExecutionStatus.PENDING
    due = after_pause(execution.next_action_at, paused_at=execution.paused_at or tx.now, now=tx.now)
    resumed = await move(tx, execution, target, reason=reason, paused_at=None, next_action_at=due)
    return await _told(tx, "resumed", execution, resumed, reason)


async def cancel_execution(tx: Tx, uid: UUID, *, reason: str = "") -> Execution:
    """Stop collecting. What it did stays: a suspended service comes back with a payment or is resumed by hand.

    Raises:
        NotFound: no such execution.
        Conflict: it has ended.
    """
    execution = await get_execution_to_change(tx, uid)
    canceled = await move(
        tx, execution, ExecutionStatus.CANCELED, reason=reason, completed_at=tx.now, next_action_at=None
    )
    return await _told(tx, "canceled", execution, canceled, reason)


async def _told(tx: Tx, verb: str, before: Execution, after: Execution, reason: str) -> Execution:
    await record(
        tx,
        f"dunning_execution.{verb}",
        entity=ENTITY,
        entity_id=after.id,
        before={"status": before.status},
        after={"status": after.status, "reason": reason},
    )
    await emit(
        tx, f"dunning.execution_{verb}", entity=ENTITY, entity_id=after.id, execution_uid=str(after.uid)
    )
    return after


async def move(
    tx: Tx, execution: Execution, target: ExecutionStatus, *, reason: str = "", **values: Any
) -> Execution:
    """Change the status by the transition table; the caller holds the row."""
    return await change_status(
        tx,
        EXECUTION,
        dunning_execution,
        Execution,
        entity_id=execution.id,
        current=ExecutionStatus(execution.status),
        target=target,
        reason=reason,
        **values,
    )


async def start_due_executions(tx: Tx) -> int:
    """Start an execution for each subscription with an invoice that is overdue for long enough; how many."""
    return sum([await start_execution_for(tx, one) for one in await list_invoices_to_collect(tx)])


async def list_invoices_to_collect(tx: Tx) -> list[int]:
    """The oldest invoice of each subscription that nobody collects yet and that is old enough for a campaign.

    An invoice is collected by one execution ever, whatever became of it, so that what a person canceled is not
    started again.
    """
    campaigns = await list_active_campaigns(tx)
    if not campaigns:
        return []
    soonest = min(campaign.trigger_after_days for campaign in campaigns)
    oldest: dict[int, Invoice] = {}
    window = Window(0, _PAGE)
    while True:
        page = await list_invoices(tx, window, status=InvoiceStatus.OVERDUE.value, sort="due_date")
        for invoice in await _untaken(tx, [one for one in page.rows if _age(tx, one) >= soonest]):
            oldest.setdefault(invoice.subscription_id or 0, invoice)
        if len(page.rows) < _PAGE:
            return [invoice.id for invoice in oldest.values()]
        window = Window(window.skip + _PAGE, _PAGE)


async def release_invoices(tx: Tx, invoice_ids: list[int]) -> None:
    """A payment was reversed or a due date put off: those whose execution had completed may be collected once more."""
    await tx.execute(_RELEASE, ids=invoice_ids, released_at=tx.now)


def _age(tx: Tx, invoice: Invoice) -> int:
    return days_overdue(invoice.issued_on, invoice.due_on, local_date(tx.now, tx.tenant.time_zone))


async def _untaken(tx: Tx, invoices: list[Invoice]) -> list[Invoice]:
    invoices = [invoice for invoice in invoices if invoice.subscription_id is not None]
    busy = await taken_subscriptions(tx, [invoice.subscription_id or 0 for invoice in invoices])
    known = await taken_invoices(tx, [invoice.id for invoice in invoices])
    return [
        invoice for invoice in invoices if invoice.subscription_id not in busy and invoice.id not in known
    ]


async def start_execution_for(tx: Tx, invoice_id: int) -> bool:
    """Start collecting one invoice of `list_invoices_to_collect`; False when no campaign takes it.

    The first campaign that takes the customer wins, in the order of `list_active_campaigns`.
    """
    invoice = await get_invoice_by_id(tx, invoice_id)
    if invoice.status != InvoiceStatus.OVERDUE or not await _untaken(tx, [invoice]):
        return False
    age = _age(tx, invoice)
    willing = [one for one in await list_active_campaigns(tx) if one.trigger_after_days <= age]
    subscription_id = invoice.subscription_id or 0
    owed = await overdue_balance(tx, subscription_id)
    if owed <= tolerance_minor(tx):
        return False
    customer = await get_customer_by_id(tx, invoice.customer_id)
    for campaign in willing:
        if await _excluding(tx, campaign, customer) is None:
            return await _start_unless_running(tx, campaign, invoice, subscription_id, owed)
    return False


async def _start_unless_running(
    tx: Tx, campaign: Campaign, invoice: Invoice, subscription_id: int, owed: int
) -> bool:
    try:
        await _start(tx, campaign, invoice, subscription_id, owed)
    except AlreadyRunning:
        return False
    return True
