"""What is sold: plans, their prices over time, and what usage costs."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, Index, Numeric, String, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB, ExcludeConstraint

from demarc.kernel.schema import at, one_of, tenant_fk, tenant_table, tenant_unique
from demarc.modules.catalog.states import CapAction, PlanStatus, PriceModel

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
    # The data cap that a service of the plan is sold with; NULL: none.
    Column("cap_octets", BigInteger),
    Column("cap_action", String(20)),
    Column("cap_download_bps", BigInteger),
    Column("cap_upload_bps", BigInteger),
    at("created_at", default_now=True),
    at("updated_at", default_now=True),
    one_of("status", PlanStatus),
    one_of("cap_action", CapAction),
    CheckConstraint("download_bps > 0 AND upload_bps > 0", name="speed_positive"),
    CheckConstraint("cap_octets > 0 AND cap_action IS NOT NULL OR cap_octets IS NULL", name="cap_whole"),
    tenant_unique("ref"),
    tenant_unique("uid"),
)

plan_price = tenant_table(
    "plan_price",
    Column("plan_id", BigInteger, nullable=False),
    Column("effective_on", Date, nullable=False),
    Column("monthly_minor", BigInteger, nullable=False),
    Column("activation_minor", BigInteger, nullable=False, server_default="0"),
    Column("until_on", Date),
    at("created_at", default_now=True),
    CheckConstraint("monthly_minor >= 0 AND activation_minor >= 0", name="price_not_negative"),
    CheckConstraint("until_on > effective_on", name="period_ordered"),
    tenant_fk("plan_id", "plan"),
    ExcludeConstraint(
        ("tenant_id", "="),
        ("plan_id", "="),
        (text("daterange(effective_on, until_on)"), "&&"),
        name="ex_plan_price_offers",
        using="gist",
        where=text("until_on IS NOT NULL"),
    ),
)
"""Recurring price (MRC) and activation fee from a day on; a subscription keeps the price it was sold at.

With `until_on` (exclusive) it is an offer for a while: before and after it, the price without an end counts.
"""
Index(
    "uq_plan_price_lasting",
    plan_price.c.tenant_id,
    plan_price.c.plan_id,
    plan_price.c.effective_on,
    unique=True,
    postgresql_where=text("until_on IS NULL"),
)

plan_usage_price = tenant_table(
    "plan_usage_price",
    Column("plan_id", BigInteger, nullable=False),
    Column("usage_type", String(40), nullable=False),
    Column("unit", String(20), nullable=False),
    Column("unit_price", Numeric(18, 6), nullable=False),
    Column("model", String(10), nullable=False, server_default="flat"),
    Column("included", Numeric(18, 6), nullable=False, server_default="0"),
    Column("tiers", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("effective_on", Date, nullable=False),
    Column("until_on", Date),
    at("created_at", default_now=True),
    one_of("model", PriceModel),
    CheckConstraint("unit_price >= 0 AND included >= 0", name="price_not_negative"),
    CheckConstraint("until_on > effective_on", name="period_ordered"),
    tenant_fk("plan_id", "plan"),
    ExcludeConstraint(
        ("tenant_id", "="),
        ("plan_id", "="),
        ("usage_type", "="),
        (text("daterange(effective_on, until_on)"), "&&"),
        name="ex_plan_usage_price_offers",
        using="gist",
        where=text("until_on IS NOT NULL"),
    ),
    role_policies={"demarc_ingest": "SELECT"},  # metering prices what it books
)
"""What a unit of usage costs from a day on.

`flat`: `unit_price` each. `package`: `included` units are in, each further one is `unit_price`. `tiered` and `volume`: `tiers` holds
`{"up_to": "100", "unit_price": "0.05"}`, the last without an `up_to`; decimals are text, `unit_price` is the first tier's.
"""
Index(
    "uq_plan_usage_price_lasting",
    plan_usage_price.c.tenant_id,
    plan_usage_price.c.plan_id,
    plan_usage_price.c.usage_type,
    plan_usage_price.c.effective_on,
    unique=True,
    postgresql_where=text("until_on IS NULL"),
)

bandwidth_profile = tenant_table(
    "bandwidth_profile",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("name", String(100), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("download_bps", BigInteger, nullable=False),
    Column("upload_bps", BigInteger, nullable=False),
    at("created_at", default_now=True),
    at("updated_at", default_now=True),
    CheckConstraint("download_bps > 0 AND upload_bps > 0", name="speed_positive"),
    tenant_unique("name"),
    tenant_unique("uid"),
)
"""Speeds with a name. Whoever names one copies its speeds: what was sold stays as it was sold."""
