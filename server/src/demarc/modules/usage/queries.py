"""Every read of usage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from asyncpg import Record
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from demarc.kernel.db import Tx
from demarc.kernel.errors import NotFound
from demarc.kernel.listing import Listing
from demarc.kernel.paging import Page, Window
from demarc.kernel.sql import Query, mine
from demarc.modules.catalog.inputs import METERED_TYPE
from demarc.modules.catalog.queries import usage_prices_of
from demarc.modules.usage.inputs import Span
from demarc.modules.usage.joins import OWNERS, RECORD_WITH_OWNERS, subscription
from demarc.modules.usage.models import data_top_up, usage_record, usage_source_key
from demarc.modules.usage.rules import Month, octets_to_gb, only_currency, overall, rate_lines, totals_by_type
from demarc.modules.usage.rules import TypeTotal as TypeTotal  # noqa: PLC0414 - callers get rows of it
from demarc.modules.usage.rules import UsageLine as UsageLine  # noqa: PLC0414 - likewise
from demarc.modules.usage.rules import reading_minor as reading_minor  # noqa: PLC0414 - how a record shows its amount
from demarc.modules.usage.states import BilledStatus

UNBILLED = (BilledStatus.PENDING,)
UNBILLED_AND_BILLED = (BilledStatus.PENDING, BilledStatus.BILLED)


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One row, with its subscription's reference and its customer's uid. Octets are set on metered usage only."""

    tenant_id: int
    id: int
    uid: UUID
    subscription_id: int
    customer_id: int
    service_id: int | None
    session_id: UUID | None
    month_on: date | None
    part: int | None
    is_open: bool
    usage_type: str
    quantity: Decimal
    unit: str
    unit_price: Decimal
    price_id: int | None
    currency: str
    input_octets: int | None
    output_octets: int | None
    period_start: datetime
    period_end: datetime
    source_system: str
    source_record_id: str | None
    description: str
    billed_status: str
    invoice_id: int | None
    invoice_ref: str | None
    billed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    subscription_ref: str
    customer_uid: UUID

    @property
    def octets(self) -> int | None:
        """Input and output together; None for usage that was posted."""
        return None if self.input_octets is None else self.input_octets + (self.output_octets or 0)


@dataclass(frozen=True, slots=True)
class SourceKey:
    """What is known of a posted source record: where it is and what it said."""

    source_system: str
    source_record_id: str
    fingerprint: bytes
    uid: UUID


_ENTRY = select(usage_record, *OWNERS).select_from(RECORD_WITH_OWNERS).where(mine(usage_record))
_BY_UID = Query(_ENTRY.where(usage_record.c.uid == bindparam("uid")))
_BY_UID_LOCKED = Query(_ENTRY.where(usage_record.c.uid == bindparam("uid")).with_for_update(of=usage_record))
_OF_SESSIONS = Query(
    _ENTRY.where(
        usage_record.c.session_id
        == any_(bindparam("session_ids", type_=ARRAY(usage_record.c.session_id.type)))
    ).order_by(usage_record.c.period_start, usage_record.c.id)
)
_SOURCE_KEYS = Query(
    select(
        usage_source_key.c.source_system,
        usage_source_key.c.source_record_id,
        usage_source_key.c.fingerprint,
        usage_record.c.uid,
    )
    .join(
        usage_record,
        and_(
            usage_record.c.tenant_id == usage_source_key.c.tenant_id,
            usage_record.c.id == usage_source_key.c.record_id,
        ),
    )
    .where(
        mine(usage_source_key),
        usage_source_key.c.source_system == any_(bindparam("source_systems", type_=ARRAY(Text))),
        usage_source_key.c.source_record_id == any_(bindparam("source_record_ids", type_=ARRAY(Text))),
    )
)

_METERED_KEYS = Query(
    select(usage_record.c.source_record_id, usage_record.c.uid).where(
        mine(usage_record),
        usage_record.c.session_id == any_(bindparam("session_ids", type_=ARRAY(Uuid))),
        usage_record.c.source_record_id == any_(bindparam("source_record_ids", type_=ARRAY(Text))),
    )
)
_METERED_KEY = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/[0-9]{4}-[0-9]{2}(?:/[0-9]+)?")
"""`<session>/<month>`, from the second part on `…/<part>`: see `statements.RAISE`."""

_STATUSES: ColumnElement[Any] = any_(bindparam("statuses", type_=ARRAY(Text)))
_MEMBERSHIP: dict[str, ColumnElement[bool]] = {
    "subscription_id": usage_record.c.subscription_id == bindparam("subscription_id"),
    "usage_type": usage_record.c.usage_type == bindparam("usage_type"),
    "period_start": usage_record.c.period_start >= bindparam("period_start"),
    "period_end": usage_record.c.period_start < bindparam("period_end"),
}
"""The one rule of membership, for lists, pending, reports, aggregates and invoices: see `rules.Span`."""

