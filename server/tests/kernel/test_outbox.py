"""Events: a projection is part of what happened, a handler follows it, and neither exists without it."""

from __future__ import annotations

import asyncio

import pytest

from demarc.kernel import jobs, outbox
from demarc.kernel.context import system
from demarc.kernel.errors import Conflict
from demarc.kernel.outbox import emit, handles, projects
from demarc.worker.runner import build_queue, run_queue

TESTER = system("test")


@pytest.fixture(autouse=True)
def _own_registries(monkeypatch):
    """What a test registers is gone after it."""
    known = {}
    monkeypatch.setattr(jobs, "REGISTRY", known)
    monkeypatch.setattr("demarc.worker.runner.REGISTRY", known)
    monkeypatch.setattr(outbox, "_PROJECTIONS", {})
    monkeypatch.setattr(outbox, "_HANDLERS", {})


async def stored(database):
    async with database.begin(1, TESTER) as tx:
        events = await tx.connection.fetch(
            "SELECT name, entity, entity_id, payload, request_id FROM outbox_event ORDER BY id"
        )
        return events, await tx.connection.fetchval("SELECT count(*) FROM pgqueuer")


async def happen(database, tenant=1, **payload):
    async with database.begin(tenant, TESTER, request_id="req-9") as tx:
        await emit(tx, "thing.happened", entity="thing", entity_id=7, **payload)


async def test_an_event_is_a_row_with_its_request(database):
    await happen(database, reason="x", amount_minor=5)
    events, jobs_waiting = await stored(database)
    assert [dict(event) for event in events] == [
        {
            "name": "thing.happened",
            "entity": "thing",
            "entity_id": 7,
            "payload": {"reason": "x", "amount_minor": 5},
            "request_id": "req-9",
        }
    ]
    assert jobs_waiting == 0


async def test_projections_run_at_once_in_their_order_and_see_the_event(database):
    seen = []

    @projects("thing.happened")
    async def first(tx, event):
        seen.append(
            ("first", event.payload["n"], await tx.connection.fetchval("SELECT count(*) FROM outbox_event"))
        )

    @projects("thing.happened")
    async def second(_tx, event):
        seen.append(("second", event.entity_id, event.name))

    @projects("thing.else")
    async def other(_tx, _event):
        seen.append("other")

    await happen(database, n=1)
    assert seen == [("first", 1, 1), ("second", 7, "thing.happened")]


async def test_when_a_projection_fails_nothing_happened(database):
    @handles("thing.happened")
    async def later(_tx, _event):
        raise AssertionError

    @projects("thing.happened")
    async def refuse(_tx, _event):
        raise Conflict("not now")

    with pytest.raises(Conflict):
        await happen(database)
    assert await stored(database) == ([], 0)


async def test_a_handler_runs_after_the_commit_for_the_events_tenant(database):
    seen = asyncio.get_running_loop().create_future()

    @handles("thing.happened")
    async def later(tx, event):
        visible = await tx.connection.fetchval("SELECT count(*) FROM outbox_event WHERE id = $1", event.id)
        seen.set_result((tx.tenant.slug, event.payload, visible, tx.request_id))

    await happen(database, tenant=2, n=1)
    assert not seen.done()
    queue = build_queue(database, {})
    task = asyncio.create_task(run_queue(queue))
    try:
        assert await asyncio.wait_for(seen, 30) == ("beta", {"n": 1}, 1, "req-9")
    finally:
        queue.shutdown.set()
        await asyncio.wait_for(task, 30)


async def test_every_handler_has_a_job_of_its_own(database):
    @handles("thing.happened")
    async def one(_tx, _event): ...

    @handles("thing.happened")
    async def two(_tx, _event): ...

    await happen(database)
    events, jobs_waiting = await stored(database)
    assert (len(events), jobs_waiting) == (1, 2)


async def test_an_event_may_cause_another_in_the_same_transaction(database):
    @projects("thing.happened")
    async def cause(tx, event):
        await emit(tx, "thing.followed", entity="thing", entity_id=event.entity_id, after=event.id)

    await happen(database)
    events, _ = await stored(database)
    assert [event["name"] for event in events] == ["thing.happened", "thing.followed"]
