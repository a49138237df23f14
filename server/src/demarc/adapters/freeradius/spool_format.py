"""The lines that FreeRADIUS writes and the ingester reads: names and order of the fields, one place for both.

Two kinds of file in the spool directory, named by UTC hour: `acct-YYYYMMDDHH` and `auth-YYYYMMDDHH`.

- One record per line, fields separated by a tab, ended by a newline. **Empty lines are separators: skip them.** A record
  is followed by one, and acknowledged only after both are written: when the disk fills in the middle of a record, the
  separator cannot be written either, so the packet stays unacknowledged and the NAS sends it again. Every record also
  starts on a new line of its own, so what was cut off never spoils the next one; the fragment has too few fields.
- A field that came out of a packet as text is urlquoted byte by byte (RFC 3986, `quoted` below): undo it with
  `urllib.parse.unquote_to_bytes`. It may hold any byte, also ones that are not UTF-8 and NUL. The other fields are
  numbers, addresses or names that FreeRADIUS prints itself.
- A field that the packet did not carry is empty.
- FreeRADIUS writes each record with one `write(2)` at the end of the file, one thread at a time, and does not fsync: a record
  survives the death of the process, and a power cut only after the ingester's side has synced the file. Nobody else, and no
  second `linelog`, may write to the file: the lock is the instance's own.
"""

from __future__ import annotations

from dataclasses import dataclass

VERSION = "1"
"""First field of every record. A reader refuses a version that it does not know."""

ACCT_FILE = "acct-%Y%m%d%H"
AUTH_FILE = "auth-%Y%m%d%H"


@dataclass(frozen=True, slots=True)
class SpoolField:
    """One field: its name, what FreeRADIUS expands for it, and whether it is urlquoted."""

    name: str
    expansion: str
    quoted: bool = False

    @property
    def format(self) -> str:
        """The expansion of the field as it is written."""
        return f"%{{urlquote:{self.expansion}}}" if self.quoted else self.expansion


ACCT_FIELDS = (
    SpoolField("version", VERSION),
    SpoolField("packet_src_ip", "%{Packet-Src-IP-Address}"),
    SpoolField(
        "status_type", "%{Acct-Status-Type}"
    ),  # name (Start, Interim-Update, …) or its number if unknown
    SpoolField("acct_session_id", "%{Acct-Session-Id}", quoted=True),
    SpoolField("user_name", "%{User-Name}", quoted=True),
    SpoolField("nas_ip", "%{%{NAS-IP-Address}:-%{NAS-IPv6-Address}}"),
    SpoolField("nas_port", "%{%{NAS-Port-Id}:-%{NAS-Port}}", quoted=True),
    SpoolField("event_timestamp", "%{integer:Event-Timestamp}"),  # epoch seconds, the NAS's clock
    SpoolField("received_at", "%l"),  # epoch seconds, our clock
    SpoolField("delay_seconds", "%{Acct-Delay-Time}"),
    SpoolField("session_seconds", "%{Acct-Session-Time}"),
    SpoolField("input_gigawords", "%{Acct-Input-Gigawords}"),  # input: from the user, upload (RFC 2866)
    SpoolField("input_octets", "%{Acct-Input-Octets}"),
    SpoolField("output_gigawords", "%{Acct-Output-Gigawords}"),
    SpoolField("output_octets", "%{Acct-Output-Octets}"),
    SpoolField("called_station_id", "%{Called-Station-Id}", quoted=True),
    SpoolField("calling_station_id", "%{Calling-Station-Id}", quoted=True),
    SpoolField("terminate_cause", "%{Acct-Terminate-Cause}", quoted=True),
    SpoolField("framed_ip", "%{Framed-IP-Address}"),
    SpoolField("framed_ipv6_prefix", "%{Framed-IPv6-Prefix}"),
    SpoolField("delegated_prefix", "%{Delegated-IPv6-Prefix}"),
    SpoolField("class", "%{Class}"),  # 0x and hexadecimal digits
    SpoolField("nas_identifier", "%{NAS-Identifier}", quoted=True),
)

AUTH_FIELDS = (
    SpoolField("version", VERSION),
    SpoolField("received_at", "%l"),
    SpoolField("packet_src_ip", "%{Packet-Src-IP-Address}"),
    SpoolField("user_name", "%{User-Name}", quoted=True),
    SpoolField("reply", "%{reply:Packet-Type}"),  # Access-Accept, Access-Reject or No-Answer
    SpoolField("calling_station_id", "%{Calling-Station-Id}", quoted=True),
    SpoolField("reason", "%{%{control:Demarc-Reason}:-%{Module-Failure-Message}}", quoted=True),
    SpoolField(
        "had_message_authenticator", "%{request:Message-Authenticator[#]}"
    ),  # 1 or 0; FreeRADIUS verified it
)


def _where_known(*known: SpoolField) -> tuple[SpoolField, ...]:
    """`AUTH_FIELDS` where some are known beforehand: the same record with less to expand."""
    by_name = {field.name: field for field in known}
    return tuple(by_name.get(field.name, field) for field in AUTH_FIELDS)


_REASON = SpoolField("reason", "%{control:Demarc-Reason}", quoted=True)
ACCEPT_FIELDS = _where_known(SpoolField("reply", "Access-Accept"), _REASON)
NO_ANSWER_FIELDS = _where_known(SpoolField("reply", "No-Answer"), _REASON)
PLAIN_ACCEPT_FIELDS = _where_known(SpoolField("reply", "Access-Accept"), SpoolField("reason", ""))
"""Most log-ins."""

ACCT_FIELD_NAMES = tuple(field.name for field in ACCT_FIELDS)
AUTH_FIELD_NAMES = tuple(field.name for field in AUTH_FIELDS)


def line_expansion(fields: tuple[SpoolField, ...]) -> str:
    """What FreeRADIUS expands to one record, as it stands inside double quotes in unlang."""
    return r"\t".join(field.format for field in fields)
