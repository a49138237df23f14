"""Bodies of `/api/pools` and `/api/addresses`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field, IPvAnyAddress, IPvAnyNetwork

from demarc.modules.access.queries import EndedSession, Session
from demarc.modules.addressing.inputs import (
    NAME_LENGTH,
    NOTE_LENGTH,
    QUARANTINE_HOURS,
    QUARANTINE_HOURS_MAX,
    NewPool,
    clean_network,
)
from demarc.modules.addressing.queries import Address, Assignment, Exclusion, Pool, Utilisation
from demarc.modules.addressing.states import AddressStatus, PoolKind, PoolStatus
from demarc.web.bss.parameters import Listed


class PoolIn(BaseModel):
    """A new pool: of IPv4 addresses (/14 at the widest), IPv6 addresses, prefixes, or routed blocks."""

    name: str = Field(min_length=1, max_length=NAME_LENGTH, examples=["residential_pool_1"])
    kind: PoolKind = Field(
        PoolKind.IPV4,
        description="ipv4, ipv6: an address each; framed_prefix: a /64 for the line; delegated_prefix: for what is "
        "behind the router; routed: blocks, IPv4 or IPv6, that the NAS routes to the subscriber",
    )
    network: str = Field(max_length=43, examples=["10.100.0.0/22"])
    prefix_length: int | None = Field(
        None, ge=1, le=128, description="of what is handed out: delegated_prefix 48 to 64 (56), routed any"
    )
    gateway: IPvAnyAddress | None = Field(None, examples=["10.100.0.1"], description="never handed out")
    is_default: bool = Field(False, description="serves subscribers who name no pool of this kind")
    quarantine_hours: int = Field(
        QUARANTINE_HOURS, ge=0, le=QUARANTINE_HOURS_MAX, description="how long a released address rests"
    )

    def to_input(self) -> NewPool:
        return NewPool(**{**self.model_dump(), "network": clean_network(self.network, self.kind)})


class ExclusionIn(BaseModel):
    """A range that is never handed out; `last` included, without it `first` alone, an address or a network."""

    first: str = Field(max_length=43, examples=["10.100.0.2"])
    last: str | None = Field(None, max_length=43, examples=["10.100.0.9"])
    note: str = Field("", max_length=NOTE_LENGTH)


class ExclusionOut(BaseModel):
    """A range that is never handed out, both ends included, in whole blocks."""

    id: UUID
    first: IPvAnyAddress
    last: IPvAnyAddress
    note: str
    created_at: datetime


class ExclusionList(Listed):
    """A window of the list."""

    exclusions: list[ExclusionOut]


class AssignmentIn(BaseModel):
    """What a subscriber is to hold: the lowest that is free, or `address` and no other."""

    subscriber_id: UUID
    pool_id: UUID
    address: str | None = Field(None, max_length=43, examples=["2001:db8:8000:100::/56"])


class PoolPatch(BaseModel):
    """The fields to change; what is left out stays. A closed pool hands out no more addresses."""

    name: str | None = Field(None, min_length=1, max_length=NAME_LENGTH)
    is_default: bool | None = None
    quarantine_hours: int | None = Field(None, ge=0, le=QUARANTINE_HOURS_MAX)
    status: PoolStatus | None = None

    def changes(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


class UtilisationOut(BaseModel):
    """What may be done with the pool's addresses or blocks; a quarantine that is over counts as free.

    Of IPv6 the numbers may be larger than 64 bits.
    """

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
    kind: PoolKind
    network: IPvAnyNetwork
    prefix_length: int
    gateway: IPvAnyAddress | None
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
    """One address, prefix or block of a pool."""

    address: str
    status: AddressStatus
    subscriber_id: UUID | None
    available_at: datetime | None = Field(description="end of the quarantine")


class AddressList(Listed):
    """A window of the list."""

    addresses: list[AddressOut]


class AssignmentOut(BaseModel):
    """The subscriber held the address, prefix or block from `assigned_at` until before `released_at`."""

    id: UUID
    address: str
    pool_id: UUID
    kind: PoolKind
    subscriber_id: UUID | None
    assigned_at: datetime
    released_at: datetime | None


class AssignmentList(Listed):
    """A window of the list."""

    assignments: list[AssignmentOut]


class AddressSessionOut(BaseModel):
    """A session that used the address, fixed or out of a pool of the NAS's own."""

    subscriber_id: UUID | None
    username: str
    session_id: UUID
    calling_station_id: str
    started_at: datetime
    stopped_at: datetime | None


class AddressHistoryOut(Listed):
    """Who had the address, newest first; with `at`, who had it at that moment. The window is that of `assignments`.

    An address within a prefix or block counts as its holder's.
    """

    address: str
    at: datetime | None
    assignments: list[AssignmentOut]
    sessions: list[AddressSessionOut] = Field(description="live ones and the newest 100 that have ended")


def pool_out(row: Pool, used: Utilisation) -> PoolOut:
    usable = used.total - used.reserved
    return PoolOut(
        id=row.uid,
        name=row.name,
        kind=PoolKind(row.kind),
        network=row.network,
        prefix_length=row.prefix_length,
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
        address=str(row.address),
        status=AddressStatus(row.status),
        subscriber_id=None if row.subscriber_id is None else subscribers.get(row.subscriber_id),
        available_at=row.available_at,
    )


def exclusion_out(row: Exclusion) -> ExclusionOut:
    return ExclusionOut(
        id=row.uid, first=row.first_address, last=row.last_address, note=row.note, created_at=row.created_at
    )


def assignment_out(
    row: Assignment, subscribers: Mapping[int, UUID], pools: Mapping[int, Pool]
) -> AssignmentOut:
    return AssignmentOut(
        id=row.uid,
        address=str(row.address),
        pool_id=pools[row.pool_id].uid,
        kind=PoolKind(pools[row.pool_id].kind),
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
