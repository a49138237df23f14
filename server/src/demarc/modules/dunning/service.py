"""Every write of dunning: campaigns, executions, and the sweeps that make them act."""

from __future__ import annotations

from demarc.modules.dunning.campaigns import create_campaign, delete_campaign, update_campaign
from demarc.modules.dunning.executions import (
    cancel_execution,
    list_invoices_to_collect,
    pause_execution,
    release_invoices,
    resume_execution,
    start_due_executions,
    start_execution,
    start_execution_for,
)
from demarc.modules.dunning.steps import (
    Effect,
    collect_payment,
    put_back,
    run_due_step,
    run_due_steps,
    settle_action,
    settle_notification,
)
from demarc.modules.dunning.webhook_secrets import (
    may_call_inside,
    reveal_webhook_secret,
    rotate_webhook_secret,
    signing_secrets,
)

__all__ = [
    "Effect",
    "cancel_execution",
    "collect_payment",
    "create_campaign",
    "delete_campaign",
    "list_invoices_to_collect",
    "may_call_inside",
    "pause_execution",
    "put_back",
    "release_invoices",
    "resume_execution",
    "reveal_webhook_secret",
    "rotate_webhook_secret",
    "run_due_step",
    "run_due_steps",
    "settle_action",
    "settle_notification",
    "signing_secrets",
    "start_due_executions",
    "start_execution",
    "start_execution_for",
    "update_campaign",
]
