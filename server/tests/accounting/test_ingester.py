"""The ingester against a real spool directory and a real database that comes and goes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from demarc.workflows.metering import Committed, IngestBlocked, Ingester
from demarc.workflows.metering.spool import list_files

from ..bare_postgres import BarePostgres  # noqa: TID252 - the suite's own
from .booking import Packet, interim, login_line, record_deltas, start, stop

FIRST = "acct-2026112012"
SECOND = "acct-2026112013"


class Spool:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, name: str, *packets: Packet | bytes) -> None:
        with (self.directory / name).open("ab") as file:
            file.write(b"".join(p if isinstance(p, bytes) else p.line() for p in packets))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path)


def ingester_of(cluster: BarePostgres, spool: Spool, **options: object) -> Ingester:
    values: dict[str, object] = {
        "node": "node-1",
        "spool_dir": spool.directory,
        "raise_usage": record_deltas,
        "retention": timedelta(days=36_500),
        **options,
    }
    return Ingester(cluster.dsn("demarc_ingest"), **values)  # type: ignore[arg-type]


@pytest.fixture
async def ingester(seeded: BarePostgres, spool: Spool) -> AsyncIterator[Ingester]:
    made = ingester_of(seeded, spool)
    yield made
    await made.close()


async def total(owner: asyncpg.Connection) -> tuple[int, int]:
    row = await owner.fetchrow(
        "SELECT coalesce(sum(input_octets), 0)::bigint, coalesce(sum(output_octets), 0)::bigint FROM delta_book"
    )
    return row[0], row[1]


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    limit = time.monotonic() + 60
    while not await condition():
        assert time.monotonic() < limit, "it never came"
        await asyncio.sleep(0.05)


async def test_it_tails_files_in_order_and_remembers_where_it_was(
    ingester: Ingester, spool: Spool, seeded: BarePostgres, owner: asyncpg.Connection
) -> None:
    spool.write(SECOND, stop(4000, (30, 300), 4000))
    spool.write(FIRST, start(0), interim(300, (10, 100), 300))
    spool.write("auth-2026112012", login_line("user100@isp", "Access-Accept", 0))
    assert (await ingester.ingest_once()).lines == 4
    assert (await ingester.ingest_once()).lines == 0
    assert await total(owner) == (30, 300)
    assert await owner.fetchval("SELECT count(*) FROM login_attempt") == 1
    spool.write(SECOND, start(5000))
    again = ingester_of(seeded, spool)
    assert (await again.ingest_once()).lines == 1
    await again.close()
    rows = await owner.fetch("SELECT spool_file, position, lines FROM spool_offset ORDER BY 1")
    assert [(row[0], row[1], row[2]) for row in rows] == [
        (FIRST, (spool.directory / FIRST).stat().st_size, 2),
        (SECOND, (spool.directory / SECOND).stat().st_size, 2),
        ("auth-2026112012", (spool.directory / "auth-2026112012").stat().st_size, 1),
    ]


async def test_a_file_that_grows_while_it_is_read_is_not_read_again(
    seeded: BarePostgres,
    owner: asyncpg.Connection,
    ingester: Ingester,
    spool: Spool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The size was seen before the packet came; reading past it made the position look like that of a cut file."""
    spool.write(FIRST, start(0))
    seen = list_files(spool.directory)
    spool.write(FIRST, interim(300, (10, 20), 300))
    monkeypatch.setattr("demarc.workflows.metering.ingester.list_files", lambda _directory: seen)
    assert (await ingester.ingest_once()).lines == 1
    assert (await ingester.ingest_once()).lines == 0
    monkeypatch.undo()
    assert (await ingester.ingest_once()).lines == 1
    assert await total(owner) == (10, 20)


async def test_half_a_line_waits_for_its_other_half(
    ingester: Ingester, spool: Spool, owner: asyncpg.Connection
) -> None:
    line = interim(300, (10, 100), 300).line()
    spool.write(FIRST, start(0), line[:40])
    report = await ingester.ingest_once()
    assert (report.lines, report.lag_octets) == (1, 40)
    spool.write(FIRST, line[40:])
    assert (await ingester.ingest_once()).lines == 1
    assert await total(owner) == (10, 100)


async def test_bad_lines_are_kept_aside_and_stop_nothing(
    ingester: Ingester, spool: Spool, owner: asyncpg.Connection
) -> None:
    good, foreign = start(0), start(0, user="user250@isp")
    spool.write(FIRST, good, b"garbage\n\n\x00\xff\\.\n", foreign, interim(300, (1, 2), 300))
    report = await ingester.ingest_once()
    assert (report.lines, report.rejected) == (5, 3)
    rows = await owner.fetch("SELECT * FROM accounting_reject ORDER BY spool_offset")
    assert [(row["line"], row["tenant_id"]) for row in rows] == [
        (b"garbage", None),
        (b"\x00\xff\\.", None),
        (foreign.line().rstrip(b"\n"), 1),
    ]
    assert rows[0]["spool_offset"] == len(good.line())
    assert await total(owner) == (1, 2)


