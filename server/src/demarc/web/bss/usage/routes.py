"""`/api/billing/usage`."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import Query, Request, Response

from demarc.kernel.clock import as_utc
from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, invalid
from demarc.kernel.paging import Window
from demarc.modules.billing.queries import find_invoice, get_invoice
from demarc.modules.billing.states import InvoiceStatus
from demarc.modules.subscriptions.queries import get_subscription
from demarc.modules.usage.inputs import OnError, Span, span
from demarc.modules.usage.queries import (
    TypeTotal,
    UsageLine,
    aggregate_usage,
    get_usage_record,
    list_pending,
    list_usage_rows,
    report_of,
    usage_report,
)
from demarc.modules.usage.service import mark_billed, set_billed_status
from demarc.modules.usage.states import BilledStatus
from demarc.web.bss.parameters import ApiDatetime, SortParam, WindowDep, counts
from demarc.web.bss.references import NOTHING, customer_key
from demarc.web.bss.usage.schemas import (
    BULK_BODY,
    RECORD_BODY,
    AggregateIn,
    AggregateOut,
    AggregatePeriod,
    AggregateTotal,
    LineOut,
    MarkBilledIn,
    PendingOut,
    ReportIn,
    ReportOut,
    TypeTotals,
    UsageBulkOut,
    UsageRecordList,
    UsageRecordOut,
    UsageRecordPatch,
)
from demarc.web.bss.usage.wire import (
    RecordQuery,
    answer,
    bulk_wire,
    put_back,
    read_bulk,
    read_good,
    read_query,
    read_record,
    record_wire,
    row_wire,
)
from demarc.web.routing import ApiRouter, TxDep
from demarc.workflows.usage_intake import take_usage, take_usage_bulk

router = ApiRouter(prefix="/api/billing/usage", tag="usage")
SubscriptionRef = Annotated[str | None, Query(max_length=50, description="a subscription's reference")]


@router.on(
    "POST",
    "/records",
    permission="usage.write",
    status=201,
    also=(200,),
    problem=(404, 409),
    response_model=UsageRecordOut,
    openapi_extra=RECORD_BODY,
)
async def create(request: Request, tx: TxDep) -> Response:
    """Record usage. The same record of a source again is 200 with the first one, a different one 409."""
    record, is_new = await take_usage(tx, read_record(await request.body()))
    return answer(record_wire(record), 201 if is_new else 200)


@router.on(
    "POST",
    "/records/bulk",
    permission="usage.write",
    status=201,
    also=(200,),
    problem=(404, 409),
    response_model=UsageBulkOut,
    openapi_extra=BULK_BODY,
)
async def create_bulk(
    request: Request,
    tx: TxDep,
    on_error: Annotated[
        OnError, Query(description="fail: all or nothing; skip: take the good ones and list the rest")
    ] = OnError.FAIL,
) -> Response:
    """Record up to 1,000 pieces of usage; a duplicate is a success."""
    body = await request.body()
    if on_error is OnError.FAIL:
        outcome = await take_usage_bulk(tx, read_bulk(body))
    else:
        good, bad = read_good(body)
        taken = await take_usage_bulk(tx, [row for _, row in good], on_error=on_error)
        outcome = put_back(taken, good, bad)
    return answer(bulk_wire(outcome), 201 if outcome.created else 200)


async def fast_list(request: Request, tx: Tx) -> Response | None:
    """`list_`, for a query that needs no explaining."""
    asked = read_query(request.scope["query_string"])
    return None if asked is None else await _answer_list(tx, asked)


@router.on("GET", "/records", permission="usage.read", fast=fast_list, response_model=UsageRecordList)
async def list_(
    tx: TxDep,
    window: WindowDep,
    subscription_id: SubscriptionRef = None,
    customer_id: UUID | None = None,
    usage_type: Annotated[str | None, Query(max_length=40)] = None,
    billed_status: BilledStatus | None = None,
    source_system: Annotated[str | None, Query(max_length=50)] = None,
    invoice_id: Annotated[str | None, Query(max_length=50)] = None,
    period_start: ApiDatetime | None = None,
    period_end: ApiDatetime | None = None,
    sort: SortParam = None,
) -> Response:
    """Records in the order they came, unless `sort` says otherwise (created_at, period_start, quantity)."""
    return await _answer_list(
        tx,
        RecordQuery(
            window.skip,
            window.limit,
            sort,
            subscription_id,
            customer_id,
            usage_type,
            billed_status,
            source_system,
            invoice_id,
            period_start,
            period_end,
        ),
    )


async def _answer_list(tx: Tx, asked: RecordQuery) -> Response:
    rows, total = await list_usage_rows(
        tx,
        Window(asked.skip, asked.limit),
        sort=asked.sort,
        usage_type=asked.usage_type,
        billed_status=asked.billed_status,
        source_system=asked.source_system,
        subscription_ref=asked.subscription_id,
        customer_id=await customer_key(tx, asked.customer_id),
        invoice_id=await _invoice_key(tx, asked.invoice_id),
        **_bounds(asked.period_start, asked.period_end),
    )
    records = [row_wire(row) for row in rows]
    return answer({"records": records, "total": total, "skip": asked.skip, "limit": asked.limit})


async def _invoice_key(tx: Tx, ref: str | None) -> int | None:
    if ref is None:
        return None
    found = await find_invoice(tx, ref)
    return NOTHING if found is None else found.id


@router.on("GET", "/pending", permission="usage.read", problem=(404,), response_model=PendingOut)
async def pending(
    tx: TxDep,
    window: WindowDep,
    subscription_id: SubscriptionRef = None,
    period_start: ApiDatetime | None = None,
    period_end: ApiDatetime | None = None,
    sort: SortParam = None,
) -> Response:
    """Unbilled usage whose period starts in [period_start, period_end), oldest first, with what all of it costs."""
    wanted = None
    if period_start is not None or period_end is not None:
        wanted = span(period_start or _FIRST, period_end or _LAST)
    found = await list_pending(
        tx, window, sort=sort, subscription_id=await _subscription_id(tx, subscription_id), span=wanted
    )
    report = report_of(tx, found.lines)
    return answer(
        {
            "records": [record_wire(row) for row in found.page.rows],
            "total_amount": report.total_minor,
            "currency": report.currency,
            **counts(found.page),
        }
    )


@router.on("POST", "/reports", permission="usage.read", problem=(404,))
async def report(body: ReportIn, tx: TxDep) -> ReportOut:
    """What the usage of a span comes to: the unbilled only, unless `include_billed`."""
    wanted = body.span()
    found = await usage_report(
        tx,
        span=wanted,
        subscription_id=await _subscription_id(tx, body.subscription_id),
        usage_type=body.usage_type,
        include_billed=body.include_billed,
    )
    return ReportOut(
        subscription_id=body.subscription_id,
        period_start=wanted.start,
        period_end=wanted.end,
        currency=found.currency,
        usage_by_type={total.usage_type: _type_totals(total, wanted) for total in found.by_type},
        total_amount=found.total_minor,
        breakdown=[_line_out(line) for line in found.lines] if body.include_breakdown else None,
        generated_at=tx.now,
    )


@router.on("POST", "/aggregate", permission="usage.read", problem=(404,))
async def aggregate(body: AggregateIn, tx: TxDep) -> AggregateOut:
    """Usage per hour, day, week or month of the tenant's clock, billed or not; no data gives zeros."""
    wanted = body.span()
    found = await aggregate_usage(
        tx,
        span=wanted,
        bucket=body.period_type.bucket,
        subscription_id=await _subscription_id(tx, body.subscription_id),
        usage_type=body.usage_type,
        include_billed=body.include_billed,
    )
    zone = ZoneInfo(tx.tenant.time_zone)
    return AggregateOut(
        subscription_id=body.subscription_id,
        period_type=body.period_type,
        period_start=wanted.start,
        period_end=wanted.end,
        currency=found.currency,
        by_type=[AggregateTotal(**_total(total)) for total in found.by_type],
        periods=[
            AggregatePeriod(period_start=starts_at.replace(tzinfo=zone).astimezone(UTC), **_total(total))
            for starts_at, total in found.periods
        ],
        **_total(found.total),
    )


