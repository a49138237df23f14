"""Who acts, for which tenant, at what business time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class ActorKind(StrEnum):
    USER = "user"
    SERVICE = "service"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is written into the audit log. A system actor is named by what it does ("dunning", "ingester").

    `session_id` and `service_token_id` are what the request was let in by: a transaction begins only while it is good.
    """

    kind: ActorKind
    name: str
    user_id: int | None = None
    session_id: int | None = None
    service_token_id: int | None = None


def system(name: str) -> Actor:
    return Actor(ActorKind.SYSTEM, name)


@dataclass(frozen=True, slots=True)
class TenantContext:
    """What every use case needs to know of its tenant."""

    id: int
    slug: str
    currency: str
    time_zone: str
    is_sandbox: bool
    clock_offset: timedelta
    settings: dict[str, object]
