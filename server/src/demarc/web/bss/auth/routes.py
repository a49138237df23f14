"""`/api/auth`: the only routes without a tenant header."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from demarc.modules.identity.service import TokenPair, log_in, refresh
from demarc.web.limits import limits_of
from demarc.web.routing import PlatformDep, problems

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