async def test_octets_without_an_end_are_no_line(
    ingester: Ingester, spool: Spool, owner: asyncpg.Connection
) -> None:
    spool.write(FIRST, b"x" * 5_000_000 + b"\n", start(0))
    while (await ingester.ingest_once()).lines:
        pass
    assert await owner.fetchval("SELECT count(*) FROM radius_session") == 1
    assert await owner.fetchval("SELECT count(*) FROM accounting_reject") >= 1
    assert (
        await owner.fetchval("SELECT position FROM spool_offset") == (spool.directory / FIRST).stat().st_size
    )


async def test_a_line_the_database_refuses_is_found_and_kept_aside(
    seeded: BarePostgres, spool: Spool, owner: asyncpg.Connection
) -> None:
    async def refuse_seven(connection: asyncpg.Connection) -> None:
        await connection.execute("SELECT 1 / (input_octets - 7) FROM accounting_delta")
        await record_deltas(connection)

    ingester = ingester_of(seeded, spool, raise_usage=refuse_seven)
    packets = [interim(60, (n, n), 60, user=f"user{100 + n}@isp") for n in range(1, 12)]
    spool.write(FIRST, *packets)
    report = await ingester.ingest_once()
    await ingester.close()
    assert (report.lines, report.rejected) == (11, 1)
    rejected = await owner.fetchrow("SELECT * FROM accounting_reject")
    assert rejected["line"] == packets[6].line().rstrip(b"\n")
    assert "division by zero" in rejected["reason"]
    assert await total(owner) == (sum(range(1, 12)) - 7,) * 2


async def test_a_fault_of_ours_does_not_empty_the_spool_into_the_rejects(
    seeded: BarePostgres, spool: Spool, owner: asyncpg.Connection
) -> None:
    faulty = True

    async def book(connection: asyncpg.Connection) -> None:
        if faulty:
            await connection.execute("SELECT 1 / 0 FROM accounting_delta")
        await record_deltas(connection)

    ingester = ingester_of(seeded, spool, raise_usage=book)
    spool.write(FIRST, *(interim(60, (1, 1), 60, user=f"user{100 + n}@isp") for n in range(80)))
    for _ in range(3):
        with pytest.raises(IngestBlocked, match="division by zero"):
            await ingester.ingest_once()
    assert await owner.fetchval("SELECT count(*) FROM accounting_reject") == 10
    faulty = False
    assert (await ingester.ingest_once()).lines == 70
    await ingester.close()
    assert await total(owner) == (70, 70)


async def test_a_crash_before_the_commit_leaves_nothing(
    seeded: BarePostgres, spool: Spool, owner: asyncpg.Connection
) -> None:
    async def die(connection: asyncpg.Connection) -> None:
        await record_deltas(connection)
        raise RuntimeError("pulled the plug")

    spool.write(FIRST, interim(60, (5, 6), 60))
    dying = ingester_of(seeded, spool, raise_usage=die)
    with pytest.raises(RuntimeError):
        await dying.ingest_once()
    await dying.close()
    assert await owner.fetchval("SELECT count(*) FROM spool_offset") == 0
    assert await owner.fetchval("SELECT count(*) FROM radius_session") == 0
    living = ingester_of(seeded, spool)
    await living.ingest_once()
    await living.close()
    assert await total(owner) == (5, 6)


async def test_a_replaced_file_is_read_from_its_start(
    ingester: Ingester, spool: Spool, owner: asyncpg.Connection
) -> None:
    spool.write(FIRST, start(0), interim(60, (5, 6), 60))
    await ingester.ingest_once()
    (spool.directory / FIRST).rename(spool.directory / "kept-away")
    spool.write(FIRST, interim(120, (7, 8), 120))
    await ingester.ingest_once()
    assert await total(owner) == (7, 8)


async def test_loaded_files_are_deleted_after_their_time(
    seeded: BarePostgres, spool: Spool, owner: asyncpg.Connection
) -> None:
    ingester = ingester_of(seeded, spool, retention=timedelta(hours=1))
    spool.write("acct-2020010100", start(0))
    spool.write("acct-2020010101", start(0)), spool.write("acct-2020010102", start(0).line()[:-5])
    for name in ("acct-2020010100", "acct-2020010102"):
        os.utime(spool.directory / name, (0, 0))
    await ingester.ingest_once()
    await ingester.close()
    assert {path.name for path in spool.directory.iterdir()} == {"acct-2020010101", "acct-2020010102"}
    assert await owner.fetchval("SELECT array_agg(spool_file) FROM spool_offset") == ["acct-2020010101"]


