"""`/api/billing/dunning`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Body, Depends, Query

from demarc.kernel.db import Tx
from demarc.modules.billing import queries as invoices
from demarc.modules.customers import queries as customers
from demarc.modules.dunning.queries import (
    Execution,
    campaign_uids_of,
    count_campaigns,
    count_executions,
    find_campaign_id,
    get_campaign,
    get_execution,
    list_actions,
    list_campaigns,
    list_executions,
)
from demarc.modules.dunning.service import (
    cancel_execution,
    create_campaign,
    delete_campaign,
    pause_execution,
    resume_execution,
    reveal_webhook_secret,
    rotate_webhook_secret,
    start_execution,
    update_campaign,
)
from demarc.modules.dunning.states import ActionOutcome, ExecutionStatus
from demarc.modules.subscriptions import queries as subscriptions
from demarc.web.bss.dunning.schemas import (
    CampaignIn,
    CampaignList,
    CampaignOut,
    CampaignPatch,
    CampaignStats,
    DunningStats,
    ExecutionIn,
    ExecutionList,
    ExecutionOut,
    Reason,
    References,
    StepList,
    WebhookSecretOut,
    campaign_out,
    campaign_stats,
    dunning_stats,
    execution_out,
    step_out,
)
from demarc.web.bss.dunning.webhook_hosts import find_inside_hosts, inside_hosts
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.bss.references import NOTHING, customer_key, subscription_key
from demarc.web.routing import ApiRouter, PlatformDep, TxDep

router = ApiRouter(prefix="/api/billing/dunning", tag="dunning")

Reference = Annotated[str | None, Query(min_length=1, max_length=50)]
InsideDep = Annotated[frozenset[str], Depends(inside_hosts)]
ReasonBody = Annotated[Reason, Body(default_factory=Reason)]


@router.on("POST", "/campaigns", permission="dunning.write", status=201, prepare=find_inside_hosts)
async def create(body: CampaignIn, tx: TxDep, inside: InsideDep) -> CampaignOut:
    """Write down how to collect. Names may repeat. A webhook that leads to an address that is not public is refused."""
    currency = tx.tenant.currency
    return campaign_out(await create_campaign(tx, body.to_input(currency), inside=inside), currency)


@router.on("GET", "/campaigns", permission="dunning.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    is_active: bool | None = None,
    search: Annotated[str | None, Query(max_length=100, description="part of the name")] = None,
    sort: SortParam = None,
) -> CampaignList:
    """Campaigns in the order in which they are tried: highest priority first, then the oldest.

    Other sorts: rank (that order), priority, name, created_at.
    """
    page = await list_campaigns(tx, window, sort=sort, is_active=is_active, search=search)
    rows = [campaign_out(row, tx.tenant.currency) for row in page.rows]
    return CampaignList(campaigns=rows, **counts(page))


@router.on("GET", "/campaigns/{campaign_id}", permission="dunning.read", problem=(404,))
async def get(campaign_id: UUID, tx: TxDep) -> CampaignOut:
    """One campaign."""
    return campaign_out(await get_campaign(tx, campaign_id), tx.tenant.currency)


@router.on(
    "PATCH",
    "/campaigns/{campaign_id}",
    permission="dunning.write",
    problem=(404,),
    prepare=find_inside_hosts,
)
async def patch(campaign_id: UUID, body: CampaignPatch, tx: TxDep, inside: InsideDep) -> CampaignOut:
    """Change the fields given; executions that run keep the steps they started with."""
    currency = tx.tenant.currency
    changed = await update_campaign(tx, campaign_id, body.changes(currency), inside=inside)
    return campaign_out(changed, currency)


@router.on(
    "DELETE",
    "/campaigns/{campaign_id}",
    permission="dunning.write",
    status=204,
    problem=(404, 409),
    response_model=None,
)
async def delete(campaign_id: UUID, tx: TxDep) -> None:
    """Take it out of use; refused while executions of it run."""
    await delete_campaign(tx, campaign_id)


@router.on("GET", "/campaigns/{campaign_id}/stats", permission="dunning.read", problem=(404,))
async def stats_of_campaign(campaign_id: UUID, tx: TxDep) -> CampaignStats:
    """What one campaign brought in."""
    campaign = await get_campaign(tx, campaign_id)
    return campaign_stats(campaign, await count_executions(tx, campaign_id=campaign.id))


@router.on("GET", "/stats", permission="dunning.read")
async def stats(tx: TxDep) -> DunningStats:
    """What dunning brought in, deleted campaigns included."""
    return dunning_stats(await count_campaigns(tx), await count_executions(tx))


@router.on("POST", "/executions", permission="dunning.write", status=201, problem=(404, 409))
async def start(body: ExecutionIn, tx: TxDep) -> ExecutionOut:
    """Start collecting; earlier than `trigger_after_days` is allowed, before the due date is not."""
    return await _one(tx, await start_execution(tx, body.to_input()))


@router.on("GET", "/executions", permission="dunning.read")
async def list_running(
    tx: TxDep,
    window: WindowDep,
    status: ExecutionStatus | None = None,
    campaign_id: UUID | None = None,
    subscription_id: Reference = None,
    customer_id: UUID | None = None,
    invoice_id: Reference = None,
    sort: SortParam = None,
) -> ExecutionList:
    """Executions, newest first, unless `sort` says otherwise (started_at, next_action_at, outstanding_amount)."""
    page = await list_executions(
        tx,
        window,
        sort=sort,
        status=status,
        campaign_id=await _campaign_key(tx, campaign_id),
        subscription_id=await subscription_key(tx, subscription_id),
        customer_id=await customer_key(tx, customer_id),
        invoice_id=await _invoice_key(tx, invoice_id),
    )
    known_as = await _references(tx, page.rows)
    return ExecutionList(executions=[execution_out(row, known_as) for row in page.rows], **counts(page))


async def _campaign_key(tx: Tx, uid: UUID | None) -> int | None:
    """None when no campaign is asked for; one that was deleted still has its executions."""
    if uid is None:
        return None
    found = await find_campaign_id(tx, uid)
    return NOTHING if found is None else found


async def _invoice_key(tx: Tx, ref: str | None) -> int | None:
    """None when no invoice is asked for."""
    if ref is None:
        return None
    found = await invoices.find_invoice(tx, ref)
    return NOTHING if found is None else found.id


@router.on("GET", "/executions/{execution_id}", permission="dunning.read", problem=(404,))
async def get_one(execution_id: UUID, tx: TxDep) -> ExecutionOut:
    """One execution."""
    return await _one(tx, await get_execution(tx, execution_id))


@router.on("POST", "/executions/{execution_id}/pause", permission="dunning.write", problem=(404, 409))
async def pause(execution_id: UUID, tx: TxDep, body: ReasonBody) -> ExecutionOut:
    """Hold the ladder; a payment still completes it."""
    return await _one(tx, await pause_execution(tx, execution_id, reason=body.reason))


@router.on("POST", "/executions/{execution_id}/resume", permission="dunning.write", problem=(404, 409))
async def resume(execution_id: UUID, tx: TxDep, body: ReasonBody) -> ExecutionOut:
    """Go on with the time that was left to the next step."""
    return await _one(tx, await resume_execution(tx, execution_id, reason=body.reason))


@router.on("POST", "/executions/{execution_id}/cancel", permission="dunning.write", problem=(404, 409))
async def cancel(execution_id: UUID, tx: TxDep, body: ReasonBody) -> ExecutionOut:
    """Stop collecting; what it did stays until a payment or a person undoes it."""
    return await _one(tx, await cancel_execution(tx, execution_id, reason=body.reason))


@router.on("GET", "/executions/{execution_id}/actions", permission="dunning.read", problem=(404,))
async def actions(
    execution_id: UUID,
    tx: TxDep,
    window: WindowDep,
    outcome: ActionOutcome | None = None,
    sort: SortParam = None,
) -> StepList:
    """What each step did, in order."""
    execution = await get_execution(tx, execution_id)
    page = await list_actions(tx, window, execution_id=execution.id, sort=sort, outcome=outcome)
    return StepList(actions=[step_out(row) for row in page.rows], **counts(page))


@router.on(
    "POST",
    "/webhook-secret/reveal",
    permission="dunning.write",
    shown_once=("secret",),
)
async def reveal_secret(tx: TxDep, platform: PlatformDep) -> WebhookSecretOut:
    """What webhook steps are signed with; that it was looked at is audited."""
    return WebhookSecretOut(secret=await reveal_webhook_secret(tx, platform.master_key), shown_once=False)


@router.on(
    "POST",
    "/webhook-secret/rotate",
    permission="dunning.write",
    shown_once=("secret",),
)
async def rotate_secret(tx: TxDep, platform: PlatformDep) -> WebhookSecretOut:
    """A new secret; for a day the old one signs beside it."""
    return WebhookSecretOut(secret=await rotate_webhook_secret(tx, platform.master_key), shown_once=False)


async def _one(tx: Tx, execution: Execution) -> ExecutionOut:
    return execution_out(execution, await _references(tx, [execution]))


async def _references(tx: Tx, rows: list[Execution]) -> References:
    """What the rows are called on `/api`: four look-ups for a whole window."""
    collected = await invoices.get_invoices_by_ids(tx, {row.invoice_id for row in rows})
    return References.model_construct(
        campaigns=await campaign_uids_of(tx, {row.campaign_id for row in rows}),
        subscriptions=await subscriptions.refs_of(tx, {row.subscription_id for row in rows}),
        customers=await customers.uids_of(tx, {row.customer_id for row in rows}),
        invoices={key: row.ref for key, row in collected.items()},
    )
