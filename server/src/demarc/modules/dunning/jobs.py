"""Webhook steps: posted after the commit that logged them, with no transaction open meanwhile."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Tx
from demarc.kernel.errors import Invalid, Misconfigured, NotFound, Unavailable
from demarc.kernel.jobs import Work, job
from demarc.modules.billing.queries import get_invoice_by_id
from demarc.modules.customers.queries import get_customer_by_id
from demarc.modules.dunning.ports import WebhookCall, WebhookPoster
from demarc.modules.dunning.queries import Execution, StepLog, get_action_by_id, get_execution_by_id
from demarc.modules.dunning.service import Effect, may_call_inside, settle_action, signing_secrets
from demarc.modules.dunning.states import ActionOutcome
from demarc.modules.subscriptions.queries import get_subscription_by_id

EVENT = "dunning.step"
ATTEMPTS = 30
"""With the delays below: 30 attempts within 23 hours, then nobody answered."""


class PostWebhook(msgspec.Struct, frozen=True):
    """Which line of the log."""

    action_id: int


@job(
    "dunning.post_webhook",
    PostWebhook,
    attempts=ATTEMPTS,
    first_delay=timedelta(seconds=30),
    max_delay=timedelta(hours=1),
)
async def post_webhook(work: Work, payload: PostWebhook) -> None:
    """Post one webhook step that is still waiting. A crash between posting and noting it posts again, with the same id."""
    async with work.begin() as tx:
        call = await _call(tx, work.port(MasterKey), payload.action_id)
    if call is None:
        return
    try:
        status = await work.port(WebhookPoster).post(call)  # type: ignore[type-abstract]
    except Invalid as refusal:
        await _settle(work, payload, Effect(ActionOutcome.FAILED, refusal.message))
    except (Unavailable, Misconfigured) as trouble:
        if not work.is_last_attempt:
            raise Unavailable(trouble.message) from trouble
        await _settle(work, payload, Effect(ActionOutcome.FAILED, trouble.message), transport=True)
    else:
        await _settle(work, payload, Effect(ActionOutcome.DONE, f"POST {call.url} answered {status}"))


async def _settle(work: Work, payload: PostWebhook, effect: Effect, *, transport: bool = False) -> None:
    async with work.begin() as tx:
        await settle_action(tx, payload.action_id, effect, transport=transport)


async def _call(tx: Tx, master_key: MasterKey, action_id: int) -> WebhookCall | None:
    """What to post; None when the step no longer waits, or was made undone."""
    try:
        action = await get_action_by_id(tx, action_id)
    except NotFound:
        return None
    if action.outcome != ActionOutcome.WAITING:
        return None
    execution = await get_execution_by_id(tx, action.execution_id)
    step = execution.steps[action.step]
    return WebhookCall(
        id=f"{execution.uid}.{action.step}.{action.attempt}",
        event=EVENT,
        url=step.url or "",
        body=await _body(tx, execution, action) | {"data": step.data},
        allow_private=may_call_inside(tx),
        secrets=await signing_secrets(tx, master_key),
    )


async def _body(tx: Tx, execution: Execution, action: StepLog) -> dict[str, object]:
    customer = await get_customer_by_id(tx, execution.customer_id)
    subscription = await get_subscription_by_id(tx, execution.subscription_id)
    invoice = await get_invoice_by_id(tx, execution.invoice_id)
    return {
        "type": EVENT,
        "execution_id": str(execution.uid),
        "step": action.step + 1,
        "total_steps": len(execution.actions),
        "customer_id": str(customer.uid),
        "subscription_id": subscription.ref,
        "invoice_id": invoice.ref,
        "outstanding_amount": execution.outstanding_minor,
        "acted_at": action.acted_at,
    }
