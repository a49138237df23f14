"""Campaigns that collect what is overdue, and their executions step by step."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from demarc.kernel.schema import at, one_of, tenant_fk, tenant_table, tenant_unique
from demarc.modules.dunning.states import ActionOutcome, ActionType, ExecutionStatus

dunning_campaign = tenant_table(
    "dunning_campaign",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("name", String(100), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("trigger_after_days", Integer, nullable=False),
    Column("max_retries", SmallInteger, nullable=False),
    Column("retry_interval_days", SmallInteger, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("actions", JSONB, nullable=False),
    Column("exclusion_rules", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("is_active", Boolean, nullable=False, server_default="true"),
    at("deleted_at", nullable=True),
    at("created_at"),
    at("updated_at"),
    tenant_unique("uid"),
)

dunning_webhook_secret = tenant_table(
    "dunning_webhook_secret",
    Column("sealed", LargeBinary, nullable=False),
    Column("previous_sealed", LargeBinary),
    at("previous_until", nullable=True),
    at("rotated_at"),
    PrimaryKeyConstraint("tenant_id"),
    key="none",
)
"""What the tenant's webhook steps are signed with; after a rotation both secrets sign for a while. Real time."""

dunning_execution = tenant_table(
    "dunning_execution",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("campaign_id", BigInteger, nullable=False),
    Column("subscription_id", BigInteger, nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("invoice_id", BigInteger, nullable=False),
    Column("outstanding_minor", BigInteger, nullable=False),  # echo of what was sent; the ledger decides
    Column("recovered_minor", BigInteger, nullable=False, server_default="0"),
    Column("status", String(20), nullable=False),
    Column(
        "actions", JSONB, nullable=False
    ),  # copied from the campaign: editing it does not change a running one
    Column("current_step", SmallInteger, nullable=False, server_default="0"),
    Column("retries", SmallInteger, nullable=False, server_default="0"),
    Column("max_retries", SmallInteger, nullable=False),
    Column("retry_interval_days", SmallInteger, nullable=False),
    Column("failures", SmallInteger, nullable=False, server_default="0"),  # unexpected errors in a row
    at("next_action_at", nullable=True),
    at("started_at"),
    at("paused_at", nullable=True),
    at("completed_at", nullable=True),
    at("released_at", nullable=True),  # since then another execution may collect the invoice
    at("created_at"),
    at("updated_at"),
    one_of("status", ExecutionStatus),
    tenant_fk("campaign_id", "dunning_campaign"),
    tenant_fk("subscription_id", "subscription"),
    tenant_fk("customer_id", "customer"),
    tenant_fk("invoice_id", "invoice"),
    tenant_unique("uid"),
)
Index(
    "uq_dunning_execution_running",
    dunning_execution.c.tenant_id,
    dunning_execution.c.subscription_id,
    unique=True,
    postgresql_where=text("status IN ('pending', 'in_progress', 'paused')"),
)
Index(
    "ix_dunning_execution_due",
    dunning_execution.c.tenant_id,
    dunning_execution.c.next_action_at,
    postgresql_where=text("status IN ('pending', 'in_progress')"),
)

dunning_action = tenant_table(
    "dunning_action",
    Column("execution_id", BigInteger, nullable=False),
    Column("step", SmallInteger, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("type", String(20), nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    Column("notification_id", BigInteger),
    at("acted_at"),
    at("settled_at", nullable=True),
    one_of("type", ActionType),
    one_of("outcome", ActionOutcome),
    tenant_fk("execution_id", "dunning_execution"),
    tenant_fk("notification_id", "notification"),
    tenant_unique("execution_id", "step", "attempt"),
)
"""What each step did: the log that a customer's complaint is answered from. An attempt of a step is made once."""
Index(
    "ix_dunning_action_execution",
    dunning_action.c.tenant_id,
    dunning_action.c.execution_id,
    dunning_action.c.id,
)
Index(
    "ix_dunning_action_notification",
    dunning_action.c.tenant_id,
    dunning_action.c.notification_id,
    postgresql_where=text("notification_id IS NOT NULL"),
)
