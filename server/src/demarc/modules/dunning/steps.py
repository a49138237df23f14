"""What a step does, and what becomes of the ladder after it; `service` is the public face."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from demarc.kernel.clock import local_date
from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from demarc.kernel.money import Money
from demarc.kernel.outbox import emit
from demarc.modules.audit.service import record
from demarc.modules.billing.queries import get_invoice_by_id, overdue_balance, recovered_since
from demarc.modules.customers.queries import get_customer_by_id
from demarc.modules.dunning.executions import ENTITY, move, tolerance_minor
from demarc.modules.dunning.inputs import Action
from demarc.modules.dunning.models import dunning_action, dunning_execution
from demarc.modules.dunning.queries import (
    Execution,
    StepLog,
    claim_due_execution,
    claim_due_executions,
    find_action_of_notification,
    find_present_action,
    find_running_execution_to_change,
    get_action_by_id,
    get_execution_by_id_to_change,
)
from demarc.modules.dunning.rules import HOLD, MAX_FAILURES, PUT_BACK, days_overdue, due_at
from demarc.modules.dunning.states import ActionOutcome, ActionType, ExecutionStatus
from demarc.modules.notifications.service import queue_notification
from demarc.modules.notifications.states import Channel
from demarc.modules.services.queries import Service, list_open_locks, list_services_of_subscription
from demarc.modules.services.service import lift_lock, place_lock, terminate_service
from demarc.modules.services.states import LockKind, ServiceStatus

BATCH = 20
_DETAIL_LENGTH = 500
_REFUSALS = (Conflict, NotFound, Invalid, Forbidden)
"""What fails a step for good; anything else (the database is away) undoes it and is tried again at the next sweep."""


@dataclass(frozen=True, slots=True)
class Effect:
    """How one attempt of a step ended, as far as it is known."""

    outcome: ActionOutcome
    detail: str = ""
    notification_id: int | None = None


async def run_due_steps(tx: Tx, *, batch: int = BATCH) -> int:
    """Act on executions whose next action is due; how many (0: nothing is due, or other workers have it).

    Each is claimed with SKIP LOCKED, so that two sweeps at once do each step once, and takes effect or fails by
    itself. Call it again, in a transaction of its own, until it answers 0.
    """
    claimed = await claim_due_executions(tx, batch=batch)
    for execution in claimed:
        await _act(tx, execution)
    return len(claimed)


async def run_due_step(tx: Tx, execution_id: int) -> bool:
    """As `run_due_steps`, for one; False when it is not due, or another worker has it."""
    execution = await claim_due_execution(tx, execution_id)
    if execution is not None:
        await _act(tx, execution)
    return execution is not None


async def put_back(tx: Tx, execution_id: int, reason: str) -> None:
    """Its step ended in an error that nobody foresaw and is undone: try it again later, a few times."""
    execution = await get_execution_by_id_to_change(tx, execution_id)
    if not execution.is_running:
        return
    failures = execution.failures + 1
    if failures < MAX_FAILURES:
        await _set(tx, execution, failures=failures, next_action_at=tx.now + PUT_BACK)
        return
    why = f"step {execution.current_step + 1} ended in an unexpected error {failures} times: {reason}"
    await _fail(tx, execution, why)


async def _act(tx: Tx, execution: Execution) -> None:
    if await complete_if_settled(tx, execution):
        return
    present = await find_present_action(tx, execution)
    if present is not None:
        await _go_on_without(tx, execution, present)
        return
    action = execution.steps[execution.current_step]
    effect = await _attempt(tx, execution, action)
    await _log(tx, execution, action, effect)
    await _after(tx, await _in_progress(tx, execution), effect, acted_at=tx.now)


async def _go_on_without(tx: Tx, execution: Execution, present: StepLog) -> None:
    """A day has passed and nobody knows whether the message arrived: the ladder is held no longer."""
    detail = "its outcome was not known after a day; the ladder went on"
    await tx.update(dunning_action, StepLog, {"id": present.id}, detail=detail)
    await _advance(tx, execution, acted_at=present.acted_at)


async def _attempt(tx: Tx, execution: Execution, action: Action) -> Effect:
    try:
        async with tx.connection.transaction():
            return await _EFFECTS[action.type](tx, execution, action)
    except _REFUSALS as refusal:
        return Effect(ActionOutcome.FAILED, refusal.message)


async def _log(tx: Tx, execution: Execution, action: Action, effect: Effect) -> None:
    settled = effect.outcome is not ActionOutcome.WAITING
    logged = await tx.insert(
        dunning_action,
        StepLog,
        execution_id=execution.id,
        step=execution.current_step,
        attempt=execution.retries,
        type=action.type.value,
        outcome=effect.outcome.value,
        detail=effect.detail[:_DETAIL_LENGTH],
        notification_id=effect.notification_id,
        acted_at=tx.now,
        settled_at=tx.now if settled else None,
    )
    await emit(
        tx,
        "dunning.step_acted",
        entity=ENTITY,
        entity_id=execution.id,
        execution_uid=str(execution.uid),
        action_id=logged.id,
        step=logged.step,
        type=logged.type,
        outcome=logged.outcome,
    )


async def _in_progress(tx: Tx, execution: Execution) -> Execution:
    if execution.status == ExecutionStatus.IN_PROGRESS:
        return execution
    return await move(tx, execution, ExecutionStatus.IN_PROGRESS)


async def _after(tx: Tx, execution: Execution, effect: Effect, *, acted_at: datetime) -> None:
    if effect.outcome is ActionOutcome.DONE:
        await _advance(tx, execution, acted_at=acted_at)
    elif effect.outcome is ActionOutcome.WAITING:
        await _set(tx, execution, failures=0, next_action_at=acted_at + HOLD)
    else:
        await _retry_or_fail(tx, execution, effect.detail)


async def _advance(tx: Tx, execution: Execution, *, acted_at: datetime) -> None:
    """To the next step; after the last one only a payment (or a person) ends the execution."""
    step = execution.current_step + 1
    steps = execution.steps
    due = due_at(acted_at, steps[step].delay_days) if step < len(steps) else None
    await _set(tx, execution, current_step=step, retries=0, failures=0, next_action_at=due)


async def _retry_or_fail(tx: Tx, execution: Execution, detail: str) -> None:
    if execution.retries < execution.max_retries:
        again_at = tx.now + timedelta(days=execution.retry_interval_days)
        await _set(tx, execution, retries=execution.retries + 1, failures=0, next_action_at=again_at)
        return
    await _fail(
        tx, execution, f"step {execution.current_step + 1} failed {execution.retries + 1} times: {detail}"
    )


async def _fail(tx: Tx, execution: Execution, reason: str) -> None:
    failed = await move(
        tx, execution, ExecutionStatus.FAILED, reason=reason, completed_at=tx.now, next_action_at=None
    )
    await emit(
        tx, "dunning.execution_failed", entity=ENTITY, entity_id=failed.id, execution_uid=str(failed.uid)
    )


async def _set(tx: Tx, execution: Execution, **values: Any) -> Execution:
    return await tx.update(dunning_execution, Execution, {"id": execution.id}, **values, updated_at=tx.now)


async def settle_action(tx: Tx, action_id: int, effect: Effect, *, transport: bool = False) -> None:
    """The outcome of a waiting step is known.

    Args:
        tx: the caller's transaction.
        action_id: the line of the log.
        effect: done or failed.
        transport: it failed because nobody answered; the ladder goes on instead of trying again.
    """
    action = await get_action_by_id(tx, action_id)
    execution = await get_execution_by_id_to_change(tx, action.execution_id)
    action = await get_action_by_id(tx, action_id)
    if action.outcome != ActionOutcome.WAITING:
        return
    await tx.update(
        dunning_action,
        StepLog,
        {"id": action.id},
        outcome=effect.outcome.value,
        detail=effect.detail[:_DETAIL_LENGTH],
        settled_at=tx.now,
    )
    if not execution.is_running or (execution.current_step, execution.retries) != (
        action.step,
        action.attempt,
    ):
        return
    if transport or effect.outcome is ActionOutcome.DONE:
        await _advance(tx, execution, acted_at=action.acted_at)
    else:
        await _retry_or_fail(tx, execution, effect.detail)


async def settle_notification(
    tx: Tx, notification_id: int, effect: Effect, *, transport: bool = False
) -> None:
    """As `settle_action`, for a message; one that no step waits for changes nothing."""
    action = await find_action_of_notification(tx, notification_id)
    if action is not None:
        await settle_action(tx, action.id, effect, transport=transport)


async def collect_payment(tx: Tx, subscription_id: int) -> None:
    """Money came in, or a debt was struck out: note what was recovered, and when nothing is left to collect, restore.

    A non-payment lock goes even where no execution runs: it was placed for a debt that is gone.
    """
    execution = await find_running_execution_to_change(tx, subscription_id)
    if execution is not None:
        if not await complete_if_settled(tx, execution):
            recovered = await recovered_since(tx, subscription_id, execution.started_at)
            await _set(tx, execution, recovered_minor=recovered)
    elif await overdue_balance(tx, subscription_id) <= tolerance_minor(tx):
        await _restore(tx, subscription_id, "nothing is overdue any more")


async def complete_if_settled(tx: Tx, execution: Execution) -> bool:
    """Complete when what is overdue on the subscription is at most the tenant's tolerance, and undo what it did.

    Lifts non-payment locks in the same transaction; other locks (fraud) stay, a terminated service stays terminated.
    """
    if await overdue_balance(tx, execution.subscription_id) > tolerance_minor(tx):
        return False
    recovered = await recovered_since(tx, execution.subscription_id, execution.started_at)
    await _restore(tx, execution.subscription_id, "paid")
    done = await move(
        tx,
        execution,
        ExecutionStatus.COMPLETED,
        reason="nothing is overdue any more",
        recovered_minor=recovered,
        completed_at=tx.now,
        next_action_at=None,
    )
    await record(
        tx,
        "dunning_execution.complete",
        entity=ENTITY,
        entity_id=done.id,
        before={"status": execution.status},
        after={"status": done.status, "recovered_minor": recovered},
    )
    await emit(
        tx,
        "dunning.execution_completed",
        entity=ENTITY,
        entity_id=done.id,
        execution_uid=str(done.uid),
        recovered_minor=recovered,
    )
    return True


async def _restore(tx: Tx, subscription_id: int, reason: str) -> None:
    for service in await list_services_of_subscription(tx, subscription_id):
        if any(lock.kind == LockKind.NON_PAYMENT for lock in await list_open_locks(tx, service.id)):
            await lift_lock(tx, service_id=service.id, kind=LockKind.NON_PAYMENT, reason=reason)


async def _tell(tx: Tx, execution: Execution, action: Action) -> Effect:
    """Queue one message; another attempt of the step is another message."""
    channel = Channel(action.type.value)
    customer = await get_customer_by_id(tx, execution.customer_id)
    recipient = customer.email if channel is Channel.EMAIL else customer.phone
    if recipient is None:
        lacking = "e-mail address" if channel is Channel.EMAIL else "telephone number"
        return Effect(ActionOutcome.FAILED, f"the customer has no {lacking}")
    queued = await queue_notification(
        tx,
        customer_id=customer.id,
        channel=channel,
        template=action.template or "",
        recipient=recipient,
        about=f"dunning_execution:{execution.id}:step:{execution.current_step}:attempt:{execution.retries}",
        context=await _context(tx, execution, customer.name),
        language=customer.language,
    )
    return Effect(ActionOutcome.WAITING, f"{channel.value} {queued.uid} is on its way", queued.id)


async def _context(tx: Tx, execution: Execution, customer_name: str) -> dict[str, object]:
    """What the wording of a dunning message may name."""
    invoice = await get_invoice_by_id(tx, execution.invoice_id)
    owed = await overdue_balance(tx, execution.subscription_id)
    today = local_date(tx.now, tx.tenant.time_zone)
    return {
        "customer_name": customer_name,
        "company_name": str(tx.tenant.settings.get("company_name") or tx.tenant.slug),
        "invoice_id": invoice.ref,
        "invoice_number": invoice.number,
        "due_on": invoice.due_on.isoformat(),
        "days_overdue": days_overdue(invoice.issued_on, invoice.due_on, today),
        "amount_due": str(Money(owed, invoice.currency)),
    }


async def _suspend(tx: Tx, execution: Execution, _action: Action) -> Effect:
    services = await _services_on(tx, execution)
    reason = await _reason(tx, execution)
    for service in services:
        await place_lock(tx, service_id=service.id, kind=LockKind.NON_PAYMENT, reason=reason)
    return _counted("suspended", services)


async def _terminate(tx: Tx, execution: Execution, _action: Action) -> Effect:
    services = await _services_on(tx, execution)
    reason = await _reason(tx, execution)
    for service in services:
        await terminate_service(tx, service_id=service.id, reason=reason)
    return _counted("terminated", services)


async def _services_on(tx: Tx, execution: Execution) -> list[Service]:
    """Those that can still be taken away."""
    gone = (ServiceStatus.TERMINATING, ServiceStatus.TERMINATED)
    services = await list_services_of_subscription(tx, execution.subscription_id)
    return [service for service in services if service.status not in gone]


async def _reason(tx: Tx, execution: Execution) -> str:
    invoice = await get_invoice_by_id(tx, execution.invoice_id)
    return f"Non-payment: invoice {invoice.ref} is overdue"


def _counted(verb: str, services: list[Service]) -> Effect:
    names = ", ".join(service.identifier for service in services)
    return Effect(ActionOutcome.DONE, f"{verb} {names}" if names else f"no service to be {verb}")


async def _call_webhook(_tx: Tx, _execution: Execution, action: Action) -> Effect:
    """The log line is the intent; the job that posts it follows from the event `dunning.step_acted`."""
    return Effect(ActionOutcome.WAITING, f"POST {action.url}")


async def _custom(tx: Tx, execution: Execution, action: Action) -> Effect:
    await emit(
        tx,
        "dunning.custom_action",
        entity=ENTITY,
        entity_id=execution.id,
        execution_uid=str(execution.uid),
        step=execution.current_step,
        data=action.data,
    )
    return Effect(ActionOutcome.DONE, "the event dunning.custom_action was sent")


_EFFECTS: dict[ActionType, Callable[[Tx, Execution, Action], Awaitable[Effect]]] = {
    ActionType.EMAIL: _tell,
    ActionType.SMS: _tell,
    ActionType.SUSPEND_SERVICE: _suspend,
    ActionType.TERMINATE_SERVICE: _terminate,
    ActionType.WEBHOOK: _call_webhook,
    ActionType.CUSTOM: _custom,
}
