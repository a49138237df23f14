"""Bodies of `/api/subscribers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from demarc.modules.access.inputs import (
    BITS_PER_MEGABIT,
    CIRCUIT_ID_LENGTH,
    MEGABITS_MAX,
    PASSWORD_LENGTH,
    SESSIONS_MAX,
    USERNAME_LENGTH,
    megabits,
)
from demarc.modules.access.queries import Login, LoginAttempt, Subscriber
from demarc.modules.access.rules import framed_ip
from demarc.modules.access.states import LoginDecision, SubscriberStatus
from demarc.modules.addressing.queries import Holding
from demarc.modules.addressing.states import PoolKind
from demarc.web.bss.parameters import ApiDatetime, Listed
from demarc.workflows.subscribers import SubscriberOrder

_PASSWORD_MIN, _PASSWORD_MAX = PASSWORD_LENGTH.start, PASSWORD_LENGTH.stop - 1
_USERNAME_MIN, _USERNAME_MAX = USERNAME_LENGTH.start, USERNAME_LENGTH.stop - 1
_POOL_NAME = "without it the default pool"


class WantedStatus(StrEnum):
    """What staff may make of a log-in; deleting it is another matter."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class SubscriberSpeeds(BaseModel):
    """Speeds in Mbit/s, over those of the service."""

    download_mbps: float = Field(gt=0, le=MEGABITS_MAX, allow_inf_nan=False, examples=[200])
    upload_mbps: float = Field(gt=0, le=MEGABITS_MAX, allow_inf_nan=False, examples=[100])

    def columns(self) -> dict[str, int]:
        return {
            "download_bps": megabits(self.download_mbps, "bandwidth_profile.download_mbps"),
            "upload_bps": megabits(self.upload_mbps, "bandwidth_profile.upload_mbps"),
        }


class SubscriberIn(BaseModel):
    """Somebody who is to log on to the network."""

    username: str = Field(
        min_length=_USERNAME_MIN,
        max_length=_USERNAME_MAX,
        examples=["jane.smith@alpha.com"],
        description="unique over all tenants, since a RADIUS log-in names none; user@realm keeps names apart",
    )
    password: str | None = Field(
        None,
        min_length=_PASSWORD_MIN,
        max_length=_PASSWORD_MAX,
        examples=["secure_pass_456"],
        description="generated, and answered once, when it is left out; PAP carries 128 bytes at most",
    )
    customer_id: UUID = Field(examples=["660e8400-e29b-41d4-a716-446655440000"])
    service_id: UUID | None = Field(
        None, description="without it: the newest active service of this type that has no subscriber yet"
    )
    service_type: str | None = Field(None, min_length=1, max_length=40, examples=["fiber_internet"])
    status: WantedStatus = WantedStatus.ACTIVE
    bandwidth_profile: SubscriberSpeeds | None = None
    allocate_ip: bool | None = Field(None, description="a fixed address out of a pool")
    ip_pool_name: str | None = Field(
        None, min_length=1, max_length=100, examples=["residential_pool_1"], description=_POOL_NAME
    )
    static_ipv4: IPv4Address | None = Field(None, description="this address of the pool and no other")
    ipv6_pool_name: str | None = Field(
        None, min_length=1, max_length=100, description="a fixed IPv6 address out of this pool"
    )
    prefix_pool_name: str | None = Field(
        None, min_length=1, max_length=100, description="a delegated IPv6 prefix out of this pool"
    )
    mac: str | None = Field(None, max_length=32, description="lets this device log on without a password")
    circuit_id: str | None = Field(
        None, max_length=CIRCUIT_ID_LENGTH, description="lets this line log on without a password"
    )
    remote_id: str | None = Field(
        None, max_length=CIRCUIT_ID_LENGTH, description="likewise; with a circuit id both have to match"
    )
    session_limit: int = Field(1, ge=0, le=SESSIONS_MAX, description="devices on line at a time; 0: no limit")
    chap_enabled: bool = Field(
        False, description="keep the password readable for FreeRADIUS, as CHAP needs it"
    )
    expires_at: ApiDatetime | None = None

    def to_order(self) -> SubscriberOrder:
        speeds = {} if self.bandwidth_profile is None else self.bandwidth_profile.columns()
        return SubscriberOrder(
            customer_uid=self.customer_id,
            username=self.username,
            password=self.password,
            service_uid=self.service_id,
            service_type=self.service_type,
            status=SubscriberStatus(self.status.value),
            allocate_ip=self.allocate_ip,
            ip_pool_name=self.ip_pool_name,
            address=self.static_ipv4,
            ipv6_pool_name=self.ipv6_pool_name,
            prefix_pool_name=self.prefix_pool_name,
            mac=self.mac,
            circuit_id=self.circuit_id,
            remote_id=self.remote_id,
            session_limit=self.session_limit,
            clear_text_enabled=self.chap_enabled,
            expires_at=self.expires_at,
            **speeds,
        )


