"""Who pays."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, String, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from demarc.kernel.rls import BOUND_RESELLER
from demarc.kernel.schema import at, one_of, tenant_fk, tenant_table, tenant_unique
from demarc.modules.customers.states import CustomerStatus, CustomerTier

customer = tenant_table(
    "customer",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("portal_id", String(20)),
    Column("name", String(255), nullable=False),
    Column("email", String(254)),
    Column("phone", String(32)),
    Column("tier", String(20), nullable=False, server_default="basic"),
    Column("tags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("address", JSONB),
    Column("billing_address", JSONB),
    Column("language", String(10), nullable=False, server_default="en"),
    Column("status", String(20), nullable=False, server_default="active"),
    Column(
        "reseller_id", BigInteger, server_default=text(BOUND_RESELLER)
    ),  # who made it, in a reseller's transaction
    Column(
        "merged_into_id", BigInteger
    ),  # it was the same customer: everything that hung on it hangs there now
    at("erased_at", nullable=True),
    at("created_at"),
    at("updated_at"),
    one_of("status", CustomerStatus),
    one_of("tier", CustomerTier),
    tenant_unique("uid"),
    tenant_unique("portal_id"),
    tenant_fk("reseller_id", "app_user"),
    tenant_fk("merged_into_id", "customer"),
    visible_when=f"{BOUND_RESELLER} IS NULL OR reseller_id = {BOUND_RESELLER}",
)
Index("ix_customer_created", customer.c.tenant_id, customer.c.created_at, customer.c.id)
Index("ix_customer_email", customer.c.tenant_id, text("lower(email)"))

customer_note = tenant_table(
    "customer_note",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("customer_id", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("author", Text, nullable=False),
    at("created_at"),
    at("updated_at"),
    tenant_fk("customer_id", "customer"),
    tenant_unique("uid"),
)
Index("ix_customer_note_customer", customer_note.c.tenant_id, customer_note.c.customer_id, customer_note.c.id)
