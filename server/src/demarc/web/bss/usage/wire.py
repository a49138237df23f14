"""Usage records on the wire: decoded and encoded by msgspec, in one pass, since they come by the thousand.

The fast path says yes; what it cannot take goes to the documented model, which either takes it after all (a date
of day 31 that has to be clamped) or explains what is wrong, field by field.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec
from asyncpg import Record
from fastapi import Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from demarc.kernel.errors import Malformed
from demarc.kernel.paging import LIMIT_DEFAULT, LIMIT_MAX
from demarc.modules.usage.inputs import BULK_MAX, NewUsage
from demarc.modules.usage.queries import UsageRecord, reading_minor
from demarc.modules.usage.service import BulkOutcome, Refusal
from demarc.modules.usage.states import BilledStatus
from demarc.web.bss.usage.schemas import UsageBulkIn, UsageIn
from demarc.web.errors import from_validation


class RecordWire(msgspec.Struct):
    """`schemas.UsageRecordOut`."""

    id: UUID
    subscription_id: str
    customer_id: UUID
    usage_type: str
    quantity: float
    unit: str
    unit_price: float
    total_amount: int
    currency: str
    period_start: datetime
    period_end: datetime
    source_system: str
    source_record_id: str | None
    description: str
    billed_status: str
    invoice_id: str | None
    billed_at: datetime | None
    input_octets: int | None
    output_octets: int | None
    created_at: datetime


class RecordQuery(msgspec.Struct, gc=False):
    """The query of the list of records, as its route documents it."""

    skip: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT
    sort: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    subscription_id: Annotated[str, msgspec.Meta(max_length=50)] | None = None
    customer_id: UUID | None = None
    usage_type: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    billed_status: BilledStatus | None = None
    source_system: Annotated[str, msgspec.Meta(max_length=50)] | None = None
    invoice_id: Annotated[str, msgspec.Meta(max_length=50)] | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None


class DetailWire(msgspec.Struct):
    field: str
    message: str


class RejectWire(msgspec.Struct):
    index: int
    code: str
    message: str
    details: list[DetailWire]


class BulkWire(msgspec.Struct):
    """`schemas.UsageBulkOut`."""

    created: int
    duplicates: int
    rejected: int
    ids: list[UUID | None]
    rejects: list[RejectWire]


class BulkBody(msgspec.Struct, gc=False):
    """`schemas.UsageBulkIn`."""

    records: Annotated[list[NewUsage], msgspec.Meta(min_length=1, max_length=BULK_MAX)]


class _RawBulkBody(msgspec.Struct, gc=False):
    records: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=BULK_MAX)]


M = TypeVar("M", UsageIn, UsageBulkIn)
_RECORD = msgspec.json.Decoder(NewUsage)
_BULK = msgspec.json.Decoder(BulkBody)
_RAW_BULK = msgspec.json.Decoder(_RawBulkBody)
_PLAIN = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder()
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)


def answer(body: Any, status: int = 200) -> Response:
    """An answer as JSON."""
    return Response(_ENCODER.encode(body), status_code=status, media_type="application/json")


def read_query(query: bytes) -> RecordQuery | None:
    """None: it is not as it should be, or not simple enough; the documented route decides."""
    if b"period_" in query:  # times have rules of their own
        return None
    try:
        return msgspec.convert(
            dict(parse_qsl(query.decode(), keep_blank_values=True)), RecordQuery, strict=False
        )
    except (msgspec.ValidationError, ValueError):
        return None


def row_wire(row: Record) -> RecordWire:
    """Like `record_wire`, from the driver's row."""
    quantity, unit_price, currency = row["quantity"], row["unit_price"], row["currency"]
    upload, download = row["input_octets"], row["output_octets"]
    octets = None if upload is None else upload + (download or 0)
    return RecordWire(
        row["uid"],
        row["subscription_ref"],
        row["customer_uid"],
        row["usage_type"],
        float(quantity),
        row["unit"],
        float(unit_price),
        reading_minor(quantity, octets, unit_price, currency),
        currency,
        row["period_start"],
        row["period_end"],
        row["source_system"],
        row["source_record_id"],
        row["description"],
        row["billed_status"],
        row["invoice_ref"],
        row["billed_at"],
        upload,
        download,
        row["created_at"],
    )


