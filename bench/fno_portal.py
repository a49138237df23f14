"""Coverage over six equal operators on loopback: fno_portal in parallel against the document's serial loop, one run.

.venv/bin/python bench/fno_portal.py [--delay 0.2] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass

from fno_portal import CoverageResult, FNOMasterPortal
from fno_portal.testing import Faults, RunningSimulator, SimulatedOperator

ADDRESS = "12 Main Road, Rondebosch"


@dataclass
class NoCache:
    """Every round asks the operators."""

    def get(self, *_):
        return None

    def put(self, *_):
        return None

    def keys(self, *_):
        return {}


async def serial(portal) -> list[CoverageResult]:
    """The document's check_all_coverage, word for word but for its print."""
    results = []
    for fno, client in portal.clients.items():
        try:
            result = await client.check_coverage(ADDRESS)
            results.append(CoverageResult(**{**result, "fno": str(fno), "address": ADDRESS}))
        except Exception as error:  # noqa: BLE001 - the document's own
            print(f"Error checking {fno}: {error}")
    return results


async def measure(call, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        assert len(await call()) == 6
        times.append(time.perf_counter() - began)
    return statistics.median(times)


async def run(delay: float, rounds: int) -> None:
    with ExitStack() as stack:
        config = {}
        for number in range(6):
            operator = SimulatedOperator(f"operator{number}", faults=Faults(delay_s=delay))
            sim = stack.enter_context(RunningSimulator("document", operator))
            config[operator.name] = {
                "base_url": sim.url, "api_key": "sim-key", "driver": "document", "rate": 100_000, "period_s": 1,
            }  # fmt: skip
        async with FNOMasterPortal(config, cache=NoCache()) as portal:
            await portal.check_all_coverage(ADDRESS)  # connections are open in both
            rows = [
                ("document, serial", await measure(lambda: serial(portal), rounds)),
                ("fno_portal, parallel", await measure(lambda: portal.check_all_coverage(ADDRESS), rounds)),
            ]
    print(f"Six operators that each answer after {delay * 1000:g} ms, median of {rounds} rounds:\n")
    print("| coverage of one address | ms | ratio |\n|---|---:|---:|")
    for name, seconds in rows:
        print(f"| {name} | {seconds * 1000:.0f} | {rows[0][1] / seconds:.1f} |")
    print(f"| the slowest operator alone (limit) | {delay * 1000:.0f} | {rows[0][1] / delay:.1f} |")


def main() -> None:
    logging.getLogger("fno_portal").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--delay", type=float, default=0.2, help="seconds until an operator answers")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    asyncio.run(run(asked.delay, asked.rounds))


if __name__ == "__main__":
    main()