_NAMED = subscription.alias("named")
LISTING = Listing(
    usage_record,
    filters={
        **_MEMBERSHIP,
        "subscription_ref": usage_record.c.subscription_id
        == select(_NAMED.c.id)
        .where(
            _NAMED.c.tenant_id == bindparam("tenant_id"),
            _NAMED.c.ref == bindparam("subscription_ref", type_=Text),
        )
        .scalar_subquery(),
        "customer_id": usage_record.c.customer_id == bindparam("customer_id"),
        "billed_status": usage_record.c.billed_status == bindparam("billed_status"),
        "source_system": usage_record.c.source_system == bindparam("source_system"),
        "invoice_id": usage_record.c.invoice_id == bindparam("invoice_id"),
    },
    sorts={
        "created_at": usage_record.c.id,
        "period_start": usage_record.c.period_start,
        "quantity": usage_record.c.quantity,
    },
    default_sort="created_at",
    joined=RECORD_WITH_OWNERS,
    extra=OWNERS,
)


async def get_usage_record(tx: Tx, uid: UUID) -> UsageRecord:
    """Raises `NotFound`."""
    return _found(await tx.find(_BY_UID, UsageRecord, uid=uid), uid)


async def lock_usage_record(tx: Tx, uid: UUID) -> UsageRecord:
    """The record, locked until the transaction ends; raises `NotFound`."""
    return _found(await tx.find(_BY_UID_LOCKED, UsageRecord, uid=uid), uid)


def _found(record: UsageRecord | None, uid: UUID) -> UsageRecord:
    if record is None:
        raise NotFound(f"no usage record {uid}")
    return record


async def list_usage_records(
    tx: Tx, window: Window, *, sort: str | None = None, **filters: Any
) -> Page[UsageRecord]:
    """Filters: subscription_id or subscription_ref, customer_id, usage_type, billed_status, source_system, invoice_id, period_start, period_end."""
    return await LISTING.page(tx, UsageRecord, window, sort=sort, **filters)


async def list_usage_rows(
    tx: Tx, window: Window, *, sort: str | None = None, **filters: Any
) -> tuple[list[Record], int]:
    """Like `list_usage_records`, as the driver's own rows with the columns of `UsageRecord`, and the total."""
    return await LISTING.records(tx, window, sort=sort, **filters)


async def list_metered(tx: Tx, session_ids: Sequence[UUID]) -> list[UsageRecord]:
    """What the platform metered of these sessions itself, oldest period first."""
    return await tx.fetch(_OF_SESSIONS, UsageRecord, session_ids=list(session_ids))


async def list_source_keys(
    tx: Tx, source_systems: Sequence[str], source_record_ids: Sequence[str]
) -> list[SourceKey]:
    """The keys known of any of these systems and ids (a superset of the pairs)."""
    return await tx.fetch(
        _SOURCE_KEYS,
        SourceKey,
        source_systems=list(source_systems),
        source_record_ids=list(source_record_ids),
    )


async def list_metered_keys(tx: Tx, source_record_ids: Sequence[str]) -> dict[str, UUID]:
    """Those that are keys of records which the platform metered itself, with the record's uid."""
    keys = [found for key in source_record_ids if (found := _METERED_KEY.fullmatch(key)) is not None]
    if not keys:
        return {}
    arguments = {
        "tenant_id": tx.tenant.id,
        "session_ids": [UUID(found[1]) for found in keys],
        "source_record_ids": [found[0] for found in keys],
    }
    rows = await tx.connection.fetch(_METERED_KEYS.sql, *_METERED_KEYS.arguments(arguments))
    return {row["source_record_id"]: row["uid"] for row in rows}


@dataclass(frozen=True, slots=True)
class PendingUsage:
    """A window of unbilled records, and what all of them (not the window's alone) come to, line by line."""

    page: Page[UsageRecord]
    lines: list[UsageLine]


async def list_pending(
    tx: Tx,
    window: Window,
    *,
    sort: str | None = None,
    subscription_id: int | None = None,
    span: Span | None = None,
) -> PendingUsage:
    """Unbilled usage that belongs to the span, oldest period first unless `sort` says otherwise."""
    bounds = {} if span is None else {"period_start": span.start, "period_end": span.end}
    page = await list_usage_records(
        tx,
        window,
        sort=sort or "period_start",
        billed_status=BilledStatus.PENDING.value,
        subscription_id=subscription_id,
        **bounds,
    )
    return PendingUsage(page, await list_lines(tx, subscription_id=subscription_id, span=span))


