"""Access tokens, and whom they are of; `service` is the public face."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt

from demarc.kernel.clock import real_now
from demarc.kernel.context import Actor, ActorKind
from demarc.kernel.errors import Forbidden, Unauthenticated
from demarc.modules.identity.permissions import BY_ROLE
from demarc.modules.identity.states import Role

ACCESS_LIFETIME = timedelta(hours=1)
_ALGORITHM = "HS256"
_AUDIENCE = "demarc"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request comes from, read from its access token: a user in a role, or a service token with its scopes."""

    user_id: int | None
    name: str
    tenant_id: int
    tenant_slug: str
    role: Role | None
    session_id: int | None = None
    service_token_id: int | None = None
    scopes: frozenset[str] = frozenset()

    @property
    def permissions(self) -> frozenset[str]:
        return self.scopes if self.role is None else BY_ROLE[self.role]

    def require(self, permission: str) -> None:
        """Raises `Forbidden` unless the role or the token holds the permission."""
        if permission not in self.permissions:
            holder = "this service token" if self.role is None else f"the role {self.role.value}"
            raise Forbidden(f"this needs the permission {permission}, which {holder} does not have")

    @property
    def actor(self) -> Actor:
        if self.role is None:
            return Actor(ActorKind.SERVICE, self.name, None, None, self.service_token_id)
        return Actor(ActorKind.USER, self.name, self.user_id, self.session_id)

    @property
    def counted_as(self) -> Hashable:
        """Whose requests are counted together."""
        return (self.tenant_id, self.service_token_id) if self.role is None else self.user_id


class Tokens:
    """Signs and reads access tokens (JWT, RFC 7519, HS256)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, principal: Principal, *, expires_at: datetime | None = None) -> str:
        """For an hour, unless said otherwise."""
        now = real_now()
        claims = {
            "sub": str(principal.user_id or ""),
            "name": principal.name,
            "tid": principal.tenant_id,
            "tenant": principal.tenant_slug,
            "aud": _AUDIENCE,
            "iat": now,
            "exp": expires_at or now + ACCESS_LIFETIME,
            "jti": uuid4().hex,
            **_standing(principal),
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
            return _principal(claims)
        except jwt.ExpiredSignatureError:
            raise Unauthenticated(
                "the access token has expired; log in again or use the refresh token"
            ) from None
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError):
            raise Unauthenticated("the access token is not valid; log in at POST /api/auth/token") from None


def _standing(principal: Principal) -> dict[str, Any]:
    if principal.role is None:
        return {"svc": principal.service_token_id, "scopes": sorted(principal.scopes)}
    if principal.session_id is None:
        return {"role": principal.role.value}
    return {"role": principal.role.value, "sid": principal.session_id}


def _principal(claims: dict[str, Any]) -> Principal:
    whose = (claims["name"], claims["tid"], claims["tenant"])
    if "svc" in claims:
        return Principal(
            None, *whose, None, service_token_id=int(claims["svc"]), scopes=frozenset(claims["scopes"])
        )
    return Principal(int(claims["sub"]), *whose, Role(claims["role"]), claims.get("sid"))
