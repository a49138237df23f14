"""What was used and what it costs."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Index,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Text,
    Uuid,
    text,
)

from demarc.kernel.schema import at, one_of, tenant_fk, tenant_table, tenant_unique
from demarc.modules.usage.states import BilledStatus

INGEST = {"demarc_ingest": "SELECT, INSERT, UPDATE"}

usage_record = tenant_table(
    "usage_record",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("subscription_id", BigInteger, nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("service_id", BigInteger),
    # The next four are set on usage that the platform metered itself.
    Column("session_id", Uuid),
    Column("month_on", Date),
    Column("part", SmallInteger),
    Column("is_open", Boolean, nullable=False, server_default="false"),
    Column("usage_type", String(40), nullable=False),
    Column("quantity", Numeric(18, 6), nullable=False),
    Column("unit", String(20), nullable=False),
    Column("unit_price", Numeric(18, 6), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("input_octets", BigInteger),
    Column("output_octets", BigInteger),
    at("period_start"),
    at("period_end"),
    Column("source_system", String(50), nullable=False),
    Column("source_record_id", String(255)),
    Column("description", Text, nullable=False, server_default=""),
    Column("billed_status", String(20), nullable=False, server_default="pending"),
    Column("invoice_id", BigInteger),
    Column("invoice_ref", String(50)),
    at("billed_at", nullable=True),
    at("created_at", default_now=True),
    at("updated_at", default_now=True),
    one_of("billed_status", BilledStatus),
    CheckConstraint("quantity >= 0 AND unit_price >= 0", name="not_negative"),
    CheckConstraint("period_end >= period_start", name="period_ordered"),
    tenant_fk("subscription_id", "subscription"),
    tenant_fk("customer_id", "customer"),
    tenant_unique("uid"),
    role_policies=INGEST,
    postgresql_with={"fillfactor": "80"},
)
"""Metered rows carry integer octets: quantity is their reading in GB = 2^30 octets, the octets decide.

A session's usage of one month is raised in place while the row `is_open`; billing closes it for good, and what is
metered afterwards opens the next `part`.
"""
Index(
    "ix_usage_record_pending",
    usage_record.c.tenant_id,
    usage_record.c.subscription_id,
    usage_record.c.period_start,
    postgresql_where=text("billed_status = 'pending'"),
)
Index(
    "ix_usage_record_period",
    usage_record.c.tenant_id,
    usage_record.c.subscription_id,
    usage_record.c.period_start,
    usage_record.c.id,
)
Index(
    "ix_usage_record_invoice",
    usage_record.c.tenant_id,
    usage_record.c.invoice_id,
    postgresql_where=text("invoice_id IS NOT NULL"),
)
Index(
    "uq_usage_record_metered",
    usage_record.c.tenant_id,
    usage_record.c.session_id,
    usage_record.c.month_on,
    usage_record.c.part,
    unique=True,
    postgresql_where=text("session_id IS NOT NULL"),
)

usage_source_key = tenant_table(
    "usage_source_key",
    Column("source_system", String(50), nullable=False),
    Column("source_record_id", String(255), nullable=False),
    Column("record_id", BigInteger, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant_id", "source_system", "source_record_id"),
    key="none",
    role_policies=INGEST,
)
"""Makes (source_system, source_record_id) unique; narrow, so that the records themselves can be partitioned."""
