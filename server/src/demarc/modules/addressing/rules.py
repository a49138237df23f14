"""What a network is made of, and which parts of it are never handed out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from demarc.modules.addressing.inputs import Block, Host, Network, Range
from demarc.modules.addressing.states import PoolKind

_POINT_TO_POINT = 31


def reserved_addresses(network: IPv4Network, gateway: IPv4Address | None) -> frozenset[IPv4Address]:
    """Network, broadcast and gateway; a /31 or /32 has no network and broadcast address (RFC 3021)."""
    kept = {gateway} if gateway is not None else set()
    if network.prefixlen < _POINT_TO_POINT:
        kept |= {network.network_address, network.broadcast_address}
    return frozenset(kept)


def reserved_hosts(kind: PoolKind, network: Network, gateway: Host | None) -> frozenset[Host]:
    """Hosts of a pool that hands out hosts: beside the gateway, the routers' anycast address (RFC 4291 section 2.6.1)."""
    if isinstance(network, IPv4Network):
        at = gateway if isinstance(gateway, IPv4Address) else None
        return frozenset(reserved_addresses(network, at)) if kind is PoolKind.IPV4 else frozenset()
    if kind is not PoolKind.IPV6:
        return frozenset()
    anycast = {network.network_address} if network.prefixlen < network.max_prefixlen - 1 else set()
    return frozenset({*anycast, *({gateway} if gateway is not None else ())})


def around(block: Block) -> list[Network]:
    """Every network that holds the block, itself included, as whose part somebody may have had it."""
    own = block if isinstance(block, IPv4Network | IPv6Network) else ip_network(block)
    return [own.supernet(new_prefix=length) for length in range(own.prefixlen + 1)]


@dataclass(frozen=True, slots=True)
class Layout:
    """A network cut into equal blocks of `prefix_length`, of which some are never handed out."""

    network: Network
    prefix_length: int
    reserved: frozenset[Host] = frozenset()
    excluded: tuple[Range, ...] = ()

    @property
    def size(self) -> int:
        """Addresses in a block."""
        return 1 << (self.network.max_prefixlen - self.prefix_length)

    @property
    def total(self) -> int:
        """Blocks in the network."""
        return 1 << (self.prefix_length - self.network.prefixlen)

    @property
    def kept_out(self) -> int:
        """Blocks that are never handed out; ranges do not overlap one another."""
        by_range = sum(self._last_index(one) - self._first_index(one) + 1 for one in self.excluded)
        return by_range + sum(self._excluding(int(host)) is None for host in self.reserved)

    def holds(self, block: Block) -> bool:
        """Whether this is one of the blocks."""
        length = block.prefixlen if isinstance(block, IPv4Network | IPv6Network) else block.max_prefixlen
        host = block.network_address if isinstance(block, IPv4Network | IPv6Network) else block
        return length == self.prefix_length and host in self.network and int(host) % self.size == 0

    def is_kept_out(self, block: Block) -> bool:
        host = block.network_address if isinstance(block, IPv4Network | IPv6Network) else block
        return host in self.reserved or self._excluding(int(host)) is not None

    def whole_blocks(self, asked: Range) -> Range:
        """The range, widened to whole blocks."""
        first, last = int(asked.first), int(asked.last)
        return Range(
            self._host(first - first % self.size), self._host(last - last % self.size + self.size - 1)
        )

    def blocks_from(self, start: Host, count: int) -> tuple[list[Block], Host | None]:
        """The next `count` blocks that may be handed out, and where to go on; None: there are no more."""
        found: list[Block] = []
        at: int | None = int(start)
        while at is not None and len(found) < count:
            host = self._host(at)
            skip = self._excluding(at)
            if skip is None and host not in self.reserved:
                found.append(host if self.size == 1 else ip_network((host, self.prefix_length)))
            at = self._after(at if skip is None else int(skip.last))
        return found, None if at is None else self._host(at)

    def _after(self, at: int) -> int | None:
        following = at - at % self.size + self.size
        return following if following <= int(self.network.broadcast_address) else None

    def _excluding(self, at: int) -> Range | None:
        """The range that a block starting here touches."""
        return next(
            (one for one in self.excluded if int(one.first) < at + self.size and int(one.last) >= at), None
        )

    def _first_index(self, one: Range) -> int:
        return (int(one.first) - int(self.network.network_address)) // self.size

    def _last_index(self, one: Range) -> int:
        return (int(one.last) - int(self.network.network_address)) // self.size

    def _host(self, at: int) -> Host:
        return IPv4Address(at) if isinstance(self.network, IPv4Network) else IPv6Address(at)


def overlapping(asked: Range, present: Collection[Range]) -> Iterator[Range]:
    """The ranges that share an address with the one asked for."""
    return (one for one in present if one.overlaps(asked))
