from __future__ import annotations

import asyncio
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarc.kernel.context import system
from demarc.kernel.errors import Conflict, NotFound
from demarc.kernel.paging import Window
from demarc.modules.addressing.inputs import NewPool
from demarc.modules.addressing.queries import count_addresses, list_assignments, list_held_addresses, who_had
from demarc.modules.addressing.rules import reserved_addresses
from demarc.modules.addressing.service import (
    _TAKE_LOWEST,
    assign_address,
    create_pool,
    delete_pool,
    release_address,
    update_pool,
)
from demarc.modules.addressing.states import PoolStatus
from demarc.modules.tenants.service import move_clock

ALPHA = 1


@pytest.fixture
def begin(database):
    return lambda: database.begin(ALPHA, system("test"))


@pytest.fixture
def pool_of(begin):
    async def make(network, **changes):
        async with begin() as tx:
            return await create_pool(tx, NewPool("p", IPv4Network(network), **changes))

    return make


async def take(begin, pool, subscriber_id, address=None):
    async with begin() as tx:
        return await assign_address(tx, pool_id=pool.id, subscriber_id=subscriber_id, address=address)


async def release(begin, subscriber_id):
    async with begin() as tx:
        return await release_address(tx, subscriber_id=subscriber_id)


async def advance(begin, by):
    async with begin() as tx:
        await move_clock(tx, by)


async def test_the_lowest_free_address_goes_first(begin, pool_of):
    pool = await pool_of("10.0.0.0/29", gateway=IPv4Address("10.0.0.1"))
    taken = [str(await take(begin, pool, number)) for number in range(5)]
    assert taken == ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
    with pytest.raises(Conflict, match="nothing free left; release some") as refused:
        await take(begin, pool, 99)
    assert refused.value.code == "POOL_EXHAUSTED"


async def test_a_repeated_call_gives_the_same_address(begin, pool_of):
    pool = await pool_of("10.0.0.0/29")
    assert await take(begin, pool, 1) == await take(begin, pool, 1)
    async with begin() as tx:
        assert (await count_addresses(tx, [pool.id]))[pool.id].assigned == 1


async def test_fifty_at_once_for_thirty_addresses(begin, pool_of):
    pool = await pool_of("10.0.0.0/27")

    async def one(number):
        try:
            return await take(begin, pool, number)
        except Conflict as refused:
            return refused.code

    answers = await asyncio.gather(*(one(number) for number in range(50)))
    taken = [answer for answer in answers if isinstance(answer, IPv4Address)]
    assert len(taken) == len(set(taken)) == 30
    assert [answer for answer in answers if answer not in taken] == ["POOL_EXHAUSTED"] * 20


async def test_the_last_address_waits_for_the_other_transaction(begin, pool_of):
    """Somebody else holds the last address and gives it back: this is no exhausted pool."""
    pool = await pool_of("10.0.0.1/32")
    locked, waiting = asyncio.Event(), asyncio.Event()

    async def changes_his_mind():
        async with begin() as tx:
            await assign_address(tx, pool_id=pool.id, subscriber_id=1)
            locked.set()
            await waiting.wait()
            raise asyncio.CancelledError

    first = asyncio.create_task(changes_his_mind())
    await locked.wait()
    second = asyncio.create_task(take(begin, pool, 2))
    await blocked_backend(begin)
    waiting.set()
    await asyncio.gather(first, return_exceptions=True)
    assert str(await second) == "10.0.0.1"


