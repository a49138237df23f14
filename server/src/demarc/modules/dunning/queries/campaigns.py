"""Reads of campaigns."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    String,
    any_,
    bindparam,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.customers.states import CustomerTier
from demarc.modules.dunning.inputs import Action, ExclusionRules
from demarc.modules.dunning.models import dunning_campaign
from demarc.modules.dunning.states import ActionType


def read_actions(stored: list[dict[str, Any]]) -> tuple[Action, ...]:
    return tuple(Action(**{**step, "type": ActionType(step["type"])}) for step in stored)


@dataclass(frozen=True, slots=True)
class Campaign:
    """One row."""

    tenant_id: int
    id: int
    uid: UUID
    name: str
    description: str
    trigger_after_days: int
    max_retries: int
    retry_interval_days: int
    priority: int
    actions: list[dict[str, Any]]
    exclusion_rules: dict[str, Any]
    is_active: bool
    deleted_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def steps(self) -> tuple[Action, ...]:
        return read_actions(self.actions)

    @property
    def exclusions(self) -> ExclusionRules:
        """The stored rules as values."""
        rules = self.exclusion_rules
        return ExclusionRules(
            min_lifetime_minor=rules.get("min_lifetime_minor"),
            customer_tiers=tuple(CustomerTier(tier) for tier in rules.get("customer_tiers", ())),
            customer_tags=tuple(rules.get("customer_tags", ())),
        )


@dataclass(frozen=True, slots=True)
class CampaignCounts:
    """Campaigns that are not deleted."""

    total: int
    active: int


_C = dunning_campaign.c

_KEPT = mine(dunning_campaign) & _C.deleted_at.is_(None)

_CAMPAIGN = select(dunning_campaign).where(_KEPT, _C.uid == bindparam("uid"))

_CAMPAIGN_BY_UID = Query(_CAMPAIGN)

_CAMPAIGN_SHARED = Query(_CAMPAIGN.with_for_update(read=True))

_CAMPAIGN_LOCKED = Query(_CAMPAIGN.with_for_update())

_CAMPAIGN_BY_ID = Query(select(dunning_campaign).where(mine(dunning_campaign), _C.id == bindparam("id")))

_CAMPAIGN_ID = Query(select(_C.id).where(mine(dunning_campaign), _C.uid == bindparam("uid")))

_ACTIVE_CAMPAIGNS = Query(
    select(dunning_campaign)
    .where(_KEPT, _C.is_active)
    .order_by(_C.priority.desc(), _C.id)
    .with_for_update(read=True)
)

_CAMPAIGN_UIDS = Query(
    select(_C.id, _C.uid).where(
        mine(dunning_campaign), _C.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))
    )
)

_COUNT_CAMPAIGNS = Query(
    select(func.count().label("total"), func.count().filter(_C.is_active).label("active")).where(_KEPT)
)

CAMPAIGNS = Listing(
    dunning_campaign,
    filters={
        "kept": _C.deleted_at.is_(None) == bindparam("kept", type_=Boolean),
        "is_active": _C.is_active == bindparam("is_active", type_=Boolean),
        "search": func.strpos(func.lower(_C.name), func.lower(bindparam("search", type_=String))) > 0,
    },
    sorts={
        "rank": -_C.priority,
        "priority": _C.priority,
        "name": _C.name,
        "created_at": _C.created_at,
    },
    default_sort="rank",
)


async def get_campaign(tx: Tx, uid: UUID) -> Campaign:
    """Raises `NotFound`, also for one that was deleted."""
    return _found(await tx.find(_CAMPAIGN_BY_UID, Campaign, uid=uid), uid)


async def get_campaign_to_start(tx: Tx, uid: UUID) -> Campaign:
    """As `get_campaign`; it cannot be deleted or edited until the transaction ends."""
    return _found(await tx.find(_CAMPAIGN_SHARED, Campaign, uid=uid), uid)


async def get_campaign_to_change(tx: Tx, uid: UUID) -> Campaign:
    """As `get_campaign`, and the row is ours until the transaction ends."""
    return _found(await tx.find(_CAMPAIGN_LOCKED, Campaign, uid=uid), uid)


def _found(campaign: Campaign | None, uid: UUID) -> Campaign:
    if campaign is None:
        raise NotFound(f"no dunning campaign {uid}")
    return campaign


async def get_campaign_by_id(tx: Tx, campaign_id: int) -> Campaign:
    """Also one that was deleted, since its executions go on.

    Raises:
        NotFound: no such campaign.
    """
    return await tx.get(_CAMPAIGN_BY_ID, Campaign, f"no dunning campaign {campaign_id}", id=campaign_id)


async def find_campaign_id(tx: Tx, uid: UUID) -> int | None:
    """The row of a campaign, deleted or not."""
    found: int | None = await tx.value(_CAMPAIGN_ID, uid=uid)
    return found


async def list_campaigns(
    tx: Tx, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[Campaign]:
    """In the order in which they are tried: highest priority first, then the oldest. Filters: is_active, search."""
    return await CAMPAIGNS.page(tx, Campaign, window, sort=sort, kept=True, **filters)


async def list_active_campaigns(tx: Tx) -> list[Campaign]:
    """In the order in which they are tried; none of them can be deleted until the transaction ends."""
    return await tx.fetch(_ACTIVE_CAMPAIGNS, Campaign)


async def campaign_uids_of(tx: Tx, ids: Collection[int]) -> dict[int, UUID]:
    """The `/api` ids of these campaigns."""
    rows = await tx.connection.fetch(
        _CAMPAIGN_UIDS.sql, *_CAMPAIGN_UIDS.arguments({"tenant_id": tx.tenant.id, "ids": [*ids]})
    )
    return {row["id"]: row["uid"] for row in rows}


async def count_campaigns(tx: Tx) -> CampaignCounts:
    counts = await tx.find(_COUNT_CAMPAIGNS, CampaignCounts)
    return counts or CampaignCounts(0, 0)
