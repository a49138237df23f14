"""What programs log in with; `service` is the public face."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from demarc.kernel.clock import real_now
from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, Forbidden
from demarc.modules.audit.service import record
from demarc.modules.identity.inputs import NewServiceToken
from demarc.modules.identity.models import service_token
from demarc.modules.identity.permissions import BY_ROLE
from demarc.modules.identity.queries import ServiceToken, find_user, get_service_token
from demarc.modules.identity.states import Role
from demarc.modules.identity.tokens import Principal, Tokens

ENTITY = "service_access"  # not "token": what the audit log keeps is no secret
_HINT_LENGTH = 4


async def create_service_token(tx: Tx, tokens: Tokens, new: NewServiceToken) -> tuple[ServiceToken, str]:
    """Make a token; the second value is the token itself, to be shown once: it is not stored.

    Raises:
        Forbidden: a scope is a permission that the caller does not hold, or the caller is a service token.
    """
    user = None if tx.actor.user_id is None else await find_user(tx, tx.actor.user_id)
    if user is None:
        raise Forbidden("a service token cannot make another; log in as a user")
    missing = [scope for scope in new.scopes if scope not in BY_ROLE[Role(user.role)]]
    if missing:
        raise Forbidden(f"you do not hold {missing[0]} yourself")
    expires_at = real_now() + timedelta(days=new.expires_in_days)
    made = await tx.insert(
        service_token,
        ServiceToken,
        name=new.name,
        scopes=list(new.scopes),
        hint="",
        created_by_id=user.id,
        expires_at=expires_at,
    )
    token = tokens.sign(
        Principal(
            None,
            new.name,
            tx.tenant.id,
            tx.tenant.slug,
            None,
            service_token_id=made.id,
            scopes=frozenset(new.scopes),
        ),
        expires_at=expires_at,
    )
    made = await tx.update(service_token, ServiceToken, {"id": made.id}, hint=token[-_HINT_LENGTH:])
    after = {"name": made.name, "scopes": made.scopes, "expires_at": made.expires_at}
    await record(tx, "service_access.create", entity=ENTITY, entity_id=made.id, after=after)
    return made, token


async def revoke_service_token(tx: Tx, uid: UUID) -> ServiceToken:
    """From now on nobody gets in with it.

    Raises:
        NotFound: no such token.
        Conflict: it was revoked already.
    """
    before = await get_service_token(tx, uid)
    if before.revoked_at is not None:
        raise Conflict("this service token was revoked already", code="ALREADY_REVOKED")
    after = await tx.update(service_token, ServiceToken, {"id": before.id}, revoked_at=real_now())
    await record(tx, "service_access.revoke", entity=ENTITY, entity_id=after.id, before={"name": after.name})
    return after
