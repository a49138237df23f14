"""Bodies of `/api/billing/dunning`."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from demarc.kernel.errors import Invalid, invalid
from demarc.kernel.money import round_to_minor, to_major
from demarc.modules.customers.states import CustomerTier
from demarc.modules.dunning.inputs import BIGGEST_MINOR, Action, ExclusionRules, NewCampaign, NewExecution
from demarc.modules.dunning.queries import Campaign, CampaignCounts, Execution, ExecutionCounts, StepLog
from demarc.modules.dunning.rules import success_rate
from demarc.modules.dunning.states import ActionOutcome, ActionType, ExecutionStatus
from demarc.web.bss.parameters import Listed

Name = Annotated[str, Field(min_length=1, max_length=100)]
Description = Annotated[str, Field(max_length=2000)]
TriggerDays = Annotated[int, Field(ge=0, le=3650, description="from the later of due date and issue")]
Retries = Annotated[int, Field(ge=0, le=10)]
RetryDays = Annotated[int, Field(ge=1, le=30)]
Priority = Annotated[int, Field(ge=0, le=100, description="higher is tried first")]


class ActionBody(BaseModel):
    """One step; `delay_days` counts from the step before it, the first one's from the start."""

    type: ActionType
    delay_days: int = Field(0, ge=0, le=3650)
    template: str | None = Field(None, max_length=60, description="of email and sms")
    url: str | None = Field(None, max_length=2000, description="of webhook")
    data: dict[str, Any] = Field(default_factory=dict, description="goes out with webhook and custom")


Actions = Annotated[list[ActionBody], Field(min_length=1, max_length=50)]


def _actions(bodies: list[ActionBody]) -> tuple[Action, ...]:
    return tuple(_action(position, body) for position, body in enumerate(bodies))


def _action(position: int, body: ActionBody) -> Action:
    try:
        return Action(**body.model_dump())
    except Invalid as error:
        detail = error.details[0]
        raise invalid(f"actions.{position}.{detail.field}", detail.message) from None


class ExclusionBody(BaseModel):
    """Who is left alone. `min_lifetime_value` is in major units (1000.0), unlike amounts."""

    min_lifetime_value: Decimal | None = Field(
        None, gt=0, max_digits=15, description="major units; at or above it the customer is left alone"
    )
    customer_tiers: list[CustomerTier] = Field(default_factory=list)
    customer_tags: list[str] = Field(default_factory=list, max_length=50)

    def to_input(self, currency: str) -> ExclusionRules:
        value = self.min_lifetime_value
        return ExclusionRules(
            min_lifetime_minor=None if value is None else round_to_minor(value, currency),
            customer_tiers=tuple(self.customer_tiers),
            customer_tags=tuple(self.customer_tags),
        )


class CampaignIn(BaseModel):
    """A new campaign."""

    name: Name
    description: Description = ""
    trigger_after_days: TriggerDays
    max_retries: Retries = 3
    retry_interval_days: RetryDays = 3
    actions: Actions
    exclusion_rules: ExclusionBody = Field(default_factory=ExclusionBody)
    priority: Priority = 0
    is_active: bool = True

    def to_input(self, currency: str) -> NewCampaign:
        return NewCampaign(
            name=self.name,
            description=self.description,
            trigger_after_days=self.trigger_after_days,
            max_retries=self.max_retries,
            retry_interval_days=self.retry_interval_days,
            actions=_actions(self.actions),
            exclusion_rules=self.exclusion_rules.to_input(currency),
            priority=self.priority,
            is_active=self.is_active,
        )


