"""Staff who log in, and their refresh tokens."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Text, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.schema import at, one_of, tenant_fk, tenant_table, tenant_unique
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
    tenant_unique("uid"),
    UniqueConstraint("email"),  # over the platform: log-in names no tenant; stored in lower case
    role_policies={"demarc_directory": "SELECT"},
)

user_session = tenant_table(
    "user_session",
    Column("user_id", BigInteger, nullable=False),
    at("created_at", default_now=True),
    at("revoked_at", nullable=True),
    tenant_fk("user_id", "app_user"),
)
"""From a log-in to the log-out: access and refresh tokens are good only while it is not revoked. Real time."""
Index(
    "ix_user_session_user",
    user_session.c.tenant_id,
    user_session.c.user_id,
    postgresql_where=text("revoked_at IS NULL"),
)

service_token = tenant_table(
    "service_token",
    Column("uid", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("name", String(100), nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("hint", String(8), nullable=False),  # the token's last characters, to tell one from another
    Column("created_by_id", BigInteger),
    at("created_at", default_now=True),
    at("expires_at"),
    at("revoked_at", nullable=True),
    tenant_unique("uid"),
    tenant_fk("created_by_id", "app_user"),
)
"""What a program logs in with; the token itself is signed and never stored. Real time."""

refresh_token = tenant_table(
    "refresh_token",
    Column("user_id", BigInteger, nullable=False),
    Column("session_id", BigInteger, nullable=False),
    Column("token_hash", LargeBinary, nullable=False),
    at("expires_at"),
    at("revoked_at", nullable=True),
    at("created_at", default_now=True),
    tenant_fk("user_id", "app_user"),
    tenant_fk("session_id", "user_session"),
    UniqueConstraint("token_hash"),
    role_policies={"demarc_directory": "SELECT"},
)
Index("ix_refresh_token_user", refresh_token.c.tenant_id, refresh_token.c.user_id)