class SubscriberPatch(BaseModel):
    """The fields to change; what is left out stays. `bandwidth_profile` null: the speeds of the service again."""

    status: WantedStatus | None = Field(None, description="another one suspends or resumes the log-in")
    bandwidth_profile: SubscriberSpeeds | None = None
    allocate_ip: bool | None = Field(None, description="true: a fixed address; false: none any more")
    ip_pool_name: str | None = Field(None, min_length=1, max_length=100, description=_POOL_NAME)
    mac: str | None = Field(None, max_length=32)
    circuit_id: str | None = Field(None, max_length=CIRCUIT_ID_LENGTH)
    remote_id: str | None = Field(None, max_length=CIRCUIT_ID_LENGTH)
    session_limit: int | None = Field(None, ge=0, le=SESSIONS_MAX)
    chap_enabled: bool | None = None
    expires_at: ApiDatetime | None = None

    @model_validator(mode="after")
    def _one_wish(self) -> Self:
        if self.allocate_ip is False and self.ip_pool_name is not None:
            raise ValueError("allocate_ip is false, but a pool is named; leave out one of them")
        return self

    def changes(self) -> dict[str, Any]:
        """Columns of the subscriber; `status` is a command, the pool is moved by `wants_address`."""
        given = self.model_dump(
            exclude_unset=True, exclude={"status", "bandwidth_profile", "allocate_ip", "ip_pool_name"}
        )
        if "chap_enabled" in given:
            given["clear_text_enabled"] = given.pop("chap_enabled")
        if "bandwidth_profile" in self.model_fields_set:
            profile = self.bandwidth_profile
            given |= profile.columns() if profile else {"download_bps": None, "upload_bps": None}
        return given

    @property
    def wants_address(self) -> bool | None:
        """True: out of the named or default pool; False: none any more; None: as it is."""
        return True if self.ip_pool_name is not None else self.allocate_ip


class ReasonIn(BaseModel):
    """Why; kept with the change and shown to support."""

    reason: str = Field("", max_length=500)


class PasswordIn(BaseModel):
    """The new network password; generated when it is left out."""

    password: str | None = Field(None, min_length=_PASSWORD_MIN, max_length=_PASSWORD_MAX)


class AccessOut(BaseModel):
    """What FreeRADIUS answers right now: accept, garden (a walled garden) or reject, and why."""

    decision: LoginDecision
    reason: str


class LastLogin(BaseModel):
    """The last log-in and the reason if it was refused; real time."""

    accepted: bool
    reason: str
    at: datetime


class LastReject(BaseModel):
    """The last refused log-in, also when later ones went well; real time."""

    reason: str
    at: datetime


class SubscriberOut(BaseModel):
    """A subscriber. `suspended` by itself, or by a lock on its service: `access` says which."""

    id: UUID
    username: str
    status: SubscriberStatus
    customer_id: UUID
    service_id: UUID
    static_ipv4: IPv4Address | None
    static_ipv6: str | None
    framed_ipv6_prefix: str | None
    delegated_prefix: str | None
    routes: list[str] = Field(description="blocks that the NAS routes to the subscriber")
    bandwidth_profile: SubscriberSpeeds
    radius_created: bool = Field(description="FreeRADIUS knows the subscriber")
    access: AccessOut | None
    mac: str | None
    circuit_id: str | None
    remote_id: str | None
    session_limit: int
    chap_enabled: bool
    expires_at: datetime | None
    last_login: LastLogin | None
    last_reject: LastReject | None
    created_at: datetime
    updated_at: datetime


