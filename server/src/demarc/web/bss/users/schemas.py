"""Bodies of `/api/users`, `/api/roles` and `/api/service-tokens`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from demarc.modules.identity.inputs import NewServiceToken, NewUser
from demarc.modules.identity.permissions import BY_ROLE
from demarc.modules.identity.queries import ServiceToken, User
from demarc.modules.identity.states import Role, UserStatus
from demarc.web.bss.parameters import Listed

_PASSWORD = Field(
    None, min_length=10, max_length=255, description="10 to 255 characters; generated when absent"
)


class UserIn(BaseModel):
    """A new member of staff."""

    email: str = Field(min_length=3, max_length=254, examples=["ann@example.com"])
    name: str = Field(min_length=1, max_length=100, examples=["Ann Example"])
    role: Role
    password: str | None = _PASSWORD

    def to_input(self) -> NewUser:
        return NewUser(email=self.email, name=self.name, role=self.role, password=self.password)


class UserPatch(BaseModel):
    """The fields to change. A new role and `disabled` log the user out everywhere."""

    name: str | None = Field(None, min_length=1, max_length=100)
    role: Role | None = None
    status: UserStatus | None = None

    def changes(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}


class UserOut(BaseModel):
    """A member of staff."""

    id: UUID
    email: str
    name: str
    role: Role
    status: UserStatus
    created_at: datetime
    updated_at: datetime


class CreatedUserOut(UserOut):
    """`password` is shown once, when it was generated."""

    password: str | None
    shown_once: bool


class UserList(Listed):
    """A window of the list."""

    users: list[UserOut]


class PasswordIn(BaseModel):
    """A new password, or none to have one generated."""

    password: str | None = _PASSWORD


class EndedOut(BaseModel):
    """How many sessions were ended."""

    sessions_ended: int


class RoleOut(BaseModel):
    """A role and what it permits."""

    name: Role
    permissions: list[str]


class RoleList(Listed):
    """All roles."""

    roles: list[RoleOut]


class ServiceTokenIn(BaseModel):
    """What a program may do, and for how long."""

    name: str = Field(min_length=1, max_length=100, examples=["billing export"])
    scopes: list[str] = Field(min_length=1, max_length=100, examples=[["billing.read"]])
    expires_in_days: int = Field(365, ge=1, le=3650)

    def to_input(self) -> NewServiceToken:
        return NewServiceToken(self.name, tuple(self.scopes), self.expires_in_days)


class ServiceTokenOut(BaseModel):
    """What is known of a token; of itself only the last characters."""

    id: UUID
    name: str
    scopes: list[str]
    token_hint: str
    created_by: UUID | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class CreatedServiceTokenOut(ServiceTokenOut):
    """`token` is shown once and stored nowhere."""

    token: str | None
    shown_once: bool


class ServiceTokenList(Listed):
    """A window of the list."""

    service_tokens: list[ServiceTokenOut]


class MeOut(UserOut):
    """Who asks, and what he may do."""

    tenant: str
    permissions: list[str]


def user_fields(row: User) -> dict[str, Any]:
    return {
        "id": row.uid,
        "email": row.email,
        "name": row.name,
        "role": Role(row.role),
        "status": UserStatus(row.status),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def user_out(row: User) -> UserOut:
    return UserOut(**user_fields(row))


def role_out(role: Role) -> RoleOut:
    return RoleOut(name=role, permissions=sorted(BY_ROLE[role]))


def token_fields(row: ServiceToken, users: dict[int, UUID]) -> dict[str, Any]:
    return {
        "id": row.uid,
        "name": row.name,
        "scopes": row.scopes,
        "token_hint": f"…{row.hint}",
        "created_by": users.get(row.created_by_id or 0),
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "revoked_at": row.revoked_at,
    }
