"""Reads of what FreeRADIUS answers a subscriber, and of the answers it gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address

from sqlalchemy import (
    ARRAY,
    Text,
    any_,
    bindparam,
    select,
)

from demarc.kernel.db import Tx
from demarc.kernel.sql import Query, mine
from demarc.modules.access.models import (
    aaa_login,
    login_attempt,
)
from demarc.modules.access.queries.nas import IDS
from demarc.modules.access.rules import LOCK_REASONS
from demarc.modules.access.states import LoginDecision


@dataclass(frozen=True, slots=True)
class Login:
    """The projection of a subscriber: what an Access-Request is answered from."""

    tenant_id: int
    subscriber_id: int
    service_id: int
    username: str
    mac: str | None
    circuit_id: str | None
    remote_id: str | None
    decision: str
    decision_reason: str
    nt_hash: str = field(repr=False)
    clear_text: str | None = field(repr=False)
    framed_ip: IPv4Address | None
    framed_pool: str | None
    replies: list[str] | None
    download_bps: int | None
    upload_bps: int | None
    session_limit: int
    interim_seconds: int
    expires_at: datetime | None

    @property
    def is_held_by_service(self) -> bool:
        """A lock on the service keeps the subscriber off line, or in the garden."""
        return self.decision != LoginDecision.ACCEPT and self.decision_reason in LOCK_REASONS.values()


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """The last answer that a user name got, and the last refusal. `reason` is empty for an Access-Accept."""

    tenant_id: int
    username: str
    accepted: bool
    reason: str
    calling_station_id: str
    nas_id: int
    attempted_at: datetime
    reject_reason: str | None
    rejected_at: datetime | None


_LOGIN = Query(
    select(aaa_login).where(mine(aaa_login), aaa_login.c.subscriber_id == bindparam("subscriber_id"))
)

_LOGINS = Query(select(aaa_login).where(mine(aaa_login), aaa_login.c.subscriber_id == any_(IDS)))

_ATTEMPTS = Query(
    select(login_attempt).where(
        mine(login_attempt),
        login_attempt.c.username == any_(bindparam("usernames", type_=ARRAY(Text))),
    )
)


async def find_login(tx: Tx, subscriber_id: int) -> Login | None:
    return await tx.find(_LOGIN, Login, subscriber_id=subscriber_id)


async def list_logins(tx: Tx, subscriber_ids: Sequence[int]) -> dict[int, Login]:
    """Projections by subscriber id."""
    rows = await tx.fetch(_LOGINS, Login, ids=list(subscriber_ids))
    return {row.subscriber_id: row for row in rows}


async def list_login_attempts(tx: Tx, usernames: Sequence[str]) -> dict[str, LoginAttempt]:
    """The last log-in of each, by user name."""
    rows = await tx.fetch(_ATTEMPTS, LoginAttempt, usernames=list(usernames))
    return {row.username: row for row in rows}
