"""Passwords of staff: argon2id."""

from __future__ import annotations

from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

_HASHER = PasswordHasher()


def hash_password(password: str) -> str:
    """Takes tens of milliseconds on purpose: call it in a thread."""
    return _HASHER.hash(password)


def verify(stored: str, password: str) -> bool:
    """Takes as long as `hash_password`."""
    try:
        return _HASHER.verify(stored, password)
    except (VerifyMismatchError, InvalidHashError):
        return False


@lru_cache(maxsize=1)
def hash_of_nobody() -> str:
    """Checked when there is no such user: an unknown address costs as much time as a wrong password."""
    return _HASHER.hash("no such user")
