"""The spool line: its fields, and the gate between a file that anything may have written to and `COPY`.

One line per packet, fields separated by tabs, every text urlquoted by FreeRADIUS, so that a line is printable
ASCII; empty lines are separators. What passes the gate cannot make `COPY` or a cast fail; what does not is named and kept aside.
"""

from __future__ import annotations

import codecs
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

FORMAT_VERSION = b"1"

ACCOUNTING_FIELDS = (
    "version",
    "packet_src_ip",
    "status_type",
    "acct_session_id",
    "user_name",
    "nas_ip",
    "nas_port",
    "event_timestamp",
    "received_at",
    "delay_seconds",
    "session_seconds",
    "input_gigawords",
    "input_octets",
    "output_gigawords",
    "output_octets",
    "called_station_id",
    "calling_station_id",
    "terminate_cause",
    "framed_ip",
    "framed_ipv6_prefix",
    "delegated_prefix",
    "class",
    "nas_identifier",
)

LOGIN_FIELDS = (
    "version",
    "received_at",
    "packet_src_ip",
    "user_name",
    "reply",
    "calling_station_id",
    "reason",
    "had_message_authenticator",
)

STATUS_TYPES = ("Start", "Interim-Update", "Alive", "Stop", "Accounting-On", "Accounting-Off")

LONGEST_LINE = 16_384
"""A RADIUS packet has at most 4,096 octets (RFC 2865 section 3), each at most three characters once quoted."""

# Bounds of the quoted text: an attribute holds at most 253 octets (RFC 2865 section 5), Class may be repeated.
_TEXT = rb"[!-~]{0,759}"
_LONG_TEXT = rb"[!-~]{0,12288}"
_NUMBER = rb"[0-9]{1,10}"
_OPTIONAL = rb"(?:[0-9]{1,10})?"
_ADDRESS = rb"[0-9A-Fa-f.:%]{2,90}"
_PREFIX = rb"[0-9A-Fa-f.:%]{2,90}(?:/|%2[Ff])(?:0|[1-9][0-9]{0,2})|"

_ACCOUNTING_SHAPES = {
    "version": re.escape(FORMAT_VERSION),
    "packet_src_ip": _ADDRESS,
    "status_type": b"|".join(re.escape(word.encode()) for word in STATUS_TYPES),
    "event_timestamp": _OPTIONAL,
    "received_at": _NUMBER,
    "delay_seconds": _OPTIONAL,
    "session_seconds": _OPTIONAL,
    "input_gigawords": _OPTIONAL,
    "input_octets": _OPTIONAL,
    "output_gigawords": _OPTIONAL,
    "output_octets": _OPTIONAL,
    "framed_ip": _ADDRESS + b"|",
    "framed_ipv6_prefix": _PREFIX,
    "delegated_prefix": _PREFIX,
    "class": _LONG_TEXT,
}

_LOGIN_SHAPES = {
    "version": re.escape(FORMAT_VERSION),
    "received_at": _NUMBER,
    "packet_src_ip": _ADDRESS,
    "reply": rb"[A-Za-z0-9-]{1,40}",
    "reason": _LONG_TEXT,
    "had_message_authenticator": rb"[0-9]{0,3}",
}


def _copied_octet(value: int) -> bytes:
    """One unquoted octet as `COPY … (FORMAT text)` wants it."""
    special = {9: b"\\t", 10: b"\\n", 13: b"\\r", 92: b"\\\\"}
    return special.get(value, bytes((value,)))


_UNQUOTED = MappingProxyType(
    {
        bytes((high, low)): _copied_octet(int(bytes((high, low)), 16))
        for high in b"0123456789abcdefABCDEF"
        for low in b"0123456789abcdefABCDEF"
    }
)
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


