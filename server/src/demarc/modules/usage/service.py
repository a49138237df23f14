"""Every write of usage, one function per use case. Metering is in `metering`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from demarc.kernel.clock import local_date
from demarc.kernel.db import Tx
from demarc.kernel.errors import DemarcError, Detail, NotFound, invalid
from demarc.kernel.ids import new_uids
from demarc.kernel.outbox import emit
from demarc.kernel.states import record_status_change
from demarc.modules.audit.service import record
from demarc.modules.catalog.queries import PlanUsagePrice, find_usage_price
from demarc.modules.catalog.states import PriceModel
from demarc.modules.subscriptions.queries import PastTerm, list_past_terms
from demarc.modules.usage import statements
from demarc.modules.usage.errors import already_billed, other_content
from demarc.modules.usage.inputs import BULK_MAX, NewUsage, OnError, Span
from demarc.modules.usage.metering import METERED_SYSTEM
from demarc.modules.usage.queries import (
    UsageLine,
    UsageRecord,
    get_usage_record,
    list_lines,
    list_metered_keys,
    list_source_keys,
    lock_usage_record,
)
from demarc.modules.usage.states import BILLING, BilledStatus

ENTITY = "usage_record"
MILLION = 1_000_000
NOTHING_METERED: Mapping[int, UUID] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record of a bulk request that was not taken; `index` counts from 0."""

    index: int
    error: DemarcError


@dataclass(frozen=True, slots=True)
class BulkOutcome:
    """`uids` stands in the order of the request: None for a refused record, the first one's for a duplicate."""

    uids: list[UUID | None]
    created: int
    duplicates: int
    refused: list[Refusal] = field(default_factory=list)


class _Owner(NamedTuple):
    """Whose usage it is, as the subscription says: the columns of `FIND_OWNERS`."""

    ref: str
    subscription_id: int
    customer_id: int
    customer_uid: UUID
    currency: str
    plan_id: int


async def record_usage(tx: Tx, new: NewUsage) -> tuple[UsageRecord, bool]:
    """Record one piece of usage; the second value tells whether it is new.

    The same record of the same source again is the first one: by its source's id, without one by what it says.

    Raises:
        NotFound: no such subscription.
        Invalid: the customer is not the subscription's.
        Conflict: the source record said something else before.
    """
    outcome = await record_usage_bulk(tx, [new])
    uid = outcome.uids[0]
    if uid is None:
        raise AssertionError("a record that is refused raises")
    return await get_usage_record(tx, uid), outcome.created == 1


async def record_usage_bulk(
    tx: Tx,
    rows: Sequence[NewUsage],
    *,
    on_error: OnError = OnError.FAIL,
    metered: Mapping[int, UUID] = NOTHING_METERED,
) -> BulkOutcome:
    """Record up to 1,000 pieces of usage; a duplicate is a success.

    Args:
        tx: the caller's transaction.
        rows: what was used.
        on_error: `fail` takes all or nothing, `skip` takes what is good.
        metered: index in `rows` -> uid of the record in which the platform has counted that usage itself.

    Raises:
        Invalid, NotFound, Conflict: with `on_error=fail`, for the first record that cannot be taken; nothing is stored.
    """
    if len(rows) > BULK_MAX:
        raise invalid("records", f"at most {BULK_MAX} records in one request")
    metered = await _metered_under(tx, rows) | dict(metered)
    owners = await _find_owners(tx, rows)
    refused = _refusals(rows, owners)
    if refused and on_error is OnError.FAIL:
        raise _located(refused[0], len(rows))
    prices, unpriced = await _plan_prices(tx, rows, owners)
    if unpriced and on_error is OnError.FAIL:
        raise _located(unpriced[0], len(rows))
    refused = sorted([*refused, *unpriced], key=lambda refusal: refusal.index)
    bad = {refusal.index for refusal in refused}
    uids = [metered.get(index) if index not in bad else None for index in range(len(rows))]
    taken = [(i, row) for i, row in enumerate(rows) if i not in bad and i not in metered]
    created = await _insert(tx, taken, owners, uids, prices)
    if created < len(taken):
        late = await _resolve_duplicates(tx, taken, uids)
        if late and on_error is OnError.FAIL:
            raise _located(late[0], len(rows))
        refused = sorted([*refused, *late], key=lambda refusal: refusal.index)
    if created:
        await _tell(tx, created, [uid for uid in uids if uid is not None])
    return BulkOutcome(uids, created, len(rows) - len(refused) - created, refused)


