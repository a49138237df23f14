"""Accounting packets per second, acknowledged and committed as usage: Demarc against the stock FreeRADIUS SQL set-up.

    .venv/bin/python bench/radius_accounting.py [--users 100000] [--rounds 3]

Interleaved rounds of one run over one PostgreSQL, each side with half of its subscribers on line. A round sends a Start, two Interims
and a Stop for each of as many sessions; the first Interim opens the session's usage record, the later ones, which are by far
the most in a network, raise it. "Committed" on our side counts from the first packet sent until the ingester, a process of
its own that loads while packets come in, has committed the last as sessions and usage. Stock writes each
packet to its table before it answers, so what it acknowledged is committed; usage it makes none. "No SQL" is FreeRADIUS that
only says yes. At the end the octets of all sessions must be booked as usage, to the octet.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "radius"))
from rig import Rig, median, rig

# Ours long enough that the wait for the last block, some 50 ms, does not count.
PACKETS = {"demarc": 40_000, "stock": 2_000, "limit": 20_000}
KINDS = {"start": "Start", "interim": "first Interim-Update", "later": "later Interim-Update", "stop": "Stop"}
ACKNOWLEDGED_AIM, COMMITTED_AIM = 6.0, 4.0
LOADED = "SELECT coalesce(sum(position), 0)::bigint FROM spool_offset WHERE spool_file LIKE 'acct-%'"
BOOKED = "SELECT coalesce(sum(input_octets + output_octets), 0)::bigint FROM usage_record"

REFUSED = "SELECT spool_offset, reason, convert_from(line, 'SQL_ASCII') AS line FROM accounting_reject ORDER BY spool_offset"

Results = dict[tuple[str, str], list[dict[str, Any]]]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    results: Results = {}
    async with rig(arguments.users) as running, ingester(running):
        await one_round(running, "warm", {side: count // 5 for side, count in PACKETS.items()})
        for number in range(arguments.rounds):
            for key, measured in (await one_round(running, f"r{number}", PACKETS)).items():
                results.setdefault(key, []).append(measured)
        carried = octets(PACKETS["demarc"] // 5) + arguments.rounds * octets(PACKETS["demarc"])
        booked = await running.database.fetchval(BOOKED)
        refused = await running.database.fetch(REFUSED)
    missed = report(results, arguments.users, arguments.rounds)
    print(f"\noctets sent {carried:,} = octets booked as usage {booked:,}: {carried == booked}")
    for row in refused[:6]:
        print(f"kept aside at {row['spool_offset']}: {row['reason']}: {row['line']!r}")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    sys.exit(missed or carried != booked or bool(refused))


async def one_round(
    running: Rig, name: str, packets: dict[str, int]
) -> dict[tuple[str, str], dict[str, Any]]:
    measured = {}
    for side, count in packets.items():
        for kind in KINDS:
            began, cpu = time.perf_counter(), running.cpu_seconds(side)
            result = await running.measure(side, running.acct[side], kind, count, "-k", name)
            if side == "demarc":
                await until_committed(running)
                result["committed"] = count / (time.perf_counter() - began)
                result["cpu_us"] = (running.cpu_seconds(side) - cpu) / count * 1e6
            measured[side, kind] = result
            print(
                f"{name} {side} {kind}: {result['rate']:.0f}/s acknowledged",
                result.get("committed", ""),
                file=sys.stderr,
            )
    return measured


async def until_committed(running: Rig) -> None:
    """Return when every octet of the spool is loaded."""
    give_up_at = time.monotonic() + 60
    while await running.database.fetchval(LOADED) < sum(
        file.stat().st_size for file in running.spool_dir.glob("acct-*")
    ):
        if time.monotonic() > give_up_at:
            raise SystemExit("the ingester does not load the spool")
        await asyncio.sleep(0.02)


@asynccontextmanager
async def ingester(running: Rig) -> AsyncIterator[None]:
    """`demarc ingest`, as the platform runs it."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("demarc"),
        "ingest",
        env=os.environ | {"DEMARC_DATA_DIR": str(running.data_dir), "DEMARC_LOG_LEVEL": "WARNING"},
    )
    running.helpers["demarc"] = [process.pid]
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def octets(sessions: int) -> int:
    """What the Stops of so many sessions of the load generator say, for the users from 0 on."""
    return sum(3 * 1_000_003 + 3 * 7_000_003 + (3 << 32) + 2 * user for user in range(sessions))


def report(results: Results, users: int, rounds: int) -> bool:
    """Print the table; whether an aim is missed."""
    print(
        f"| {users:,} subscribers, {users // 2:,} on line, median of {rounds} rounds | stock /s | acknowledged /s | ratio "
        "| committed as usage /s | ratio | no SQL /s | CPU µs a packet: stock | Demarc, until committed |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    rows: list[tuple[float, float, float]] = []
    for kind, name in KINDS.items():
        ours, stock = results["demarc", kind], results["stock", kind]
        rows.append((median(stock, "rate"), median(ours, "rate"), median(ours, "committed")))
        print(
            f"{_line(name, rows[-1])} {median(results['limit', kind], 'rate'):,.0f} | {median(stock, 'cpu_us'):.0f} "
            f"| {median(ours, 'cpu_us'):.0f} |"
        )
    # As many of each kind: the time that one packet of each takes.
    base, acknowledged, committed = (
        len(rows) / sum(1 / rate for rate in column) for column in zip(*rows, strict=True)
    )
    print(f"{_line('as many of each', (base, acknowledged, committed))} | | |")
    missed = acknowledged / base < ACKNOWLEDGED_AIM or committed / base < COMMITTED_AIM
    lowest = [min(row[column] / row[0] for row in rows) for column in (1, 2)]
    print(
        f"\naim, as many of each: acknowledged at least {ACKNOWLEDGED_AIM:.0f} times stock, committed {COMMITTED_AIM:.0f} times: "
        f"{'MISSED' if missed else 'reached'}; the lowest of one kind are {lowest[0]:.2f} and {lowest[1]:.2f}"
    )
    return missed


def _line(name: str, rates: tuple[float, float, float]) -> str:
    base, acknowledged, committed = rates
    return (
        f"| {name} | {base:,.0f} | {acknowledged:,.0f} | {acknowledged / base:.2f} | {committed:,.0f} "
        f"| {committed / base:.2f} |"
    )


if __name__ == "__main__":
    asyncio.run(main())
