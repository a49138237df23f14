"""Columns of lower modules' tables that usage's set-based statements read beside its own; never written here."""

from __future__ import annotations

from sqlalchemy import DateTime, and_, column, table

from demarc.modules.usage.models import usage_record

subscription = table(
    "subscription",
    column("tenant_id"),
    column("id"),
    column("ref"),
    column("canceled_at", DateTime(timezone=True)),
)
customer = table("customer", column("tenant_id"), column("id"), column("uid"))

RECORD_WITH_OWNERS = usage_record.join(
    subscription,
    and_(
        subscription.c.tenant_id == usage_record.c.tenant_id,
        subscription.c.id == usage_record.c.subscription_id,
    ),
).join(
    customer,
    and_(customer.c.tenant_id == usage_record.c.tenant_id, customer.c.id == usage_record.c.customer_id),
)
OWNERS = (subscription.c.ref.label("subscription_ref"), customer.c.uid.label("customer_uid"))
