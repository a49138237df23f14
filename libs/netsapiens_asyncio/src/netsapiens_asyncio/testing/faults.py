"""What can be made to go wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from netsapiens_asyncio.testing.wire import Asked

Kind = Literal[
    "status",  # answer `status` without doing it
    "status_after",  # do it, and answer `status`
    "rate_limit",  # 429 with Retry-After: `seconds`
    "slow",  # wait `seconds` of the PBX's clock first
    "cut",  # do it, and close the connection without an answer
    "cut_early",  # close the connection without doing it
    "no_effect",  # answer 202 without doing it
    "expire_token",  # the presented token has just expired
    "html",  # 200 with a page instead of JSON
    "echo",  # 500 with the request in its body
]


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong, `times` times (None: always), for requests that match."""

    kind: Kind
    method: str = ""
    path: str = ""
    times: int | None = 1
    status: int = 500
    seconds: float = 1.0
    message: str = "Something went wrong"
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"unknown fault {self.kind!r}; known are {', '.join(get_args(Kind))}")

    def concerns(self, asked: Asked) -> bool:
        if self.times is not None and self.hits >= self.times:
            return False
        return self.method in {"", asked.method} and re.search(self.path, asked.path) is not None


@dataclass(slots=True)
class Faults:
    """The switches of one fake PBX.

    Attributes:
        numbers_as_integers: every text of digits arrives as a JSON number.
        bare_single: a list of one arrives as the object alone.
        no_tokens_route: `POST /tokens` answers 404, as on older cores.
    """

    armed: list[Fault] = field(default_factory=list)
    numbers_as_integers: bool = False
    bare_single: bool = False
    no_tokens_route: bool = False

    def add(self, kind: Kind, **details: Any) -> Fault:
        """Arms a fault. Give `method`, and `path` as a regular expression, to limit it."""
        fault = Fault(kind, **details)
        self.armed.append(fault)
        return fault

    def clear(self) -> None:
        """Everything works again."""
        self.armed.clear()
        self.numbers_as_integers = self.bare_single = self.no_tokens_route = False

    def hit(self, asked: Asked) -> Iterator[Fault]:
        """The faults of one request, counted."""
        for fault in list(self.armed):
            if fault.concerns(asked):
                fault.hits += 1
                yield fault
