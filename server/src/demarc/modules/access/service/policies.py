"""Other speeds than those that were sold, or no access, for a while: of a service, or of one of its subscribers."""

from __future__ import annotations

from dataclasses import asdict
from uuid import UUID

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict
from demarc.kernel.outbox import emit
from demarc.modules.access.inputs import NewPolicy
from demarc.modules.access.models import access_policy
from demarc.modules.access.queries import Policy, get_policy, list_expired_policies, list_open_policies
from demarc.modules.access.service.projection import refresh_login, refresh_service
from demarc.modules.access.states import PolicyKind
from demarc.modules.audit.service import record
from demarc.modules.services.queries import hold_service

ENTITY = "access_policy"


async def place_policy(tx: Tx, new: NewPolicy) -> Policy:
    """Hold from the commit on, in place of the policy of that kind that is open there; live sessions are told by CoA.

    Placing what holds already changes nothing.
    """
    await hold_service(tx, new.service_id)
    before = await _open_one(tx, new.service_id, new.subscriber_id, new.kind)
    if before is not None:
        if new.says_what(before):
            return before
        await _close(tx, before)
    made = await tx.insert(
        access_policy,
        Policy,
        service_id=new.service_id,
        subscriber_id=new.subscriber_id,
        kind=new.kind.value,
        download_bps=new.download_bps,
        upload_bps=new.upload_bps,
        blocks=new.blocks,
        reason=new.reason,
        placed_by=tx.actor.name,
        placed_at=tx.now,
        expires_at=new.expires_at,
    )
    await record(tx, "access_policy.place", entity=ENTITY, entity_id=made.id, after=asdict(made))
    await emit(
        tx,
        "access_policy.placed",
        entity=ENTITY,
        entity_id=made.id,
        service_id=made.service_id,
        kind=made.kind,
    )
    await _refresh(tx, made, made.reason)
    return made


async def lift_policy(tx: Tx, uid: UUID, *, reason: str) -> Policy:
    """Back to what was sold.

    Raises:
        NotFound: no such policy.
        Conflict: it was lifted already.
    """
    before = await get_policy(tx, uid)
    await hold_service(tx, before.service_id)
    before = await get_policy(tx, uid)
    if before.lifted_at is not None:
        raise Conflict(
            "the policy was lifted already; allowed from here: nothing: it is final", code="POLICY_LIFTED"
        )
    return await _lift(tx, before, reason)


async def lift_service_policy(tx: Tx, service_id: int, kind: PolicyKind, *, reason: str) -> bool:
    """Lift the open policy of that kind of a whole service; whether there was one."""
    await hold_service(tx, service_id)
    before = await _open_one(tx, service_id, None, kind)
    if before is not None:
        await _lift(tx, before, reason)
    return before is not None


async def lapse_policies(tx: Tx) -> int:
    """Sweep: lift what has expired at `tx.now`; how many."""
    expired = await list_expired_policies(tx)
    for policy in expired:
        await hold_service(tx, policy.service_id)
        if (await get_policy(tx, policy.uid)).lifted_at is None:
            await _lift(tx, policy, "its time is over")
    return len(expired)


async def _open_one(tx: Tx, service_id: int, subscriber_id: int | None, kind: PolicyKind) -> Policy | None:
    for policy in await list_open_policies(tx, service_id):
        if policy.kind == kind and policy.subscriber_id == subscriber_id:
            return policy
    return None


async def _close(tx: Tx, before: Policy) -> Policy:
    return await tx.update(
        access_policy, Policy, {"id": before.id}, lifted_at=tx.now, lifted_by=tx.actor.name
    )


async def _lift(tx: Tx, before: Policy, reason: str) -> Policy:
    after = await _close(tx, before)
    await record(
        tx,
        "access_policy.lift",
        entity=ENTITY,
        entity_id=before.id,
        before=asdict(before),
        after={"lifted_at": after.lifted_at, "reason": reason},
    )
    await emit(
        tx,
        "access_policy.lifted",
        entity=ENTITY,
        entity_id=before.id,
        service_id=before.service_id,
        kind=before.kind,
    )
    await _refresh(tx, after, reason)
    return after


async def _refresh(tx: Tx, policy: Policy, reason: str) -> None:
    if policy.subscriber_id is None:
        await refresh_service(tx, policy.service_id, reason=reason)
    else:
        await refresh_login(tx, policy.subscriber_id, reason=reason)
