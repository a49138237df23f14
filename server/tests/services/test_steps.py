"""Provisioning as a durable sequence: killed anywhere, failing for a while or for good, ended under its hands."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from uuid import UUID

import pytest

from demarc.kernel.errors import Conflict, Unavailable
from demarc.modules.services.queries import get_service, hold_service, list_steps
from demarc.modules.services.service import lift_lock, place_lock, terminate_service
from demarc.modules.services.states import LockKind
from demarc.worker.runner import build_queue
from demarc.workflows.provisioning import STEPS, Step, deprovision, orders, provision, roll_back
from demarc.workflows.provisioning.driver import ServiceJob

LIFECYCLE = "/api/services/lifecycle"


class KilledError(BaseException):
    """The process is gone; nothing of ours runs after it."""


@dataclass
class Carrier:
    """A world outside that keeps what it was ordered, by our reference, across our crashes."""

    orders: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    log: list[str] = field(default_factory=list)
    die_before: bool = False
    die_after: bool = False
    refuse: list[Exception] = field(default_factory=list)

    async def call(self, _work, service):
        self.calls += 1
        if self.die_before:
            raise KilledError
        if self.refuse:
            raise self.refuse.pop(0)
        number = self.orders.setdefault(str(service.uid), len(self.orders) + 1)
        if self.die_after:
            raise KilledError
        return {"order": number}

    async def recall(self, _work, service, detail):
        self.orders.pop(str(service.uid), None)
        self.log.append(f"recalled {detail.get('order')}")

    async def keep(self, tx, _service, outcome):
        await tx.connection.execute("SELECT 1")
        return {"kept": outcome["order"]}

    async def undo(self, _tx, _service, detail):
        self.log.append(f"undone {detail['kept']}")


@dataclass
class Inside:
    """A step of ours that can be made to fail."""

    log: list[str]
    fail: list[BaseException] = field(default_factory=list)

    async def perform(self, _tx, _service, _outcome):
        if self.fail:
            raise self.fail.pop(0)
        return {"port": 7}

    async def undo(self, _tx, _service, detail):
        self.log.append(f"port {detail['port']} released")


@pytest.fixture
def carrier():
    return Carrier()


@pytest.fixture
def inside(carrier):
    return Inside(carrier.log)


@pytest.fixture(autouse=True)
def sequence(monkeypatch, carrier, inside):
    """check_agreement → reserve (ours) → carrier (outside) → patch (ours) → activate."""
    patch = Inside(carrier.log)
    for step in (
        Step("reserve", inside.perform, inside.undo),
        Step("carrier", carrier.keep, carrier.undo, carrier.call, carrier.recall),
        Step("patch", patch.perform),
    ):
        monkeypatch.setitem(STEPS, step.name, step)
    names = ("check_agreement", "reserve", "carrier", "patch", "activate")
    monkeypatch.setattr(orders, "steps_for", lambda *, auto_activate: names if auto_activate else names[:-1])
    return patch


@pytest.fixture
def stored(begin):
    """The service and its steps as they are in the database."""

    async def read(service):
        async with begin() as tx:
            row = await get_service(tx, UUID(service["id"]))
            return row, {step.name: step for step in await list_steps(tx, row.id)}

    return read


@pytest.fixture
def run(work, stored):
    """Run the job's function as the worker would."""

    async def once(service, *, job=provision, last=False):
        row, _ = await stored(service)
        await job.handler(work(last=last), ServiceJob(row.id))

    return once


async def test_the_request_goes_as_far_as_the_first_step_outside(admin, database, order, stored, carrier):
    answer = await order()
    assert answer.status_code == 201
    service = answer.json()
    assert (service["status"], service["provisioning_status"]) == ("provisioning", "in_progress")
    steps = (await admin.get(f"{LIFECYCLE}/{service['id']}/steps")).json()
    assert [step["status"] for step in steps["steps"]] == [
        "completed",
        "completed",
        "pending",
        "pending",
        "pending",
    ]
    assert (steps["total"], steps["provisioning_status"]) == (5, "in_progress")
    assert carrier.calls == 0
    async with database.directory() as connection:
        queued = await connection.fetch("SELECT entrypoint FROM pgqueuer")
    assert [row["entrypoint"] for row in queued if row["entrypoint"].startswith("services.")] == [
        "services.provision"
    ]


