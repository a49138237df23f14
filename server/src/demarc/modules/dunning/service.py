"""Every write of dunning: campaigns, executions, and the sweeps that make them act."""

from __future__ import annotations

from demarc.modules.dunning.campaigns import create_campaign, delete_campaign, update_campaign
from demarc.modules.dunning.executions import (
    cancel_execution,
    list_invoices_to_collect,
    pause_execution,
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

__all__ = [
    "Effect",
    "cancel_execution",
    "collect_payment",
    "create_campaign",
    "delete_campaign",
    "list_invoices_to_collect",
    "pause_execution",
    "put_back",
    "resume_execution",
    "run_due_step",
    "run_due_steps",
    "settle_action",
    "settle_notification",
    "start_due_executions",
    "start_execution",
    "start_execution_for",
    "update_campaign",
]
