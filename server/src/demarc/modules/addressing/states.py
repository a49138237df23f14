from __future__ import annotations

from enum import StrEnum


class PoolStatus(StrEnum):
    ACTIVE = "active"
    CLOSED = "closed"


class PoolKind(StrEnum):
    """What a pool hands out, and so how FreeRADIUS tells the NAS."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    FRAMED_PREFIX = "framed_prefix"
    DELEGATED_PREFIX = "delegated_prefix"
    ROUTED = "routed"


class AddressStatus(StrEnum):
    """`reserved`: network, broadcast, gateway or kept out by hand; `quarantined`: released, not handed out yet."""

    FREE = "free"
    ASSIGNED = "assigned"
    QUARANTINED = "quarantined"
    RESERVED = "reserved"