async def test_the_worker_drives_the_rest(admin, database, order, carrier):
    service = (await order()).json()
    queue = build_queue(database, {})
    running = asyncio.create_task(queue.run())
    try:
        async with asyncio.timeout(30):
            while (await admin.get(f"{LIFECYCLE}/{service['id']}")).json()["status"] != "active":
                await asyncio.sleep(0.05)
    finally:
        queue.shutdown.set()
        await running
    assert carrier.orders == {service["id"]: 1}


async def test_a_refusal_in_the_request_makes_nothing(admin, order, inside):
    inside.fail.append(Conflict("no port is free"))
    answer = await order()
    assert (answer.status_code, answer.json()["error"]["message"]) == (409, "no port is free")
    assert (await admin.get(LIFECYCLE)).json()["total"] == 0
    assert (await admin.get("/api/subscriptions")).json()["total"] == 0


@pytest.mark.parametrize(
    "moment", ["before the call", "after the call", "while it is stored", "in the next step"]
)
async def test_killed_anywhere_it_goes_on_and_orders_once(
    order, run, stored, carrier, sequence, monkeypatch, moment
):
    service = (await order()).json()
    whole = STEPS["carrier"]
    if moment == "before the call":
        carrier.die_before = True
    elif moment == "after the call":
        carrier.die_after = True
    elif moment == "while it is stored":

        async def die(*_):
            raise KilledError

        monkeypatch.setitem(STEPS, "carrier", replace(whole, perform=die))
    else:
        sequence.fail.append(KilledError())
    with pytest.raises(KilledError):
        await run(service)
    row, steps = await stored(service)
    assert row.provisioning_status == "in_progress"
    assert steps["carrier"].attempts == 1
    assert steps["carrier"].status == ("completed" if moment == "in the next step" else "pending")

    carrier.die_before = carrier.die_after = False
    monkeypatch.setitem(STEPS, "carrier", whole)
    await run(service)
    row, steps = await stored(service)
    assert (row.status, row.provisioning_status) == ("active", "completed")
    assert {step.status for step in steps.values()} == {"completed"}
    assert steps["carrier"].detail == {"order": 1, "kept": 1}
    assert len(carrier.orders) == 1
    await run(service)
    assert (await stored(service))[0] == row


async def test_what_is_away_is_tried_again(admin, order, run, stored, carrier):
    service = (await order()).json()
    carrier.refuse = [Unavailable("the carrier does not answer")] * 2
    for attempt in (1, 2):
        with pytest.raises(Unavailable):
            await run(service)
        steps = (await admin.get(f"{LIFECYCLE}/{service['id']}/steps")).json()["steps"]
        assert (steps[2]["status"], steps[2]["attempts"]) == ("pending", attempt)
        assert steps[2]["last_error"] == "the carrier does not answer"
    await run(service)
    row, steps = await stored(service)
    assert (row.status, steps["carrier"].attempts) == ("active", 3)
    assert "last_error" not in steps["carrier"].detail


async def test_a_refusal_undoes_what_was_done_and_the_order_again_starts_over(
    admin, order, run, stored, carrier, sequence
):
    service = (await order(subscription_id="sub_again")).json()
    sequence.fail.append(Conflict("the port does not fit"))
    await run(service)
    row, steps = await stored(service)
    assert (row.status, row.provisioning_status) == ("provisioning_failed", "rolled_back")
    assert {name: step.status for name, step in steps.items()} == {
        "check_agreement": "compensated",
        "reserve": "compensated",
        "carrier": "compensated",
        "patch": "failed",
        "activate": "pending",
    }
    assert steps["patch"].detail == {"last_error": "the port does not fit"}
    assert carrier.log == ["recalled 1", "undone 1", "port 7 released"]
    assert carrier.orders == {}
    history = (await admin.get(f"{LIFECYCLE}/{service['id']}/events")).json()["events"]
    assert [event["to_status"] for event in history] == ["provisioning", "provisioning_failed"]
    assert history[-1]["reason"] == "the port does not fit"
    refused = await admin.post(f"{LIFECYCLE}/{service['id']}/activate")
    assert refused.status_code == 409

    again = await order(subscription_id="sub_again")
    assert (again.status_code, again.json()["id"]) == (200, service["id"])
    await run(service)
    row, steps = await stored(service)
    assert (row.status, row.provisioning_status) == ("active", "completed")
    assert {step.status for step in steps.values()} == {"completed"}


