"""State machines: only declared moves, each with its history, and one winner when two move at once."""

from __future__ import annotations

import asyncio
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarc.kernel.errors import Conflict
from demarc.kernel.states import StateMachine, change_status, record_status_change
from demarc.modules.customers.inputs import NewCustomer
from demarc.modules.customers.models import customer
from demarc.modules.customers.queries import Customer
from demarc.modules.customers.service import create_customer


class Light(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"


MACHINE = StateMachine(
    "light",
    {
        Light.ACTIVE: frozenset({Light.SUSPENDED, Light.TERMINATED}),
        Light.SUSPENDED: frozenset({Light.ACTIVE, Light.TERMINATED}),
        Light.TERMINATED: frozenset(),
    },
)
ENDLESS = StateMachine("light", {one: frozenset(set(Light) - {one}) for one in Light})


@given(st.sampled_from(Light), st.sampled_from(Light))
def test_check_and_can_agree(current, target):
    if MACHINE.can(current, target):
        MACHINE.check(current, target)
    else:
        with pytest.raises(Conflict) as refused:
            MACHINE.check(current, target)
        assert refused.value.code == "ILLEGAL_STATE_CHANGE"
        assert current.value in refused.value.message
        assert target.value in refused.value.message
        for allowed in MACHINE.moves[current]:
            assert allowed.value in refused.value.message


def test_a_final_state_says_so():
    with pytest.raises(Conflict, match="nothing: it is final"):
        MACHINE.check(Light.TERMINATED, Light.ACTIVE)


async def move(tx, row, target, machine=MACHINE, current=None):
    return await change_status(
        tx,
        machine,
        customer,
        Customer,
        entity_id=row.id,
        current=current or Light(row.status),
        target=target,
        reason="because",
    )


async def history(tx, row):
    return await tx.connection.fetch(
        "SELECT entity, from_status, to_status, reason, actor, changed_at FROM status_change "
        "WHERE tenant_id = $1 AND entity_id = $2 AND entity = 'light' ORDER BY id",
        tx.tenant.id,
        row.id,
    )


async def test_a_move_changes_the_row_and_leaves_its_history(tx):
    made = await create_customer(tx, NewCustomer(name="Ann"))
    moved = await move(tx, made, Light.SUSPENDED)
    assert (moved.status, moved.updated_at) == ("suspended", tx.now)
    await move(tx, moved, Light.ACTIVE)
    lines = await history(tx, made)
    assert [(line["from_status"], line["to_status"]) for line in lines] == [
        ("active", "suspended"),
        ("suspended", "active"),
    ]
    assert {(line["reason"], line["actor"], line["changed_at"]) for line in lines} == {
        ("because", "test", tx.now)
    }


async def test_an_illegal_move_touches_nothing(tx):
    made = await create_customer(tx, NewCustomer(name="Ann"))
    gone = await move(tx, made, Light.TERMINATED)
    with pytest.raises(Conflict):
        await move(tx, gone, Light.ACTIVE)
    assert len(await history(tx, made)) == 1
    stored = await tx.connection.fetchval("SELECT status FROM customer WHERE id = $1", made.id)
    assert stored == "terminated"


async def test_a_move_from_what_is_no_longer_true_is_refused(tx):
    made = await create_customer(tx, NewCustomer(name="Ann"))
    await move(tx, made, Light.SUSPENDED)
    with pytest.raises(Conflict, match="meanwhile"):
        await move(tx, made, Light.TERMINATED, current=Light.ACTIVE)


async def test_of_two_at_once_one_wins(database):
    async with database.begin(1, _actor()) as tx:
        made = await create_customer(tx, NewCustomer(name="Ann"))

    async def attempt(target):
        async with database.begin(1, _actor()) as tx:
            return await move(tx, made, target)

    results = await asyncio.gather(
        *(attempt(target) for target in (Light.SUSPENDED, Light.TERMINATED) * 3), return_exceptions=True
    )
    winners = [result for result in results if isinstance(result, Customer)]
    assert len(winners) == 1
    assert all(isinstance(result, Conflict) for result in results if result not in winners)
    async with database.begin(1, _actor()) as tx:
        assert len(await history(tx, made)) == 1


async def test_a_rolled_back_move_leaves_no_history(database):
    async with database.begin(1, _actor()) as tx:
        made = await create_customer(tx, NewCustomer(name="Ann"))

    async def fail():
        async with database.begin(1, _actor()) as tx:
            await move(tx, made, Light.SUSPENDED)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with database.begin(1, _actor()) as tx:
        assert await history(tx, made) == []
        await record_status_change(
            tx, entity="light", entity_id=made.id, from_status=None, to_status="active"
        )
        assert [line["from_status"] for line in await history(tx, made)] == [None]


def _actor():
    from demarc.kernel.context import system

    return system("test")
