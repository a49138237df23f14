"""The tenant itself: an operator with its customers, network and money."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Identity,
    Integer,
    Interval,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from demarc.kernel.schema import ROLE_POLICIES, TENANT_SCOPED, at, metadata, one_of
from demarc.modules.tenants.states import TenantStatus

tenant = Table(
    "tenant",
    metadata,
    Column("id", Integer, Identity(start=1000), nullable=False),
    Column("slug", String(40), nullable=False),
    Column("name", String(100), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("time_zone", String(60), nullable=False),
    Column("is_sandbox", Boolean, nullable=False, server_default="false"),
    Column("clock_offset", Interval, nullable=False, server_default=text("interval '0'")),
    Column("status", String(20), nullable=False, server_default="active"),
    Column("settings", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    at("created_at", default_now=True),
    at("updated_at", default_now=True),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("slug"),
    one_of("status", TenantStatus),
    info={
        TENANT_SCOPED: True,
        "tenant_column": "id",
        ROLE_POLICIES: {"demarc_ingest": "SELECT", "demarc_directory": "SELECT"},
    },
)
