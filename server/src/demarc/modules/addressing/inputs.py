"""What a pool may be made or changed from; an instance that exists is valid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Network, NetmaskValueError, ip_network
from typing import Any

from demarc.kernel.errors import invalid
from demarc.modules.addressing.states import PoolStatus

NAME_LENGTH = 100
WIDEST_PREFIX = 14
QUARANTINE_HOURS_MAX = 24 * 365
QUARANTINE_HOURS = 24


def clean_name(name: str) -> str:
    """1 to 100 printable characters after trimming; it may go to a NAS as Framed-Pool."""
    trimmed = name.strip()
    if not 1 <= len(trimmed) <= NAME_LENGTH or not trimmed.isprintable():
        raise invalid("name", f"has to be 1 to {NAME_LENGTH} printable characters")
    return trimmed


def clean_network(network: str) -> IPv4Network:
    """An IPv4 network in CIDR notation, /14 at the widest, without host bits."""
    try:
        parsed = IPv4Network(network.strip(), strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise invalid("network", _not_a_network(network)) from None
    if str(parsed.network_address) != network.strip().partition("/")[0]:
        raise invalid("network", f"has host bits set; the network is {parsed}")
    if parsed.prefixlen < WIDEST_PREFIX:
        raise invalid("network", f"has to be /{WIDEST_PREFIX} or narrower; split it into several pools")
    if parsed.is_multicast or parsed.is_unspecified or parsed.network_address.is_reserved:
        raise invalid("network", "is not a unicast network")
    return parsed


def _not_a_network(network: str) -> str:
    try:
        is_v6 = isinstance(ip_network(network.strip(), strict=False), IPv6Network)
    except ValueError:
        is_v6 = False
    if is_v6:
        return "IPv6 pools are not supported yet; give an IPv4 network"
    return "is not an IPv4 network in CIDR notation, such as 10.100.0.0/22"


def clean_quarantine(hours: int) -> int:
    """Whole hours that a released address rests; 0 hands it out again at once."""
    if not 0 <= hours <= QUARANTINE_HOURS_MAX:
        raise invalid("quarantine_hours", f"has to be 0 to {QUARANTINE_HOURS_MAX}")
    return hours


@dataclass(frozen=True, slots=True)
class NewPool:
    """A pool of IPv4 addresses.

    `network` may be given as text. The network and broadcast addresses (except of a /31 or /32, RFC 3021) and the
    gateway are never handed out.
    """

    name: str
    network: IPv4Network
    gateway: IPv4Address | None = None
    is_default: bool = False
    quarantine_hours: int = QUARANTINE_HOURS

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", clean_name(self.name))
        object.__setattr__(self, "network", clean_network(str(self.network)))
        clean_quarantine(self.quarantine_hours)
        if self.gateway is not None and self.gateway not in self.network:
            raise invalid("gateway", f"has to be an address of {self.network}")


CLEANERS: dict[str, Callable[[Any], Any]] = {
    "name": clean_name,
    "is_default": bool,
    "quarantine_hours": clean_quarantine,
    "status": lambda status: PoolStatus(status).value,
}


def clean_changes(changes: dict[str, Any]) -> dict[str, Any]:
    """The fields of a patch, each cleaned; none of them may be emptied."""
    for field, value in changes.items():
        if value is None:
            raise invalid(field, "cannot be emptied")
    return {field: CLEANERS[field](value) for field, value in changes.items()}