def record_wire(row: UsageRecord) -> RecordWire:
    return RecordWire(
        row.uid,
        row.subscription_ref,
        row.customer_uid,
        row.usage_type,
        float(row.quantity),
        row.unit,
        float(row.unit_price),
        reading_minor(row.quantity, row.octets, row.unit_price, row.currency),
        row.currency,
        row.period_start,
        row.period_end,
        row.source_system,
        row.source_record_id,
        row.description,
        row.billed_status,
        row.invoice_ref,
        row.billed_at,
        row.input_octets,
        row.output_octets,
        row.created_at,
    )


def read_record(body: bytes) -> NewUsage:
    """One record.

    Raises:
        Malformed: not JSON.
        RequestValidationError: which fields are wrong, and why.
    """
    try:
        return _RECORD.decode(body)
    except _UNREADABLE:
        return _explain(UsageIn, body).to_input()


def read_bulk(body: bytes) -> list[NewUsage]:
    """All records of a bulk request, or none; raises like `read_record`."""
    try:
        return _BULK.decode(body).records
    except _UNREADABLE:
        return [record.to_input() for record in _explain(UsageBulkIn, body).records]


def read_good(body: bytes) -> tuple[list[tuple[int, NewUsage]], list[Refusal]]:
    """The records of a bulk request that can be read, with their places, and those that cannot."""
    try:
        raw = _RAW_BULK.decode(body).records
    except _UNREADABLE:
        raw = [msgspec.Raw(_ENCODER.encode(r.model_dump())) for r in _explain(UsageBulkIn, body).records]
    good: list[tuple[int, NewUsage]] = []
    bad: list[Refusal] = []
    for index, one in enumerate(raw):
        try:
            good.append((index, read_record(bytes(one))))
        except RequestValidationError as error:
            bad.append(Refusal(index, from_validation(error)))
    return good, bad


def bulk_wire(outcome: BulkOutcome) -> BulkWire:
    return BulkWire(
        outcome.created,
        outcome.duplicates,
        len(outcome.refused),
        outcome.uids,
        [_reject_wire(refusal) for refusal in outcome.refused],
    )


def put_back(
    outcome: BulkOutcome, good: Sequence[tuple[int, NewUsage]], bad: Sequence[Refusal]
) -> BulkOutcome:
    """The outcome of the readable records, in the places of the whole request."""
    if not bad:
        return outcome
    uids: list[UUID | None] = [None] * (len(good) + len(bad))
    for (index, _), uid in zip(good, outcome.uids, strict=True):
        uids[index] = uid
    moved = [Refusal(good[refusal.index][0], refusal.error) for refusal in outcome.refused]
    refused = sorted([*bad, *moved], key=lambda refusal: refusal.index)
    return BulkOutcome(uids, outcome.created, outcome.duplicates, refused)


def _reject_wire(refusal: Refusal) -> RejectWire:
    error = refusal.error
    details = [DetailWire(detail.field, detail.message) for detail in error.details]
    return RejectWire(refusal.index, error.code, error.message, details)


def _explain(model: type[M], body: bytes) -> M:
    try:
        plain = _PLAIN.decode(body)
    except _UNREADABLE:
        raise Malformed("the body is not valid JSON") from None
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        raise RequestValidationError(_in_body(error)) from None


def _in_body(error: ValidationError) -> list[dict[str, Any]]:
    """Pydantic's findings as FastAPI has them."""
    return [{**found, "loc": ("body", *found["loc"])} for found in error.errors(include_url=False)]