class CreatedSubscriberOut(SubscriberOut):
    """`password` only when it was generated; it is shown this once, and a replay answers null."""

    password: str | None
    shown_once: bool


class PasswordOut(BaseModel):
    """The password, shown this once; null if the caller chose it."""

    id: UUID
    password: str | None
    shown_once: bool


class DisconnectOut(BaseModel):
    """How many live sessions the NAS was told to end; see GET /api/coa-requests for what came of it."""

    id: UUID
    sessions: int


class SubscriberList(Listed):
    """A window of the list."""

    subscribers: list[SubscriberOut]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a subscriber's answer holds beside its row, for a whole page."""

    customers: Mapping[int, UUID]
    services: Mapping[int, UUID]
    holdings: Mapping[int, Sequence[Holding]]
    logins: Mapping[int, Login]
    attempts: Mapping[str, LoginAttempt]


def subscriber_out(row: Subscriber, around: Surroundings) -> SubscriberOut:
    login = around.logins.get(row.id)
    return SubscriberOut(
        id=row.uid,
        username=row.username,
        status=_shown_status(row, login),
        customer_id=around.customers[row.customer_id],
        service_id=around.services[row.service_id],
        **_held(around.holdings.get(row.id, ())),
        bandwidth_profile=_speeds(row, login),
        radius_created=login is not None,
        access=None
        if login is None
        else AccessOut(decision=LoginDecision(login.decision), reason=login.decision_reason),
        mac=row.mac,
        circuit_id=row.circuit_id,
        remote_id=row.remote_id,
        session_limit=row.session_limit,
        chap_enabled=row.clear_text_enabled,
        expires_at=row.expires_at,
        last_login=_last_login(around.attempts.get(row.username)),
        last_reject=_last_reject(around.attempts.get(row.username)),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _held(holdings: Sequence[Holding]) -> dict[str, Any]:
    """What the subscriber holds, the lowest of each kind; of routed blocks all."""
    by_kind: dict[str, list[str]] = {}
    for one in holdings:
        by_kind.setdefault(one.kind, []).append(str(one.address))
    return {
        "static_ipv4": framed_ip(holdings),
        "static_ipv6": next(iter(by_kind.get(PoolKind.IPV6, ())), None),
        "framed_ipv6_prefix": next(iter(by_kind.get(PoolKind.FRAMED_PREFIX, ())), None),
        "delegated_prefix": next(iter(by_kind.get(PoolKind.DELEGATED_PREFIX, ())), None),
        "routes": by_kind.get(PoolKind.ROUTED, []),
    }


def created_out(shown: SubscriberOut, password: str | None) -> CreatedSubscriberOut:
    fields = {name: getattr(shown, name) for name in SubscriberOut.model_fields}
    return CreatedSubscriberOut(**fields, password=password, shown_once=password is not None)


def _shown_status(row: Subscriber, login: Login | None) -> SubscriberStatus:
    if row.status == SubscriberStatus.ACTIVE and login is not None and login.is_held_by_service:
        return SubscriberStatus.SUSPENDED
    return SubscriberStatus(row.status)


def _speeds(row: Subscriber, login: Login | None) -> SubscriberSpeeds:
    down = row.download_bps or (login.download_bps if login else None) or 0
    up = row.upload_bps or (login.upload_bps if login else None) or 0
    return SubscriberSpeeds.model_construct(
        download_mbps=down / BITS_PER_MEGABIT, upload_mbps=up / BITS_PER_MEGABIT
    )


def _last_reject(attempt: LoginAttempt | None) -> LastReject | None:
    if attempt is None or attempt.rejected_at is None:
        return None
    return LastReject(reason=attempt.reject_reason or "", at=attempt.rejected_at)


def _last_login(attempt: LoginAttempt | None) -> LastLogin | None:
    if attempt is None:
        return None
    return LastLogin(accepted=attempt.accepted, reason=attempt.reason, at=attempt.attempted_at)
