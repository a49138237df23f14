"""Log-in of staff: argon2 passwords, short access tokens, refresh tokens that are used once."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from uuid import uuid4

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import bindparam, update

from demarc.kernel.clock import real_now
from demarc.kernel.context import Actor, ActorKind
from demarc.kernel.db import Database, Tx
from demarc.kernel.errors import Forbidden, Unauthenticated
from demarc.kernel.sql import Query, mine
from demarc.modules.audit.service import record
from demarc.modules.identity.models import app_user, refresh_token
from demarc.modules.identity.permissions import BY_ROLE
from demarc.modules.identity.queries import (
    RefreshEntry,
    RefreshToken,
    User,
    find_login,
    find_refresh_entry,
    find_refresh_token,
    find_user,
)
from demarc.modules.identity.states import Role, UserStatus

ACCESS_LIFETIME = timedelta(hours=1)
REFRESH_LIFETIME = timedelta(days=30)
_ALGORITHM = "HS256"
_AUDIENCE = "demarc"
_HASHER = PasswordHasher()
_WRONG = "user name or password is wrong"
_REVOKE = Query(
    update(refresh_token)
    .where(
        mine(refresh_token),
        refresh_token.c.user_id == bindparam("user_id"),
        refresh_token.c.revoked_at.is_(None),
    )
    .values(revoked_at=bindparam("revoked_at", type_=refresh_token.c.revoked_at.type))
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request comes from, read from its access token."""

    user_id: int
    name: str
    tenant_id: int
    tenant_slug: str
    role: Role

    def require(self, permission: str) -> None:
        """Raises `Forbidden` unless the role holds the permission."""
        if permission not in BY_ROLE[self.role]:
            raise Forbidden(
                f"this needs the permission {permission}, which the role {self.role.value} does not have"
            )

    @property
    def actor(self) -> Actor:
        return Actor(ActorKind.USER, self.name, self.user_id)


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a log-in answers; shown once, never stored."""

    access_token: str
    refresh_token: str
    expires_in: int


class Tokens:
    """Signs and reads access tokens (JWT, RFC 7519, HS256)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, principal: Principal) -> str:
        now = real_now()
        claims = {
            "sub": str(principal.user_id),
            "name": principal.name,
            "tid": principal.tenant_id,
            "tenant": principal.tenant_slug,
            "role": principal.role.value,
            "aud": _AUDIENCE,
            "iat": now,
            "exp": now + ACCESS_LIFETIME,
            "jti": uuid4().hex,
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def read(self, token: str) -> Principal:
        """Raises `Unauthenticated`: expired, forged or not a token at all."""
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={"require": ["exp", "sub", "aud"]},
            )
            return Principal(
                int(claims["sub"]), claims["name"], claims["tid"], claims["tenant"], Role(claims["role"])
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated(
                "the access token has expired; log in again or use the refresh token"
            ) from None
        except (jwt.InvalidTokenError, KeyError, ValueError):
            raise Unauthenticated("the access token is not valid; log in at POST /api/auth/token") from None


async def create_user(tx: Tx, *, email: str, name: str, password: str, role: Role) -> User:
    """Take on a member of staff. E-mail is unique over the platform."""
    hashed = await asyncio.to_thread(_HASHER.hash, password)
    made = await tx.insert(
        app_user,
        User,
        email=email.lower(),
        name=name,
        password_hash=hashed,
        role=role.value,
        status=UserStatus.ACTIVE.value,
    )
    await record(
        tx, "user.create", entity="user", entity_id=made.id, after={"email": made.email, "role": made.role}
    )
    return made


async def log_in(database: Database, tokens: Tokens, *, username: str, password: str) -> TokenPair:
    """Check a password and open a session.

    Raises:
        Unauthenticated: without saying whether the user exists.
    """
    entry = await find_login(database, username)
    matches = await asyncio.to_thread(_verify, entry.password_hash if entry else _hash_of_nobody(), password)
    if entry is None or not matches:
        raise Unauthenticated(_WRONG, code="WRONG_CREDENTIALS")
    principal = Principal(
        entry.user_id, username.lower(), entry.tenant_id, entry.tenant_slug, Role(entry.role)
    )
    async with database.begin(entry.tenant_id, principal.actor) as tx:
        await record(tx, "user.log_in", entity="user", entity_id=entry.user_id)
        return await _open_session(tx, tokens, principal)


async def refresh(database: Database, tokens: Tokens, *, token: str) -> TokenPair:
    """Trade a refresh token for a new pair. A token used twice was stolen: the user's sessions all end.

    Raises:
        Unauthenticated: unknown, expired or used.
    """
    refused = Unauthenticated("the refresh token is not valid any more; log in again")
    entry = await find_refresh_entry(database, _digest(token))
    if entry is None:
        raise refused
    try:
        pair = await _trade(database, tokens, entry)
    except Forbidden:  # the user has left, or the tenant is closed
        pair = None
    if pair is None:
        raise refused
    return pair


async def _trade(database: Database, tokens: Tokens, entry: RefreshEntry) -> TokenPair | None:
    """None when the token is expired or used; the user's sessions have ended then, and that is committed."""
    async with database.begin(entry.tenant_id, Actor(ActorKind.USER, "refresh", entry.user_id)) as tx:
        stored = await find_refresh_token(tx, entry.token_id)
        user = await find_user(tx, entry.user_id)
        if stored is None or user is None or stored.expires_at <= real_now() or stored.revoked_at is not None:
            await tx.execute(_REVOKE, user_id=entry.user_id, revoked_at=real_now())
            return None
        await tx.update(refresh_token, RefreshToken, {"id": stored.id}, revoked_at=real_now())
        principal = Principal(user.id, user.email, tx.tenant.id, tx.tenant.slug, Role(user.role))
        return await _open_session(tx, tokens, principal)


async def _open_session(tx: Tx, tokens: Tokens, principal: Principal) -> TokenPair:
    token = secrets.token_urlsafe(32)
    await tx.insert(
        refresh_token,
        RefreshToken,
        user_id=principal.user_id,
        token_hash=_digest(token),
        expires_at=real_now() + REFRESH_LIFETIME,
    )
    return TokenPair(tokens.sign(principal), token, int(ACCESS_LIFETIME.total_seconds()))


@lru_cache(maxsize=1)
def _hash_of_nobody() -> str:
    """Checked when there is no such user: an unknown address costs as much time as a wrong password."""
    return _HASHER.hash("no such user")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _verify(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerifyMismatchError, InvalidHashError):
        return False