async def test_the_last_attempt_gives_up_and_takes_back_what_may_be_outside(order, run, stored, carrier):
    service = (await order()).json()
    carrier.die_after = True
    with pytest.raises(KilledError):
        await run(service)
    carrier.die_after = False
    carrier.refuse = [Unavailable("the carrier does not answer")]
    assert len(carrier.orders) == 1
    await run(service, last=True)
    row, steps = await stored(service)
    assert (row.status, row.provisioning_status) == ("provisioning_failed", "rolled_back")
    assert steps["carrier"].status == "compensated"
    assert steps["carrier"].detail["last_error"] == "the carrier does not answer"
    assert carrier.orders == {}
    assert carrier.log == ["recalled None", "port 7 released"]


async def test_a_rollback_that_is_killed_goes_on(order, run, stored, carrier, sequence, monkeypatch):
    service = (await order()).json()
    sequence.fail.append(Conflict("the port does not fit"))
    whole = STEPS["carrier"]

    async def die(*_):
        raise KilledError

    monkeypatch.setitem(STEPS, "carrier", replace(whole, recall=die))
    with pytest.raises(KilledError):
        await run(service)
    assert (await stored(service))[0].provisioning_status == "failed"
    monkeypatch.setitem(STEPS, "carrier", whole)
    await run(service)
    row, _ = await stored(service)
    assert (row.status, row.provisioning_status) == ("provisioning_failed", "rolled_back")
    assert carrier.orders == {}
    assert carrier.log == ["recalled 1", "undone 1", "port 7 released"]


async def test_a_service_that_ends_while_a_step_is_outside_leaves_nothing(
    order, run, stored, begin, carrier, monkeypatch
):
    service = (await order()).json()
    whole = STEPS["carrier"]

    async def end_meanwhile(work, row):
        outcome = await carrier.call(work, row)
        async with begin() as tx:
            await terminate_service(tx, service_id=row.id, reason="changed their mind")
        await run(service, job=deprovision)
        return outcome

    monkeypatch.setitem(STEPS, "carrier", replace(whole, call=end_meanwhile))
    await run(service)
    row, steps = await stored(service)
    assert (row.status, row.provisioning_status) == ("terminated", "rolled_back")
    assert carrier.orders == {}
    assert steps["carrier"].status == "compensated"
    assert carrier.log == ["port 7 released", "recalled None"]


async def test_a_service_that_has_lived_gives_back_what_it_took(admin, database, order, run, stored, carrier):
    service = (await order()).json()
    await run(service)
    assert carrier.orders
    await admin.post(f"{LIFECYCLE}/{service['id']}/terminate", {"reason": "goodbye"})
    async with database.directory() as connection:
        queued = [row["entrypoint"] for row in await connection.fetch("SELECT entrypoint FROM pgqueuer")]
    assert "services.deprovision" in queued
    await run(service, job=deprovision)
    await run(service, job=deprovision)
    row, steps = await stored(service)
    assert (row.status, row.provisioning_status) == ("terminated", "completed")
    assert {step.status for step in steps.values()} == {"compensated"}
    assert (carrier.orders, carrier.log) == ({}, ["recalled 1", "undone 1", "port 7 released"])


async def test_activation_waits_for_the_lock(order, run, stored, begin, admin):
    service = (await order()).json()
    await admin.post(f"{LIFECYCLE}/{service['id']}/suspend", {"reason": "unpaid deposit"})
    await run(service)
    row, _ = await stored(service)
    assert (row.status, row.provisioning_status, row.resumes_to) == (
        "suspended_non_payment",
        "completed",
        "active",
    )
    assert row.activated_at is None
    assert not row.is_up
    async with begin() as tx:
        lifted = await lift_lock(tx, service_id=row.id, kind=LockKind.NON_PAYMENT)
        assert (lifted.status, lifted.activated_at, lifted.resumes_to) == ("active", tx.now, None)


async def test_a_failure_under_a_lock_shows_when_it_is_lifted(order, run, begin, stored, carrier):
    service = (await order()).json()
    row, _ = await stored(service)
    async with begin() as tx:
        await place_lock(tx, service_id=row.id, kind=LockKind.FRAUD, reason="test")
    carrier.refuse = [Conflict("no fibre in this street")]
    await run(service)
    row, _ = await stored(service)
    assert (row.status, row.provisioning_status) == ("suspended_fraud", "rolled_back")
    async with begin() as tx:
        assert (await lift_lock(tx, service_id=row.id, kind=LockKind.FRAUD)).status == "provisioning_failed"