async def list_lines(
    tx: Tx,
    *,
    subscription_id: int | None = None,
    span: Span | None = None,
    usage_type: str | None = None,
    record_ids: Sequence[int] | None = None,
    statuses: Sequence[BilledStatus] = UNBILLED,
    bucket: str = "month",
) -> list[UsageLine]:
    """Usage added up exactly per subscription, type, unit, price and period.

    Args:
        tx: the caller's transaction.
        subscription_id: one subscription's only.
        span: what belongs to it only; None is all time.
        usage_type: one type's only.
        record_ids: these records only.
        statuses: which records count.
        bucket: hour, day, week or month of the tenant's time zone; `month` is what invoices add up.
    """
    given: dict[str, Any] = {
        "subscription_id": subscription_id,
        "usage_type": usage_type,
        "record_ids": record_ids,
    }
    if span is not None:
        given |= {"period_start": span.start, "period_end": span.end}
    given = {name: value for name, value in given.items() if value is not None}
    lines = await _add_up(tx, given, statuses, bucket)
    if all(line.price_id is None for line in lines):
        return lines
    return await _rate(tx, lines, given, statuses)


async def _add_up(
    tx: Tx, given: dict[str, Any], statuses: Sequence[BilledStatus], bucket: str = "month"
) -> list[UsageLine]:
    return await tx.fetch(
        _lines_query(tuple(sorted(given)), bucket),
        UsageLine,
        statuses=[status.value for status in statuses],
        time_zone=tx.tenant.time_zone,
        **given,
    )


async def _rate(
    tx: Tx, lines: list[UsageLine], given: dict[str, Any], statuses: Sequence[BilledStatus]
) -> list[UsageLine]:
    """Price the lines whose month is priced as a whole: with what is billed of it beside them, and with what was topped up."""
    rated = [line for line in lines if line.price_id is not None]
    prices = sorted({line.price_id for line in rated if line.price_id is not None})
    subscriptions = sorted({line.subscription_id for line in rated})
    billed: dict[Month, Decimal] = {}
    whole = {"price_ids": prices, "subscription_ids": subscriptions}
    for line in await _add_up(tx, whole, (BilledStatus.BILLED,)):
        billed[line.month] = billed.get(line.month, Decimal(0)) + line.quantity
    if BilledStatus.BILLED in statuses:
        for line in await _add_up(tx, given, (BilledStatus.BILLED,)):
            if line.price_id is not None:
                billed[line.month] -= line.quantity
    known = await usage_prices_of(tx, prices)
    bonuses = await _list_bonuses(tx, rated, subscriptions)
    return rate_lines(lines, {key: price.rate for key, price in known.items()}, billed, bonuses)


async def _list_bonuses(
    tx: Tx, rated: Sequence[UsageLine], subscriptions: Sequence[int]
) -> dict[Month, Decimal]:
    """GB that were bought or given on top of the metered months."""
    metered = {line.month for line in rated if line.usage_type == METERED_TYPE}
    if not metered:
        return {}
    rows = await tx.connection.fetch(
        _BONUSES.sql, *_BONUSES.arguments({"tenant_id": tx.tenant.id, "subscription_ids": [*subscriptions]})
    )
    topped_up = {(row["subscription_id"], row["month_on"]): octets_to_gb(row["octets"]) for row in rows}
    return {month: topped_up[month[0], month[3]] for month in metered if (month[0], month[3]) in topped_up}


async def list_left_over(tx: Tx, *, canceled_before: datetime, started_before: datetime) -> list[int]:
    """Ids of subscriptions that ended before the one moment and have unbilled usage from before the other, in order."""
    given = {
        "tenant_id": tx.tenant.id,
        "canceled_before": canceled_before,
        "started_before": started_before,
    }
    rows = await tx.connection.fetch(_LEFT_OVER.sql, *_LEFT_OVER.arguments(given))
    return [row["subscription_id"] for row in rows]


