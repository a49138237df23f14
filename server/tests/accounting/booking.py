"""Spool lines as FreeRADIUS writes them, and a recorder of the deltas that stands where usage will."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from demarc.modules.access.accounting import ACCOUNTING_FIELDS, LOGIN_FIELDS

DELTA_BOOK = """
CREATE TABLE delta_book (
    tenant_id int, session_id uuid, subscriber_id bigint, service_id bigint, event_at timestamptz,
    input_octets bigint CHECK (input_octets >= 0), output_octets bigint CHECK (output_octets >= 0));
GRANT SELECT, INSERT ON delta_book TO demarc_ingest;
"""

T0 = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


async def record_deltas(connection: Any) -> None:
    await connection.execute("INSERT INTO delta_book SELECT * FROM accounting_delta")


@dataclass(frozen=True)
class Packet:
    """One accounting packet; times in seconds after `T0`."""

    kind: str
    at: float
    octets: tuple[int, int] = (0, 0)
    seconds: int | None = None
    session: str = "s1"
    user: str = "user100@isp"
    nas: str = "127.0.1.1"
    received: float | None = None
    delay: int = 0
    stamped: bool = True
    values: tuple[tuple[str, str], ...] = ()

    def line(self) -> bytes:
        epoch = int(T0.timestamp())
        received = self.at + self.delay if self.received is None else self.received
        fields = dict.fromkeys(ACCOUNTING_FIELDS, "") | {
            "version": "1",
            "packet_src_ip": self.nas,
            "status_type": self.kind,
            "acct_session_id": quoted(self.session),
            "user_name": quoted(self.user),
            "event_timestamp": str(int(epoch + self.at)) if self.stamped else "",
            "received_at": str(int(epoch + received)),
            "delay_seconds": str(self.delay),
            "session_seconds": "" if self.seconds is None else str(self.seconds),
            "input_gigawords": str(self.octets[0] >> 32),
            "input_octets": str(self.octets[0] & 0xFFFFFFFF),
            "output_gigawords": str(self.octets[1] >> 32),
            "output_octets": str(self.octets[1] & 0xFFFFFFFF),
            "calling_station_id": quoted("AA:BB:CC:00:00:01"),
            **dict(self.values),
        }
        return "\t".join(fields.values()).encode() + b"\n"


def start(at: float, **values: Any) -> Packet:
    return Packet("Start", at, **values)


def interim(at: float, octets: tuple[int, int], seconds: int | None, **values: Any) -> Packet:
    return Packet("Interim-Update", at, octets, seconds, **values)


def stop(at: float, octets: tuple[int, int], seconds: int | None, **values: Any) -> Packet:
    return Packet("Stop", at, octets, seconds, **values)


def restart(at: float, **values: Any) -> Packet:
    return Packet("Accounting-On", at, session="", user="", **values)


def login_line(user: str, reply: str, received: float, *, nas: str = "127.0.1.1", reason: str = "") -> bytes:
    values = ("1", str(int(T0.timestamp() + received)), nas, quoted(user), reply, "", quoted(reason), "1")
    assert len(values) == len(LOGIN_FIELDS)
    return "\t".join(values).encode() + b"\n"


def quoted(text: str) -> str:
    return quote(text, safe="")