async def test_the_hook_hears_of_every_commit(seeded: BarePostgres, spool: Spool) -> None:
    heard: list[Committed] = []

    async def hear(committed: Committed) -> None:
        heard.append(committed)

    ingester = ingester_of(seeded, spool, after_commit=hear)
    spool.write(FIRST, start(0), start(0, user="user101@isp"), start(0, nas="127.0.2.1", user="user200@isp"))
    await ingester.ingest_once()
    spool.write(FIRST, interim(60, (1, 1), 60), stop(90, (1, 1), 90, user="user101@isp"))
    await ingester.ingest_once()
    await ingester.close()
    come = Committed(FIRST, 3, {1: frozenset({100, 101}), 2: frozenset({200})})
    assert heard == [come, Committed(FIRST, 2, {1: frozenset()})], "by name only those who have come on line"


async def test_it_waits_for_a_database_that_is_away(
    seeded: BarePostgres, spool: Spool, owner: asyncpg.Connection
) -> None:
    await owner.close()
    ingester, stopped = ingester_of(seeded, spool), asyncio.Event()
    spool.write(FIRST, interim(60, (1, 1), 60))
    running = asyncio.create_task(ingester.run(stopped))
    try:
        await asyncio.to_thread(seeded.stop, "immediate")
        spool.write(FIRST, interim(120, (5, 5), 120))
        await asyncio.sleep(0.5)
        assert not running.done()
        await asyncio.to_thread(seeded.start)
        spool.write(FIRST, stop(180, (9, 9), 180))

        async def all_there() -> bool:
            looking = await asyncpg.connect(seeded.dsn("owner"))
            try:
                return await total(looking) == (9, 9)
            finally:
                await looking.close()

        await eventually(all_there)
    finally:
        stopped.set()
        await running


CHILD = """
import asyncio, sys
from pathlib import Path
from demarc.workflows.metering import Ingester
async def book(connection):
    await connection.execute("INSERT INTO delta_book SELECT * FROM accounting_delta")
async def main():
    await Ingester(sys.argv[1], node="node-1", spool_dir=Path(sys.argv[2]), raise_usage=book).run(asyncio.Event())
asyncio.run(main())
"""


async def test_kill_9_again_and_again_counts_once(
    seeded: BarePostgres, spool: Spool, owner: asyncpg.Connection
) -> None:
    async def lines_loaded() -> int:
        return await owner.fetchval("SELECT coalesce(sum(lines), 0)::int FROM spool_offset") or 0

    users, rounds = 90, 12
    for turn in range(1, rounds + 1):
        spool.write(
            FIRST,
            *(
                interim(turn * 60, (turn * n, turn), turn * 60, user=f"user{100 + n}@isp")
                for n in range(users)
            ),
        )
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, seeded.dsn("demarc_ingest"), str(spool.directory)
        )
        if turn < rounds:
            await asyncio.sleep(0.25 + 0.05 * turn)
        else:
            await eventually(lambda: _equals(lines_loaded, users * rounds))
        child.send_signal(signal.SIGKILL)
        await child.wait()
    assert await total(owner) == (rounds * sum(range(users)), rounds * users)
    assert await owner.fetchval("SELECT count(*) FROM radius_session") == users


async def _equals(count: Callable[[], Awaitable[int]], expected: int) -> bool:
    return await count() == expected


async def test_two_nodes_may_hold_packets_of_one_session(
    seeded: BarePostgres, tmp_path: Path, owner: asyncpg.Connection
) -> None:
    """A NAS that fails over to the second AAA node, and two ingesters that load at the same time."""
    users, rounds = 30, 12
    spools = [Spool(tmp_path / name) for name in ("one", "two")]
    ingesters = []
    for spool in spools:
        spool.directory.mkdir()
        ingesters.append(ingester_of(seeded, spool, node=spool.directory.name))
    for turn in range(1, rounds + 1):
        packets = [
            interim(turn * 60, (turn * n, turn), turn * 60, user=f"user{100 + n}@isp") for n in range(users)
        ]
        spools[0].write(FIRST, *packets[turn % 3 :])
        spools[1].write(FIRST, *packets[: users - turn % 2])
        await asyncio.gather(*(ingester.ingest_once() for ingester in ingesters))
    for ingester in ingesters:
        await ingester.close()
    assert await owner.fetchval("SELECT count(*) FROM radius_session") == users
    assert await total(owner) == (rounds * sum(range(users)), rounds * users)
