"""Writes of staff; `service` is the public face."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any
from uuid import UUID

import asyncpg

from demarc.kernel.clock import real_now
from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, Forbidden, NotFound, invalid
from demarc.kernel.outbox import emit
from demarc.kernel.states import record_status_change
from demarc.modules.audit.service import changes as changed_fields
from demarc.modules.audit.service import record
from demarc.modules.identity.errors import LastAdministrator
from demarc.modules.identity.inputs import NewUser, check_password, clean_user_changes
from demarc.modules.identity.models import app_user
from demarc.modules.identity.passwords import hash_password, verify
from demarc.modules.identity.queries import (
    User,
    find_user,
    get_user,
    get_user_to_change,
    lock_administrators,
)
from demarc.modules.identity.sessions import end_sessions
from demarc.modules.identity.states import USER, Role, UserStatus

ENTITY = "user"
_SHOWN = ("email", "name", "role", "status")


async def create_user(tx: Tx, *, email: str, name: str, password: str, role: Role) -> User:
    """Take on a member of staff. E-mail is unique over the platform.

    Raises:
        Conflict: somebody has this e-mail address.
    """
    hashed = await asyncio.to_thread(hash_password, password)
    try:
        async with tx.connection.transaction():
            made = await tx.insert(
                app_user,
                User,
                email=email.lower(),
                name=name,
                password_hash=hashed,
                role=role.value,
                status=UserStatus.ACTIVE.value,
            )
    except asyncpg.UniqueViolationError:
        raise Conflict("a user with this e-mail address exists already", code="DUPLICATE") from None
    await record(tx, "user.create", entity=ENTITY, entity_id=made.id, after=_public(made))
    return made


async def invite_user(tx: Tx, new: NewUser) -> tuple[User, str | None]:
    """As `create_user`; the second value is the password that was generated because none was given: show it once."""
    generated = None if new.password is not None else secrets.token_urlsafe(15)
    made = await create_user(
        tx, email=new.email, name=new.name, password=new.password or generated or "", role=new.role
    )
    await record_status_change(tx, entity=ENTITY, entity_id=made.id, from_status=None, to_status=made.status)
    await emit(tx, "user.created", entity=ENTITY, entity_id=made.id, user_uid=str(made.uid), role=made.role)
    return made, generated


async def update_user(tx: Tx, uid: UUID, changes: dict[str, Any]) -> User:
    """Change name, role or status. A new role, or being disabled, ends the user's sessions.

    Raises:
        NotFound: no such user.
        Invalid: a value is not acceptable.
        LastAdministrator: nobody would be left to administrate the tenant.
    """
    wanted = {name: getattr(value, "value", value) for name, value in clean_user_changes(changes).items()}
    await lock_administrators(tx)
    before = await get_user_to_change(tx, uid)
    wanted = {name: value for name, value in wanted.items() if value != getattr(before, name)}
    if not wanted:
        return before
    await _keep_an_administrator(tx, before, wanted)
    after = await tx.update(app_user, User, {"id": before.id}, **wanted, updated_at=real_now())
    if "status" in wanted:
        USER.check(UserStatus(before.status), UserStatus(after.status))
        await record_status_change(
            tx, entity=ENTITY, entity_id=after.id, from_status=before.status, to_status=after.status
        )
    if {"status", "role"} & wanted.keys():
        await end_sessions(tx, after.id)
    old, new = changed_fields(_public(before), _public(after))
    await record(tx, "user.update", entity=ENTITY, entity_id=after.id, before=old, after=new)
    await emit(tx, "user.updated", entity=ENTITY, entity_id=after.id, fields=sorted(wanted))
    return after


async def _keep_an_administrator(tx: Tx, before: User, wanted: dict[str, Any]) -> None:
    is_administrator = (before.role, before.status) == (Role.ADMIN.value, UserStatus.ACTIVE.value)
    stays = {"role": before.role, "status": before.status} | wanted
    if not is_administrator or (stays["role"], stays["status"]) == (before.role, before.status):
        return
    if await lock_administrators(tx) <= 1:
        raise LastAdministrator(
            f"{before.email} is the last administrator of this tenant; make somebody else one first"
        )


async def reset_password(tx: Tx, uid: UUID, password: str | None) -> tuple[User, str | None]:
    """Set a user's password, or generate one (the second value: show it once); the user's sessions end.

    Raises:
        NotFound: no such user.
        Invalid: too short, or the e-mail address.
    """
    user = await get_user(tx, uid)
    generated = None if password is not None else secrets.token_urlsafe(15)
    await _set_password(tx, user, password or generated or "", "user.password_reset")
    return user, generated


async def change_own_password(tx: Tx, *, current: str, new: str) -> None:
    """Raises `Forbidden` when the current one is wrong; every session of the user ends, this one too."""
    user = await get_own_user(tx)
    if not await asyncio.to_thread(verify, user.password_hash, current):
        raise Forbidden("the current password is wrong", code="WRONG_CREDENTIALS")
    if current == new:
        raise invalid("new_password", "has to be another one")
    await _set_password(tx, user, new, "user.password_change", field="new_password")


async def revoke_sessions(tx: Tx, uid: UUID) -> int:
    """Log a user out everywhere; how many sessions ended.

    Raises:
        NotFound: no such user.
    """
    user = await get_user(tx, uid)
    ended = await end_sessions(tx, user.id)
    await record(tx, "user.log_out_all", entity=ENTITY, entity_id=user.id, after={"sessions_ended": ended})
    return ended


async def get_own_user(tx: Tx) -> User:
    """Who asks.

    Raises:
        NotFound: it is a service token, which is nobody.
    """
    found = None if tx.actor.user_id is None else await find_user(tx, tx.actor.user_id)
    if found is None:
        raise NotFound("a service token has no user")
    return found


async def _set_password(tx: Tx, user: User, password: str, action: str, *, field: str = "password") -> None:
    check_password(password, user.email, field=field)
    hashed = await asyncio.to_thread(hash_password, password)
    await tx.update(app_user, User, {"id": user.id}, password_hash=hashed, updated_at=real_now())
    ended = await end_sessions(tx, user.id)
    await record(tx, action, entity=ENTITY, entity_id=user.id, after={"sessions_ended": ended})


def _public(user: User) -> dict[str, Any]:
    return {name: getattr(user, name) for name in _SHOWN}
