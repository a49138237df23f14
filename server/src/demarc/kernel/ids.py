"""Ids by the hundred, made here or by a statement."""

from __future__ import annotations

import os
import time
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


def uuid7_head() -> str:
    """The first 15 of the 36 characters of a UUID version 7 (RFC 9562) of this moment.

    A statement makes whole ones of it: `($1::text || substr(gen_random_uuid()::text, 16))::uuid`. Ids that are made by the thousand and
    stand in several indexes are ordered by time: at random, nearly every one of them would change a page of its own in each.
    """
    milliseconds = f"{time.time_ns() // 1_000_000:012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}-7"
