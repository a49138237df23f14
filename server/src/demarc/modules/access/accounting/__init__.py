"""Accounting packets become sessions and usage deltas, exactly once.

Owns: `radius_session`, `radius_session_history`, `login_attempt` (nobody else writes them), `aaa_nas.message_authenticator_seen`
and the spool line's fields.
Does not own: the spool files and their offsets (workflows.metering), usage records (modules.usage).

What a session is
    NAS, User-Name, Acct-Session-Id and a *generation*: the derived start (event time minus session time), within
    60 s. A NAS gives ids away again after a reboot; NAS-Port is no part of the key, since a Stop may lack it.
    Column `generation` holds the start in minutes since 1970, which two generations cannot share.

Event time
    A sandbox tenant's packets carry business time: Event-Timestamp as sent, else the time received less
    Acct-Delay-Time, moved by the tenant's clock. Elsewhere Event-Timestamp counts when it is within a day of
    our clock, else ours less Acct-Delay-Time. Acct-Delay-Time is not taken off Event-Timestamp, which is the
    time of the event itself (RFC 2869 section 5.3); a NAS that rewrites it at each retransmission still finds
    its session, since the derived start is looked for over the whole span of the delay.

Invariants
    1. Counters are cumulative (RFC 2866 with the Gigawords of RFC 2869) and never go down inside a generation: the
       sum of all deltas of a session is its highest counter, whatever was lost, repeated, reordered or replayed.
    2. A delta is booked in the calendar month, by the tenant's time zone, of the packet that brought it.
    3. A lost Start costs nothing: an Interim or a Stop opens the session.
    4. Sessions that the platform ended (`provisional`: silent too long, NAS reboot, session id reused) are amended
       by a late packet, reopened by an Interim after their end, and made final by a Stop.
    5. A final session is never reopened; higher counters that come late still count, since they were carried.
    6. Accounting-On and -Off end the sessions that started before them and were not heard of since.
    7. One writer per NAS at a time (advisory locks), so that two AAA nodes may both hold packets of one session.
    8. A line that cannot be booked is returned with its reason and stops nothing.
"""

from demarc.modules.access.accounting.lines import (
    ACCOUNTING_FIELDS,
    FORMAT_VERSION,
    LOGIN_FIELDS,
    LONGEST_LINE,
    RejectedLine,
)
from demarc.modules.access.accounting.merge import (
    SESSION_START_TOLERANCE,
    Merged,
    Touched,
    close_stale_sessions,
    list_touched,
    merge_accounting,
    merge_logins,
    prepare_accounting,
)

__all__ = [
    "ACCOUNTING_FIELDS",
    "FORMAT_VERSION",
    "LOGIN_FIELDS",
    "LONGEST_LINE",
    "SESSION_START_TOLERANCE",
    "Merged",
    "RejectedLine",
    "Touched",
    "close_stale_sessions",
    "list_touched",
    "merge_accounting",
    "merge_logins",
    "prepare_accounting",
]