class CampaignPatch(BaseModel):
    """The fields to change; what is left out stays, nothing can be emptied by null."""

    name: Name = ""
    description: Description = ""
    trigger_after_days: TriggerDays = 0
    max_retries: Retries = 3
    retry_interval_days: RetryDays = 3
    actions: Actions = Field(default_factory=list)
    exclusion_rules: ExclusionBody = Field(default_factory=ExclusionBody)
    priority: Priority = 0
    is_active: bool = True

    def changes(self, currency: str) -> dict[str, Any]:
        """What was sent, as fields of `NewCampaign`."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if "actions" in given:
            given["actions"] = _actions(self.actions)
        if "exclusion_rules" in given:
            given["exclusion_rules"] = self.exclusion_rules.to_input(currency)
        return given


class ActionOut(BaseModel):
    """One step of a campaign."""

    type: ActionType
    delay_days: int
    template: str | None
    url: str | None
    data: dict[str, Any]


class ExclusionOut(BaseModel):
    """`min_lifetime_value` in major units; a JSON number, as document 002 has it."""

    min_lifetime_value: float | None
    customer_tiers: list[CustomerTier]
    customer_tags: list[str]


class WebhookSecretOut(BaseModel):
    """`whsec_` and base64, as Standard Webhooks 1.0 write it; a repeated request with one Idempotency-Key gets null."""

    secret: str | None
    shown_once: bool


class CampaignOut(BaseModel):
    """A campaign."""

    id: UUID
    name: str
    description: str
    trigger_after_days: int
    max_retries: int
    retry_interval_days: int
    actions: list[ActionOut]
    exclusion_rules: ExclusionOut
    priority: int
    is_active: bool
    created_at: datetime
    updated_at: datetime


class CampaignList(Listed):
    """A window of the list."""

    campaigns: list[CampaignOut]


def _actions_out(actions: tuple[Action, ...]) -> list[ActionOut]:
    return [
        ActionOut.model_construct(
            type=step.type, delay_days=step.delay_days, template=step.template, url=step.url, data=step.data
        )
        for step in actions
    ]


def _exclusion_out(rules: ExclusionRules, currency: str) -> ExclusionOut:
    minor = rules.min_lifetime_minor
    return ExclusionOut.model_construct(
        min_lifetime_value=None if minor is None else float(to_major(minor, currency)),
        customer_tiers=list(rules.customer_tiers),
        customer_tags=list(rules.customer_tags),
    )


def campaign_out(row: Campaign, currency: str) -> CampaignOut:
    return CampaignOut.model_construct(
        id=row.uid,
        name=row.name,
        description=row.description,
        trigger_after_days=row.trigger_after_days,
        max_retries=row.max_retries,
        retry_interval_days=row.retry_interval_days,
        actions=_actions_out(row.steps),
        exclusion_rules=_exclusion_out(row.exclusions, currency),
        priority=row.priority,
        is_active=row.is_active,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


class ExecutionIn(BaseModel):
    """Start collecting by hand. `outstanding_amount` in minor units is kept as an echo; the ledger decides."""

    campaign_id: UUID
    subscription_id: str = Field(min_length=1, max_length=50)
    customer_id: UUID
    invoice_id: str = Field(min_length=1, max_length=50)
    outstanding_amount: Annotated[int, Field(strict=True, gt=0, le=BIGGEST_MINOR)]

    def to_input(self) -> NewExecution:
        return NewExecution(
            self.campaign_id,
            self.subscription_id,
            self.customer_id,
            self.invoice_id,
            self.outstanding_amount,
        )


class Reason(BaseModel):
    """Why a person intervenes; kept in the history."""

    reason: str = Field("", max_length=500)


class ExecutionOut(BaseModel):
    """A campaign at work. `current_step` counts the steps behind it; amounts in minor units."""

    id: UUID
    campaign_id: UUID
    subscription_id: str
    customer_id: UUID
    invoice_id: str
    status: ExecutionStatus
    current_step: int
    total_steps: int
    retries: int
    max_retries: int
    retry_interval_days: int
    next_action_at: datetime | None = Field(
        description="null while paused, and when only a payment can end it"
    )
    outstanding_amount: int
    recovered_amount: int
    actions: list[ActionOut]
    started_at: datetime
    paused_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime


class ExecutionList(Listed):
    """A window of the list."""

    executions: list[ExecutionOut]


class References(BaseModel):
    """What an execution's rows are called on `/api`."""

    campaigns: dict[int, UUID]
    subscriptions: dict[int, str]
    customers: dict[int, UUID]
    invoices: dict[int, str]


def execution_out(row: Execution, known_as: References) -> ExecutionOut:
    return ExecutionOut.model_construct(
        id=row.uid,
        campaign_id=known_as.campaigns[row.campaign_id],
        subscription_id=known_as.subscriptions[row.subscription_id],
        customer_id=known_as.customers[row.customer_id],
        invoice_id=known_as.invoices[row.invoice_id],
        status=ExecutionStatus(row.status),
        current_step=row.current_step,
        total_steps=len(row.actions),
        retries=row.retries,
        max_retries=row.max_retries,
        retry_interval_days=row.retry_interval_days,
        next_action_at=None if row.status == ExecutionStatus.PAUSED else row.next_action_at,
        outstanding_amount=row.outstanding_minor,
        recovered_amount=row.recovered_minor,
        actions=_actions_out(row.steps),
        started_at=row.started_at,
        paused_at=row.paused_at,
        completed_at=row.completed_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


class StepOut(BaseModel):
    """What one attempt of one step did. `step` counts from 1, `attempt` too."""

    step: int
    attempt: int
    type: ActionType
    outcome: ActionOutcome
    detail: str
    acted_at: datetime
    settled_at: datetime | None


class StepList(Listed):
    """A window of an execution's log."""

    actions: list[StepOut]


def step_out(row: StepLog) -> StepOut:
    return StepOut.model_construct(
        step=row.step + 1,
        attempt=row.attempt + 1,
        type=ActionType(row.type),
        outcome=ActionOutcome(row.outcome),
        detail=row.detail,
        acted_at=row.acted_at,
        settled_at=row.settled_at,
    )


class ExecutionStats(BaseModel):
    """Executions by fate. Amounts in minor units; `success_rate` in percent, null when there was none."""

    total_executions: int
    running_executions: int
    completed_executions: int
    canceled_executions: int
    failed_executions: int
    successful_recoveries: int = Field(description="executions with money recovered")
    total_recovered_amount: int
    success_rate: float | None


class DunningStats(ExecutionStats):
    """Over all campaigns."""

    total_campaigns: int
    active_campaigns: int


class CampaignStats(ExecutionStats):
    """Of one campaign."""

    campaign_id: UUID


def _execution_stats(counts: ExecutionCounts) -> dict[str, Any]:
    rate = success_rate(counts.successful, counts.total)
    return {
        "total_executions": counts.total,
        "running_executions": counts.running,
        "completed_executions": counts.completed,
        "canceled_executions": counts.canceled,
        "failed_executions": counts.failed,
        "successful_recoveries": counts.successful,
        "total_recovered_amount": counts.recovered_minor,
        "success_rate": None if rate is None else float(rate),
    }


def dunning_stats(campaigns: CampaignCounts, executions: ExecutionCounts) -> DunningStats:
    return DunningStats(
        total_campaigns=campaigns.total, active_campaigns=campaigns.active, **_execution_stats(executions)
    )


def campaign_stats(campaign: Campaign, executions: ExecutionCounts) -> CampaignStats:
    return CampaignStats(campaign_id=campaign.uid, **_execution_stats(executions))