async def mark_billed(tx: Tx, *, uid: UUID, invoice_id: int, invoice_ref: str) -> UsageRecord:
    """Put one record on an invoice; the same invoice again changes nothing.

    Raises:
        NotFound: no such record.
        Conflict: it is on another invoice, or excluded.
    """
    before = await lock_usage_record(tx, uid)
    if before.invoice_id == invoice_id:
        return before
    if before.invoice_ref is not None:
        raise already_billed(before.invoice_ref)
    BILLING.check(BilledStatus(before.billed_status), BilledStatus.BILLED)
    await tx.connection.execute(
        statements.MARK_BILLED, tx.tenant.id, [before.id], invoice_id, invoice_ref, tx.now
    )
    await record_status_change(
        tx,
        entity=ENTITY,
        entity_id=before.id,
        from_status=before.billed_status,
        to_status=BilledStatus.BILLED.value,
        reason=f"invoice {invoice_ref}",
    )
    await record(
        tx,
        "usage_record.mark_billed",
        entity=ENTITY,
        entity_id=before.id,
        before={"billed_status": before.billed_status},
        after={"billed_status": BilledStatus.BILLED.value, "invoice": invoice_ref},
    )
    return await get_usage_record(tx, uid)


async def set_billed_status(tx: Tx, *, uid: UUID, status: BilledStatus, reason: str = "") -> UsageRecord:
    """Leave an unbilled record out of invoices and reports (excluded, error), or take it in again (pending).

    Raises:
        NotFound: no such record.
        Conflict: it is on an invoice, or the move is not a legal one.
    """
    before = await lock_usage_record(tx, uid)
    if before.billed_status == status:
        return before
    if before.invoice_ref is not None:
        raise already_billed(before.invoice_ref)
    BILLING.check(BilledStatus(before.billed_status), status)
    await tx.connection.execute(statements.SET_BILLED_STATUS, tx.tenant.id, before.id, status.value)
    await record_status_change(
        tx,
        entity=ENTITY,
        entity_id=before.id,
        from_status=before.billed_status,
        to_status=status.value,
        reason=reason,
    )
    await record(
        tx,
        "usage_record.update",
        entity=ENTITY,
        entity_id=before.id,
        before={"billed_status": before.billed_status},
        after={"billed_status": status.value, "reason": reason},
    )
    return await get_usage_record(tx, uid)


@dataclass(frozen=True, slots=True)
class ClaimedUsage:
    """Unbilled records that the transaction holds: nobody bills or raises them until it ends."""

    record_ids: list[int]
    lines: list[UsageLine]


async def claim_pending(tx: Tx, *, subscription_id: int, span: Span) -> ClaimedUsage:
    """Lock a subscription's unbilled usage and add it up, for the invoice that is being made.

    The records are read by id after they are locked: what is metered meanwhile waits and opens the next part.
    """
    ids = [
        row["id"]
        for row in await tx.connection.fetch(
            statements.LOCK_PENDING, tx.tenant.id, subscription_id, span.start, span.end
        )
    ]
    return ClaimedUsage(ids, await list_lines(tx, record_ids=ids) if ids else [])


async def bill_claimed(tx: Tx, claimed: ClaimedUsage, *, invoice_id: int, invoice_ref: str) -> int:
    """Put the claimed records on an invoice, in one statement and one audit line; how many there were."""
    if not claimed.record_ids:
        return 0
    await tx.connection.execute(
        statements.MARK_BILLED, tx.tenant.id, claimed.record_ids, invoice_id, invoice_ref, tx.now
    )
    await record(
        tx,
        "usage_record.bill",
        entity="invoice",
        entity_id=invoice_id,
        after={"records": len(claimed.record_ids), "digest": _digest(claimed.record_ids)},
    )
    return len(claimed.record_ids)


