"""One order to many services: at once when they are few, as a durable job when they are many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Text, bindparam, update

from demarc.kernel.db import Tx
from demarc.kernel.errors import DemarcError, Detail, NotFound, Unavailable
from demarc.kernel.outbox import emit
from demarc.kernel.sql import Query, mine
from demarc.modules.audit.service import record
from demarc.modules.services.inputs import BulkAction, BulkOrder, ServiceChanges
from demarc.modules.services.models import service_bulk, service_bulk_row
from demarc.modules.services.queries import Bulk, BulkRow, hold_bulk, ids_of, list_pending_rows
from demarc.modules.services.service.lifecycle import activate_service, terminate_service
from demarc.modules.services.service.locks import place_lock, resume_service
from demarc.modules.services.service.modification import modify_service
from demarc.modules.services.service.plan_changes import change_plan
from demarc.modules.services.states import (
    BULK_STATES,
    BulkOperation,
    BulkOutcome,
    BulkStatus,
    LockKind,
    OnError,
)

ENTITY = "service_bulk"
AT_ONCE = 50
"""So many are done before the answer; the rest of a larger order follows as a job, so many in a transaction."""

_ADD_ROWS = """
    INSERT INTO service_bulk_row (tenant_id, bulk_id, position, service_uid, outcome)
    SELECT $1, $2, place - 1, uid, 'pending' FROM unnest($3::uuid[]) WITH ORDINALITY AS asked (uid, place)
"""
_UNDO_REST = Query(
    update(service_bulk_row)
    .where(
        mine(service_bulk_row),
        service_bulk_row.c.bulk_id == bindparam("bulk_id"),
        service_bulk_row.c.outcome == BulkOutcome.PENDING.value,
    )
    .values(outcome=bindparam("undone", type_=Text))
)


class _RefusedError(Exception):
    """One row of an all-or-nothing order was refused."""

    def __init__(self, row: BulkRow, refusal: DemarcError) -> None:
        super().__init__(refusal.message)
        self.row = row
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class _Batch:
    """What a run over some rows came to."""

    succeeded: int
    failed: int


async def start_bulk(tx: Tx, order: BulkOrder) -> Bulk:
    """Take on an order. Up to 50 services are done when this returns; more are left to the job `services.bulk`.

    Raises:
        DemarcError: with `on_error` fail and up to 50 services, what the first bad row was refused with; nothing changed.
    """
    bulk = await _insert(tx, order)
    if bulk.total > AT_ONCE:
        await emit(tx, "service_bulk.started", entity=ENTITY, entity_id=bulk.id, total=bulk.total)
        return bulk
    try:
        return await _advance(tx, bulk)
    except _RefusedError as refused:
        raise _located(refused) from refused.refusal


async def advance_bulk(tx: Tx, bulk_id: int) -> Bulk:
    """The next part of an order; with `on_error` fail all of it, or nothing and the order has failed."""
    bulk = await hold_bulk(tx, bulk_id)
    if bulk.status != BulkStatus.RUNNING:
        return bulk
    try:
        async with tx.connection.transaction():
            return await _advance(tx, bulk)
    except _RefusedError as refused:
        await _keep(tx, refused.row, refused.refusal)
        await tx.execute(_UNDO_REST, bulk_id=bulk.id, undone=BulkOutcome.UNDONE.value)
        return await _finish(tx, bulk, BulkStatus.FAILED, failed=1)


async def _advance(tx: Tx, bulk: Bulk) -> Bulk:
    all_or_nothing = bulk.on_error == OnError.FAIL
    rows = await list_pending_rows(tx, bulk.id, limit=bulk.total if all_or_nothing else AT_ONCE)
    done = await _perform(tx, bulk, rows, keep_refusals=not all_or_nothing)
    counted = {"succeeded": bulk.succeeded + done.succeeded, "failed": bulk.failed + done.failed}
    if sum(counted.values()) == bulk.total:
        return await _finish(tx, bulk, BulkStatus.COMPLETED, **counted)
    return await tx.update(service_bulk, Bulk, {"id": bulk.id}, **counted, updated_at=tx.now)


async def _perform(tx: Tx, bulk: Bulk, rows: list[BulkRow], *, keep_refusals: bool) -> _Batch:
    action = msgspec.convert(bulk.action, BulkAction)
    known = await ids_of(tx, [row.service_uid for row in rows])
    refusals = 0
    # In the order of the ids, so that two orders over the same services come one after the other.
    for row in sorted(rows, key=lambda one: (known.get(one.service_uid, 0), one.position)):
        refusal = await _try(tx, action, known.get(row.service_uid), row.service_uid)
        if refusal is not None and not keep_refusals:
            raise _RefusedError(row, refusal)
        refusals += refusal is not None
        await _keep(tx, row, refusal)
    return _Batch(len(rows) - refusals, refusals)


async def _try(tx: Tx, action: BulkAction, service_id: int | None, uid: UUID) -> DemarcError | None:
    """Why one row was refused; None when it was done."""
    if service_id is None:
        return NotFound(f"no service {uid}")
    try:
        async with tx.connection.transaction():
            await _act(tx, action, service_id)
    except Unavailable:
        raise
    except DemarcError as refusal:
        return refusal
    return None


async def _act(tx: Tx, action: BulkAction, service_id: int) -> None:
    match action.operation:
        case BulkOperation.ACTIVATE:
            await activate_service(tx, service_id, at=action.at)
        case BulkOperation.SUSPEND:
            kind = action.lock or LockKind.OTHER
            await place_lock(tx, service_id=service_id, kind=kind, reason=action.reason, lifts_at=action.at)
        case BulkOperation.RESUME:
            await resume_service(tx, service_id=service_id, kind=action.lock, reason=action.reason)
        case BulkOperation.TERMINATE:
            await terminate_service(tx, service_id=service_id, reason=action.reason, at=action.at)
        case BulkOperation.MODIFY:
            changes = msgspec.convert(action.changes, ServiceChanges)
            await modify_service(tx, service_id=service_id, changes=changes, reason=action.reason)
        case BulkOperation.CHANGE_PLAN:
            await change_plan(
                tx, service_id=service_id, plan_ref=action.plan_ref or "", at=action.at, reason=action.reason
            )


def _located(refused: _RefusedError) -> DemarcError:
    """The row's own refusal, which names the row."""
    refusal, place = refused.refusal, f"service_ids.{refused.row.position}"
    message = f"nothing was changed: service {refused.row.service_uid}: {refusal.message}"
    return type(refusal)(message, code=refusal.code, details=(Detail(place, refusal.message),))


