"""Secrets at rest: each is encrypted for its place, so that a row's secret cannot be moved to another row."""

from __future__ import annotations

from uuid import UUID

from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Tx
from demarc.modules.access.queries import Nas, Subscriber


async def seal_nas_secret(tx: Tx, master_key: MasterKey, uid: UUID, secret: str) -> bytes:
    return await master_key.encrypt(tx, secret, f"nas:{uid}")


async def open_nas_secret(tx: Tx, master_key: MasterKey, row: Nas) -> str:
    """The shared secret, for the packets that the platform itself sends."""
    return await master_key.decrypt(tx, row.secret_encrypted, f"nas:{row.uid}")


async def seal_password(tx: Tx, master_key: MasterKey, uid: UUID, password: str) -> bytes:
    return await master_key.encrypt(tx, password, f"subscriber:{uid}")


async def open_password(tx: Tx, master_key: MasterKey, row: Subscriber) -> str:
    """The network password in clear, for the projection; whoever shows it to a person has to audit that."""
    return await master_key.decrypt(tx, row.secret_encrypted, f"subscriber:{row.uid}")
