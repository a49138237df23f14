"""Ids by the hundred."""

from __future__ import annotations

import os
from uuid import UUID

from asyncpg.pgproto import pgproto

_OCTETS = 16


def new_uids(count: int) -> list[UUID]:
    """Random ids (UUID version 4, RFC 9562), in the driver's own class: made, sent and read several times as fast."""
    raw = bytearray(os.urandom(_OCTETS * count))
    for at in range(0, len(raw), _OCTETS):
        raw[at + 6] = raw[at + 6] & 0x0F | 0x40
        raw[at + 8] = raw[at + 8] & 0x3F | 0x80
    octets = bytes(raw)
    return [pgproto.UUID(octets[at : at + _OCTETS]) for at in range(0, len(octets), _OCTETS)]