async def blocked_backend(begin):
    """Until a transaction waits for another one's lock."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    for _ in range(500):
        async with begin() as tx:
            if await tx.connection.fetchval(query):
                return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


async def test_an_address_asked_for(begin, pool_of):
    pool = await pool_of("10.0.0.0/29", gateway=IPv4Address("10.0.0.1"))
    assert await take(begin, pool, 1, IPv4Address("10.0.0.5")) == IPv4Address("10.0.0.5")
    for address in ("10.0.0.5", "10.0.0.1", "10.0.0.7"):
        with pytest.raises(Conflict) as refused:
            await take(begin, pool, 2, IPv4Address(address))
        assert refused.value.code == "ADDRESS_TAKEN"
    with pytest.raises(NotFound):
        await take(begin, pool, 2, IPv4Address("10.0.1.5"))


async def test_a_released_address_rests(begin, pool_of):
    pool = await pool_of("10.0.0.0/30", quarantine_hours=24)
    assert str(await take(begin, pool, 1)) == "10.0.0.1"
    assert await release(begin, 1) == 1
    assert await release(begin, 1) == 0
    assert str(await take(begin, pool, 2)) == "10.0.0.2"
    with pytest.raises(Conflict, match="quarantine"):
        await take(begin, pool, 3)
    await advance(begin, timedelta(hours=23))
    with pytest.raises(Conflict):
        await take(begin, pool, 3)
    await advance(begin, timedelta(hours=2))
    async with begin() as tx:
        used = (await count_addresses(tx, [pool.id]))[pool.id]
        assert (used.free, used.quarantined, used.assigned) == (1, 0, 1)
    assert str(await take(begin, pool, 3)) == "10.0.0.1"


async def test_without_quarantine_it_is_free_at_once(begin, pool_of):
    pool = await pool_of("10.0.0.1/32", quarantine_hours=0)
    for subscriber in range(5):
        assert str(await take(begin, pool, subscriber)) == "10.0.0.1"
        assert await release(begin, subscriber) == 1


async def test_assigned_and_released_in_one_transaction(begin, pool_of):
    pool = await pool_of("10.0.0.1/32", quarantine_hours=0)
    async with begin() as tx:
        await assign_address(tx, pool_id=pool.id, subscriber_id=1)
        assert await release_address(tx, subscriber_id=1) == 1
    assert str(await take(begin, pool, 2)) == "10.0.0.1"


async def test_a_transaction_that_began_earlier_may_release(begin, pool_of):
    pool = await pool_of("10.0.0.1/32")
    async with begin() as early:
        await take(begin, pool, 1)
        assert await release_address(early, subscriber_id=1) == 1


async def test_who_had_it_when(begin, pool_of):
    pool = await pool_of("10.0.0.1/32", quarantine_hours=1)
    address = IPv4Address("10.0.0.1")
    moments = []
    for subscriber in (1, 2):
        await take(begin, pool, subscriber)
        await advance(begin, timedelta(hours=10))
        async with begin() as tx:
            moments.append(tx.now)
        await advance(begin, timedelta(hours=10))
        await release(begin, subscriber)
        await advance(begin, timedelta(hours=2))
    async with begin() as tx:
        first, second = [await who_had(tx, address, moment) for moment in moments]
        assert (first.subscriber_id, second.subscriber_id) == (1, 2)
        assert await who_had(tx, address, tx.now) is None
        assert await who_had(tx, address, first.assigned_at - timedelta(seconds=1)) is None
        assert (await who_had(tx, address, first.assigned_at)).subscriber_id == 1
        assert await who_had(tx, address, first.released_at) is None, "periods are [from, to)"
        history = await list_assignments(tx, Window(), address=address)
        assert ([row.subscriber_id for row in history.rows], history.total) == ([2, 1], 2)


async def test_the_database_refuses_a_second_holder(begin, pool_of):
    pool = await pool_of("10.0.0.1/32")
    await take(begin, pool, 1)
    insert = (
        "INSERT INTO ip_assignment (tenant_id, pool_id, address, subscriber_id, assigned_at) "
        "VALUES (1, $1, '10.0.0.1', 2, now() + interval '1 second')"
    )
    with pytest.raises(asyncpg.ExclusionViolationError):
        async with begin() as tx:
            await tx.connection.execute(insert, pool.id)


async def test_a_closed_pool_gives_nothing_out_and_a_used_one_stays(begin, pool_of):
    pool = await pool_of("10.0.0.0/29")
    await take(begin, pool, 1)
    with pytest.raises(Conflict) as refused:
        async with begin() as tx:
            await delete_pool(tx, pool.uid)
    assert refused.value.code == "POOL_IN_USE"
    async with begin() as tx:
        await update_pool(tx, pool.uid, {"status": PoolStatus.CLOSED})
    with pytest.raises(Conflict) as refused:
        await take(begin, pool, 2)
    assert refused.value.code == "POOL_CLOSED"
    async with begin() as tx:
        assert str((await list_held_addresses(tx, [1, 2]))[1]) == "10.0.0.1"


async def test_a_big_pool_is_searched_by_its_index(begin, pool_of):
    pool = await pool_of("10.0.0.0/16")
    mark = "UPDATE ip_address SET status = 'assigned', subscriber_id = 7 WHERE address < '10.0.200.0' AND status = 'free'"
    async with begin() as tx:
        await tx.connection.execute(mark)
        values = {"tenant_id": ALPHA, "pool_id": pool.id, "subscriber_id": 1, "now": tx.now}
        explain = f"EXPLAIN {_TAKE_LOWEST.sql}"
        plan = "\n".join(
            row[0] for row in await tx.connection.fetch(explain, *_TAKE_LOWEST.arguments(values))
        )
        assert "ix_ip_address_free" in plan, plan
        assert str(await assign_address(tx, pool_id=pool.id, subscriber_id=1)) == "10.0.200.0"


@given(prefix=st.integers(14, 32), network=st.integers(0, 2**18 - 1), gateway=st.integers(0, 2**18 - 1))
def test_what_is_reserved(prefix, network, gateway):
    size = 2 ** (32 - prefix)
    first = (0x0A000000 + network * size) & 0xFFFFFFFF & ~(size - 1)
    pool = IPv4Network((first, prefix))
    at = pool[gateway % size]
    kept = reserved_addresses(pool, at)
    assert at in kept
    assert kept <= set(pool) if size < 64 else len(kept) <= 3
    assert (pool.network_address in kept) == (prefix < 31 or at == pool.network_address)
    assert (pool.broadcast_address in kept) == (prefix < 31 or at == pool.broadcast_address)
