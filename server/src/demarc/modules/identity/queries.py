"""Reads of staff, most of them before a tenant is bound."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, and_, any_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.db import Database, Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import SEARCH, Query, mine
from demarc.modules.identity.models import app_user, refresh_token, service_token, user_session
from demarc.modules.identity.states import Role, UserStatus


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
    session_id: int
    token_hash: bytes
    expires_at: datetime
    revoked_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """From a log-in to its log-out."""

    tenant_id: int
    id: int
    user_id: int
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class ServiceToken:
    """What is known of a service token; the token itself is stored nowhere."""

    tenant_id: int
    id: int
    uid: UUID
    name: str
    scopes: list[str]
    hint: str
    created_by_id: int | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


_USER = Query(select(app_user).where(mine(app_user), app_user.c.id == bindparam("id")))
_USER_BY_UID = Query(select(app_user).where(mine(app_user), app_user.c.uid == bindparam("uid")))
_USER_LOCKED = Query(
    select(app_user).where(mine(app_user), app_user.c.uid == bindparam("uid")).with_for_update()
)
_USERS_BY_IDS = Query(
    select(app_user.c.id, app_user.c.uid).where(
        mine(app_user), app_user.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))
    )
)
_ADMINISTRATORS = Query(
    select(app_user.c.id)
    .where(mine(app_user), app_user.c.role == Role.ADMIN.value, app_user.c.status == UserStatus.ACTIVE.value)
    .order_by(app_user.c.id)
    .with_for_update()
)
_SESSION = Query(
    select(user_session).where(mine(user_session), user_session.c.id == bindparam("id")).with_for_update()
)
_SERVICE_TOKEN = Query(
    select(service_token).where(mine(service_token), service_token.c.uid == bindparam("uid"))
)
USERS = Listing(
    app_user,
    filters={
        "role": app_user.c.role == bindparam("role"),
        "status": app_user.c.status == bindparam("status"),
        "search": or_(app_user.c.name.ilike(SEARCH), app_user.c.email.ilike(SEARCH)),
    },
    sorts={"created_at": app_user.c.id, "name": app_user.c.name, "email": app_user.c.email},
    default_sort="created_at",
)
SERVICE_TOKENS = Listing(
    service_token,
    filters={
        "is_active": and_(service_token.c.revoked_at.is_(None), service_token.c.expires_at > func.now())
        == bindparam("is_active", type_=Boolean),
        "name": service_token.c.name == bindparam("name"),
    },
    sorts={
        "created_at": service_token.c.id,
        "name": service_token.c.name,
        "expires_at": service_token.c.expires_at,
    },
    default_sort="created_at",
)
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


async def get_user(tx: Tx, uid: UUID) -> User:
    """Raises `NotFound`."""
    return _known(await tx.find(_USER_BY_UID, User, uid=uid), uid)


async def get_user_to_change(tx: Tx, uid: UUID) -> User:
    """The user, locked until the transaction ends; raises `NotFound`."""
    return _known(await tx.find(_USER_LOCKED, User, uid=uid), uid)


def _known(found: User | None, uid: UUID) -> User:
    if found is None:
        raise NotFound(f"no user {uid}")
    return found


async def lock_administrators(tx: Tx) -> int:
    """Hold the active administrators until the transaction ends, so that two cannot leave at once; how many."""
    rows = await tx.connection.fetch(
        _ADMINISTRATORS.sql, *_ADMINISTRATORS.arguments({"tenant_id": tx.tenant.id})
    )
    return len(rows)


async def list_users(tx: Tx, window: Window, *, sort: str | None = None, **filters: Any) -> Page[User]:
    """Filters: role, status, search (part of name or e-mail)."""
    return await USERS.page(tx, User, window, sort=sort, **filters)


async def user_uids_of(tx: Tx, ids: Collection[int]) -> dict[int, UUID]:
    """The `/api` ids of these users."""
    given = {"tenant_id": tx.tenant.id, "ids": [*ids]}
    rows = await tx.connection.fetch(_USERS_BY_IDS.sql, *_USERS_BY_IDS.arguments(given))
    return {row["id"]: row["uid"] for row in rows}


async def find_session(tx: Tx, session_id: int) -> Session | None:
    """Locked until the transaction ends."""
    return await tx.find(_SESSION, Session, id=session_id)


async def get_service_token(tx: Tx, uid: UUID) -> ServiceToken:
    """Raises `NotFound`."""
    return await tx.get(_SERVICE_TOKEN, ServiceToken, f"no service token {uid}", uid=uid)


async def list_service_tokens(
    tx: Tx, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[ServiceToken]:
    """Filters: is_active (neither revoked nor expired), name."""
    return await SERVICE_TOKENS.page(tx, ServiceToken, window, sort=sort, **filters)


async def find_refresh_token(tx: Tx, token_id: int) -> RefreshToken | None:
    """Locked until the transaction ends, so that a token is used once."""
    return await tx.find(_TOKEN, RefreshToken, id=token_id)
