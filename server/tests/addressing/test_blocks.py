"""IPv6 addresses, prefixes and routed blocks: rows are made as they are needed, ranges are kept out."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarc.kernel.context import system
from demarc.kernel.errors import Conflict, NotFound
from demarc.kernel.paging import Window
from demarc.modules.addressing import service as addressing
from demarc.modules.addressing.inputs import NewPool, Range, clean_block
from demarc.modules.addressing.queries import get_pool_by_id, list_assignments, utilisation_of, who_had
from demarc.modules.addressing.rules import Layout
from demarc.modules.addressing.service import (
    add_exclusion,
    assign_address,
    create_pool,
    release_address,
    remove_exclusion,
)
from demarc.modules.addressing.states import PoolKind
from demarc.modules.tenants.service import move_clock

ALPHA = 1
PREFIXES = IPv6Network("2001:db8:8000::/40")


@pytest.fixture
def begin(database):
    return lambda: database.begin(ALPHA, system("test"))


@pytest.fixture
def pool_of(begin):
    async def make(network, kind, **changes):
        async with begin() as tx:
            return await create_pool(tx, NewPool("p", ip_network(network), kind=kind, **changes))

    return make


async def take(begin, pool, subscriber_id, address=None):
    async with begin() as tx:
        wanted = None if address is None else clean_block(address)
        return await assign_address(tx, pool_id=pool.id, subscriber_id=subscriber_id, address=wanted)


async def used(begin, pool):
    async with begin() as tx:
        return (await utilisation_of(tx, [await get_pool_by_id(tx, pool.id)]))[pool.id]


@given(data=st.data())
def test_a_layout_hands_out_every_block_once_but_those_kept_out(data):
    """Against the plain reading: every block of the network, one by one."""
    network = ip_network(data.draw(st.sampled_from(["2001:db8::/122", "198.51.100.0/26", "2001:db8::/58"])))
    length = data.draw(st.integers(network.prefixlen, min(network.prefixlen + 5, network.max_prefixlen)))
    blocks = [*network.subnets(new_prefix=length)]
    size = blocks[0].num_addresses
    chosen = sorted(data.draw(st.sets(st.integers(0, len(blocks) - 1), max_size=4)))
    excluded = tuple(Range(blocks[at].network_address, blocks[at].broadcast_address) for at in chosen)
    reserved = frozenset({network.network_address}) if data.draw(st.booleans()) else frozenset()
    layout = Layout(network, length, reserved, excluded)
    expected = [
        str(block.network_address if block.num_addresses == 1 else block)
        for at, block in enumerate(blocks)
        if at not in chosen and block.network_address not in reserved
    ]
    found, at = [], network.network_address
    while at is not None:
        part, at = layout.blocks_from(at, data.draw(st.integers(1, 7)))
        found += part
    assert [str(block) for block in found] == expected
    assert (layout.total, layout.total - layout.kept_out) == (len(blocks), len(expected))
    assert all(layout.holds(block) and not layout.is_kept_out(block) for block in found)
    if size > 1:
        assert not layout.holds(blocks[0].network_address)
    assert not layout.holds(network.broadcast_address + 1)


async def test_prefixes_are_given_from_the_lowest_on_and_rest(begin, pool_of, monkeypatch):
    monkeypatch.setattr(addressing, "ROWS_AT_A_TIME", 2)
    pool = await pool_of(PREFIXES, PoolKind.DELEGATED_PREFIX, quarantine_hours=1)
    taken = [await take(begin, pool, number) for number in range(5)]
    assert taken == [*PREFIXES.subnets(new_prefix=56)][:5]
    assert await take(begin, pool, 3) == taken[3], "held already"
    assert (await used(begin, pool)).total == 1 << 16
    async with begin() as tx:
        assert await release_address(tx, subscriber_id=1, kinds=(PoolKind.IPV4,)) == 0
        assert await release_address(tx, subscriber_id=1) == 1
    counted = await used(begin, pool)
    assert (counted.assigned, counted.quarantined, counted.free) == (4, 1, (1 << 16) - 5)
    assert await take(begin, pool, 7) == IPv6Network("2001:db8:8000:500::/56"), "the released one rests"
    async with begin() as tx:
        await move_clock(tx, timedelta(hours=2))
    assert await take(begin, pool, 8) == taken[1]


async def test_fifty_at_once_get_fifty_prefixes(begin, pool_of, monkeypatch):
    monkeypatch.setattr(addressing, "ROWS_AT_A_TIME", 8)
    pool = await pool_of("2001:db8:1::/59", PoolKind.FRAMED_PREFIX)

    async def one(number):
        try:
            return await take(begin, pool, number)
        except Conflict as refused:
            return refused.code

    answers = await asyncio.gather(*(one(number) for number in range(50)))
    taken = [answer for answer in answers if isinstance(answer, IPv6Network)]
    assert len(taken) == len(set(taken)) == 32
    assert [answer for answer in answers if answer not in taken] == ["POOL_EXHAUSTED"] * 18
    counted = await used(begin, pool)
    assert (counted.free, counted.assigned) == (0, 32)


async def test_a_given_prefix_is_given_once_and_skipped_later(begin, pool_of):
    pool = await pool_of(PREFIXES, PoolKind.DELEGATED_PREFIX)
    assert str(await take(begin, pool, 1, "2001:db8:8000:100::/56")) == "2001:db8:8000:100::/56"
    with pytest.raises(Conflict) as refused:
        await take(begin, pool, 2, "2001:db8:8000:100::/56")
    assert refused.value.code == "ADDRESS_TAKEN"
    for wrong in ("2001:db8:8000:100::/60", "2001:db8:8000:100::1", "2001:db8:9000:0::/40", "10.0.0.0/24"):
        with pytest.raises(NotFound):
            await take(begin, pool, 3, wrong)
    assert [str(await take(begin, pool, number)) for number in (4, 5)] == [
        "2001:db8:8000::/56",
        "2001:db8:8000:200::/56",
    ]


async def test_hosts_of_a_huge_network(begin, pool_of):
    gateway = IPv6Address("2001:db8::1")
    pool = await pool_of("2001:db8::/64", PoolKind.IPV6, gateway=gateway)
    counted = await used(begin, pool)
    assert (counted.total, counted.reserved, counted.free) == (1 << 64, 2, (1 << 64) - 2)
    assert await take(begin, pool, 1) == IPv6Address("2001:db8::2"), "neither anycast nor gateway"
    with pytest.raises(Conflict):
        await take(begin, pool, 2, "2001:db8::1")
    last = "2001:db8::ffff:ffff:ffff:ffff"
    assert await take(begin, pool, 2, last) == ip_address(last)


async def test_ranges_are_kept_out_and_let_in_again(begin, pool_of):
    pool = await pool_of("2001:db8:1::/48", PoolKind.ROUTED, prefix_length=56)

    async def exclude(first, last):
        async with begin() as tx:
            return await add_exclusion(tx, pool.uid, Range(ip_address(first), ip_address(last)), note="core")

    await take(begin, pool, 1)
    for first, last, code in (
        ("2001:db8:1::5", "2001:db8:1::5", "RANGE_IN_USE"),
        ("2001:db8:1:0:5::", "2001:db8:1:180::", "RANGE_IN_USE"),
    ):
        with pytest.raises(Conflict) as refused:
            await exclude(first, last)
        assert refused.value.code == code
    made = await exclude("2001:db8:1:180::", "2001:db8:1:4ff::")
    assert (str(made.first_address), str(made.last_address)) == (
        "2001:db8:1:100::",
        "2001:db8:1:4ff:ffff:ffff:ffff:ffff",
    ), "widened to whole blocks"
    with pytest.raises(Conflict) as refused:
        await exclude("2001:db8:1:200::", "2001:db8:1:200::")
    assert refused.value.code == "EXCLUSION_OVERLAP"
    assert (await used(begin, pool)).reserved == 4
    assert str(await take(begin, pool, 2)) == "2001:db8:1:500::/56"
    with pytest.raises(Conflict):
        await take(begin, pool, 3, "2001:db8:1:200::/56")
    async with begin() as tx:
        await remove_exclusion(tx, pool.uid, made.uid)
    assert str(await take(begin, pool, 3)) == "2001:db8:1:100::/56"
    assert (await used(begin, pool)).free == 256 - 3

    async with begin() as tx:
        four = await create_pool(tx, NewPool("four", IPv4Network("10.0.0.0/29")))
        kept = await add_exclusion(tx, four.uid, Range(ip_address("10.0.0.0"), ip_address("10.0.0.3")))
        assert (await utilisation_of(tx, [four]))[four.id].free == 3
        assert str(await assign_address(tx, pool_id=four.id, subscriber_id=9)) == "10.0.0.4"
        await remove_exclusion(tx, four.uid, kept.uid)
        counted = (await utilisation_of(tx, [four]))[four.id]
    assert (counted.free, counted.reserved) == (5, 2), "the network's own address stays out"


async def test_everything_excluded_is_an_exhausted_pool(begin, pool_of):
    pool = await pool_of("203.0.113.0/28", PoolKind.ROUTED, prefix_length=30)
    async with begin() as tx:
        await add_exclusion(tx, pool.uid, Range(ip_address("203.0.113.4"), ip_address("203.0.113.15")))
    assert str(await take(begin, pool, 1)) == "203.0.113.0/30"
    with pytest.raises(Conflict) as refused:
        await take(begin, pool, 2)
    assert refused.value.code == "POOL_EXHAUSTED"


async def test_who_had_the_prefix_around_an_address(begin, pool_of):
    pool = await pool_of(PREFIXES, PoolKind.DELEGATED_PREFIX, quarantine_hours=0)
    async with begin() as tx:
        start = tx.now
    prefix = await take(begin, pool, 1)
    within = IPv6Address("2001:db8:8000:7:1::5")
    async with begin() as tx:
        await move_clock(tx, timedelta(hours=5))
    async with begin() as tx:
        await release_address(tx, subscriber_id=1)
    await take(begin, pool, 2)
    async with begin() as tx:
        await move_clock(tx, timedelta(hours=5))
    async with begin() as tx:
        for asked in (within, prefix, IPv6Network("2001:db8:8000:7::/64")):
            assert (await who_had(tx, asked, start + timedelta(hours=2))).subscriber_id == 1
            assert (await who_had(tx, asked, tx.now)).subscriber_id == 2
            assert [
                one.subscriber_id for one in (await list_assignments(tx, Window(), address=asked)).rows
            ] == [2, 1]
        assert await who_had(tx, IPv6Address("2001:db8:8000:100::1"), tx.now) is None
        assert await who_had(tx, within, start - timedelta(days=1)) is None


async def test_the_database_keeps_two_from_one_part_of_a_prefix(begin, pool_of):
    """Whoever writes the history: no block within another's at the same time."""
    pool = await pool_of(PREFIXES, PoolKind.DELEGATED_PREFIX)
    await take(begin, pool, 1)
    insert = (
        "INSERT INTO ip_assignment (tenant_id, pool_id, address, subscriber_id, assigned_at) "
        "VALUES (1, $1, $2, 2, now())"
    )
    for nested in ("2001:db8:8000::/64", "2001:db8:8000::/48"):
        with pytest.raises(asyncpg.ExclusionViolationError):
            async with begin() as tx:
                await tx.connection.execute(insert, pool.id, ip_network(nested))
    async with begin() as tx:
        await tx.connection.execute(insert, pool.id, ip_network("2001:db8:8000:100::/56"))
