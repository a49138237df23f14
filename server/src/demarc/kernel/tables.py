"""The kernel's own tables: status history, outbox, idempotency, keys."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, String, Text
from sqlalchemy.dialects.postgresql import JSONB

from demarc.kernel.schema import at, personal, shared_table, tenant_table

status_change = tenant_table(
    "status_change",
    Column("entity", String(40), nullable=False),
    Column("entity_id", BigInteger, nullable=False),
    Column("from_status", String(40)),
    Column("to_status", String(40), nullable=False),
    Column("reason", Text, nullable=False, server_default="", info=personal("''")),
    Column("actor", Text, nullable=False),
    at("changed_at"),
    at("recorded_at", default_now=True),
)
Index(
    "ix_status_change_entity",
    status_change.c.tenant_id,
    status_change.c.entity,
    status_change.c.entity_id,
    status_change.c.id,
)

outbox_event = tenant_table(
    "outbox_event",
    Column("name", String(60), nullable=False),
    Column("entity", String(40), nullable=False),
    Column("entity_id", BigInteger, nullable=False),
    Column("payload", JSONB, nullable=False, info=personal("payload - 'reason'")),
    Column("request_id", Text, nullable=False, server_default=""),
    at("occurred_at"),
    at("recorded_at", default_now=True),
)
Index(
    "ix_outbox_event_entity",
    outbox_event.c.tenant_id,
    outbox_event.c.entity,
    outbox_event.c.entity_id,
    outbox_event.c.id,
)

idempotency_key = tenant_table(
    "idempotency_key",
    Column("key", String(255), nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("status_code", Integer),
    Column("body", LargeBinary),
    at("created_at", default_now=True),
    PrimaryKeyConstraint("tenant_id", "key"),
    key="none",
)

tenant_key = tenant_table(
    "tenant_key",
    Column("wrapped_key", LargeBinary, nullable=False),
    at("created_at", default_now=True),
    PrimaryKeyConstraint("tenant_id"),
    key="none",
)
"""Each tenant's data key, wrapped by the master key (ADR 0006)."""

platform_fact = shared_table(
    "platform_fact",
    Column("name", String(60), primary_key=True),
    Column("value", LargeBinary, nullable=False),
    reason="facts of the installation (check value of the master key); holds no tenant's data",
    role_policies={"demarc_app": "SELECT"},
)
