"""Passwords of database roles: made once, kept in a file that only its owner reads."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demarc.kernel.errors import Misconfigured

_ENTROPY_BYTES = 32


class RoleSecrets:
    """`<data_dir>/secrets/database-roles.json`, mode 0600: role name → password."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir.absolute() / "secrets" / "database-roles.json"

    @property
    def file(self) -> Path:
        return self._file

    def secret_for(self, role: str) -> str:
        """The role's password (url-safe, 256 bits), made at the first call; safe among processes."""
        known = self._read().get(role)
        return known if known is not None else self._make(role)

    def has(self, role: str) -> bool:
        return role in self._read()

    def _make(self, role: str) -> str:
        with self._locked():
            known = self._read()
            if role not in known:
                known[role] = secrets.token_urlsafe(_ENTROPY_BYTES)
                self._write(known)
            return known[role]

    def _read(self) -> dict[str, str]:
        try:
            return {str(role): str(secret) for role, secret in json.loads(self._file.read_bytes()).items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as error:
            raise Misconfigured(
                f"Cannot read the database passwords in {self._file} ({type(error).__name__}). "
                f"Restore the file from a backup; it belongs to the database next to it."
            ) from None

    def _write(self, known: dict[str, str]) -> None:
        fresh = self._file.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(known, file, indent=1)
            file.flush()
            os.fsync(descriptor)
        fresh.rename(self._file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._file.parent / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
