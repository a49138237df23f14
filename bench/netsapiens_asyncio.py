"""Calls per second of `netsapiens_asyncio` against a plain httpx loop and against a client that connects per call.

The same fake PBX, in a process of its own, answers all three; the order of the sides changes every round. Then many
calls in a row: how much memory they leave behind. Prints markdown tables.

    .venv/bin/python bench/netsapiens_asyncio.py [--calls 1500] [--rounds 5] [--endurance 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx

# Run as a script, this file would be found under the name of the library it measures.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent]

from netsapiens_asyncio import NetsapiensAPI  # noqa: E402

CREDENTIALS = {
    "client_id": "your_client_id",
    "client_secret": "your_client_secret",
    "username": "your_username",
    "password": "your_password",
}
PATH = "/domains/testdomain.com/users/123"
Side = Callable[[], Awaitable[object]]


async def spread(call: Side, count: int, workers: int) -> float:
    """Calls per second."""
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            await call()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(workers)))
    return count / (time.perf_counter() - began)


async def sides(url: str, stack: AsyncExitStack) -> dict[str, Side]:
    """Three ways to read one user."""
    ours = await stack.enter_async_context(NetsapiensAPI({**CREDENTIALS, "base_url": url}))
    token = (await ours.get_token())["access_token"]
    plain = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
    address, headers = f"{url}/ns-api/v2{PATH}", {"Authorization": f"Bearer {token}"}

    async def with_library() -> object:
        return await ours.request("GET", PATH)

    async def with_httpx() -> object:
        response = await plain.get(address, headers=headers)
        response.raise_for_status()
        return json.loads(response.content)

    async def connecting() -> object:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(address, headers=headers)).json()

    return {
        "netsapiens_asyncio": with_library,
        "plain httpx loop": with_httpx,
        "a connection per call": connecting,
    }


async def compare(url: str, calls: int, rounds: int) -> None:
    async with AsyncExitStack() as stack:
        rivals = await sides(url, stack)
        print("| calls at a time | side | calls/s (median) | netsapiens_asyncio does |\n|---|---|---:|---:|")
        for workers in (1, 10):
            rates: dict[str, list[float]] = {name: [] for name in rivals}
            for turn in range(rounds + 1):
                order = list(rivals)[turn % 3 :] + list(rivals)[: turn % 3]
                for name in order:
                    count = calls if name != "a connection per call" else max(50, calls // 10)
                    rate = await spread(rivals[name], count, workers)
                    if turn:  # the first round warms up
                        rates[name].append(rate)
            ours = rates["netsapiens_asyncio"]
            for name, found in rates.items():
                ratio = statistics.median(one / other for one, other in zip(ours, found, strict=True))
                print(
                    f"| {workers} | {name} | {statistics.median(found):,.0f} | {ratio:.2f} times that |",
                    flush=True,
                )


def resident() -> int:
    """KiB of this process in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


async def endure(url: str, calls: int) -> None:
    async with NetsapiensAPI({**CREDENTIALS, "base_url": url}) as client:
        print("\n| calls | memory (KiB) | objects |\n|---:|---:|---:|")
        done = 0
        for part in (calls // 20, *[calls // 5] * 4, calls - calls // 20 - calls // 5 * 4):
            await spread(lambda: client.request("GET", PATH), part, 10)
            done += part
            gc.collect()
            print(f"| {done:,} | {resident():,} | {len(gc.get_objects()):,} |", flush=True)


async def main(calls: int, rounds: int, endurance: int) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "netsapiens_asyncio.testing", "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        cwd="/",
    )
    try:
        assert child.stdout is not None
        url = (await child.stdout.readline()).decode().strip()
        await compare(url, calls, rounds)
        if endurance:
            await endure(url, endurance)
    finally:
        child.terminate()
        await child.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=1_500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--endurance", type=int, default=100_000)
    wanted = parser.parse_args()
    asyncio.run(main(wanted.calls, wanted.rounds, wanted.endurance))
