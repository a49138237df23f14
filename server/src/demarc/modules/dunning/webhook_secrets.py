"""The secret that a tenant's webhook steps are signed with; `service` is the public face."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert

from demarc.kernel.clock import real_now
from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Tx
from demarc.kernel.errors import Misconfigured
from demarc.kernel.sql import Query, mine
from demarc.modules.audit.service import record
from demarc.modules.dunning.models import dunning_webhook_secret

OVERLAP = timedelta(days=1)
"""How long the old secret still signs after a rotation."""

_ABOUT = "dunning_webhook_secret"
_PREFIX = "whsec_"
_OCTETS = 32
_FIND = Query(select(dunning_webhook_secret).where(mine(dunning_webhook_secret)))
_SEALED = dunning_webhook_secret.c.sealed.type
_MOMENT = dunning_webhook_secret.c.rotated_at.type
_FIRST = Query(
    insert(dunning_webhook_secret)
    .values(
        tenant_id=bindparam("tenant_id"),
        sealed=bindparam("sealed", type_=_SEALED),
        rotated_at=bindparam("rotated_at", type_=_MOMENT),
    )
    .on_conflict_do_nothing()
)


@dataclass(frozen=True, slots=True)
class _Stored:
    tenant_id: int
    sealed: bytes
    previous_sealed: bytes | None
    previous_until: datetime | None
    rotated_at: datetime


async def signing_secrets(tx: Tx, master_key: MasterKey) -> tuple[bytes, ...]:
    """What to sign with, the newest first; the tenant's first secret is made here."""
    stored = await _stored(tx, master_key)
    sealed = [stored.sealed]
    if stored.previous_sealed is not None and (stored.previous_until or real_now()) > real_now():
        sealed.append(stored.previous_sealed)
    return tuple([_octets(await master_key.decrypt(tx, one, _ABOUT)) for one in sealed])


async def reveal_webhook_secret(tx: Tx, master_key: MasterKey) -> str:
    """The secret, as Standard Webhooks write it (`whsec_…`); that it was looked at is audited."""
    stored = await _stored(tx, master_key)
    await record(tx, "dunning_webhook_key.reveal", entity="dunning_webhook_key", entity_id=tx.tenant.id)
    return await master_key.decrypt(tx, stored.sealed, _ABOUT)


async def rotate_webhook_secret(tx: Tx, master_key: MasterKey) -> str:
    """A new secret; the old one signs beside it for a day, so that receivers can be changed in between."""
    stored = await _stored(tx, master_key)
    secret = _new_secret()
    await tx.update(
        dunning_webhook_secret,
        _Stored,
        {},
        sealed=await master_key.encrypt(tx, secret, _ABOUT),
        previous_sealed=stored.sealed,
        previous_until=real_now() + OVERLAP,
        rotated_at=real_now(),
    )
    await record(tx, "dunning_webhook_key.rotate", entity="dunning_webhook_key", entity_id=tx.tenant.id)
    return secret


def may_call_inside(tx: Tx) -> bool:
    """Whether the operator lets this tenant's webhooks go to addresses that are not public."""
    return tx.tenant.settings.get("webhook_private_addresses") is True


async def _stored(tx: Tx, master_key: MasterKey) -> _Stored:
    found = await tx.find(_FIND, _Stored)
    if found is None:
        sealed = await master_key.encrypt(tx, _new_secret(), _ABOUT)
        await tx.execute(_FIRST, sealed=sealed, rotated_at=real_now())
        found = await tx.find(_FIND, _Stored)
    if found is None:
        raise AssertionError("the secret was just made")
    return found


def _new_secret() -> str:
    return _PREFIX + base64.b64encode(os.urandom(_OCTETS)).decode()


def _octets(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise Misconfigured("the stored secret of the webhooks is not one; rotate it") from None
