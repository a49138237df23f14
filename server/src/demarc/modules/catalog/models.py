"""What is sold: plans, their prices over time, and what usage costs."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, Numeric, String, Text, Uuid, text

from demarc.kernel.schema import at, one_of, tenant_fk, tenant_table, tenant_unique
from demarc.modules.catalog.states import PlanStatus

plan = tenant_table(
    "plan",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("ref", String(50), nullable=False),
    Column("name", String(100), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("service_type", String(40), nullable=False),
    Column("download_bps", BigInteger, nullable=False),
    Column("upload_bps", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("status", String(20), nullable=False, server_default="active"),
    at("created_at", default_now=True),
    at("updated_at", default_now=True),
    one_of("status", PlanStatus),
    CheckConstraint("download_bps > 0 AND upload_bps > 0", name="speed_positive"),
    tenant_unique("ref"),
    tenant_unique("uid"),
)

plan_price = tenant_table(
    "plan_price",
    Column("plan_id", BigInteger, nullable=False),
    Column("effective_on", Date, nullable=False),
    Column("monthly_minor", BigInteger, nullable=False),
    Column("activation_minor", BigInteger, nullable=False, server_default="0"),
    at("created_at", default_now=True),
    CheckConstraint("monthly_minor >= 0 AND activation_minor >= 0", name="price_not_negative"),
    tenant_fk("plan_id", "plan"),
    tenant_unique("plan_id", "effective_on"),
)
"""Recurring price (MRC) and activation fee from a day on; a subscription keeps the price it was sold at."""

plan_usage_price = tenant_table(
    "plan_usage_price",
    Column("plan_id", BigInteger, nullable=False),
    Column("usage_type", String(40), nullable=False),
    Column("unit", String(20), nullable=False),
    Column("unit_price", Numeric(18, 6), nullable=False),
    Column("effective_on", Date, nullable=False),
    at("created_at", default_now=True),
    CheckConstraint("unit_price >= 0", name="price_not_negative"),
    tenant_fk("plan_id", "plan"),
    tenant_unique("plan_id", "usage_type", "effective_on"),
    role_policies={"demarc_ingest": "SELECT"},  # metering prices what it books
)
