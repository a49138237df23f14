"""The time as the library sees it, so that a test can move it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Seconds since the epoch, and waiting in the same time."""

    def time(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    def time(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def parse_time(value: object) -> float | None:
    """Seconds since the epoch of a PBX timestamp, None for an empty or unreadable one.

    Accepts `YYYY-MM-DD HH:MM:SS` (UTC), RFC 3339 with an offset or `Z`, a trailing `[Zone]`, and epoch seconds.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str) or not value.strip():
        return None
    try:
        moment = datetime.fromisoformat(value.strip().partition("[")[0])
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def spell_time(seconds: float) -> str:
    """`YYYY-MM-DD HH:MM:SS` in UTC, as tokens and subscriptions carry it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
