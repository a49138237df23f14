"""PAP log-ins per second: Demarc as shipped against the stock FreeRADIUS SQL set-up, in interleaved rounds of one run.

    .venv/bin/python bench/radius_auth.py [--users 100000] [--rounds 5]

Both sides use the same PostgreSQL, the same FreeRADIUS binary and the same load; "no SQL" is FreeRADIUS with one password for
everybody, the limit of the server itself. Demarc's side has all that it ships with: the cache, signed replies, the
tenant check, the session limit, the log-in spool. Before the rounds every subscriber logs on once, which fills the cache; what
that costs has a line of its own. Stock keeps its own log-in table (radpostauth), as it ships, too.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "radius"))
from rig import median, rig

REQUESTS = {"demarc": 20_000, "stock": 5_000, "limit": 60_000}
NAMES = {"demarc": "Demarc", "stock": "stock FreeRADIUS + SQL", "limit": "FreeRADIUS, no SQL"}
AIM = 3.0


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    async with rig(arguments.users) as running:
        results = {side: [] for side in REQUESTS}
        first = await running.measure("demarc", running.auth["demarc"], "auth", arguments.users, "-S")
        for side, requests in REQUESTS.items():  # warm up: connections, caches of the database
            await running.load.run(running.auth[side], "auth", requests // 4, *fixed(side))
        for number in range(arguments.rounds):
            for side, requests in REQUESTS.items():
                result = await running.measure(side, running.auth[side], "auth", requests, *fixed(side))
                results[side].append(result)
                print(
                    f"round {number + 1} {side}: {result['rate']:.0f}/s, {result['cpu_us']:.0f} µs",
                    file=sys.stderr,
                )
    stock = median(results["stock"], "rate")
    print(
        f"| {arguments.users:,} subscribers, median of {arguments.rounds} rounds "
        "| log-ins/s | ratio | p50 ms | p99 ms | CPU µs per log-in |"
    )
    print("|---|---|---|---|---|---|")
    for side, rounds in results.items():
        rate, p50, p99, cpu = (median(rounds, field) for field in ("rate", "p50_ms", "p99_ms", "cpu_us"))
        print(f"| {NAMES[side]} | {rate:,.0f} | {rate / stock:.2f} | {p50:.1f} | {p99:.1f} | {cpu:.0f} |")
    print(
        f"| Demarc, first log-in after its start | {first['rate']:,.0f} | {first['rate'] / stock:.2f} "
        f"| {first['p50_ms']:.1f} | {first['p99_ms']:.1f} | {first['cpu_us']:.0f} |"
    )
    ratio = median(results["demarc"], "rate") / stock
    print(f"\naim: at least {AIM:.0f} times stock; {ratio:.2f} {'reached' if ratio >= AIM else 'MISSED'}")
    sys.exit(ratio < AIM)


def fixed(side: str) -> tuple[str, ...]:
    return ("-p", "fixed") if side == "limit" else ()


if __name__ == "__main__":
    asyncio.run(main())
