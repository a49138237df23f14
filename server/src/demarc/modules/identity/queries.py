"""Reads of staff, most of them before a tenant is bound."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, select

from demarc.kernel.db import Database, Tx
from demarc.kernel.sql import Query, mine
from demarc.modules.identity.models import app_user, refresh_token


@dataclass(frozen=True, slots=True)
class LoginEntry:
    """What an e-mail address unlocks; the password hash is checked and forgotten."""

    tenant_id: int
    tenant_slug: str
    user_id: int
    password_hash: str
    role: str


@dataclass(frozen=True, slots=True)
class RefreshEntry:
    tenant_id: int
    token_id: int
    user_id: int


@dataclass(frozen=True, slots=True)
class User:
    tenant_id: int
    id: int
    uid: UUID
    email: str
    name: str
    password_hash: str
    role: str
    status: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RefreshToken:
    tenant_id: int
    id: int
    user_id: int
    token_hash: bytes
    expires_at: datetime
    revoked_at: datetime | None
    created_at: datetime


_USER = Query(select(app_user).where(mine(app_user), app_user.c.id == bindparam("id")))
_TOKEN = Query(
    select(refresh_token).where(mine(refresh_token), refresh_token.c.id == bindparam("id")).with_for_update()
)


async def find_login(database: Database, email: str) -> LoginEntry | None:
    async with database.directory() as connection:
        row = await connection.fetchrow("SELECT * FROM find_login($1)", email)
    return LoginEntry(**row) if row else None


async def find_refresh_entry(database: Database, token_hash: bytes) -> RefreshEntry | None:
    async with database.directory() as connection:
        row = await connection.fetchrow("SELECT * FROM find_refresh_token($1)", token_hash)
    return RefreshEntry(**row) if row else None


async def find_user(tx: Tx, user_id: int) -> User | None:
    return await tx.find(_USER, User, id=user_id)


async def find_refresh_token(tx: Tx, token_id: int) -> RefreshToken | None:
    """Locked until the transaction ends, so that a token is used once."""
    return await tx.find(_TOKEN, RefreshToken, id=token_id)