async def close_open(tx: Tx, *, subscription_id: int) -> None:
    """What is metered of its sessions from now on opens another record, at the price of the plan it is of by then."""
    await tx.connection.execute(statements.CLOSE_OPEN, tx.tenant.id, subscription_id)


async def release_billed(tx: Tx, *, invoice_id: int) -> int:
    """The invoice was voided: its usage is unbilled again. Metered records stay closed; new usage opens the next part."""
    status = await tx.connection.execute(statements.RELEASE_BILLED, tx.tenant.id, invoice_id)
    released = int(status.rpartition(" ")[2])
    if released:
        await record(
            tx,
            "usage_record.release",
            entity="invoice",
            entity_id=invoice_id,
            after={"records": released},
        )
    return released


async def _find_owners(tx: Tx, rows: Sequence[NewUsage]) -> dict[str, _Owner]:
    refs = list({row.subscription_id for row in rows})
    found = await tx.connection.fetch(statements.FIND_OWNERS, tx.tenant.id, refs)
    return {owner.ref: owner for owner in map(_Owner._make, found)}


async def _plan_prices(
    tx: Tx, rows: Sequence[NewUsage], owners: dict[str, _Owner]
) -> tuple[dict[int, PlanUsagePrice], list[Refusal]]:
    """The plan's price of the day they begin, by index, for records that came without one; and those that have none."""
    without = [i for i, row in enumerate(rows) if row.unit_price is None and row.subscription_id in owners]
    past = await list_past_terms(tx, {owners[rows[i].subscription_id].subscription_id for i in without})
    known: dict[tuple[int, str, date], PlanUsagePrice | None] = {}
    found: dict[int, PlanUsagePrice] = {}
    refused = []
    for index in without:
        row = rows[index]
        owner = owners[row.subscription_id]
        day = local_date(row.period_start, tx.tenant.time_zone)
        key = (_plan_at(row.period_start, owner, past), row.usage_type, day)
        if key not in known:
            known[key] = await find_usage_price(tx, *key)
        price = known[key]
        if price is None:
            message = f"the plan of {row.subscription_id} has no price for {row.usage_type}; give one"
            refused.append(Refusal(index, invalid("unit_price", message)))
        elif price.unit != row.unit:
            refused.append(
                Refusal(index, invalid("unit", f"the plan prices {row.usage_type} by {price.unit}"))
            )
        else:
            found[index] = price
    return found, refused


def _plan_at(moment: datetime, owner: _Owner, past: Mapping[int, Sequence[PastTerm]]) -> int:
    """The plan that the subscription was of at that moment."""
    ended_later = (term.plan_id for term in past.get(owner.subscription_id, ()) if term.ended_at > moment)
    return next(ended_later, owner.plan_id)


def _refusals(rows: Sequence[NewUsage], owners: dict[str, _Owner]) -> list[Refusal]:
    refused = []
    for index, row in enumerate(rows):
        owner = owners.get(row.subscription_id)
        if owner is None:
            message = f"no subscription {row.subscription_id}"
            detail = Detail("subscription_id", message)
            refused.append(Refusal(index, NotFound(message, details=(detail,))))
        elif row.customer_id is not None and row.customer_id != owner.customer_uid:
            error = invalid("customer_id", f"is not the customer of subscription {row.subscription_id}")
            refused.append(Refusal(index, error))
    return refused


def _located(refusal: Refusal, of: int) -> DemarcError:
    """The refusal as an error of the whole request: in a bulk request its fields name the record."""
    error = refusal.error
    if of == 1:
        return error
    place = f"records.{refusal.index}"
    details = tuple(Detail(f"{place}.{detail.field}", detail.message) for detail in error.details)
    return type(error)(
        f"{place}: {error.message}", code=error.code, details=details or (Detail(place, error.message),)
    )


async def _insert(
    tx: Tx,
    taken: Sequence[tuple[int, NewUsage]],
    owners: dict[str, _Owner],
    uids: list[UUID | None],
    prices: Mapping[int, PlanUsagePrice],
) -> int:
    """Insert what is new, and give every taken record the uid it has if it is."""
    if not taken:
        return 0
    made = new_uids(len(taken))
    for (index, _), uid in zip(taken, made, strict=True):
        uids[index] = uid
    rows = [row for _, row in taken]
    prints = [row.fingerprint() for row in rows]
    created: int = await tx.connection.fetchval(
        statements.INSERT_RECORDS,
        tx.tenant.id,
        made,
        *_columns(rows, owners, [_millionths(row, prices.get(index)) for index, row in taken]),
        _source_keys(rows, prints),
        prints,
        [_rated_by(prices.get(index)) for index, _ in taken],
    )
    return created