def _unquote(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: _UNQUOTED[found[1]], text)


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that cannot be booked: where it begins in its file, and why."""

    offset: int
    reason: str
    line: bytes
    tenant_id: int | None = None


@dataclass(frozen=True, slots=True)
class ParsedLines:
    """What a block of the spool came to.

    `copy_text` is `COPY` text (offset, then the fields; an empty field is NULL) of the `accepted` good lines.
    """

    copy_text: bytes
    accepted: int
    rejected: tuple[RejectedLine, ...]


class LineFormat:
    """One kind of line: field names in order, each with the shape of its quoted value."""

    def __init__(self, fields: tuple[str, ...], shapes: dict[str, bytes], addresses: tuple[str, ...]) -> None:
        self.fields = fields
        self._shapes = tuple(re.compile(shapes.get(name, _TEXT)) for name in fields)
        groups = (
            b"(%s)" % shapes.get(name, _TEXT) if name in addresses else b"(?:%s)" % shapes.get(name, _TEXT)
            for name in fields
        )
        self._match: Callable[[bytes], re.Match[bytes] | None] = re.compile(b"\t".join(groups)).fullmatch

    def parse(self, block: bytes, base: int) -> ParsedLines:
        """Sort the lines of `block`, which begins at octet `base` of its file and ends with a newline."""
        good: list[bytes] = []
        rejected: list[RejectedLine] = []
        for offset, line in _lines(block, base):
            text = self._accept(line)
            if text is None:
                rejected.append(RejectedLine(offset, self.explain(line), line[:LONGEST_LINE]))
            else:
                good.append(b"%d\t%s\n" % (offset, text))
        return ParsedLines(b"".join(good), len(good), tuple(rejected))

    def _accept(self, line: bytes) -> bytes | None:
        if len(line) > LONGEST_LINE:
            return None
        found = self._match(line)
        if found is None or not all(_is_address(value) for value in found.groups()):
            return None
        if b"\\" in line:
            line = line.replace(b"\\", b"\\\\")
        return line if b"%" not in line else _readable(_unquote(line))

    def explain(self, line: bytes) -> str:
        """Why a line was not accepted, in words for a person."""
        if len(line) > LONGEST_LINE:
            return f"longer than {LONGEST_LINE} octets"
        values = line.split(b"\t")
        if values[0] != FORMAT_VERSION:
            return "not of spool format version 1"
        if len(values) != len(self.fields):
            return f"has {len(values)} fields, not {len(self.fields)}"
        return next(self._complaints(values), "is not acceptable")

    def _complaints(self, values: list[bytes]) -> Iterator[str]:
        for name, shape, value in zip(self.fields, self._shapes, values, strict=True):
            if not shape.fullmatch(value):
                yield f"{name} is not acceptable"
            elif name.endswith(("_ip", "_prefix")) and name != "nas_ip" and not _is_address(value):
                yield f"{name} is not an address"


def _lines(block: bytes, base: int) -> Iterator[tuple[int, bytes]]:
    offset = base
    for line in block.split(b"\n")[:-1]:
        if line:
            yield offset, line
        offset += len(line) + 1


def _readable(text: bytes) -> bytes:
    r"""PostgreSQL stores UTF-8 without NUL. Any other octet is kept as `\xHH`: an SSID in Latin-1 must not cost its session."""
    text = text.replace(b"\0", b"\\\\x00")
    return text if text.isascii() else text.decode(errors=_WRITTEN_OUT).encode()


def _written_out(error: UnicodeError) -> tuple[str, int]:
    """The octets that are not UTF-8, the backslash doubled for `COPY`."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(f"\\\\x{octet:02x}" for octet in error.object[error.start : error.end]), error.end


_WRITTEN_OUT = "demarc.written_out"
codecs.register_error(_WRITTEN_OUT, _written_out)


@lru_cache(maxsize=65_536)
def _is_address(value: bytes) -> bool:
    """An address, or a prefix, or nothing."""
    if not value:
        return True
    address, slash, length = _unquote(value).decode("ascii", "replace").partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.inet_pton(family, address)
    except (OSError, ValueError):
        return False
    return not slash or int(length) <= (128 if family == socket.AF_INET6 else 32)


ACCOUNTING_LINES = LineFormat(
    ACCOUNTING_FIELDS,
    _ACCOUNTING_SHAPES,
    ("packet_src_ip", "framed_ip", "framed_ipv6_prefix", "delegated_prefix"),
)
LOGIN_LINES = LineFormat(LOGIN_FIELDS, _LOGIN_SHAPES, ("packet_src_ip",))
