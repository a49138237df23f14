"""Locks: what holds a service down, and lets it go."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import any_, bindparam, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import DateTime, Text

from demarc.kernel.db import Tx
from demarc.kernel.sql import Query, mine
from demarc.modules.audit.service import record
from demarc.modules.services.inputs import clean_reason
from demarc.modules.services.models import service_lock
from demarc.modules.services.queries import (
    ENTITY,
    Service,
    ServiceLock,
    find_lock_due_to_lift,
    hold_service,
    list_open_locks,
)
from demarc.modules.services.rules import (
    check_end_of_lock,
    check_may_resume,
    check_may_suspend,
    gravest,
    kinds_to_lift,
)
from demarc.modules.services.service.standing import ahead, settle, tell
from demarc.modules.services.states import LockKind, ServiceStatus

_LIFT = Query(
    update(service_lock)
    .where(
        mine(service_lock),
        service_lock.c.service_id == bindparam("service_id"),
        service_lock.c.lifted_at.is_(None),
        service_lock.c.kind == any_(bindparam("kinds", type_=ARRAY(Text))),
    )
    .values(
        lifted_at=bindparam("now", type_=DateTime(timezone=True)),
        lifted_by=bindparam("lifted_by", type_=Text),
    )
)


async def place_lock(
    tx: Tx, *, service_id: int, kind: LockKind, reason: str, lifts_at: datetime | None = None
) -> Service:
    """Hold a service down. A lock that is on already stays as it is, but for a new `lifts_at`.

    Args:
        tx: the caller's transaction.
        service_id: which service.
        kind: which lock.
        reason: why; shown to staff.
        lifts_at: business time at which the sweep lifts the lock again; None: when somebody does.

    Raises:
        NotFound: no such service.
        Conflict: the service is terminating or terminated.
        Invalid: no reason, or the end is a day that has gone by, or that of a fraud lock, which only a person lifts.
    """
    before = await hold_service(tx, service_id)
    check_may_suspend(ServiceStatus(before.status))
    check_end_of_lock(kind, lifts_at)
    ahead(tx, lifts_at, field="auto_resume_at")
    open_locks = {LockKind(lock.kind): lock for lock in await list_open_locks(tx, service_id)}
    if kind in open_locks:
        await _move_end(tx, open_locks[kind], lifts_at)
        return before
    await tx.insert(
        service_lock,
        ServiceLock,
        service_id=service_id,
        kind=kind.value,
        reason=clean_reason(reason),
        placed_by=tx.actor.name,
        placed_at=tx.now,
        lifts_at=lifts_at,
    )
    after = await settle(
        tx,
        before,
        replace(before.standing, held_by=gravest({*open_locks, kind})),
        action="service.suspend",
        reason=reason,
        locks_changed=True,
        suspended_at=before.suspended_at or tx.now,
    )
    await tell(tx, "service.suspended", after, lock=kind.value, reason=reason)
    return after


async def _move_end(tx: Tx, lock: ServiceLock, lifts_at: datetime | None) -> None:
    if lifts_at is None or lifts_at == lock.lifts_at:
        return
    await tx.update(service_lock, ServiceLock, {"id": lock.id}, lifts_at=lifts_at)
    await record(
        tx,
        "service.move_end_of_lock",
        entity=ENTITY,
        entity_id=lock.service_id,
        before={"lifts_at": lock.lifts_at},
        after={"lifts_at": lifts_at},
    )


async def lift_lock_due(tx: Tx, lock_id: int) -> bool:
    """Lift one lock whose time is over; False when it is not, or is lifted already."""
    due = await find_lock_due_to_lift(tx, lock_id)
    if due is None:
        return False
    before = await hold_service(tx, due.service_id)
    if await find_lock_due_to_lift(tx, lock_id) is None:
        return False
    kinds = {LockKind(lock.kind) for lock in await list_open_locks(tx, before.id)}
    await _lift(tx, before, kinds, frozenset({LockKind(due.kind)}), "end of the suspension")
    return True


async def lift_lock(tx: Tx, *, service_id: int, kind: LockKind | None, reason: str = "") -> Service:
    """Lift one lock, or all but fraud; a service on which no such lock is on stays as it is.

    Raises:
        NotFound: no such service.
    """
    before = await hold_service(tx, service_id)
    kinds = {LockKind(lock.kind) for lock in await list_open_locks(tx, service_id)}
    lifted = kinds_to_lift(kinds, kind)
    return await _lift(tx, before, kinds, lifted, reason) if lifted else before


async def resume_service(tx: Tx, *, service_id: int, kind: LockKind | None, reason: str = "") -> Service:
    """Lift one lock, or all but fraud, as a person asks for it.

    Raises:
        NotFound: no such service.
        Conflict: no such lock is on.
    """
    before = await hold_service(tx, service_id)
    kinds = {LockKind(lock.kind) for lock in await list_open_locks(tx, service_id)}
    check_may_resume(ServiceStatus(before.status), kinds, kind)
    return await _lift(tx, before, kinds, kinds_to_lift(kinds, kind), reason)


async def _lift(
    tx: Tx, before: Service, kinds: set[LockKind], lifted: frozenset[LockKind], reason: str
) -> Service:
    await close_locks(tx, before.id, lifted)
    held_by = gravest(kinds - lifted)
    after = await settle(
        tx,
        before,
        replace(before.standing, held_by=held_by),
        action="service.resume",
        reason=reason,
        locks_changed=True,
        suspended_at=before.suspended_at if held_by else None,
    )
    await tell(tx, "service.resumed", after, locks=sorted(lifted), held_by=after.held_by, reason=reason)
    return after


async def close_locks(tx: Tx, service_id: int, kinds: frozenset[LockKind]) -> None:
    await tx.execute(_LIFT, service_id=service_id, kinds=sorted(kinds), now=tx.now, lifted_by=tx.actor.name)
