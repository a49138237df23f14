"""What a unique constraint means to the caller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from demarc.kernel.errors import Conflict

_DUPLICATES = {
    "uq_nas_source_ip": (
        "NAS_ADDRESS_TAKEN",
        "this address is in use by a NAS already; give the NAS another source address",
    ),
    "uq_subscriber_username": ("USERNAME_TAKEN", "this user name is taken; user@realm keeps names apart"),
    "uq_aaa_login_username": (
        "USERNAME_TAKEN",
        "this user name was given up only now and its session is still ending; try again in a moment",
    ),
    "uq_aaa_login_tenant_id_mac": ("MAC_TAKEN", "another subscriber logs on by this MAC address"),
    "uq_aaa_login_line": (
        "CIRCUIT_ID_TAKEN",
        "another subscriber logs on by this circuit id and remote id",
    ),
}


@asynccontextmanager
async def explained() -> AsyncIterator[None]:
    """A refusal of the database in the caller's words; never whose the other row is.

    Raises:
        Conflict: a value is taken.
    """
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name not in _DUPLICATES:
            raise
        code, message = _DUPLICATES[error.constraint_name]
        raise Conflict(message, code=code) from None