async def test_three_workers_in_the_same_step_store_it_once(order, run, stored, carrier, monkeypatch):
    service = (await order()).json()
    together = asyncio.Barrier(3)

    async def call_together(work, row):
        await together.wait()
        return await carrier.call(work, row)

    monkeypatch.setitem(STEPS, "carrier", replace(STEPS["carrier"], call=call_together))
    async with asyncio.timeout(30):
        await asyncio.gather(*(run(service) for _ in range(3)))
    row, steps = await stored(service)
    assert (row.status, row.provisioning_status) == ("active", "completed")
    assert {step.status for step in steps.values()} == {"completed"}
    assert carrier.orders == {service["id"]: 1}
    assert (carrier.calls, steps["carrier"].attempts) == (3, 3)
    assert steps["carrier"].detail == {"order": 1, "kept": 1}
    assert steps["patch"].detail == {"port": 7}


async def test_a_service_is_held_by_one_transaction_at_a_time(order, begin, stored):
    row, _ = await stored((await order()).json())
    async with begin() as first:
        await hold_service(first, row.id)
        async with begin() as second:
            locked = await second.connection.fetchval(
                "SELECT count(*) FROM (SELECT 1 FROM service WHERE id = $1 FOR UPDATE SKIP LOCKED) AS free",
                row.id,
            )
            assert locked == 0


async def test_canceled_on_the_way_and_tried_again(admin, order, stored, run, carrier, inside):
    service = (await order()).json()
    path = f"{LIFECYCLE}/{service['id']}/provisioning"
    shown = (await admin.get(path)).json()
    assert (shown["current_step"], shown["steps_done"], shown["steps_total"]) == ("carrier", 2, 5)
    assert (shown["can_retry"], shown["can_cancel"]) == (False, True)
    assert (await admin.post(f"{path}/retry")).status_code == 409
    canceled = await admin.post(f"{path}/cancel", {"reason": "wrong address"})
    assert canceled.status_code == 200, canceled.text
    assert (canceled.json()["status"], canceled.json()["last_error"]) == ("failed", "wrong address")
    await run(service, job=roll_back)
    row, steps = await stored(service)
    assert (row.status, row.provisioning_status) == ("provisioning_failed", "rolled_back")
    assert steps["reserve"].status == "compensated"
    assert carrier.log == ["port 7 released"]
    assert (await admin.post(f"{path}/cancel")).status_code == 409
    await run(service)
    assert carrier.calls == 0, "the job that was queued finds nothing to do"

    again = await admin.post(f"{path}/retry")
    assert (again.status_code, again.json()["status"], again.json()["last_error"]) == (
        200,
        "in_progress",
        None,
    )
    await run(service, job=roll_back)
    assert (await stored(service))[1]["reserve"].status == "completed", (
        "a late roll-back harms no new attempt"
    )
    await run(service)
    row, _ = await stored(service)
    assert (row.status, row.provisioning_status) == ("active", "completed")
    assert carrier.orders == {service["id"]: 1}
    done = (await admin.get(path)).json()
    assert (done["steps_done"], done["can_retry"], done["can_cancel"]) == (5, False, False)
    assert (await admin.post(f"{path}/cancel")).status_code == 409
    assert (await admin.post(f"{path}/retry")).status_code == 409


async def test_canceled_while_the_carrier_is_asked(admin, order, stored, run, carrier):
    """The order outside may have been made: only the job that asks knows, and cleans up."""
    service = (await order()).json()
    path = f"{LIFECYCLE}/{service['id']}/provisioning"
    carrier.die_after = True
    with pytest.raises(KilledError):
        await run(service)
    carrier.die_after = False
    await admin.post(f"{path}/cancel")
    await run(service, job=roll_back)
    row, _ = await stored(service)
    assert row.provisioning_status == "failed", "not rolled back as long as an outcome is unknown"
    assert (await admin.post(f"{path}/retry")).status_code == 409
    await run(service)
    row, _ = await stored(service)
    assert row.provisioning_status == "rolled_back"
    assert carrier.orders == {}
