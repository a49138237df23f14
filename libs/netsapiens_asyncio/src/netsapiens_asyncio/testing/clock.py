"""A clock that stands still until it is moved."""

from __future__ import annotations

import asyncio
import heapq
import itertools

START = 1_732_558_522.0  # 2024-11-25 18:15:22 UTC


class MovedClock:
    """`advance()` moves it and wakes whoever sleeps on it, in the order of their times."""

    def __init__(self, now: float = START) -> None:
        self._now = now
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []

    def time(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        heapq.heappush(self._sleepers, (self._now + max(0.0, seconds), next(self._order), woken))
        await woken.wait()

    async def advance(self, seconds: float) -> None:
        """Moves on. Each sleeper runs at its own time, until it sleeps again or waits for something else."""
        end = self._now + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            self._now = max(self._now, at)
            woken.set()
            await self._settle()
        self._now = end
        await self._settle()

    @staticmethod
    async def _settle() -> None:
        for _ in range(200):  # in-process exchanges take some turns of the loop
            await asyncio.sleep(0)
