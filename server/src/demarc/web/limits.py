"""How often somebody may ask: counts of the running minute, in the memory of this process.

Real time, never a tenant's clock. A process counts for itself: with several behind a balancer the ceiling is each one's.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from starlette.requests import Request
from starlette.types import Scope

from demarc.kernel.clock import real_now
from demarc.kernel.errors import LimitExceeded
from demarc.kernel.settings import Settings

MINUTE = 60
LOG_INS_PER_MINUTE = 10
"""Wrong ones, from one address for one user name."""

Headers = list[tuple[bytes, bytes]]


class MinuteWindow:
    """At most `limit` takes per key and minute; with the minute all counts are forgotten, so nothing piles up."""

    __slots__ = ("_counts", "_ends_at", "_limit", "_limit_header", "_reset_header")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._limit_header = (b"x-ratelimit-limit", b"%d" % limit)
        self._counts: dict[Any, int] = {}
        self._ends_at = 0
        self._reset_header = (b"x-ratelimit-reset", b"0")

    def take(self, key: Any) -> tuple[bool, Headers]:
        """Count one; whether it is within the limit, and what the answer says of it (reset: seconds since 1970)."""
        self._turn()
        taken = self._counts.get(key, 0) + 1
        self._counts[key] = taken
        remaining = (b"x-ratelimit-remaining", b"%d" % max(self._limit - taken, 0))
        return taken <= self._limit, [self._limit_header, remaining, self._reset_header]

    def give_back(self, key: Any) -> None:
        """Undo one take, unless its minute is over."""
        if self._counts.get(key, 0) > 0:
            self._counts[key] -= 1

    def seconds_left(self) -> int:
        """Until the counts are forgotten, at least 1."""
        return max(1, self._ends_at - int(real_now().timestamp()))

    def _turn(self) -> None:
        now = real_now().timestamp()
        if now >= self._ends_at:
            self._ends_at = (int(now) // MINUTE + 1) * MINUTE
            self._reset_header = (b"x-ratelimit-reset", b"%d" % self._ends_at)
            self._counts.clear()


class RequestLimits:
    """The windows of one process."""

    __slots__ = ("_log_ins", "_requests")

    def __init__(self, settings: Settings) -> None:
        self._requests = MinuteWindow(settings.staff_requests_per_minute)
        self._log_ins = MinuteWindow(LOG_INS_PER_MINUTE)

    def take(self, request: Request, who: Hashable) -> None:
        """Count one request of a user or a service token; its answer will say how many are left.

        Raises:
            LimitExceeded: the user's requests of this minute are used up.
        """
        is_within, request.scope["state"]["rate"] = self._requests.take(who)
        if not is_within:
            raise LimitExceeded(
                "too many requests in this minute; wait as long as Retry-After says",
                retry_after_seconds=self._requests.seconds_left(),
            )

    def anonymous(self, scope: Scope) -> Headers:
        """Headers of an answer to somebody who has not logged in, counted by address."""
        return self._requests.take(_address(scope))[1]

    def take_log_in(self, request: Request, username: str) -> tuple[str, str]:
        """Count one attempt; its key, for `forgive_log_in` when it succeeds.

        Raises:
            LimitExceeded: too many wrong ones in this minute.
        """
        key = (_address(request.scope), username.lower())
        is_within, request.scope["state"]["rate"] = self._log_ins.take(key)
        if not is_within:
            raise LimitExceeded(
                "too many log-ins with a wrong password; wait as long as Retry-After says",
                retry_after_seconds=self._log_ins.seconds_left(),
            )
        return key

    def forgive_log_in(self, key: tuple[str, str]) -> None:
        """It was right: only wrong ones count."""
        self._log_ins.give_back(key)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def limits_of(request: Request) -> RequestLimits:
    limits: RequestLimits = request.app.state.limits
    return limits
