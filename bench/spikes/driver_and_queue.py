# /// script
# requires-python = ">=3.11"
# dependencies = ["demarc", "procrastinate>=3", "psycopg[binary,pool]>=3.2"]
# [tool.uv.sources]
# demarc = { path = "../../server", editable = true }
# ///
"""The spike behind ADR 0001: driver and queue, two pairs side by side on one embedded PostgreSQL.

    uv run bench/spikes/driver_and_queue.py [rounds]

Each round runs every contender once, in turn, so that a busy machine is busy for all; the medians are compared.
The libraries that lost live only here: uv makes an environment for the script.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import asyncpg
import procrastinate
import psycopg
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.queries import Queries
from procrastinate.psycopg_connector import PsycopgConnector

from demarc.adapters.postgres.cluster import PrivateCluster

JOBS = 5_000
FETCHES = 5_000
ROWS = 25
CONCURRENT = 20
_TABLE = """
    CREATE TABLE item AS
    SELECT n AS id, gen_random_uuid() AS uid, 'customer ' || n AS name, n * 100 AS amount_minor,
           (n / 7.0)::numeric(18, 6) AS quantity, now() - n * interval '1 minute' AS created_at
    FROM generate_series(1, 1000) n
"""
_SELECT = f"SELECT id, uid, name, amount_minor, quantity, created_at FROM item WHERE id > {{}} ORDER BY id LIMIT {ROWS}"

Contender = Callable[[str], Awaitable[dict[str, float]]]


async def fetch_asyncpg(dsn: str) -> dict[str, float]:
    connection = await asyncpg.connect(dsn)
    started = perf_counter()
    for number in range(FETCHES):
        rows = await connection.fetch(_SELECT.format("$1"), number % 900)
        assert len(rows) == ROWS
    seconds = perf_counter() - started
    await connection.close()
    return {"fetch 25 rows": FETCHES / seconds}


async def fetch_psycopg(dsn: str) -> dict[str, float]:
    """As a server would use it: one connection, statements prepared, binary results."""
    async with await psycopg.AsyncConnection.connect(dsn, prepare_threshold=0, autocommit=True) as connection:
        started = perf_counter()
        for number in range(FETCHES):
            async with connection.cursor(binary=True) as cursor:
                await cursor.execute(_SELECT.format("%s::int"), (number % 900,))
                assert len(await cursor.fetchall()) == ROWS
        return {"fetch 25 rows": FETCHES / (perf_counter() - started)}


async def queue_pgqueuer(dsn: str) -> dict[str, float]:
    """Each job is queued in a transaction of its own, on the connection that runs it: as a request does."""
    connection = await asyncpg.connect(dsn)
    queries = Queries(AsyncpgDriver(connection))
    started = perf_counter()
    for _ in range(JOBS):
        async with connection.transaction():
            await queries.enqueue("noop", b"{}")
    queued = perf_counter() - started
    await connection.close()

    async with asyncpg.create_pool(dsn, min_size=4, max_size=10) as pool:
        queue = PgQueuer.from_asyncpg_pool(pool)
        done = 0

        @queue.entrypoint("noop", accepts_context=False)
        async def _noop(_: object) -> None:
            nonlocal done
            done += 1
            if done == JOBS:
                queue.shutdown.set()

        started = perf_counter()
        await queue.run(batch_size=CONCURRENT, max_concurrent_tasks=4 * CONCURRENT)
        ran = perf_counter() - started
    return {"queue a job": JOBS / queued, "run a job": JOBS / ran}


async def queue_procrastinate(dsn: str) -> dict[str, float]:
    app = procrastinate.App(connector=PsycopgConnector(conninfo=dsn, min_size=4, max_size=10))

    @app.task(name="noop")
    async def noop() -> None:
        """Nothing."""

    async with app.open_async():
        started = perf_counter()
        for _ in range(JOBS):
            await noop.defer_async()
        queued = perf_counter() - started
        started = perf_counter()
        await app.run_worker_async(concurrency=CONCURRENT, wait=False, install_signal_handlers=False)
        ran = perf_counter() - started
    return {"queue a job": JOBS / queued, "run a job": JOBS / ran}


async def prepare(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(_TABLE)
    await connection.execute("ANALYZE item")
    await Queries(AsyncpgDriver(connection)).install()
    await connection.close()
    app = procrastinate.App(connector=PsycopgConnector(conninfo=dsn))
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def main(rounds: int, directory: Path) -> None:
    logging.disable(logging.WARNING)
    ours: tuple[Contender, ...] = (fetch_asyncpg, queue_pgqueuer)
    theirs: tuple[Contender, ...] = (fetch_psycopg, queue_procrastinate)
    found: dict[str, tuple[list[float], list[float]]] = {}
    cluster = PrivateCluster(directory / "data")
    await cluster.start()
    try:
        dsn = cluster.dsn("demarc_owner", "postgres")
        await prepare(dsn)
        for _ in range(rounds):
            for pair in zip(ours, theirs, strict=True):
                for side, contender in enumerate(pair):
                    for what, rate in (await contender(dsn)).items():
                        found.setdefault(what, ([], []))[side].append(rate)
    finally:
        await cluster.stop()
    print(f"medians of {rounds} interleaved rounds, per second and process")
    print(f"{'':<16}{'asyncpg + pgqueuer':>20}{'psycopg + procrastinate':>26}{'ratio':>8}")
    for what, (one, other) in found.items():
        print(f"{what:<16}{median(one):>20,.0f}{median(other):>26,.0f}{median(one) / median(other):>8.1f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="demarc-spike-") as name:
        Path(name).chmod(0o755)  # the server may run as another user
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, Path(name)))