_LEFT_OVER = Query(
    select(usage_record.c.subscription_id)
    .distinct()
    .select_from(RECORD_WITH_OWNERS)
    .where(
        mine(usage_record),
        usage_record.c.billed_status == literal_column(f"'{BilledStatus.PENDING.value}'"),
        usage_record.c.period_start < bindparam("started_before", type_=usage_record.c.period_start.type),
        subscription.c.canceled_at < bindparam("canceled_before", type_=usage_record.c.period_start.type),
    )
    .order_by(usage_record.c.subscription_id)
)
_SUBSCRIPTIONS = bindparam("subscription_ids", type_=ARRAY(BigInteger))
_COUNTED = _MEMBERSHIP | {
    "record_ids": usage_record.c.id == any_(bindparam("record_ids", type_=ARRAY(BigInteger))),
    "price_ids": usage_record.c.price_id == any_(bindparam("price_ids", type_=ARRAY(BigInteger))),
    "subscription_ids": usage_record.c.subscription_id == any_(_SUBSCRIPTIONS),
}
_BONUSES = Query(
    select(
        data_top_up.c.subscription_id,
        data_top_up.c.month_on,
        cast(func.sum(data_top_up.c.octets), BigInteger).label("octets"),
    )
    .where(mine(data_top_up), data_top_up.c.subscription_id == any_(_SUBSCRIPTIONS))
    .group_by(data_top_up.c.subscription_id, data_top_up.c.month_on)
)


@lru_cache(maxsize=128)
def _lines_query(filters: tuple[str, ...], bucket: str) -> Query:
    record = usage_record.c
    metered = record.input_octets.is_not(None)
    local = func.timezone(bindparam("time_zone", type_=Text), record.period_start)
    starts_at = func.date_trunc(bucket, local).label("starts_at")
    key = (
        record.subscription_id,
        subscription.c.ref.label("subscription_ref"),
        record.usage_type,
        record.unit,
        record.unit_price,
        record.price_id,
        record.currency,
        starts_at,
    )
    octets = record.input_octets + func.coalesce(record.output_octets, 0)
    return Query(
        select(
            *key,
            func.count().label("records"),
            func.coalesce(func.sum(record.quantity).filter(~metered), 0).label("posted"),
            cast(func.sum(octets).filter(metered), BigInteger).label("octets"),
        )
        .select_from(RECORD_WITH_OWNERS)
        .where(mine(usage_record), record.billed_status == _STATUSES, *(_COUNTED[name] for name in filters))
        .group_by(*(column for column in key[:-1]), text("starts_at"))
        .order_by(
            record.subscription_id, record.usage_type, text("starts_at"), record.unit, record.unit_price
        )
    )


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Usage of a span: its lines, what they come to per type and in all. An amount is a sum of rounded lines."""

    lines: list[UsageLine]
    by_type: list[TypeTotal]
    currency: str
    total_minor: int


async def usage_report(
    tx: Tx,
    *,
    span: Span,
    subscription_id: int | None = None,
    usage_type: str | None = None,
    include_billed: bool = False,
    bucket: str = "month",
) -> UsageReport:
    """What a span's usage comes to: the unbilled only, unless `include_billed`.

    Raises:
        Invalid: it is in several currencies.
    """
    lines = await list_lines(
        tx,
        subscription_id=subscription_id,
        span=span,
        usage_type=usage_type,
        statuses=UNBILLED_AND_BILLED if include_billed else UNBILLED,
        bucket=bucket,
    )
    return report_of(tx, lines)


def report_of(tx: Tx, lines: list[UsageLine]) -> UsageReport:
    """The lines with their totals."""
    return UsageReport(
        lines,
        totals_by_type(lines),
        only_currency(lines, otherwise=tx.tenant.currency),
        sum(line.amount_minor for line in lines),
    )


@dataclass(frozen=True, slots=True)
class UsageAggregate:
    """`total` is over all types (type `mixed` when there are several); `periods` holds each bucket's own total."""

    total: TypeTotal
    by_type: list[TypeTotal]
    periods: list[tuple[datetime, TypeTotal]]
    currency: str


async def aggregate_usage(
    tx: Tx,
    *,
    span: Span,
    bucket: str,
    subscription_id: int | None = None,
    usage_type: str | None = None,
    include_billed: bool = True,
) -> UsageAggregate:
    """Usage per hour, day, week or month of the tenant's clock; no data gives zeros.

    Amounts are those of `usage_report`: lines of whole months, so that the total does not depend on the bucket.
    """
    wanted: dict[str, Any] = {
        "span": span,
        "subscription_id": subscription_id,
        "usage_type": usage_type,
        "include_billed": include_billed,
    }
    whole = await usage_report(tx, **wanted)
    parts = await usage_report(tx, **wanted, bucket=bucket)
    buckets: dict[datetime, list[UsageLine]] = {}
    for line in parts.lines:
        buckets.setdefault(line.starts_at, []).append(line)
    return UsageAggregate(
        overall(whole.lines, usage_type),
        whole.by_type,
        [(starts_at, overall(buckets[starts_at], usage_type)) for starts_at in sorted(buckets)],
        whole.currency,
    )
