"""Bodies of `/api/billing/usage`, as they are documented. Records travel by `wire`, whose shapes a test proves equal."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from demarc.modules.usage.inputs import BULK_MAX, YEARS, NewUsage, Span, span
from demarc.modules.usage.states import BilledStatus
from demarc.web.bss.parameters import ApiDatetime, Listed
from demarc.web.errors import ErrorDetail

Number = Annotated[Decimal, Field(ge=0, lt=10**12, decimal_places=6)]


class UsageIn(BaseModel):
    """One piece of usage. `unit_price` is in major units; times without an offset are UTC.

    What the plan prices by tiers, by volume or as a package is priced for the month as a whole: the record's own amount is a reading.
    """

    subscription_id: str = Field(min_length=1, max_length=50, examples=["sub_abc123"])
    usage_type: str = Field(min_length=1, max_length=40, examples=["bandwidth_gb"])
    quantity: Number = Field(examples=[6.0])
    unit: str = Field(min_length=1, max_length=20, examples=["GB"])
    period_start: ApiDatetime = Field(examples=["2025-10-14T08:00:00Z"])
    period_end: ApiDatetime = Field(examples=["2025-10-14T18:30:00Z"])
    source_system: str = Field(min_length=1, max_length=50, examples=["radius"])
    unit_price: Number | None = Field(
        None, examples=[0.05], description="left out: what the subscription's plan asks on that day"
    )
    source_record_id: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="makes the record unique within its source system; without it the record's own content does",
        examples=["SESSION-20251014-001"],
    )
    customer_id: UUID | None = Field(None, description="has to be the subscription's customer")
    description: str = Field("", max_length=500)

    @field_validator("period_end")
    @classmethod
    def _ordered(cls, end: datetime, info: ValidationInfo) -> datetime:
        start = info.data.get("period_start")
        if start is not None and end < start:
            raise ValueError("has to be at or after period_start")
        return end

    @field_validator("period_start", "period_end")
    @classmethod
    def _in_range(cls, moment: datetime) -> datetime:
        if moment.year not in YEARS:
            raise ValueError(f"has to be from {YEARS[0]} to {YEARS[-1]}")
        return moment

    @field_validator(
        "subscription_id", "usage_type", "unit", "source_system", "source_record_id", "description"
    )
    @classmethod
    def _without_nul(cls, text: str | None) -> str | None:
        if text is not None and "\0" in text:
            raise ValueError("text cannot hold the character U+0000")
        return text

    def to_input(self) -> NewUsage:
        return NewUsage(**self.model_dump())


class UsageBulkIn(BaseModel):
    """Up to 1,000 records."""

    records: list[UsageIn] = Field(min_length=1, max_length=BULK_MAX)


class UsageRecordOut(BaseModel):
    """A usage record. `total_amount` (minor units) is its own rounded reading: invoices round sums, not records.

    Octets are there on usage that the platform metered itself: input is from the user (upload), as RFC 2866 counts.
    """

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
    billed_status: BilledStatus
    invoice_id: str | None
    billed_at: datetime | None
    input_octets: int | None
    output_octets: int | None
    created_at: datetime


class UsageRecordList(Listed):
    """A window of the list."""

    records: list[UsageRecordOut]


class UsageReject(BaseModel):
    """A record that was not taken; `index` counts from 0."""

    index: int
    code: str
    message: str
    details: list[ErrorDetail]


class UsageBulkOut(BaseModel):
    """What became of each record: `ids` stands in the order of the request, null for a rejected one."""

    created: int
    duplicates: int
    rejected: int
    ids: list[UUID | None]
    rejects: list[UsageReject]


class PendingOut(Listed):
    """Unbilled records; `total_amount` is over all of them, whatever the window shows."""

    records: list[UsageRecordOut]
    total_amount: int
    currency: str


class _SpanIn(BaseModel):
    subscription_id: str | None = Field(None, max_length=50, examples=["sub_abc123"])
    period_start: ApiDatetime = Field(examples=["2025-10-01T00:00:00"])
    period_end: ApiDatetime = Field(
        description="exclusive; second 59 means the next full second", examples=["2025-10-31T23:59:59"]
    )
    usage_type: str | None = Field(None, max_length=40)

    def span(self) -> Span:
        return span(self.period_start, self.period_end)


class ReportIn(_SpanIn):
    """Which usage to report on."""

    include_breakdown: bool = Field(False, description="answer the lines that the amounts are sums of")
    include_billed: bool = Field(False, description="count usage that is on an invoice already")


class TypeTotals(BaseModel):
    """Totals of one usage type; `total_quantity` is null when it was counted in several units."""

    total_quantity: float | None
    unit: str
    total_amount: int
    record_count: int
    period_start: datetime
    period_end: datetime


class LineOut(BaseModel):
    """One subscription, type, price and month, rounded once. `octets`: how much of it was metered by the platform."""

    subscription_id: str
    usage_type: str
    unit: str
    unit_price: float
    month: str
    quantity: float
    octets: int | None
    amount: int
    record_count: int


class ReportOut(BaseModel):
    """Usage of [period_start, period_end)."""

    subscription_id: str | None
    period_start: datetime
    period_end: datetime
    currency: str
    usage_by_type: dict[str, TypeTotals]
    total_amount: int
    breakdown: list[LineOut] | None
    generated_at: datetime


class PeriodType(StrEnum):
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"

    @property
    def bucket(self) -> str:
        return _BUCKETS[self]


_BUCKETS = {
    PeriodType.HOURLY: "hour",
    PeriodType.DAILY: "day",
    PeriodType.WEEKLY: "week",
    PeriodType.MONTHLY: "month",
}


class AggregateIn(_SpanIn):
    """Which usage to add up, and in what steps of the tenant's clock."""

    period_type: PeriodType = PeriodType.DAILY
    include_billed: bool = True


class AggregateTotal(BaseModel):
    """`usage_type` is `mixed` for several types, null when there is no data and no type was asked for."""

    usage_type: str | None
    total_quantity: float | None
    unit: str | None
    total_amount: int
    record_count: int


class AggregatePeriod(AggregateTotal):
    """One step; its amount is rounded by itself, so that the steps need not add up to the whole exactly."""

    period_start: datetime


class AggregateOut(AggregateTotal):
    """Usage of [period_start, period_end) in steps."""

    subscription_id: str | None
    period_type: PeriodType
    period_start: datetime
    period_end: datetime
    currency: str
    by_type: list[AggregateTotal]
    periods: list[AggregatePeriod]


class MarkBilledIn(BaseModel):
    """The invoice that the record is on."""

    invoice_id: str = Field(min_length=1, max_length=50, examples=["in_xyz789"])


class UsageRecordPatch(BaseModel):
    """What becomes of a record that is on no invoice."""

    billed_status: Literal[BilledStatus.PENDING, BilledStatus.ERROR, BilledStatus.EXCLUDED] | None = Field(
        None,
        description="`excluded`: is not billed; `error`: is not billed before somebody has looked at it; "
        "`pending`: is billed with the next invoice",
    )
    reason: str = Field("", max_length=500)


def body_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The request body of a route that reads its bytes itself, for the OpenAPI document."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


RECORD_BODY = body_of(UsageIn.model_json_schema())
BULK_BODY = body_of(
    {
        "title": "UsageBulkIn",
        "description": UsageBulkIn.__doc__,
        "type": "object",
        "required": ["records"],
        "properties": {
            "records": {
                "type": "array",
                "minItems": 1,
                "maxItems": BULK_MAX,
                "items": UsageIn.model_json_schema(),
            }
        },
    }
)