@router.on(
    "GET", "/records/{record_id}", permission="usage.read", problem=(404,), response_model=UsageRecordOut
)
async def get(record_id: UUID, tx: TxDep) -> Response:
    """One record."""
    return answer(record_wire(await get_usage_record(tx, record_id)))


@router.on(
    "PATCH",
    "/records/{record_id}",
    permission="usage.write",
    problem=(404, 409),
    response_model=UsageRecordOut,
)
async def patch(record_id: UUID, body: UsageRecordPatch, tx: TxDep) -> Response:
    """Leave an unbilled record out of invoices and reports, or take it in again; one that is billed is 409."""
    if body.billed_status is None:
        return answer(record_wire(await get_usage_record(tx, record_id)))
    changed = await set_billed_status(tx, uid=record_id, status=body.billed_status, reason=body.reason)
    return answer(record_wire(changed))


@router.on(
    "POST",
    "/records/{record_id}/mark-billed",
    permission="usage.write",
    problem=(404, 409),
    response_model=UsageRecordOut,
)
async def bill(record_id: UUID, body: MarkBilledIn, tx: TxDep) -> Response:
    """Put the record on an invoice; the same invoice again changes nothing, another one is 409."""
    invoice = await get_invoice(tx, body.invoice_id)
    record = await get_usage_record(tx, record_id)
    if invoice.customer_id != record.customer_id:
        raise invalid("invoice_id", f"invoice {invoice.ref} is another customer's")
    if invoice.status == InvoiceStatus.VOID.value:
        raise Conflict(f"invoice {invoice.ref} is void", code="INVOICE_VOID")
    billed = await mark_billed(tx, uid=record_id, invoice_id=invoice.id, invoice_ref=invoice.ref)
    return answer(record_wire(billed))


_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(2999, 12, 31, tzinfo=UTC)


def _bounds(start: datetime | None, end: datetime | None) -> dict[str, datetime]:
    if start is None and end is None:
        return {}
    bounds = span(as_utc(start) if start else _FIRST, as_utc(end) if end else _LAST)
    given = (("period_start", start, bounds.start), ("period_end", end, bounds.end))
    return {name: bound for name, asked, bound in given if asked is not None}


async def _subscription_id(tx: Tx, ref: str | None) -> int | None:
    return None if ref is None else (await get_subscription(tx, ref)).id


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _type_totals(total: TypeTotal, of: Span) -> TypeTotals:
    return TypeTotals(
        total_quantity=_number(total.quantity),
        unit=total.unit,
        total_amount=total.amount_minor,
        record_count=total.records,
        period_start=of.start,
        period_end=of.end,
    )


def _total(total: TypeTotal) -> dict[str, Any]:
    return {
        "usage_type": total.usage_type or None,
        "total_quantity": _number(total.quantity),
        "unit": total.unit or None,
        "total_amount": total.amount_minor,
        "record_count": total.records,
    }


def _line_out(line: UsageLine) -> LineOut:
    return LineOut(
        subscription_id=line.subscription_ref,
        usage_type=line.usage_type,
        unit=line.unit,
        unit_price=float(line.shown_unit_price),
        month=f"{line.starts_at:%Y-%m}",
        quantity=float(line.shown_quantity),
        octets=line.octets,
        amount=line.amount_minor,
        record_count=line.records,
    )
