"""Messages to customers: stored first, sent after the commit, with the outcome beside them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Text, Uuid, text

from demarc.kernel.schema import at, one_of, personal, tenant_table, tenant_unique
from demarc.modules.notifications.states import Channel, NotificationStatus

notification = tenant_table(
    "notification",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("customer_id", BigInteger, nullable=False),
    Column("channel", String(10), nullable=False),
    Column("template", String(60), nullable=False),
    Column("recipient", String(254), nullable=False, info=personal("''")),
    Column("subject", Text, nullable=False, server_default="", info=personal("''")),
    Column("body", Text, nullable=False, info=personal("''")),
    Column(
        "about", String(100), nullable=False
    ),  # what it is about, e.g. "dunning_execution:17:step:1"; one message each
    Column("status", String(20), nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_error", Text),
    at("created_at"),
    at("updated_at", default_now=True),
    at("sent_at", nullable=True),
    one_of("channel", Channel),
    one_of("status", NotificationStatus),
    tenant_unique("channel", "about"),
    tenant_unique("uid"),
)
Index("ix_notification_customer", notification.c.tenant_id, notification.c.customer_id, notification.c.id)

notification_template = tenant_table(
    "notification_template",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("channel", String(10), nullable=False),
    Column("name", String(60), nullable=False),
    Column("language", String(10), nullable=False, server_default="en"),
    Column("subject", Text, nullable=False, server_default=""),
    Column("body", Text, nullable=False),
    at("updated_at", default_now=True),
    one_of("channel", Channel),
    tenant_unique("channel", "name", "language"),
    tenant_unique("uid"),
)
"""A tenant's own wording; a template that is not here is the one that ships with Demarc."""
