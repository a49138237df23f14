"""Transactions: bound to a tenant, all or nothing, and typed errors when something is away."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from demarc.kernel.clock import real_now
from demarc.kernel.context import Actor, ActorKind, system
from demarc.kernel.db import Database
from demarc.kernel.errors import Conflict, Forbidden, NotFound, Unavailable
from demarc.modules.customers.inputs import NewCustomer
from demarc.modules.customers.models import customer
from demarc.modules.customers.queries import Customer
from demarc.modules.customers.service import create_customer
from demarc.modules.tenants.service import move_clock

TESTER = system("test")


async def count(database, table="customer"):
    async with database.begin(1, TESTER) as tx:
        return await tx.connection.fetchval(f"SELECT count(*) FROM {table}")


async def test_an_error_leaves_nothing_behind(database):
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the whole transaction fails
        async with database.begin(1, TESTER) as tx:
            await create_customer(tx, NewCustomer(name="Ann"))
            raise ZeroDivisionError
    for table in ("customer", "outbox_event", "status_change"):
        assert await count(database, table) == 0


async def test_hooks_run_after_the_commit_and_only_then(database):
    ran = []
    async with database.begin(1, TESTER) as tx:
        tx.after_commit.append(lambda: ran.append("committed"))
        assert ran == []
    assert ran == ["committed"]
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the whole transaction fails
        async with database.begin(1, TESTER) as tx:
            tx.after_commit.append(lambda: ran.append("never"))
            raise ZeroDivisionError
    assert ran == ["committed"]


async def test_an_unknown_or_closed_tenant_is_refused(database, scratch):
    with pytest.raises(Forbidden):
        async with database.begin(999, TESTER):
            pass
    owner = await asyncpg.connect(scratch.owner_dsn)
    await owner.execute("UPDATE tenant SET status = 'closed' WHERE id = 2")
    await owner.close()
    with pytest.raises(Forbidden):
        async with database.begin(2, TESTER):
            pass


async def test_a_user_of_another_tenant_is_refused(database, scratch):
    owner = await asyncpg.connect(scratch.owner_dsn)
    theirs = await owner.fetchval("SELECT id FROM app_user WHERE tenant_id = 2 LIMIT 1")
    await owner.close()
    with pytest.raises(Forbidden):
        async with database.begin(1, Actor(ActorKind.USER, "x", theirs)):
            pass


async def test_a_connection_forgets_its_tenant_when_the_transaction_ends(scratch):
    alone = await Database.connect(scratch.dsn(), max_size=1)
    try:
        async with alone.begin(1, TESTER) as tx:
            await create_customer(tx, NewCustomer(name="Ann"))
        async with alone.directory() as connection:
            assert await connection.fetchval("SELECT count(*) FROM customer") == 0
            assert not await connection.fetchval("SELECT current_setting('app.tenant', true)")
    finally:
        await alone.close()


async def test_now_is_the_tenants_and_stands_still(database):
    async with database.begin(1, TESTER) as tx:
        await move_clock(tx, timedelta(days=40))
    async with database.begin(1, TESTER) as tx:
        first = tx.now
        await asyncio.sleep(0.01)
        assert tx.now == first
        assert timedelta(days=40) <= tx.now - real_now() + timedelta(minutes=1) < timedelta(days=41)
    async with database.begin(2, TESTER) as other:
        assert abs(other.now - real_now()) < timedelta(minutes=1)


async def test_update_finds_its_row_or_says_so(tx):
    made = await create_customer(tx, NewCustomer(name="Ann"))
    changed = await tx.update(customer, Customer, {"id": made.id}, name="Bea")
    assert changed.name == "Bea"
    with pytest.raises(NotFound, match="no such customer"):
        await tx.update(customer, Customer, {"id": made.id + 1}, name="Bea")


async def test_two_that_wait_for_each_other_end_as_a_conflict(database):
    async with database.begin(1, TESTER) as tx:
        ids = [(await create_customer(tx, NewCustomer(name=name))).id for name in "ab"]
    both_hold_one = asyncio.Barrier(2)

    async def lock(order):
        async with database.begin(1, TESTER) as tx:
            await tx.update(customer, Customer, {"id": order[0]}, name="x")
            await both_hold_one.wait()
            await tx.update(customer, Customer, {"id": order[1]}, name="x")

    results = await asyncio.gather(lock(ids), lock(ids[::-1]), return_exceptions=True)
    refused = [result for result in results if result is not None]
    assert len(refused) == 1
    assert isinstance(refused[0], Conflict)
    assert refused[0].code == "CONCURRENT_CHANGE"


async def test_a_database_that_is_away_is_unavailable(tmp_path):
    with pytest.raises(Unavailable, match="try again"):
        await Database.connect(f"postgresql://demarc_app@127.0.0.1:1/none?passfile={tmp_path}/none")


async def test_a_lost_connection_is_unavailable_and_the_pool_recovers(database, scratch):
    owner = await asyncpg.connect(scratch.owner_dsn)
    try:
        with pytest.raises(Unavailable):  # noqa: PT012 - the whole transaction fails
            async with database.begin(1, TESTER) as tx:
                await owner.execute("SELECT pg_terminate_backend($1)", tx.connection.get_server_pid())
                await tx.connection.fetchval("SELECT 1")
        assert await count(database) == 0
    finally:
        await owner.close()
