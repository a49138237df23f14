"""What dunning does when something happened elsewhere, or in itself."""

from __future__ import annotations

from demarc.kernel.db import Tx
from demarc.kernel.jobs import defer
from demarc.kernel.outbox import Event, handles, projects
from demarc.modules.dunning.jobs import PostWebhook, post_webhook
from demarc.modules.dunning.service import (
    Effect,
    collect_payment,
    release_invoices,
    run_due_step,
    settle_notification,
    start_execution_for,
)
from demarc.modules.dunning.states import ActionOutcome, ActionType


@handles("payment.received")
async def payment_received(tx: Tx, event: Event) -> None:
    """Completes the executions that the money settles, and puts their services back on line."""
    for subscription_id in event.payload["subscription_ids"]:
        await collect_payment(tx, subscription_id)


@handles("invoice.paid")
async def invoice_paid(tx: Tx, event: Event) -> None:
    """Also by credit that a customer had, which is no payment that is received."""
    await _collect(tx, event)


@handles("invoice.voided")
async def invoice_voided(tx: Tx, event: Event) -> None:
    """A debt that was struck out is not collected."""
    await _collect(tx, event)


@handles("invoice.updated")
async def invoice_updated(tx: Tx, event: Event) -> None:
    """A due date that was put off leaves nothing overdue, until it has passed too."""
    await _collect(tx, event)
    if "due_on" in event.payload["fields"]:
        await release_invoices(tx, [event.entity_id])


@handles("credit_note.issued")
async def credit_note_issued(tx: Tx, event: Event) -> None:
    """What was taken back is not collected."""
    await _collect(tx, event)


@handles("payment.reversed")
async def payment_reversed(tx: Tx, event: Event) -> None:
    """What it had paid is collected again, at once where a campaign's time has come."""
    for subscription_id in event.payload["subscription_ids"]:
        await collect_payment(tx, subscription_id)
    await release_invoices(tx, event.payload["invoice_ids"])
    for invoice_id in event.payload["invoice_ids"]:
        await start_execution_for(tx, invoice_id)


async def _collect(tx: Tx, event: Event) -> None:
    subscription_id = event.payload.get("subscription_id")
    if subscription_id is not None:
        await collect_payment(tx, subscription_id)


@handles("notification.sent")
async def notification_sent(tx: Tx, event: Event) -> None:
    """The step that waited for it is done."""
    await settle_notification(tx, event.entity_id, Effect(ActionOutcome.DONE, "sent"))


@handles("notification.failed")
async def notification_failed(tx: Tx, event: Event) -> None:
    """The step that waited for it is tried again, unless only the transport failed."""
    effect = Effect(ActionOutcome.FAILED, event.payload["reason"])
    await settle_notification(tx, event.entity_id, effect, transport=event.payload["transport"])


@handles("dunning.execution_started")
async def execution_started(tx: Tx, event: Event) -> None:
    """A first step without delay acts at once, not at the next sweep."""
    await run_due_step(tx, event.entity_id)


@projects("dunning.step_acted")
async def post_after_commit(tx: Tx, event: Event) -> None:
    """A webhook step is posted by a job of the transaction that logged it."""
    if event.payload["type"] == ActionType.WEBHOOK and event.payload["outcome"] == ActionOutcome.WAITING:
        await defer(tx, post_webhook, PostWebhook(event.payload["action_id"]))
