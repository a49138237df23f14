"""Staff who log in, and their refresh tokens."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Text, UniqueConstraint, Uuid, text

from demarc.kernel.schema import at, one_of, tenant_fk, tenant_table
from demarc.modules.identity.states import Role, UserStatus

app_user = tenant_table(
    "app_user",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("email", String(254), nullable=False),
    Column("name", String(100), nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("role", String(20), nullable=False),
    Column("status", String(20), nullable=False, server_default="active"),
    at("created_at", default_now=True),
    at("updated_at", default_now=True),
    one_of("status", UserStatus),
    one_of("role", Role),
    UniqueConstraint("email"),  # over the platform: log-in names no tenant; stored in lower case
    role_policies={"demarc_directory": "SELECT"},
)

refresh_token = tenant_table(
    "refresh_token",
    Column("user_id", BigInteger, nullable=False),
    Column("token_hash", LargeBinary, nullable=False),
    at("expires_at"),
    at("revoked_at", nullable=True),
    at("created_at", default_now=True),
    tenant_fk("user_id", "app_user"),
    UniqueConstraint("token_hash"),
    role_policies={"demarc_directory": "SELECT"},
)
Index("ix_refresh_token_user", refresh_token.c.tenant_id, refresh_token.c.user_id)
