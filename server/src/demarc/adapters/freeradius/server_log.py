"""What FreeRADIUS says on standard error: counted by kind, logged sparingly, never with a secret."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum

from prometheus_client import Counter

from demarc.kernel.logs import logger, redact_text

log = logger("radius")

RADIUS_LINES = Counter(
    "demarc_radius_server_lines_total", "Lines in FreeRADIUS's log that tell of a problem", ["kind"]
)


class LineKind(StrEnum):
    """Why a line matters to whoever runs the server."""

    UNKNOWN_NAS = "unknown_nas"
    UNSIGNED = "unsigned"
    BAD_PACKET = "bad_packet"
    SPOOL = "spool"
    DATABASE = "database"
    ERROR = "error"


_KINDS = (
    (LineKind.UNKNOWN_NAS, re.compile(r"from unknown client")),
    (
        LineKind.UNSIGNED,
        re.compile(r"does not contain required Message-Authenticator|insecure packet", re.IGNORECASE),
    ),
    (
        LineKind.BAD_PACKET,
        re.compile(
            r"shared secret is incorrect|invalid Message-Authenticator|malformed|Dropping packet|Bad packet",
            re.IGNORECASE,
        ),
    ),
    (
        LineKind.SPOOL,
        re.compile(
            r"(acct|auth|accept)_(spool|separator)|rlm_linelog|Failed writing|No space left", re.IGNORECASE
        ),
    ),
    (LineKind.DATABASE, re.compile(r"rlm_sql|sql_map|\(sql\)|_map\b", re.IGNORECASE)),
    (LineKind.ERROR, re.compile(r"\berror\b", re.IGNORECASE)),
)
_ADVICE = {
    LineKind.UNKNOWN_NAS: "a packet came from an address that is no NAS: add the NAS, or stop the sender",
    LineKind.UNSIGNED: "a NAS that must sign its requests sent one without Message-Authenticator: it was dropped",
    LineKind.BAD_PACKET: "a packet was dropped: wrong secret at the NAS, or damaged",
    LineKind.SPOOL: "a line could not be written to the spool: free space on its disk; accounting is not acknowledged until then",
    LineKind.DATABASE: "the database does not answer FreeRADIUS: known subscribers are served from memory",
    LineKind.ERROR: "FreeRADIUS reports an error",
}
_QUIET_SECONDS = 10.0


def kind_of(line: str) -> LineKind | None:
    """The kind of a line, None for one that tells of no problem."""
    return next((kind for kind, pattern in _KINDS if pattern.search(line)), None)


class ServerLog:
    """Reads one server's lines. A kind is logged once in ten seconds; every line is counted."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._quiet_until: dict[LineKind, float] = {}
        self.counts: dict[LineKind, int] = dict.fromkeys(LineKind, 0)
        self.tail: deque[str] = deque(maxlen=40)

    def take(self, line: str) -> None:
        """Count one line, and log it unless its kind was logged just now."""
        self.tail.append(line)
        kind = kind_of(line)
        if kind is None:
            log.debug("freeradius", line=redact_text(line))
            return
        self.counts[kind] += 1
        RADIUS_LINES.labels(kind=kind.value).inc()
        now = self._clock()
        if now >= self._quiet_until.get(kind, 0.0):
            self._quiet_until[kind] = now + _QUIET_SECONDS
            log.warning(_ADVICE[kind], kind=kind.value, total=self.counts[kind], line=redact_text(line))
