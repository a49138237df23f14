"""From a log-in to the log-out; `service` is the public face."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import bindparam, update

from demarc.kernel.clock import real_now
from demarc.kernel.context import Actor, ActorKind, system
from demarc.kernel.db import Database, Tx
from demarc.kernel.errors import Forbidden, Unauthenticated
from demarc.kernel.sql import Query, mine
from demarc.modules.audit.service import record
from demarc.modules.identity.models import refresh_token, user_session
from demarc.modules.identity.passwords import hash_of_nobody, verify
from demarc.modules.identity.queries import (
    LoginEntry,
    RefreshEntry,
    RefreshToken,
    Session,
    find_login,
    find_refresh_entry,
    find_refresh_token,
    find_session,
    find_user,
)
from demarc.modules.identity.states import Role
from demarc.modules.identity.tokens import ACCESS_LIFETIME, Principal, Tokens

REFRESH_LIFETIME = timedelta(days=30)
_WRONG = "user name or password is wrong"
_END_ALL = Query(
    update(user_session)
    .where(
        mine(user_session),
        user_session.c.user_id == bindparam("user_id"),
        user_session.c.revoked_at.is_(None),
    )
    .values(revoked_at=bindparam("revoked_at", type_=user_session.c.revoked_at.type))
)
_END_ONE = Query(
    update(user_session)
    .where(
        mine(user_session), user_session.c.id == bindparam("session_id"), user_session.c.revoked_at.is_(None)
    )
    .values(revoked_at=bindparam("revoked_at", type_=user_session.c.revoked_at.type))
)


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a log-in answers; shown once, never stored."""

    access_token: str
    refresh_token: str
    expires_in: int


async def log_in(database: Database, tokens: Tokens, *, username: str, password: str) -> TokenPair:
    """Check a password and open a session.

    Raises:
        Unauthenticated: without saying whether the user exists.
    """
    entry = await find_login(database, username)
    matches = await asyncio.to_thread(verify, entry.password_hash if entry else hash_of_nobody(), password)
    if entry is None or not matches:
        if entry is not None:
            await _note_refusal(database, entry)
        raise Unauthenticated(_WRONG, code="WRONG_CREDENTIALS")
    principal = Principal(
        entry.user_id, username.lower(), entry.tenant_id, entry.tenant_slug, Role(entry.role)
    )
    async with database.begin(entry.tenant_id, principal.actor) as tx:
        await record(tx, "user.log_in", entity="user", entity_id=entry.user_id)
        opened = await tx.insert(user_session, Session, user_id=entry.user_id)
        return await _hand_out(tx, tokens, replace(principal, session_id=opened.id))


async def _note_refusal(database: Database, entry: LoginEntry) -> None:
    async with database.begin(entry.tenant_id, system("log-in")) as tx:
        await record(tx, "user.log_in_refused", entity="user", entity_id=entry.user_id)


async def refresh(database: Database, tokens: Tokens, *, token: str) -> TokenPair:
    """Trade a refresh token for a new pair. A token used twice was stolen: the user's sessions all end.

    Raises:
        Unauthenticated: unknown, expired or used, or the session has ended.
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
        if stored is None or user is None or stored.expires_at <= real_now():
            return None
        if stored.revoked_at is not None:
            ended = await end_sessions(tx, entry.user_id)
            await record(
                tx, "user.refresh_reused", entity="user", entity_id=user.id, after={"sessions_ended": ended}
            )
            return None
        session = await find_session(tx, stored.session_id)
        if session is None or session.revoked_at is not None:
            return None
        await tx.update(refresh_token, RefreshToken, {"id": stored.id}, revoked_at=real_now())
        principal = Principal(user.id, user.email, tx.tenant.id, tx.tenant.slug, Role(user.role), session.id)
        return await _hand_out(tx, tokens, principal)


async def log_out(tx: Tx) -> None:
    """End the session that the request came with: its access token and its refresh token are good no more."""
    await tx.execute(_END_ONE, session_id=tx.actor.session_id or 0, revoked_at=real_now())
    await record(tx, "user.log_out", entity="user", entity_id=tx.actor.user_id or 0)


async def end_sessions(tx: Tx, user_id: int) -> int:
    """End every session of a user; how many there were."""
    return await tx.execute(_END_ALL, user_id=user_id, revoked_at=real_now())


async def _hand_out(tx: Tx, tokens: Tokens, principal: Principal) -> TokenPair:
    token = secrets.token_urlsafe(32)
    await tx.insert(
        refresh_token,
        RefreshToken,
        user_id=principal.user_id,
        session_id=principal.session_id,
        token_hash=_digest(token),
        expires_at=real_now() + REFRESH_LIFETIME,
    )
    return TokenPair(tokens.sign(principal), token, int(ACCESS_LIFETIME.total_seconds()))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
