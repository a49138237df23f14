"""One operator's line: its rate budget, its circuit breaker and its audit trail, shared by every call to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from aiolimiter import AsyncLimiter

from fno_portal.audit import AuditSink, LoggingAudit, audit
from fno_portal.errors import (
    FNOAuthError,
    FNOCircuitOpenError,
    FNOError,
    FNOHumanNeededError,
    FNOProtocolError,
    FNORateLimitError,
    FNOTimeoutError,
    FNOUnavailableError,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How an operator is treated.

    `rate` requests per `period_s`; `deadline_s` for one operation; after `failures` in a row the breaker opens for
    `open_s`; wrong credentials open it at once for `auth_pause_s`, so that no account is locked by us.
    """

    rate: float = 60
    period_s: float = 60
    deadline_s: float = 20
    order_deadline_s: float = 60
    failures: int = 5
    open_s: float = 30
    auth_pause_s: float = 60


@dataclass(slots=True)
class _Spending:
    """What one operation has had of the budget: how long it waited, and how many requests it was given."""

    waited_s: float = 0
    requests: int = 0


_SPENDING: ContextVar[_Spending] = ContextVar("fno_portal_spending")


class Breaker:
    """Closed, open, or half open: after the pause one call goes through and decides."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        """Start closed. `clock` gives seconds that never go back."""
        self._limits = limits
        self._clock = clock
        self._failed = 0
        self._opened_until = 0.0
        self._cause = ""
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused now."""
        return self._clock() < self._opened_until

    def enter(self, fno: str) -> None:
        """Let one call through, or refuse it.

        Raises:
            FNOCircuitOpenError: the operator rests, or another call is just trying it.
        """
        if self.is_open or (self._trying and self._opened_until):
            left = max(0, round(self._opened_until - self._clock()))
            raise FNOCircuitOpenError(
                f"not asked, since it failed before ({self._cause})",
                fno=fno,
                hint=f"It is tried again in {left} s",
                sent=False,
            )
        self._trying = self._opened_until > 0

    def succeeded(self) -> None:
        """Close again."""
        self._failed, self._opened_until, self._trying = 0, 0.0, False

    def failed(self, cause: FNOError) -> None:
        """Count one failure of the operator's; the callers' own mistakes are not failures."""
        self._trying = False
        self._cause = cause.code
        if isinstance(cause, FNOAuthError) and not isinstance(cause, FNOHumanNeededError):
            self._opened_until = self._clock() + self._limits.auth_pause_s
            return
        self._failed += 1
        if self._opened_until or self._failed >= self._limits.failures:
            self._opened_until = self._clock() + self._limits.open_s

    def released(self) -> None:
        """The call ended without saying anything of the operator's health."""
        self._trying = False


_HEALTH = (FNOTimeoutError, FNOUnavailableError, FNOProtocolError, FNOAuthError)


class Channel:
    """Budget, breaker and audit of one operator."""

    def __init__(
        self,
        fno: str,
        limits: Limits | None = None,
        sink: AuditSink | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the line of one operator."""
        self.fno = fno
        self.limits = limits or Limits()
        self.sink: AuditSink = sink if sink is not None else LoggingAudit()
        self.breaker = Breaker(self.limits, clock)
        self._limiter: AsyncLimiter | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def spend(self) -> None:
        """Take one request out of the budget, waiting for it at most half a deadline.

        Raises:
            FNORateLimitError: the budget is used up; nothing was sent.
        """
        loop = asyncio.get_running_loop()
        if self._limiter is None or self._loop is not loop:
            self._limiter, self._loop = AsyncLimiter(self.limits.rate, self.limits.period_s), loop
        spending = _SPENDING.get(_Spending())
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.limits.deadline_s / 2):
                await self._limiter.acquire()
            spending.requests += 1
        except TimeoutError:
            raise self._used_up(spending) from None
        finally:
            spending.waited_s += time.monotonic() - began

    def _used_up(self, spending: _Spending) -> FNORateLimitError:
        return FNORateLimitError(
            f"our budget of {self.limits.rate:g} requests in {self.limits.period_s:g} s is used up",
            fno=self.fno,
            hint="Ask less often, or agree on a larger budget with the operator and raise `rate`",
            sent=spending.requests > 0,
            ours=True,
        )

    @asynccontextmanager
    async def operation(self, action: str, detail: dict[str, Any], deadline_s: float) -> AsyncIterator[None]:
        """Run one operation under breaker and deadline, and leave one audit record of how it ended.

        Raises:
            FNOTimeoutError: the deadline passed. FNORateLimitError: it did while we waited for our own budget.
            FNOCircuitOpenError: the operator rests.
        """
        began = time.monotonic()
        spending = _Spending()
        _SPENDING.set(spending)
        outcome = "cancelled"
        try:
            self.breaker.enter(self.fno)
            try:
                async with asyncio.timeout(deadline_s):
                    yield
            except TimeoutError:
                if spending.waited_s > deadline_s / 2:
                    # No fault of the operator's, who must not be taken for one that does not answer.
                    raise self._used_up(spending) from None
                raise FNOTimeoutError(
                    f"no answer to {action} within {deadline_s:g} s",
                    fno=self.fno,
                    hint="Try again later, or raise the operator's deadline",
                ) from None
            self.breaker.succeeded()
            outcome = "ok"
        except FNOCircuitOpenError as error:
            outcome = error.code
            raise
        except FNOError as error:
            outcome = error.code
            if isinstance(error, FNORateLimitError):
                self.breaker.released()
            elif isinstance(error, _HEALTH):
                self.breaker.failed(error)
            else:
                self.breaker.succeeded()
            raise
        finally:
            if outcome == "cancelled":
                self.breaker.released()
            audit(self.sink, self.fno, action, outcome, time.monotonic() - began, detail)

    def note(self, action: str, outcome: str, elapsed_s: float, detail: dict[str, Any]) -> None:
        """Leave an audit record of one exchange inside an operation."""
        audit(self.sink, self.fno, action, outcome, elapsed_s, detail)
