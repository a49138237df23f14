"""Jobs: rows of the caller's transaction, run by the real queue, tried again when that may help, kept when it does not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarc.kernel import jobs
from demarc.kernel.context import system
from demarc.kernel.errors import Conflict, Misconfigured, Unavailable
from demarc.kernel.jobs import Job, Work, defer, job, work_of
from demarc.worker.runner import build_queue, run_queue, worth_a_retry

SOON = timedelta(milliseconds=1)
TESTER = system("test")


class Note(msgspec.Struct, frozen=True):
    text: str


async def nothing(_work, _payload):
    pass


@pytest.fixture
def declare(monkeypatch):
    """Declares a job for this test only: the registry is the whole process's."""
    monkeypatch.setattr(jobs, "REGISTRY", known := {})
    monkeypatch.setattr("demarc.worker.runner.REGISTRY", known)

    def make(handler, *, attempts=3):
        return job(f"test.{uuid4().hex}", Note, attempts=attempts, first_delay=SOON, max_delay=SOON)(handler)

    return make


@asynccontextmanager
async def running(database, ports=None):
    queue = build_queue(database, ports or {})
    task = asyncio.create_task(run_queue(queue))
    try:
        yield
    finally:
        queue.shutdown.set()
        await asyncio.wait_for(task, 30)


async def put(database, kind, text="x", **options):
    async with database.begin(1, TESTER, request_id="req-1") as tx:
        await defer(tx, kind, Note(text), **options)


async def queued(database):
    async with database.directory() as connection:
        return await connection.fetch("SELECT entrypoint, status, attempts FROM pgqueuer ORDER BY id")


async def until(condition):
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.05)


@given(st.integers(0, 200))
def test_delays_double_up_to_their_end(attempt):
    kind = Job("x", Note, nothing, 10, timedelta(seconds=1), timedelta(minutes=15))
    assert kind.delay_before(0) == timedelta(seconds=1)
    assert kind.delay_before(attempt) <= kind.delay_before(attempt + 1) <= timedelta(minutes=15)
    if attempt < 9:
        assert kind.delay_before(attempt) == timedelta(seconds=2**attempt)


@pytest.mark.parametrize(("attempt", "is_last"), [(0, False), (1, False), (2, True), (3, True)])
def test_the_last_attempt_is_known_as_such(database, attempt, is_last):
    kind = Job("x", Note, nothing, 3, SOON, SOON)
    envelope = jobs.Envelope(1, "r", msgspec.Raw(b"{}"))
    assert work_of(database, kind, envelope, attempt, {}).is_last_attempt is is_last


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Unavailable("x"), True),
        (OSError(), True),
        (ZeroDivisionError(), True),
        (Conflict("x"), False),
        (Misconfigured("x"), False),
    ],
)
def test_a_refusal_is_not_tried_again(error, expected):
    assert worth_a_retry(error) is expected


def test_one_name_is_one_job(declare):
    kind = declare(nothing)
    with pytest.raises(ValueError, match="declared twice"):
        job(kind.name, Note)(nothing)


def test_a_port_that_nobody_joined_is_named(database):
    work = Work(database, 1, "r", 0, is_last_attempt=False, actor=TESTER, ports={str: "joined"})
    assert work.port(str) == "joined"
    with pytest.raises(Misconfigured, match="int"):
        work.port(int)


async def test_a_job_runs_with_its_tenant_its_request_and_its_ports(database, declare):
    seen = asyncio.get_running_loop().create_future()

    async def handler(work, note):
        async with work.begin() as tx:
            seen.set_result((note.text, tx.tenant.slug, tx.request_id, tx.actor.name, work.port(str)))

    kind = declare(handler)
    await put(database, kind, "hello")
    async with running(database, {str: "a port"}):
        assert await asyncio.wait_for(seen, 30) == ("hello", "alpha", "req-1", kind.name, "a port")

        async def gone():
            return await queued(database) == []

        await until(gone)


async def test_a_job_of_a_rolled_back_transaction_does_not_exist(database, declare):
    kind = declare(nothing)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the whole transaction fails
        async with database.begin(1, TESTER) as tx:
            await defer(tx, kind, Note("x"))
            assert await tx.connection.fetchval("SELECT count(*) FROM pgqueuer") == 1
            raise ZeroDivisionError
    assert await queued(database) == []


async def test_a_waiting_job_is_not_queued_twice(database, declare):
    kind = declare(nothing)
    for _ in range(3):
        await put(database, kind, dedupe_key="sweep:1")
    await put(database, kind, dedupe_key="sweep:2")
    await put(database, kind)
    assert len(await queued(database)) == 3


async def test_what_was_away_is_tried_again(database, declare):
    attempts = []
    done = asyncio.Event()

    async def handler(work, _note):
        attempts.append(work.attempt)
        if len(attempts) < 3:
            raise Unavailable("the mail server does not answer")
        done.set()

    await put(database, declare(handler))
    async with running(database):
        await asyncio.wait_for(done.wait(), 30)
    assert attempts == [0, 1, 2]


@pytest.mark.parametrize(
    ("error", "runs"), [(Conflict("no"), 1), (Unavailable("away"), 3), (ZeroDivisionError("bug"), 3)]
)
async def test_what_fails_for_good_is_kept_for_a_person(database, declare, error, runs):
    attempts = []

    async def handler(work, _note):
        attempts.append(work.is_last_attempt)
        raise error

    kind = declare(handler)
    await put(database, kind)
    async with running(database):

        async def kept():
            return [(row["entrypoint"], row["status"]) for row in await queued(database)] == [
                (kind.name, "failed")
            ]

        await until(kept)
    assert attempts == [False, False, True][:runs] if runs == 3 else attempts == [False]


async def test_a_failing_job_rolls_back_what_it_wrote(database, declare):
    async def handler(work, note):
        async with work.begin() as tx:
            await tx.connection.execute("UPDATE tenant SET name = $1 WHERE id = 1", note.text)
            raise Conflict("no")

    await put(database, declare(handler), "Changed")
    async with running(database):

        async def kept():
            return [row["status"] for row in await queued(database)] == ["failed"]

        await until(kept)
    async with database.begin(1, TESTER) as tx:
        assert await tx.connection.fetchval("SELECT name FROM tenant") == "Alpha"
