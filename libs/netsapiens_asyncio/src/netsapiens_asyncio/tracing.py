"""Hooks for tracing and metrics: what was asked, what came of it, never what it said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RequestStarted:
    """One exchange begins. `request_id` goes out as `X-Request-ID`, the same for every attempt of a call."""

    method: str
    path: str
    request_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class RequestEnded:
    """One exchange ended: `status` of the answer, or None and the name of the `error`."""

    method: str
    path: str
    request_id: str
    attempt: int
    status: int | None
    seconds: float
    error: str | None


@dataclass(frozen=True, slots=True)
class Hooks:
    """Plain functions, called in order on the event loop; keep them short. What they raise reaches the caller."""

    started: Sequence[Callable[[RequestStarted], None]] = field(default=())
    ended: Sequence[Callable[[RequestEnded], None]] = field(default=())
