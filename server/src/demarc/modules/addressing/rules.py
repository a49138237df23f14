"""Which addresses of a network are never handed out."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

_POINT_TO_POINT = 31


def reserved_addresses(network: IPv4Network, gateway: IPv4Address | None) -> frozenset[IPv4Address]:
    """Network, broadcast and gateway; a /31 or /32 has no network and broadcast address (RFC 3021)."""
    kept = {gateway} if gateway is not None else set()
    if network.prefixlen < _POINT_TO_POINT:
        kept |= {network.network_address, network.broadcast_address}
    return frozenset(kept)
