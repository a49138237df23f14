"""What a customer agreed to pay for: a plan at the price it was sold at."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, String, Uuid, text

from demarc.kernel.schema import at, one_of, tenant_fk, tenant_table, tenant_unique
from demarc.modules.subscriptions.states import SubscriptionStatus

subscription = tenant_table(
    "subscription",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("ref", String(50), nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("plan_id", BigInteger, nullable=False),
    Column("status", String(20), nullable=False, server_default="active"),
    Column("currency", String(3), nullable=False),
    Column("monthly_minor", BigInteger, nullable=False),
    at("started_at"),
    at("canceled_at", nullable=True),
    at("created_at", default_now=True),
    at("updated_at", default_now=True),
    one_of("status", SubscriptionStatus),
    CheckConstraint("monthly_minor >= 0", name="price_not_negative"),
    tenant_fk("customer_id", "customer"),
    tenant_fk("plan_id", "plan"),
    tenant_unique("ref"),
    tenant_unique("uid"),
    role_policies={"demarc_ingest": "SELECT"},  # metering finds who pays for a session
)
Index("ix_subscription_customer", subscription.c.tenant_id, subscription.c.customer_id)

subscription_term = tenant_table(
    "subscription_term",
    Column("subscription_id", BigInteger, nullable=False),
    Column("plan_id", BigInteger, nullable=False),
    Column("monthly_minor", BigInteger, nullable=False),
    at("ended_at"),
    CheckConstraint("monthly_minor >= 0", name="price_not_negative"),
    tenant_fk("subscription_id", "subscription"),
    tenant_fk("plan_id", "plan"),
    append_only=True,
    role_policies={"demarc_ingest": "SELECT"},  # metering prices what began before a change of plan
)
"""What was agreed before a change of plan, until when: so a month can be billed in parts. The present term is no row."""
Index(
    "ix_subscription_term_subscription",
    subscription_term.c.tenant_id,
    subscription_term.c.subscription_id,
    subscription_term.c.ended_at,
)
