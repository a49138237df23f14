"""What a pool may be made or changed from; an instance that exists is valid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any

from demarc.kernel.errors import invalid
from demarc.modules.addressing.states import PoolKind, PoolStatus

Network = IPv4Network | IPv6Network
Host = IPv4Address | IPv6Address
Block = Host | Network
"""What is handed out: an address, or a prefix or routed block."""

NAME_LENGTH = 100
WIDEST_PREFIX = 14
QUARANTINE_HOURS_MAX = 24 * 365
QUARANTINE_HOURS = 24
WIDEST_IPV6 = 16
WIDEST_ROUTED_IPV4 = 8
DELEGATED_LENGTHS = range(48, 65)
DELEGATED_LENGTH = 56
NOTE_LENGTH = 200
_EXAMPLE = {
    PoolKind.IPV4: "10.100.0.0/22",
    PoolKind.IPV6: "2001:db8:1::/64",
    PoolKind.FRAMED_PREFIX: "2001:db8:2::/48",
    PoolKind.DELEGATED_PREFIX: "2001:db8:8000::/40",
    PoolKind.ROUTED: "203.0.113.0/24",
}


def as_block(stored: Block | IPv4Interface | IPv6Interface) -> Block:
    """What the driver reads from an inet column: a prefix comes as an interface."""
    return stored.network if isinstance(stored, IPv4Interface | IPv6Interface) else stored


def clean_block(text: str) -> Block:
    """An address, or a network without host bits; that of a whole address is the address."""
    try:
        network = ip_network(text.strip())
    except ValueError:
        raise invalid("address", "has to be an address, or a network without host bits") from None
    is_host = network.prefixlen == network.max_prefixlen
    return network.network_address if is_host else network


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses from the first to the last, both included."""

    first: Host
    last: Host

    def overlaps(self, other: Range) -> bool:
        return int(self.first) <= int(other.last) and int(other.first) <= int(self.last)


def clean_name(name: str) -> str:
    """1 to 100 printable characters after trimming; it may go to a NAS as Framed-Pool."""
    trimmed = name.strip()
    if not 1 <= len(trimmed) <= NAME_LENGTH or not trimmed.isprintable():
        raise invalid("name", f"has to be 1 to {NAME_LENGTH} printable characters")
    return trimmed


def clean_network(network: str, kind: PoolKind = PoolKind.IPV4) -> Network:
    """A network in CIDR notation, without host bits; an IPv4 pool is /14 at the widest, others /16 (IPv6) or /8."""
    text = network.strip()
    try:
        parsed = ip_network(text, strict=False)
    except ValueError:
        raise invalid("network", f"is not a network in CIDR notation, such as {_EXAMPLE[kind]}") from None
    if parsed.network_address != ip_address(text.partition("/")[0]):
        raise invalid("network", f"has host bits set; the network is {parsed}")
    _check_family(parsed, kind)
    if parsed.prefixlen < _widest(parsed, kind):
        raise invalid(
            "network", f"has to be /{_widest(parsed, kind)} or narrower; split it into several pools"
        )
    if (
        parsed.is_multicast
        or parsed.is_unspecified
        or parsed.is_link_local
        or parsed.is_loopback
        or _is_reserved(parsed)
    ):
        raise invalid("network", "is not a unicast network")
    return parsed


def _check_family(network: Network, kind: PoolKind) -> None:
    if kind is PoolKind.IPV4 and isinstance(network, IPv6Network):
        kinds = ", ".join(one.value for one in PoolKind if one is not PoolKind.IPV4)
        raise invalid("network", f"is IPv6: say in kind what is handed out, {kinds}")
    if kind not in (PoolKind.IPV4, PoolKind.ROUTED) and isinstance(network, IPv4Network):
        raise invalid("network", f"a pool of the kind {kind.value} needs an IPv6 network")


