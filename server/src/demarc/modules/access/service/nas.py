"""NAS: who may ask FreeRADIUS, and what it and the ingester know of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Interval, bindparam, delete, update

from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Tx
from demarc.kernel.outbox import emit
from demarc.kernel.sql import Query, mine
from demarc.modules.access.inputs import NewNas, clean_nas_changes
from demarc.modules.access.models import aaa_nas, nas
from demarc.modules.access.queries import Nas, NasProjection, find_nas_projection, get_nas
from demarc.modules.access.rules import SPEED_REPLIES
from demarc.modules.access.service.duplicates import explained
from demarc.modules.access.service.sealing import open_nas_secret, seal_nas_secret
from demarc.modules.access.states import MessageAuthenticatorMode, NasStatus
from demarc.modules.audit.service import changes as changed_fields
from demarc.modules.audit.service import record
from demarc.modules.tenants.queries import get_clock_offset

ENTITY = "nas"
_FORGET = Query(delete(aaa_nas).where(mine(aaa_nas), aaa_nas.c.nas_id == bindparam("nas_id")))
_SET_CLOCK = Query(
    update(aaa_nas).where(mine(aaa_nas)).values(clock_offset=bindparam("clock_offset", type_=Interval))
)


async def create_nas(
    tx: Tx, master_key: MasterKey, new: NewNas, *, uid: UUID | None = None, nas_id: int | None = None
) -> Nas:
    """Take a NAS into service: FreeRADIUS answers it from the commit on.

    Args:
        tx: the caller's transaction.
        master_key: encrypts the shared secret at rest.
        new: the NAS's data.
        uid: given by the sandbox only.
        nas_id: likewise.

    Raises:
        Conflict: the source address is in use, maybe by another tenant (NAS_ADDRESS_TAKEN).
    """
    uid = uid or uuid4()
    fixed = {} if nas_id is None else {"id": nas_id}
    async with explained():
        made = await tx.insert(
            nas,
            Nas,
            uid=uid,
            name=new.name,
            source_ip=new.source_ip,
            secret_encrypted=await seal_nas_secret(tx, master_key, uid, new.secret),
            vendor=new.vendor,
            coa_port=new.coa_port,
            message_authenticator=new.message_authenticator.value,
            status=NasStatus.ACTIVE.value,
            created_at=tx.now,
            updated_at=tx.now,
            **fixed,
        )
        await _project_nas(tx, made, new.secret)
    await record(tx, "nas.create", entity=ENTITY, entity_id=made.id, after=_public(made))
    await emit(tx, "nas.created", entity=ENTITY, entity_id=made.id, nas_uid=str(made.uid))
    return made


async def update_nas(tx: Tx, master_key: MasterKey, uid: UUID, changes: dict[str, Any]) -> Nas:
    """Change the given fields; FreeRADIUS follows within 30 seconds (its clients' lifetime).

    Raises:
        NotFound: no such NAS.
        Invalid: a value is not acceptable.
    """
    before = await get_nas(tx, uid)
    cleaned = clean_nas_changes(changes)
    if not cleaned:
        return before
    columns = {name: value for name, value in cleaned.items() if name != "secret"}
    secret = cleaned.get("secret") or await open_nas_secret(tx, master_key, before)
    if "secret" in cleaned:
        columns["secret_encrypted"] = await seal_nas_secret(tx, master_key, uid, secret)
    after = await tx.update(nas, Nas, {"id": before.id}, **columns, updated_at=tx.now)
    await _project_nas(tx, after, secret)
    old, new = changed_fields(_public(before), _public(after))
    await record(
        tx,
        "nas.update",
        entity=ENTITY,
        entity_id=after.id,
        before=old,
        after={**new, "changed": sorted(cleaned)},
    )
    await emit(tx, "nas.updated", entity=ENTITY, entity_id=after.id, fields=sorted(cleaned))
    return after


async def _project_nas(tx: Tx, row: Nas, secret: str) -> None:
    """What FreeRADIUS and the ingester know of the NAS; a disabled one is a stranger to them."""
    if row.status != NasStatus.ACTIVE:
        await tx.execute(_FORGET, nas_id=row.id)
        return
    columns: dict[str, Any] = {
        "source_ip": row.source_ip,
        "secret": secret,
        "shortname": f"{tx.tenant.slug}-{row.id}",
        "vendor": row.vendor,
        "speed_replies": list(SPEED_REPLIES.get(row.vendor, ())) or None,
        "message_authenticator": row.message_authenticator,
    }
    known = await find_nas_projection(tx, row.id)
    if known is None:
        await tx.insert(
            aaa_nas, NasProjection, nas_id=row.id, clock_offset=await get_clock_offset(tx), **columns
        )
        return
    if known.message_authenticator != row.message_authenticator == MessageAuthenticatorMode.AUTO:
        columns["message_authenticator_seen"] = False
    await tx.update(aaa_nas, NasProjection, {"nas_id": row.id}, **columns)


async def project_clock(tx: Tx) -> None:
    """Tell FreeRADIUS and the ingester the tenant's business time, as this transaction may just have moved it."""
    await tx.execute(_SET_CLOCK, clock_offset=await get_clock_offset(tx))


def _public(row: Nas) -> dict[str, Any]:
    """The row as the audit log keeps it."""
    return {**asdict(row), "source_ip": str(row.source_ip)}
