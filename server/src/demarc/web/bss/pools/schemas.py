"""Bodies of `/api/pools` and `/api/addresses`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from demarc.modules.access.queries import EndedSession, Session
from demarc.modules.addressing.inputs import (
    NAME_LENGTH,
    QUARANTINE_HOURS,
    QUARANTINE_HOURS_MAX,
    NewPool,
    clean_network,
)
from demarc.modules.addressing.queries import Address, Assignment, Pool, Utilisation
from demarc.modules.addressing.states import AddressStatus, PoolStatus
from demarc.web.bss.parameters import Listed


class PoolIn(BaseModel):
    """A new pool of IPv4 addresses, /14 at the widest."""

    name: str = Field(min_length=1, max_length=NAME_LENGTH, examples=["residential_pool_1"])
    network: str = Field(max_length=43, examples=["10.100.0.0/22"])
    gateway: IPv4Address | None = Field(None, examples=["10.100.0.1"], description="never handed out")
    is_default: bool = Field(False, description="serves subscribers who name no pool")
    quarantine_hours: int = Field(
        QUARANTINE_HOURS, ge=0, le=QUARANTINE_HOURS_MAX, description="how long a released address rests"
    )

    def to_input(self) -> NewPool:
        return NewPool(**{**self.model_dump(), "network": clean_network(self.network)})


class PoolPatch(BaseModel):
    """The fields to change; what is left out stays. A closed pool hands out no more addresses."""

    name: str | None = Field(None, min_length=1, max_length=NAME_LENGTH)
    is_default: bool | None = None
    quarantine_hours: int | None = Field(None, ge=0, le=QUARANTINE_HOURS_MAX)
    status: PoolStatus | None = None

    def changes(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


class UtilisationOut(BaseModel):
    """Addresses by what may be done with them; a quarantine that is over counts as free."""

    total: int
    free: int
    assigned: int
    quarantined: int
    reserved: int
    percent_assigned: float = Field(description="of those that can be handed out at all")


class PoolOut(BaseModel):
    """An address pool."""

    id: UUID
    name: str
    network: IPv4Network
    gateway: IPv4Address | None
    is_default: bool
    quarantine_hours: int
    status: PoolStatus
    utilisation: UtilisationOut
    created_at: datetime
    updated_at: datetime


class PoolList(Listed):
    """A window of the list."""

    pools: list[PoolOut]


class AddressOut(BaseModel):
    """One address of a pool."""

    address: IPv4Address
    status: AddressStatus
    subscriber_id: UUID | None
    available_at: datetime | None = Field(description="end of the quarantine")


class AddressList(Listed):
    """A window of the list."""

    addresses: list[AddressOut]


class AssignmentOut(BaseModel):
    """The subscriber held the address as a fixed one from `assigned_at` until before `released_at`."""

    subscriber_id: UUID | None
    assigned_at: datetime
    released_at: datetime | None


class AddressSessionOut(BaseModel):
    """A session that used the address, fixed or out of a pool of the NAS's own."""

    subscriber_id: UUID | None
    username: str
    session_id: UUID
    calling_station_id: str
    started_at: datetime
    stopped_at: datetime | None


class AddressHistoryOut(Listed):
    """Who had the address, newest first; with `at`, who had it at that moment. The window is that of `assignments`."""

    address: IPv4Address
    at: datetime | None
    assignments: list[AssignmentOut]
    sessions: list[AddressSessionOut] = Field(description="live ones and the newest 100 that have ended")


def pool_out(row: Pool, used: Utilisation) -> PoolOut:
    usable = used.total - used.reserved
    return PoolOut(
        id=row.uid,
        name=row.name,
        network=row.network,
        gateway=row.gateway,
        is_default=row.is_default,
        quarantine_hours=row.quarantine_hours,
        status=PoolStatus(row.status),
        utilisation=UtilisationOut(
            total=used.total,
            free=used.free,
            assigned=used.assigned,
            quarantined=used.quarantined,
            reserved=used.reserved,
            percent_assigned=round(100 * used.assigned / usable, 2) if usable else 0.0,
        ),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def address_out(row: Address, subscribers: Mapping[int, UUID]) -> AddressOut:
    return AddressOut(
        address=row.address,
        status=AddressStatus(row.status),
        subscriber_id=None if row.subscriber_id is None else subscribers.get(row.subscriber_id),
        available_at=row.available_at,
    )


def assignment_out(row: Assignment, subscribers: Mapping[int, UUID]) -> AssignmentOut:
    return AssignmentOut(
        subscriber_id=subscribers.get(row.subscriber_id),
        assigned_at=row.assigned_at,
        released_at=row.released_at,
    )


def address_session_out(row: Session, subscribers: Mapping[int, UUID]) -> AddressSessionOut:
    return AddressSessionOut(
        subscriber_id=subscribers.get(row.subscriber_id),
        username=row.username,
        session_id=row.id,
        calling_station_id=row.calling_station_id,
        started_at=row.started_at,
        stopped_at=row.stopped_at if isinstance(row, EndedSession) else None,
    )
