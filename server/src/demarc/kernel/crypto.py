"""Envelope encryption of secrets at rest: AES-256-GCM, a data key per tenant, wrapped by the master key (ADR 0006)."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import select

from demarc.kernel.db import Tx
from demarc.kernel.errors import Misconfigured
from demarc.kernel.sql import Query
from demarc.kernel.tables import tenant_key

_NONCE_BYTES = 12
_KEY_BYTES = 32
CHECK_PLAINTEXT = b"demarc master key check"

_FIND_KEY = Query(select(tenant_key.c.wrapped_key))


class MasterKey:
    """Wraps and unwraps data keys; never leaves the process."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._key = key

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose (HKDF, RFC 5869): signing tokens, say."""
        return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=purpose.encode()).derive(self._key)

    def seal(self, plaintext: bytes, about: bytes) -> bytes:
        """Encrypt under the master key itself; `about` binds the ciphertext to its place."""
        return _seal(self._aead, plaintext, about)

    def open(self, sealed: bytes, about: bytes) -> bytes:
        """Raises `Misconfigured` when this is not the key that sealed it."""
        try:
            return _open(self._aead, sealed, about)
        except InvalidTag:
            raise Misconfigured(
                "the master key is not the one that this database was made with; put the right key file in place "
                "(DEMARC_MASTER_KEY_FILE) and start again",
                code="WRONG_MASTER_KEY",
            ) from None

    def new_data_key(self, tenant_id: int) -> bytes:
        """A fresh data key of a tenant, wrapped, ready to store in `tenant_key`."""
        return self.seal(AESGCM.generate_key(256), _tenant_about(tenant_id))

    async def encrypt(self, tx: Tx, plaintext: str, about: str) -> bytes:
        """Encrypt a tenant's secret; `about` names its place ("nas:17") and is needed to decrypt it."""
        return _seal(await self._data_key(tx), plaintext.encode(), about.encode())

    async def decrypt(self, tx: Tx, sealed: bytes, about: str) -> str:
        """Raises `Misconfigured` when the secret was sealed for another place or by another key."""
        try:
            return _open(await self._data_key(tx), sealed, about.encode()).decode()
        except InvalidTag:
            raise Misconfigured(f"the stored secret of {about} cannot be read with this key") from None

    async def _data_key(self, tx: Tx) -> AESGCM:
        wrapped = await tx.value(_FIND_KEY)
        if wrapped is None:
            raise Misconfigured(
                f"tenant {tx.tenant.slug} has no data key; restore the table tenant_key from a backup"
            )
        return AESGCM(self.open(wrapped, _tenant_about(tx.tenant.id)))


def load_master_key(path: Path, *, create: bool = False) -> MasterKey:
    """Read the master key file (32 bytes, base64); with `create`, make it when it is missing (mode 0600).

    Raises:
        Misconfigured: missing, unreadable or not a key; the message names the path only.
    """
    if create and not path.exists():
        _create_key_file(path)
    try:
        key = base64.b64decode(path.read_text().strip(), validate=True)
    except FileNotFoundError:
        raise Misconfigured(
            f"the master key file {path} is missing; restore it, or set DEMARC_MASTER_KEY_FILE"
        ) from None
    except (OSError, binascii.Error, UnicodeDecodeError):
        raise Misconfigured(f"the master key file {path} cannot be read as base64") from None
    if len(key) != _KEY_BYTES:
        raise Misconfigured(f"the master key file {path} has to hold {_KEY_BYTES} bytes, base64-encoded")
    return MasterKey(key)


def _create_key_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(base64.b64encode(os.urandom(_KEY_BYTES)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())


def _tenant_about(tenant_id: int) -> bytes:
    return f"tenant:{tenant_id}".encode()


def _seal(aead: AESGCM, plaintext: bytes, about: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + aead.encrypt(nonce, plaintext, about)


def _open(aead: AESGCM, sealed: bytes, about: bytes) -> bytes:
    return aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about)
