"""A row that breaks does not hold up the others of its tenant, and is not forgotten."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest
from structlog.testing import capture_logs

from demarc.kernel.errors import Unavailable
from demarc.modules.billing.queries import get_invoice
from demarc.modules.dunning.rules import MAX_FAILURES
from demarc.modules.services.service import terminate_service
from demarc.workflows.non_payment import Swept, sweep_tenant

_DAY = timedelta(days=1)
REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$;
    CREATE TRIGGER broken BEFORE {event} ON {table} FOR EACH ROW WHEN (NEW.{column} = {row_id})
    EXECUTE FUNCTION refuse();
"""


async def break_row(scratch, table, row_id, *, event="UPDATE", column="id"):
    """From now on this row cannot be written, as with a fault that nobody foresaw."""
    owner = await asyncpg.connect(scratch.owner_dsn)
    try:
        await owner.execute(REFUSE.format(event=event, table=table, column=column, row_id=int(row_id)))
    finally:
        await owner.close()


async def start_two(world):
    """Two executions with an e-mail that is due in a day; the steps of the first make no sense."""
    await world.campaign(("email", 1), ("suspend_service", 1))
    poisoned, sound = [await world.debtor(due_in_days=-8) for _ in range(2)]
    await world.sweep()
    async with world.tx() as tx:
        await tx.connection.execute(
            "UPDATE dunning_execution SET actions = $1 WHERE id = $2",
            [{"type": "nonsense", "delay_days": 1}],
            (await world.execution(poisoned)).id,
        )
    return poisoned, sound


async def test_a_poisoned_execution_holds_up_nobody_and_rests_an_hour(world):
    poisoned, sound = await start_two(world)
    await world.advance(days=1, run_jobs=False)
    with capture_logs() as lines:
        swept = await sweep_tenant(world.work())
    assert swept.steps == 1
    assert len(await world.log(await world.execution(sound))) == 1
    put_back = await world.execution(poisoned)
    assert (put_back.status, put_back.failures) == ("pending", 1)
    async with world.tx() as tx:
        assert 3500 < (put_back.next_action_at - tx.now).total_seconds() <= 3600
    line = next(line for line in lines if line["event"] == "a sweep left a row out")
    assert (line["sweep"], line["row"]) == ("run_due_step", put_back.id)
    assert (await sweep_tenant(world.work())).steps == 0, "it is not tried again before the hour is over"


async def test_after_some_errors_in_a_row_a_person_has_to_look(world):
    poisoned, _ = await start_two(world)
    execution = await world.execution(poisoned)
    await world.advance(days=1)
    for number in range(2, MAX_FAILURES + 1):
        assert (await world.reload(execution)).failures == number - 1
        await world.advance(hours=1, minutes=1)
    failed = await world.reload(execution)
    assert (failed.status, failed.next_action_at) == ("failed", None)
    async with world.tx() as tx:
        reason = await tx.connection.fetchval(
            "SELECT reason FROM status_change WHERE entity = 'dunning_execution' AND entity_id = $1 AND to_status = 'failed'",
            execution.id,
        )
    assert reason == "step 1 ended in an unexpected error 5 times: ValueError"


async def test_a_mended_execution_goes_on_and_its_errors_are_forgotten(world):
    poisoned, sound = await start_two(world)
    await world.advance(days=1)
    execution = await world.execution(poisoned)
    assert execution.failures == 1
    async with world.tx() as tx:
        await tx.connection.execute(
            "UPDATE dunning_execution SET actions = $1 WHERE id = $2",
            (await world.execution(sound)).actions,
            execution.id,
        )
    await world.advance(hours=1, minutes=1)
    mended = await world.reload(execution)
    assert (mended.status, mended.current_step, mended.failures) == ("in_progress", 1, 0)


async def test_an_invoice_that_breaks_holds_up_no_other_and_no_later_sweep(world, scratch):
    await world.campaign(("suspend_service", 0))
    broken, sound = [await world.debtor(due_in_days=-8) for _ in range(2)]
    await break_row(scratch, "invoice", broken.invoice.id)
    assert await sweep_tenant(world.work()) == Swept(overdue=1, started=1, steps=1, terminated=0)
    assert await world.status(sound) == "suspended_non_payment"
    async with world.tx() as tx:
        assert (await get_invoice(tx, broken.invoice.ref)).status == "pending"


async def test_a_start_that_breaks_holds_up_no_other(world, scratch):
    await world.campaign(("suspend_service", 0))
    broken, sound = [await world.debtor(due_in_days=-8) for _ in range(2)]
    await break_row(scratch, "dunning_execution", broken.invoice.id, event="INSERT", column="invoice_id")
    assert await sweep_tenant(world.work()) == Swept(overdue=2, started=1, steps=1, terminated=0)
    assert (await world.status(broken), await world.status(sound)) == ("active", "suspended_non_payment")


async def test_a_service_that_cannot_be_ended_holds_up_no_other(world, scratch):
    broken, sound = [await world.debtor(due_in_days=30) for _ in range(2)]
    async with world.tx() as tx:
        for debtor in (broken, sound):
            await terminate_service(
                tx, service_id=debtor.service.id, reason="moves", at=tx.now.replace(microsecond=0) + _DAY
            )
    await world.advance(days=2, run_jobs=False)
    await break_row(scratch, "service", broken.service.id)
    assert (await sweep_tenant(world.work())).terminated == 1
    assert (await world.status(broken), await world.status(sound)) == ("terminating", "terminated")


async def test_a_database_that_is_away_ends_the_sweep_and_blames_nobody(world, monkeypatch):
    poisoned, _ = await start_two(world)
    await world.advance(days=1, run_jobs=False)
    work = world.work()

    async def away(tx, execution_id):
        raise Unavailable("the database does not answer")

    monkeypatch.setattr("demarc.workflows.non_payment.run_due_step", away)
    with pytest.raises(Unavailable):
        await sweep_tenant(work)
    assert (await world.execution(poisoned)).failures == 0
