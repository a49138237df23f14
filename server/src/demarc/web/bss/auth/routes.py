"""`/api/auth`: log-in and refresh, the only routes without a tenant header, and what one does about oneself."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from demarc.modules.identity.permissions import BY_ROLE
from demarc.modules.identity.service import (
    TokenPair,
    change_own_password,
    get_own_user,
    log_in,
    log_out,
    refresh,
    revoke_sessions,
)
from demarc.modules.identity.states import Role
from demarc.web.bss.users.schemas import EndedOut, MeOut, user_fields
from demarc.web.limits import limits_of
from demarc.web.routing import ApiRouter, PlatformDep, TxDep, problems

router = APIRouter(prefix="/api/auth", tags=["auth"])


class LogIn(BaseModel):
    """A member of staff's e-mail address and password."""

    username: str = Field(min_length=1, max_length=254, examples=["admin@example.com"])
    password: str = Field(min_length=1, max_length=255, examples=["secure_password"])


class Refresh(BaseModel):
    """The refresh token of the last answer; each is good once."""

    refresh_token: str = Field(min_length=1, max_length=255)


class TokenOut(BaseModel):
    """`expires_in` is in seconds."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a scheme, not a secret
    expires_in: int
    refresh_token: str


def token_out(pair: TokenPair) -> TokenOut:
    return TokenOut(
        access_token=pair.access_token, expires_in=pair.expires_in, refresh_token=pair.refresh_token
    )


@router.post("/token", responses=problems(400, 401, 422, 429, 503))
async def create_token(body: LogIn, platform: PlatformDep, request: Request) -> TokenOut:
    """Log in. Wrong passwords from one address for one user name are counted: ten a minute."""
    limits = limits_of(request)
    attempt = limits.take_log_in(request, body.username)
    pair = await log_in(platform.database, platform.tokens, username=body.username, password=body.password)
    limits.forgive_log_in(attempt)
    return token_out(pair)


@router.post("/refresh", responses=problems(400, 401, 422, 429, 503))
async def refresh_token(body: Refresh, platform: PlatformDep) -> TokenOut:
    """Trade a refresh token for a new pair."""
    return token_out(await refresh(platform.database, platform.tokens, token=body.refresh_token))


session = ApiRouter(prefix="/api/auth", tag="auth")


class PasswordChange(BaseModel):
    """One's own password, and the one to have from now on."""

    current_password: str = Field(min_length=1, max_length=255)
    new_password: str = Field(min_length=10, max_length=255)


@session.on("GET", "/me", permission="profile.read", problem=(404,))
async def me(tx: TxDep) -> MeOut:
    """Who asks, and what he may do."""
    user = await get_own_user(tx)
    return MeOut(**user_fields(user), tenant=tx.tenant.slug, permissions=sorted(BY_ROLE[Role(user.role)]))


@session.on("POST", "/logout", permission="profile.change", status=204, response_model=None)
async def end_session(tx: TxDep) -> None:
    """Log out: this session's access token and refresh token are good no more."""
    await log_out(tx)


@session.on("POST", "/logout-all", permission="profile.change", problem=(404,))
async def end_every_session(tx: TxDep) -> EndedOut:
    """Log out everywhere, here too."""
    return EndedOut(sessions_ended=await revoke_sessions(tx, (await get_own_user(tx)).uid))


@session.on("POST", "/password", permission="profile.change", status=204, problem=(404,), response_model=None)
async def change_password(body: PasswordChange, tx: TxDep) -> None:
    """Change one's own password. Every session ends, this one too: log in again."""
    await change_own_password(tx, current=body.current_password, new=body.new_password)
