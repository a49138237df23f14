"""Every write of identity: staff, their sessions, service tokens."""

from __future__ import annotations

from demarc.modules.identity.service_tokens import create_service_token, revoke_service_token
from demarc.modules.identity.sessions import REFRESH_LIFETIME, TokenPair, log_in, log_out, refresh
from demarc.modules.identity.tokens import ACCESS_LIFETIME, Principal, Tokens
from demarc.modules.identity.users import (
    change_own_password,
    create_user,
    get_own_user,
    invite_user,
    reset_password,
    revoke_sessions,
    update_user,
)

__all__ = [
    "ACCESS_LIFETIME",
    "REFRESH_LIFETIME",
    "Principal",
    "TokenPair",
    "Tokens",
    "change_own_password",
    "create_service_token",
    "create_user",
    "get_own_user",
    "invite_user",
    "log_in",
    "log_out",
    "refresh",
    "reset_password",
    "revoke_service_token",
    "revoke_sessions",
    "update_user",
]