async def _insert(tx: Tx, order: BulkOrder) -> Bulk:
    bulk = await tx.insert(
        service_bulk,
        Bulk,
        operation=order.action.operation.value,
        action=msgspec.to_builtins(order.action),
        on_error=order.on_error.value,
        status=BulkStatus.RUNNING.value,
        total=len(order.service_uids),
        requested_by=tx.actor.name,
        created_at=tx.now,
        updated_at=tx.now,
    )
    await tx.connection.execute(_ADD_ROWS, tx.tenant.id, bulk.id, list(order.service_uids))
    about = {
        "operation": bulk.operation,
        "action": bulk.action,
        "on_error": bulk.on_error,
        "total": bulk.total,
    }
    await record(tx, "service_bulk.start", entity=ENTITY, entity_id=bulk.id, after=about)
    return bulk


async def _keep(tx: Tx, row: BulkRow, refusal: DemarcError | None) -> None:
    outcome = BulkOutcome.SUCCEEDED if refusal is None else BulkOutcome.FAILED
    told: dict[str, Any] = {} if refusal is None else {"code": refusal.code, "message": refusal.message}
    await tx.update(service_bulk_row, BulkRow, {"id": row.id}, outcome=outcome.value, **told)


async def _finish(tx: Tx, bulk: Bulk, status: BulkStatus, **counted: int) -> Bulk:
    BULK_STATES.check(BulkStatus(bulk.status), status)
    after = await tx.update(
        service_bulk,
        Bulk,
        {"id": bulk.id},
        **counted,
        action={},  # done, and what it says may be about a customer who wants to be forgotten
        status=status.value,
        updated_at=tx.now,
        finished_at=tx.now,
    )
    await emit(
        tx,
        "service_bulk.finished",
        entity=ENTITY,
        entity_id=bulk.id,
        status=after.status,
        succeeded=after.succeeded,
        failed=after.failed,
    )
    return after
