"""`/api/users`, `/api/roles` and `/api/service-tokens`."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query

from demarc.modules.identity.queries import (
    get_service_token,
    get_user,
    list_service_tokens,
    list_users,
    user_uids_of,
)
from demarc.modules.identity.service import (
    create_service_token,
    invite_user,
    reset_password,
    revoke_service_token,
    revoke_sessions,
    update_user,
)
from demarc.modules.identity.states import Role, UserStatus
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.bss.users.schemas import (
    CreatedServiceTokenOut,
    CreatedUserOut,
    EndedOut,
    PasswordIn,
    RoleList,
    ServiceTokenIn,
    ServiceTokenList,
    ServiceTokenOut,
    UserIn,
    UserList,
    UserOut,
    UserPatch,
    role_out,
    token_fields,
    user_fields,
    user_out,
)
from demarc.web.routing import ApiRouter, PlatformDep, TxDep

router = ApiRouter(prefix="/api/users", tag="users")
roles = ApiRouter(prefix="/api/roles", tag="users")
service_tokens = ApiRouter(prefix="/api/service-tokens", tag="users")


@router.on("POST", "", permission="users.write", status=201, problem=(409,), shown_once=("password",))
async def create(body: UserIn, tx: TxDep) -> CreatedUserOut:
    """Take on a member of staff; without a password one is generated and shown once."""
    made, generated = await invite_user(tx, body.to_input())
    return CreatedUserOut(**user_fields(made), password=generated, shown_once=generated is not None)


@router.on("GET", "", permission="users.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    role: Role | None = None,
    status: UserStatus | None = None,
    search: Annotated[str | None, Query(max_length=100, description="part of name or e-mail")] = None,
    sort: SortParam = None,
) -> UserList:
    """Staff in the order they came, unless `sort` says otherwise (created_at, name, email)."""
    page = await list_users(tx, window, sort=sort, role=role, status=status, search=search)
    return UserList(users=[user_out(row) for row in page.rows], **counts(page))


@router.on("GET", "/{user_id}", permission="users.read", problem=(404,))
async def get(user_id: UUID, tx: TxDep) -> UserOut:
    """One member of staff."""
    return user_out(await get_user(tx, user_id))


@router.on("PATCH", "/{user_id}", permission="users.write", problem=(404, 409))
async def patch(user_id: UUID, body: UserPatch, tx: TxDep) -> UserOut:
    """Change name, role or status; the last administrator stays one."""
    return user_out(await update_user(tx, user_id, body.changes()))


@router.on(
    "POST",
    "/{user_id}/password-reset",
    permission="users.write",
    problem=(404,),
    shown_once=("password",),
)
async def reset(user_id: UUID, body: PasswordIn, tx: TxDep) -> CreatedUserOut:
    """Set another password, or have one generated and shown once; the user is logged out everywhere."""
    user, generated = await reset_password(tx, user_id, body.password)
    return CreatedUserOut(**user_fields(user), password=generated, shown_once=generated is not None)


@router.on("POST", "/{user_id}/log-out", permission="users.write", problem=(404,))
async def log_out_everywhere(user_id: UUID, tx: TxDep) -> EndedOut:
    """End every session of a user."""
    return EndedOut(sessions_ended=await revoke_sessions(tx, user_id))


@roles.on("GET", "", permission="users.read")
async def list_roles(window: WindowDep, _tx: TxDep, sort: Literal["name", "-name"] = "name") -> RoleList:
    """The roles and what each permits."""
    known = sorted(Role, reverse=sort.startswith("-"))
    shown = known[window.skip : window.skip + window.limit]
    return RoleList(
        roles=[role_out(role) for role in shown], total=len(known), skip=window.skip, limit=window.limit
    )


@service_tokens.on("POST", "", permission="users.write", status=201, shown_once=("token",))
async def create_token(body: ServiceTokenIn, tx: TxDep, platform: PlatformDep) -> CreatedServiceTokenOut:
    """Make a token for a program. It is shown once; its scopes are permissions that you hold yourself."""
    made, token = await create_service_token(tx, platform.tokens, body.to_input())
    users = await user_uids_of(tx, [made.created_by_id or 0])
    return CreatedServiceTokenOut(**token_fields(made, users), token=token, shown_once=True)


@service_tokens.on("GET", "", permission="users.read")
async def list_tokens(
    tx: TxDep,
    window: WindowDep,
    is_active: Annotated[bool | None, Query(description="neither revoked nor expired")] = None,
    name: Annotated[str | None, Query(max_length=100)] = None,
    sort: SortParam = None,
) -> ServiceTokenList:
    """Tokens in the order they were made, unless `sort` says otherwise (created_at, name, expires_at)."""
    page = await list_service_tokens(tx, window, sort=sort, is_active=is_active, name=name)
    users = await user_uids_of(tx, {row.created_by_id for row in page.rows if row.created_by_id})
    rows = [ServiceTokenOut(**token_fields(row, users)) for row in page.rows]
    return ServiceTokenList(service_tokens=rows, **counts(page))


@service_tokens.on("GET", "/{token_id}", permission="users.read", problem=(404,))
async def get_token(token_id: UUID, tx: TxDep) -> ServiceTokenOut:
    """One token, without itself."""
    found = await get_service_token(tx, token_id)
    return ServiceTokenOut(**token_fields(found, await user_uids_of(tx, [found.created_by_id or 0])))


@service_tokens.on("POST", "/{token_id}/revoke", permission="users.write", problem=(404, 409))
async def revoke_token(token_id: UUID, tx: TxDep) -> ServiceTokenOut:
    """From now on nobody gets in with it."""
    revoked = await revoke_service_token(tx, token_id)
    return ServiceTokenOut(**token_fields(revoked, await user_uids_of(tx, [revoked.created_by_id or 0])))