def _widest(network: Network, kind: PoolKind) -> int:
    if kind is PoolKind.IPV4:
        return WIDEST_PREFIX
    return WIDEST_IPV6 if isinstance(network, IPv6Network) else WIDEST_ROUTED_IPV4


def _is_reserved(network: Network) -> bool:
    return isinstance(network, IPv4Network) and network.network_address.is_reserved


def clean_prefix_length(length: int | None, kind: PoolKind, network: Network) -> int:
    """The length of what is handed out; of prefixes /48 to /64, 56 unless given; a routed pool has to say it."""
    fixed = {PoolKind.IPV4: 32, PoolKind.IPV6: 128, PoolKind.FRAMED_PREFIX: 64}.get(kind)
    if fixed is not None and length not in (None, fixed):
        raise invalid("prefix_length", f"a pool of the kind {kind.value} hands out /{fixed}; leave it out")
    chosen = fixed or length or (DELEGATED_LENGTH if kind is PoolKind.DELEGATED_PREFIX else None)
    if chosen is None:
        raise invalid("prefix_length", "say how long the routed blocks are")
    if kind is PoolKind.DELEGATED_PREFIX and chosen not in DELEGATED_LENGTHS:
        raise invalid("prefix_length", f"has to be {DELEGATED_LENGTHS.start} to {DELEGATED_LENGTHS.stop - 1}")
    if not network.prefixlen <= chosen <= network.max_prefixlen:
        raise invalid("prefix_length", f"has to be {network.prefixlen} to {network.max_prefixlen}")
    return chosen


def clean_range(first: str, last: str | None, network: Network) -> Range:
    """A range of the network: `last` included, without it the one address or network that `first` is."""
    try:
        start = ip_network(first.strip())
        end = start if last is None else ip_network(last.strip())
    except ValueError:
        raise invalid("first", "first and last have to be addresses or networks without host bits") from None
    same_family = network.version == start.version == end.version
    if not same_family or start.network_address not in network or end.broadcast_address not in network:
        raise invalid("first", f"the range has to lie in {network}")
    if int(start.network_address) > int(end.broadcast_address):
        raise invalid("last", "comes before first")
    return Range(start.network_address, end.broadcast_address)


def clean_note(note: str) -> str:
    """At most 200 printable characters."""
    trimmed = note.strip()
    if len(trimmed) > NOTE_LENGTH or not (trimmed.isprintable() or not trimmed):
        raise invalid("note", f"has to be at most {NOTE_LENGTH} printable characters")
    return trimmed


def clean_quarantine(hours: int) -> int:
    """Whole hours that a released address rests; 0 hands it out again at once."""
    if not 0 <= hours <= QUARANTINE_HOURS_MAX:
        raise invalid("quarantine_hours", f"has to be 0 to {QUARANTINE_HOURS_MAX}")
    return hours


@dataclass(frozen=True, slots=True)
class NewPool:
    """A pool of addresses, prefixes or routed blocks.

    `network` may be given as text. Never handed out: the gateway; of IPv4 the network and broadcast addresses (except of
    a /31 or /32, RFC 3021); of IPv6 the routers' anycast address.
    """

    name: str
    network: Network
    gateway: Host | None = None
    is_default: bool = False
    quarantine_hours: int = QUARANTINE_HOURS
    kind: PoolKind = PoolKind.IPV4
    prefix_length: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", clean_name(self.name))
        object.__setattr__(self, "network", clean_network(str(self.network), self.kind))
        length = clean_prefix_length(self.prefix_length, self.kind, self.network)
        object.__setattr__(self, "prefix_length", length)
        clean_quarantine(self.quarantine_hours)
        if self.gateway is not None and self.gateway not in self.network:
            raise invalid("gateway", f"has to be an address of {self.network}")
        if self.gateway is not None and self.kind not in (PoolKind.IPV4, PoolKind.IPV6):
            raise invalid("gateway", f"a pool of the kind {self.kind.value} has none")


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
