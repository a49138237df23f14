"""Who pays."""

from __future__ import annotations

from sqlalchemy import Column, Index, String, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from demarc.kernel.schema import at, one_of, tenant_table, tenant_unique
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
    at("created_at"),
    at("updated_at"),
    one_of("status", CustomerStatus),
    one_of("tier", CustomerTier),
    tenant_unique("uid"),
    tenant_unique("portal_id"),
)
Index("ix_customer_created", customer.c.tenant_id, customer.c.created_at, customer.c.id)
Index("ix_customer_email", customer.c.tenant_id, text("lower(email)"))
