"""`/api/access-policies`: other speeds than those that were sold, or no access, for a while."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field, model_validator

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.kernel.paging import Page
from demarc.modules.access.inputs import BITS_PER_MEGABIT, MEGABITS_MAX, NewPolicy, megabits
from demarc.modules.access.queries import (
    Policy,
    find_subscriber_id,
    get_policy,
    get_subscriber,
    list_policies,
    uids_of,
)
from demarc.modules.access.service import lift_policy, place_policy
from demarc.modules.access.states import PolicyKind
from demarc.modules.services.queries import get_service
from demarc.modules.services.queries import uids_of as service_uids_of
from demarc.web.bss.parameters import ApiDatetime, Listed, SortParam, WindowDep, counts
from demarc.web.bss.references import service_key
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/access-policies", tag="sessions")
Speed = Annotated[float, Field(gt=0, le=MEGABITS_MAX, allow_inf_nan=False, examples=[20])]


class OverrideIn(BaseModel):
    """Speeds in Mbit/s until `expires_at` (business time; left out: until it is lifted)."""

    download_mbps: Speed
    upload_mbps: Speed
    expires_at: ApiDatetime | None = None
    reason: str = Field("", max_length=500)


class PolicyIn(BaseModel):
    """For one subscriber, or every one of a service: other speeds, or with `block` no access."""

    subscriber_id: UUID | None = None
    service_id: UUID | None = None
    download_mbps: Speed | None = None
    upload_mbps: Speed | None = None
    block: bool = False
    expires_at: ApiDatetime | None = None
    reason: str = Field("", max_length=500)

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.subscriber_id is None) == (self.service_id is None):
            raise ValueError("name a subscriber_id or a service_id, one of them")
        speeds = (self.download_mbps is None, self.upload_mbps is None)
        if self.block and speeds != (True, True):
            raise ValueError("block lets nothing through; leave out the speeds")
        if not self.block and speeds != (False, False):
            raise ValueError("give download_mbps and upload_mbps, or block")
        return self


class LiftIn(BaseModel):
    """Why; kept with the change."""

    reason: str = Field("", max_length=500)


class PolicyOut(BaseModel):
    """A policy; `override` (staff) goes before `fair_use` (a data cap). `subscriber_id` null: for the whole service."""

    id: UUID
    kind: PolicyKind
    service_id: UUID
    subscriber_id: UUID | None
    download_mbps: float | None
    upload_mbps: float | None
    block: bool
    reason: str
    placed_by: str
    placed_at: datetime
    expires_at: datetime | None
    lifted_by: str | None
    lifted_at: datetime | None


class PolicyList(Listed):
    """A window of the list."""

    access_policies: list[PolicyOut]


async def policies_out(tx: Tx, rows: Sequence[Policy]) -> list[PolicyOut]:
    services = await service_uids_of(tx, {row.service_id for row in rows})
    named = {row.subscriber_id for row in rows if row.subscriber_id is not None}
    subscribers = await uids_of(tx, list(named))
    return [
        PolicyOut(
            id=row.uid,
            kind=PolicyKind(row.kind),
            service_id=services[row.service_id],
            subscriber_id=None if row.subscriber_id is None else subscribers[row.subscriber_id],
            download_mbps=_mbps(row.download_bps),
            upload_mbps=_mbps(row.upload_bps),
            block=row.blocks,
            reason=row.reason,
            placed_by=row.placed_by,
            placed_at=row.placed_at,
            expires_at=row.expires_at,
            lifted_by=row.lifted_by,
            lifted_at=row.lifted_at,
        )
        for row in rows
    ]


def _mbps(bps: int | None) -> float | None:
    return None if bps is None else bps / BITS_PER_MEGABIT


async def override(
    tx: Tx, *, service_id: int, subscriber_id: int | None, body: OverrideIn | PolicyIn
) -> PolicyOut:
    """Place what staff ask for; live sessions are told by CoA.

    Raises:
        Invalid: its time is over before it begins.
    """
    if body.expires_at is not None and body.expires_at <= tx.now:
        raise invalid(
            "expires_at", f"has gone by; it is {tx.now.isoformat(timespec='seconds')} for this tenant"
        )
    placed = await place_policy(
        tx,
        NewPolicy(
            service_id=service_id,
            subscriber_id=subscriber_id,
            kind=PolicyKind.OVERRIDE,
            download_bps=_bits(body.download_mbps, "download_mbps"),
            upload_bps=_bits(body.upload_mbps, "upload_mbps"),
            blocks=isinstance(body, PolicyIn) and body.block,
            reason=body.reason or "speed override",
            expires_at=body.expires_at,
        ),
    )
    return (await policies_out(tx, [placed]))[0]


def _bits(mbps: float | None, name: str) -> int | None:
    return None if mbps is None else megabits(mbps, name)


@router.on("POST", "", permission="access.write", status=201, problem=(404,))
async def create(body: PolicyIn, tx: TxDep) -> PolicyOut:
    """Change speeds for a while, of live sessions at once by CoA; in place of the override that is open there."""
    if body.subscriber_id is not None:
        row = await get_subscriber(tx, body.subscriber_id)
        return await override(tx, service_id=row.service_id, subscriber_id=row.id, body=body)
    if body.service_id is None:
        raise invalid("service_id", "is missing")
    service = await get_service(tx, body.service_id)
    return await override(tx, service_id=service.id, subscriber_id=None, body=body)


@router.on("GET", "", permission="access.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    service_id: UUID | None = None,
    subscriber_id: UUID | None = None,
    kind: PolicyKind | None = None,
    open_only: Annotated[bool | None, Query(alias="open", description="not lifted; false: lifted")] = None,
    sort: SortParam = None,
) -> PolicyList:
    """Policies, the newest first, unless `sort` says otherwise (placed_at)."""
    subscriber = None if subscriber_id is None else await find_subscriber_id(tx, subscriber_id)
    if subscriber_id is not None and subscriber is None:
        return PolicyList(access_policies=[], **counts(Page([], 0, window)))
    page = await list_policies(
        tx,
        window,
        sort=sort,
        service_id=await service_key(tx, service_id),
        subscriber_id=subscriber,
        kind=kind,
        is_open=open_only,
    )
    return PolicyList(access_policies=await policies_out(tx, page.rows), **counts(page))


@router.on("GET", "/{policy_id}", permission="access.read", problem=(404,))
async def get(policy_id: UUID, tx: TxDep) -> PolicyOut:
    """One policy."""
    return (await policies_out(tx, [await get_policy(tx, policy_id)]))[0]


@router.on("POST", "/{policy_id}/lift", permission="access.write", problem=(404, 409))
async def lift(policy_id: UUID, tx: TxDep, body: LiftIn | None = None) -> PolicyOut:
    """Back to what was sold, of live sessions at once. A throttle of a data cap is set again with its next change: a top-up, another limit."""
    reason = "" if body is None else body.reason
    return (await policies_out(tx, [await lift_policy(tx, policy_id, reason=reason)]))[0]
