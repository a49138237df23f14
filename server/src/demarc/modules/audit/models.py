"""Who changed what: appended by every write, sealed in order by one sealer."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from demarc.kernel.schema import at, tenant_table

audit_log = tenant_table(
    "audit_log",
    Column("actor_kind", String(10), nullable=False),
    Column("actor_name", Text, nullable=False),
    Column("actor_user_id", BigInteger),
    Column("action", String(60), nullable=False),
    Column("entity", String(40), nullable=False),
    Column("entity_id", BigInteger, nullable=False),
    Column("before", JSONB),
    Column("after", JSONB),
    Column("request_id", Text, nullable=False, server_default=""),
    Column(
        "transaction_id",
        BigInteger,
        nullable=False,
        server_default=text("pg_current_xact_id()::text::bigint"),
    ),
    at("recorded_at", default_now=True),
    append_only=True,
)
Index("ix_audit_log_entity", audit_log.c.tenant_id, audit_log.c.entity, audit_log.c.entity_id, audit_log.c.id)
Index("ix_audit_log_transaction", audit_log.c.tenant_id, audit_log.c.transaction_id)

audit_seal = tenant_table(
    "audit_seal",
    Column("cluster", BigInteger, nullable=False),
    Column("up_to_transaction", BigInteger, nullable=False),
    Column("floor_id", BigInteger, nullable=False, server_default="0"),
    Column("last_id", BigInteger, nullable=False),
    Column("rows_sealed", Integer, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    at("sealed_at", default_now=True),
    append_only=True,
)
"""`hash` covers the previous seal and every row below `up_to_transaction` not sealed before.

`cluster`: PostgreSQL's system identifier, whose transaction ids these are; `floor_id`: rows up to it were written in an earlier cluster, whose transaction ids say nothing here; `last_id`: the
highest id that is sealed.
"""
