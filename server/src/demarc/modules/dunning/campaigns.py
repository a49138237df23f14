"""Writes of campaigns; `service` is their public face."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.kernel.outbox import emit
from demarc.modules.audit.service import changes as changed_fields
from demarc.modules.audit.service import record
from demarc.modules.dunning.errors import CampaignInUse
from demarc.modules.dunning.inputs import MESSAGES, Action, NewCampaign
from demarc.modules.dunning.models import dunning_campaign
from demarc.modules.dunning.queries import Campaign, count_executions, get_campaign_to_change
from demarc.modules.dunning.webhook_secrets import may_call_inside
from demarc.modules.notifications.queries import find_wording
from demarc.modules.notifications.states import Channel

ENTITY = "dunning_campaign"


async def create_campaign(
    tx: Tx, new: NewCampaign, *, uid: UUID | None = None, inside: Collection[str] = ()
) -> Campaign:
    """Write down how to collect. Names may repeat.

    Args:
        tx: the caller's transaction.
        new: the campaign.
        uid: given by the sandbox only; otherwise the database makes one.
        inside: hosts that lead to addresses that are not public, as far as they were looked up.

    Raises:
        Invalid: a message's template does not exist, or a webhook leads inside.
    """
    await _check_wording(tx, new.actions)
    _check_webhooks(tx, new.actions, inside)
    fixed = {} if uid is None else {"uid": uid}
    made = await tx.insert(
        dunning_campaign, Campaign, **new.columns(), **fixed, created_at=tx.now, updated_at=tx.now
    )
    await record(tx, "dunning_campaign.create", entity=ENTITY, entity_id=made.id, after=asdict(made))
    await emit(tx, "dunning.campaign_created", entity=ENTITY, entity_id=made.id, campaign_uid=str(made.uid))
    return made


async def _check_wording(tx: Tx, actions: tuple[Action, ...]) -> None:
    for position, action in enumerate(actions):
        if action.type not in MESSAGES or action.template is None:
            continue
        channel = Channel(action.type.value)
        if await find_wording(tx, channel, action.template) is None:
            raise invalid(
                f"actions.{position}.template", f"there is no {channel.value} template {action.template!r}"
            )


def _check_webhooks(tx: Tx, actions: tuple[Action, ...], inside: Collection[str]) -> None:
    if may_call_inside(tx):
        return
    for position, action in enumerate(actions):
        if action.url is not None and action.host in inside:
            raise invalid(
                f"actions.{position}.url",
                f"{action.host} is not a public address; webhooks go there only if the operator allows it "
                "(tenant setting webhook_private_addresses)",
                code="WEBHOOK_ADDRESS_REFUSED",
            )


async def update_campaign(
    tx: Tx, uid: UUID, changes: dict[str, Any], *, inside: Collection[str] = ()
) -> Campaign:
    """Change the given fields of `NewCampaign`; executions that run keep the steps they started with.

    Raises:
        NotFound: no such campaign.
        Invalid: a value is not acceptable.
    """
    before = await get_campaign_to_change(tx, uid)
    if not changes:
        return before
    wanted = replace(_as_input(before), **changes)
    await _check_wording(tx, wanted.actions)
    _check_webhooks(tx, wanted.actions, inside)
    columns = wanted.columns()
    after = await tx.update(
        dunning_campaign,
        Campaign,
        {"id": before.id},
        **{name: columns[name] for name in changes},
        updated_at=tx.now,
    )
    old, new = changed_fields(asdict(before), asdict(after))
    await record(tx, "dunning_campaign.update", entity=ENTITY, entity_id=after.id, before=old, after=new)
    await emit(tx, "dunning.campaign_updated", entity=ENTITY, entity_id=after.id, fields=sorted(changes))
    return after


def _as_input(campaign: Campaign) -> NewCampaign:
    return NewCampaign(
        name=campaign.name,
        description=campaign.description,
        trigger_after_days=campaign.trigger_after_days,
        max_retries=campaign.max_retries,
        retry_interval_days=campaign.retry_interval_days,
        priority=campaign.priority,
        actions=campaign.steps,
        exclusion_rules=campaign.exclusions,
        is_active=campaign.is_active,
    )


async def delete_campaign(tx: Tx, uid: UUID) -> None:
    """Take it out of use; what it did stays in the statistics.

    Raises:
        NotFound: no such campaign.
        CampaignInUse: executions of it have not ended.
    """
    campaign = await get_campaign_to_change(tx, uid)
    running = (await count_executions(tx, campaign_id=campaign.id)).running
    if running:
        raise CampaignInUse(
            f"{running} executions of this campaign are running; cancel them first, or set is_active to false "
            "and delete it when they have ended"
        )
    await tx.update(
        dunning_campaign, Campaign, {"id": campaign.id}, deleted_at=tx.now, is_active=False, updated_at=tx.now
    )
    await record(tx, "dunning_campaign.delete", entity=ENTITY, entity_id=campaign.id, before=asdict(campaign))
    await emit(tx, "dunning.campaign_deleted", entity=ENTITY, entity_id=campaign.id, campaign_uid=str(uid))