def _millionths(row: NewUsage, price: PlanUsagePrice | None) -> int:
    """The price of its first unit: nothing where a package includes it."""
    given = row.unit_price if price is None else Decimal(0) if price.included else price.unit_price
    return int((given or 0) * MILLION)


def _rated_by(price: PlanUsagePrice | None) -> int | None:
    """What rates the month, when it is not each unit by itself."""
    return None if price is None or price.model == PriceModel.FLAT else price.id


def _source_keys(rows: Sequence[NewUsage], prints: Sequence[bytes]) -> list[str]:
    """What makes each row unique in its source: its own id, else what it says, counted within the request.

    Without ids a request that is sent again brings nothing new, and like rows of one request stay apart.
    """
    like: Counter[tuple[str, bytes]] = Counter()
    keys = []
    for row, said in zip(rows, prints, strict=True):
        if row.source_record_id is not None:
            keys.append(row.source_record_id)
            continue
        like[row.source_system, said] += 1
        keys.append(f"content:{said.hex()}/{like[row.source_system, said]}")
    return keys


def _columns(
    rows: Sequence[NewUsage], owners: dict[str, _Owner], unit_prices: list[int]
) -> tuple[list[Any], ...]:
    """The rows as the arrays of `INSERT_RECORDS`; numbers as millionths, which travel several times as fast."""
    whose = [owners[row.subscription_id] for row in rows]
    return (
        [owner.subscription_id for owner in whose],
        [owner.customer_id for owner in whose],
        [row.usage_type for row in rows],
        [int(row.quantity * MILLION) for row in rows],
        [row.unit for row in rows],
        unit_prices,
        [owner.currency for owner in whose],
        [row.period_start for row in rows],
        [row.period_end for row in rows],
        [row.source_system for row in rows],
        [row.source_record_id for row in rows],
        [row.description for row in rows],
    )


async def _resolve_duplicates(
    tx: Tx, taken: Sequence[tuple[int, NewUsage]], uids: list[UUID | None]
) -> list[Refusal]:
    """Give duplicates the uid of the first one; those that say something else are refused."""
    rows = [row for _, row in taken]
    keys = _source_keys(rows, [row.fingerprint() for row in rows])
    known = {
        (key.source_system, key.source_record_id): key
        for key in await list_source_keys(tx, list({row.source_system for row in rows}), keys)
    }
    refused = []
    for (index, row), source_key in zip(taken, keys, strict=True):
        key = known[row.source_system, source_key]
        if key.fingerprint == row.fingerprint():
            uids[index] = key.uid
        else:
            uids[index] = None
            refused.append(Refusal(index, other_content(row.source_system, source_key)))
    return refused


async def _metered_under(tx: Tx, rows: Sequence[NewUsage]) -> dict[int, UUID]:
    """Index -> the platform's own record, which answers for whatever is posted under its key."""
    posted = {i: row.source_record_id for i, row in enumerate(rows) if row.source_system == METERED_SYSTEM}
    known = await list_metered_keys(tx, [key for key in posted.values() if key is not None])
    return {index: known[key] for index, key in posted.items() if key in known}


async def _tell(tx: Tx, created: int, uids: Sequence[UUID]) -> None:
    """One audit line and one event for the whole request."""
    digest = hashlib.sha256(b"".join(uid.bytes for uid in uids)).hexdigest()
    await record(
        tx, "usage_record.create", entity=ENTITY, entity_id=0, after={"records": created, "digest": digest}
    )
    await emit(tx, "usage.recorded", entity=ENTITY, entity_id=0, records=created)


def _digest(values: Sequence[object]) -> str:
    """What a bulk write was about, for the audit log."""
    return hashlib.sha256("\n".join(map(str, values)).encode()).hexdigest()
