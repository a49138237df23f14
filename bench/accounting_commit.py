"""Accounting lines per second until they are committed: spool file -> COPY -> sessions -> deltas -> usage.

Fills spool files as FreeRADIUS writes them and lets the ingester load them, as role `demarc_ingest`, into tables with
many live sessions, on the private PostgreSQL as shipped (durable). Prints a markdown table.

    .venv/bin/python bench/accounting_commit.py [--subscribers 100000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg

sys.path.insert(0, str(Path(__file__).parent / "radius"))
from rig import sell

from demarc.adapters.postgres.cluster import PrivateCluster
from demarc.modules.usage.metering import raise_usage
from demarc.workflows.metering import Ingester

BASELINE = Path(__file__).parents[1] / "server" / "migrations" / "baseline"
SUBSCRIBERS_PER_NAS = 500
STARTED_AT = int(time.time()) - 40_000


class Line:
    """One subscriber's session, as its NAS tells of it."""

    def __init__(self, number: int, turn: int = 0) -> None:
        nas = number // SUBSCRIBERS_PER_NAS
        self.head = f"1\t127.1.{nas // 250}.{nas % 250 + 1}\t"
        self.name = (
            f"\t{turn:04x}{number:08x}\t{quote(f'user{number}@bench.isp', safe='')}\t127.0.0.1\t{number}\t"
        )
        mac = ":".join(f"{number >> shift & 255:02X}" for shift in (40, 32, 24, 16, 8, 0))
        self.tail = f"\tpppoe\t{quote(mac, safe='')}\t\t10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}\t\t\t\tbench\n\n"
        self.started_at = STARTED_AT + turn * 4000
        self.octets = 0

    def packet(self, kind: str, seconds: int) -> str:
        at = self.started_at + seconds
        if kind == "Start":
            counters = "\t\t\t\t"
        else:
            self.octets += random.randrange(1, 1 << 28)
            counters = f"{seconds}\t0\t{self.octets >> 3}\t{self.octets >> 32}\t{self.octets & 0xFFFFFFFF}"
        return f"{self.head}{kind}{self.name}{at}\t{at}\t0\t{counters}{self.tail}"


async def prepare(owner: asyncpg.Connection, subscribers: int) -> None:
    for file in ("before.sql", "tables.sql", "after.sql"):
        await owner.execute((BASELINE / file).read_text())
    await sell(owner, subscribers)
    await owner.execute(
        "INSERT INTO aaa_nas (tenant_id, nas_id, source_ip, secret, shortname, message_authenticator) "
        "SELECT 1, n, ('127.1.' || n / 250 || '.' || n % 250 + 1)::inet, 'x', 'nas' || n, 'auto' "
        "FROM generate_series(0, $1) n",
        subscribers // SUBSCRIBERS_PER_NAS,
    )
    await owner.execute(
        "INSERT INTO aaa_login (tenant_id, subscriber_id, service_id, username, decision, nt_hash) "
        "SELECT 1, n, n, 'user' || n || '@bench.isp', 'accept', '' FROM generate_series(0, $1) n",
        subscribers - 1,
    )
    await owner.execute("VACUUM ANALYZE")


def one_of_each(sessions: list[Line], turn: int) -> Iterator[str]:
    """Start, Interim and Stop in equal parts: Interims of live sessions, and short sessions that come and go."""
    chosen = random.sample(range(len(sessions)), len(sessions) // 3)
    short = [Line(number, 1 + turn) for number in chosen]
    yield from (line.packet("Start", 0) for line in short)
    yield from (sessions[number].packet("Interim-Update", 3000 + turn) for number in chosen)
    yield from (line.packet("Stop", 600) for line in short)


def phases(sessions: list[Line], rounds: int) -> Iterator[tuple[str, Iterator[str]]]:
    yield "Start", (line.packet("Start", 0) for line in sessions)
    yield "first Interim-Update", (line.packet("Interim-Update", 300) for line in sessions)
    for turn in range(1, rounds + 1):
        yield "Interim-Update", (line.packet("Interim-Update", 300 * (turn + 1)) for line in sessions)
    for turn in range(rounds):
        yield "a third each", one_of_each(sessions, turn)
    yield "Stop", (line.packet("Stop", 39_000) for line in sessions)


async def measure(ingester: Ingester, spool: Path, ordinal: int, lines: Iterator[str]) -> tuple[int, float]:
    with (spool / f"acct-{2026010100 + ordinal}").open("w") as file:
        file.writelines(lines)
    began = time.perf_counter()
    report = await ingester.ingest_once()
    if report.rejected or report.lag_octets:
        raise SystemExit(f"lines were rejected or left behind: {report}")
    return report.lines, time.perf_counter() - began


async def run(owner_dsn: str, ingest_dsn: str, subscribers: int, rounds: int) -> None:
    owner = await asyncpg.connect(owner_dsn)
    await prepare(owner, subscribers)
    spool = Path(tempfile.mkdtemp(prefix="demarc-bench-spool-"))
    ingester = Ingester(ingest_dsn, node="bench", spool_dir=spool, raise_usage=raise_usage)
    sessions = [Line(number) for number in range(subscribers)]
    results: dict[str, list[tuple[int, float]]] = {}
    try:
        for ordinal, (name, lines) in enumerate(phases(sessions, rounds)):
            results.setdefault(name, []).append(await measure(ingester, spool, ordinal, lines))
    finally:
        await ingester.close()
        shutil.rmtree(spool)
    print(f"\n{subscribers:,} subscribers, all on line, each with a service and its usage record\n")
    print("| packets | lines | committed per second (median) | rounds |\n|---|---:|---:|---:|")
    for name, measured in results.items():
        rate = statistics.median(lines / seconds for lines, seconds in measured)
        print(f"| {name} | {measured[0][0]:,} | {rate:,.0f} | {len(measured)} |")
    booked = await owner.fetchval("SELECT sum(input_octets + output_octets)::bigint FROM usage_record")
    carried = await owner.fetchval(
        "SELECT sum(input_octets + output_octets)::bigint FROM "
        "(SELECT input_octets, output_octets FROM radius_session UNION ALL "
        "SELECT input_octets, output_octets FROM radius_session_history) s"
    )
    print(f"\noctets of all sessions {carried:,} = octets booked as usage {booked:,}: {carried == booked}")
    live = await owner.fetchval("SELECT count(*) FROM radius_session")
    ended = await owner.fetchval("SELECT count(*) FROM radius_session_history")
    print(f"\nlive sessions left: {live:,}; ended: {ended:,}")
    await owner.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="demarc-bench-") as directory:
        Path(directory).chmod(0o755)  # noqa: ASYNC240 - nothing else runs
        cluster = PrivateCluster(Path(directory))
        await cluster.start()
        try:
            owner = await asyncpg.connect(cluster.owner_dsn)
            await owner.execute((BASELINE / "before.sql").read_text())
            await owner.execute(
                f"ALTER ROLE demarc_ingest LOGIN PASSWORD '{cluster.secret_for('demarc_ingest')}'"
            )
            await owner.close()
            await run(cluster.owner_dsn, cluster.dsn("demarc_ingest"), options.subscribers, options.rounds)
        finally:
            await cluster.stop()


if __name__ == "__main__":
    asyncio.run(main())
