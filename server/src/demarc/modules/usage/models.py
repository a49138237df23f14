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

from demarc.kernel.schema import at, one_of, personal, tenant_fk, tenant_table, tenant_unique
from demarc.modules.catalog.states import CapAction
from demarc.modules.usage.states import BilledStatus, CrossingOutcome

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
    Column(
        "price_id", BigInteger
    ),  # the plan's price that rates the whole month; NULL: each unit costs `unit_price`
    Column("currency", String(3), nullable=False),
    Column("input_octets", BigInteger),
    Column("output_octets", BigInteger),
    at("period_start"),
    at("period_end"),
    Column("source_system", String(50), nullable=False),
    Column("source_record_id", String(255)),
    Column("description", Text, nullable=False, server_default="", info=personal("''")),
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
    tenant_fk("price_id", "plan_usage_price"),
    tenant_unique("uid"),
    tenant_key=False,
    role_policies=INGEST,
    postgresql_with={"fillfactor": "50"},
)
"""Metered rows carry integer octets: quantity is their reading in GB = 2^30 octets, the octets decide.

A session's usage of one month is raised in place while the row `is_open`; billing closes it for good, and what is
metered afterwards opens the next `part`. Half of a page is left free for the next version of each row, so that raising touches no
index. Tenant and customer are the subscription's, whose key is the only one that is checked.
"""
Index(
    "ix_usage_record_period",
    usage_record.c.tenant_id,
    usage_record.c.subscription_id,
    usage_record.c.period_start,
    usage_record.c.id,
)
Index(
    "ix_usage_record_pending",
    usage_record.c.tenant_id,
    usage_record.c.period_start,
    usage_record.c.id,
    postgresql_where=text("billed_status = 'pending'"),
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
"""Makes (source_system, source_record_id) of posted records unique; narrow, so that the records themselves can be partitioned.

What the platform metered has none: its source_record_id says session, month and part, which are unique by themselves.
"""

data_cap = tenant_table(
    "data_cap",
    Column("service_id", BigInteger, nullable=False),
    Column("subscription_id", BigInteger, nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("limit_octets", BigInteger, nullable=False),
    Column("action", String(20), nullable=False),
    Column("download_bps", BigInteger),
    Column("upload_bps", BigInteger),
    at("created_at"),
    at("updated_at"),
    one_of("action", CapAction),
    CheckConstraint("limit_octets > 0", name="limit_positive"),
    tenant_fk("service_id", "service"),
    tenant_unique("service_id"),
    role_policies={"demarc_ingest": "SELECT"},
)
"""How much a service may carry in a month, as it was sold or set since; speeds are the throttled ones. No row: no cap."""

data_period = tenant_table(
    "data_period",
    Column("service_id", BigInteger, nullable=False),
    Column("month_on", Date, nullable=False),
    Column("limit_octets", BigInteger, nullable=False),
    Column("bonus_octets", BigInteger, nullable=False, server_default="0"),
    Column("used_octets", BigInteger, nullable=False, server_default="0"),
    at("updated_at", default_now=True),
    CheckConstraint("used_octets >= 0 AND bonus_octets >= 0", name="not_negative"),
    tenant_fk("service_id", "service"),
    tenant_unique("service_id", "month_on"),
    role_policies=INGEST,
    postgresql_with={"fillfactor": "80"},
)
"""What a capped service carried in a month of the tenant's calendar, raised in the ingester's transaction; `bonus_octets`: top-ups."""

data_crossing = tenant_table(
    "data_crossing",
    Column("service_id", BigInteger, nullable=False),
    Column("month_on", Date, nullable=False),
    Column("threshold", SmallInteger, nullable=False),
    Column("allowance_octets", BigInteger, nullable=False),
    Column("used_octets", BigInteger, nullable=False),
    at("crossed_at"),
    Column("outcome", String(20), nullable=False, server_default="pending"),
    at("handled_at", nullable=True),
    one_of("outcome", CrossingOutcome),
    tenant_fk("service_id", "service"),
    tenant_unique("service_id", "month_on", "threshold", "allowance_octets"),
    role_policies=INGEST,
)
"""80 or 100 % of a month's allowance was reached: once for each allowance, however often the packets come."""
Index("ix_data_crossing_pending", data_crossing.c.tenant_id, postgresql_where=text("outcome = 'pending'"))

data_top_up = tenant_table(
    "data_top_up",
    Column("uid", Uuid, nullable=False),
    Column("service_id", BigInteger, nullable=False),
    Column("subscription_id", BigInteger, nullable=False),
    Column("month_on", Date, nullable=False),
    Column("octets", BigInteger, nullable=False),
    Column("usage_record_id", BigInteger),  # what bills it; NULL: it was given
    Column("reason", Text, nullable=False, server_default="", info=personal("''")),
    Column("placed_by", Text, nullable=False),
    at("created_at"),
    CheckConstraint("octets > 0", name="positive"),
    tenant_fk("service_id", "service"),
    tenant_fk("usage_record_id", "usage_record"),
    tenant_unique("uid"),
)
"""Octets that were bought or given beyond the cap, for one month."""
Index("ix_data_top_up_service", data_top_up.c.tenant_id, data_top_up.c.service_id, data_top_up.c.month_on)
Index(
    "ix_data_top_up_subscription",
    data_top_up.c.tenant_id,
    data_top_up.c.subscription_id,
    data_top_up.c.month_on,
)
