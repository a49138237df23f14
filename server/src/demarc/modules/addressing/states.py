from __future__ import annotations

from enum import StrEnum


class PoolStatus(StrEnum):
    ACTIVE = "active"
    CLOSED = "closed"


class AddressStatus(StrEnum):
    """`reserved`: network, broadcast, gateway or kept out by hand; `quarantined`: released, not handed out yet."""

    FREE = "free"
    ASSIGNED = "assigned"
    QUARANTINED = "quarantined"
    RESERVED = "reserved"
