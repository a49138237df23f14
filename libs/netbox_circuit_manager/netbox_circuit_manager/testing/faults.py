"""What can go wrong at a carrier, as switches."""

import threading
from dataclasses import dataclass, field

FAULTS: dict[str, str] = {
    "slow": "answers after `seconds`",
    "error_500": "answers 500",
    "rate_limit": "answers 429 with Retry-After",
    "expired_token": "forgets every token it gave (each time the switch counts)",
    "refuse_credentials": "answers 401 to token requests and to everything else",
    "truncated_page": "a page of a list lacks half its rows, though the total counts them",
    "cut_body": "the connection ends in the middle of an answer",
    "wrong_currency": "the first circuit's amounts are in XXX",
    "duplicate_ids": "the second circuit has the first one's id",
    "html": "answers 200 with a page for people",
    "empty_list": "lists nothing",
    "huge": "answers with `megabytes` of JSON",
    "redirect": "answers 302 to another host",
}


@dataclass(slots=True)
class Faults:
    """The switches of one simulator. Each is on for good or for a number of requests."""

    seconds: float = 2.0
    megabytes: int = 101
    _left: dict[str, int | None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, name: str, times: int | None = None) -> None:
        """Turns a fault on, for the next `times` requests that it can hit or until `clear()`."""
        if name not in FAULTS:
            raise ValueError(f"no fault is called {name}; there are {', '.join(FAULTS)}")
        with self._lock:
            self._left[name] = times

    def clear(self) -> None:
        """Turns every fault off."""
        with self._lock:
            self._left.clear()

    def on(self, name: str) -> bool:
        """Whether the fault is on; it is not used up by asking."""
        with self._lock:
            return name in self._left

    def take(self, name: str) -> bool:
        """Whether the fault hits this request; uses it up."""
        with self._lock:
            if name not in self._left:
                return False
            left = self._left[name]
            if left is None:
                return True
            if left <= 1:
                del self._left[name]
            else:
                self._left[name] = left - 1
            return True
