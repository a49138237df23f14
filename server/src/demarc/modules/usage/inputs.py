"""What usage may be recorded from; an instance that exists is valid.

`NewUsage` is at once the domain's input and the shape of the wire, so that a bulk request is decoded and checked
in one pass without a copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from hashlib import blake2b
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec.structs import force_setattr

from demarc.kernel.errors import invalid

BULK_MAX = 1000
_LARGEST = Decimal(10) ** 12
_SIX_PLACES = Decimal("0.000001")
_LAST_SECOND = 59
YEARS = range(1970, 3000)

Ref = Annotated[str, msgspec.Meta(min_length=1, max_length=50)]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
Unit = Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
SourceId = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Text = Annotated[str, msgspec.Meta(max_length=500)]


class OnError(StrEnum):
    """What a bulk request does with a record that cannot be taken."""

    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Span:
    """The time [start, end). Usage belongs to it when its own period starts in it: the one rule of membership."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise invalid("period_end", "has to be at or after period_start")


def span(start: datetime, end: datetime) -> Span:
    """The span of a request: an end at second 59 means the next full second (23:59:59 is the day's end)."""
    if end.second == _LAST_SECOND:
        end = end.replace(microsecond=0) + timedelta(seconds=1)
    return Span(start, end)


class NewUsage(msgspec.Struct, frozen=True, gc=False):
    """One piece of usage.

    Attributes:
        subscription_id: the subscription's reference.
        customer_id: has to be the subscription's customer; may be left out.
        usage_type: e.g. `bandwidth_gb`.
        quantity: in `unit`, at most 6 decimal places.
        unit_price: in major units of the subscription's currency, at most 6 decimal places; None: what the plan asks.
        period_start: naive means UTC.
        period_end: likewise.
        source_system: who counted.
        source_record_id: makes the record unique within its source system; without it, what the record says does.
    """

    subscription_id: Ref
    usage_type: Word
    quantity: Decimal
    unit: Unit
    period_start: datetime
    period_end: datetime
    source_system: Ref
    unit_price: Decimal | None = None
    source_record_id: SourceId | None = None
    customer_id: UUID | None = None
    description: Text = ""

    def __post_init__(self) -> None:
        _check_number("quantity", self.quantity)
        if self.unit_price is not None:
            _check_number("unit_price", self.unit_price)
        start, end = self.period_start, self.period_end
        if start.year not in YEARS or end.year not in YEARS:
            raise ValueError(f"period_start and period_end have to be from {YEARS[0]} to {YEARS[-1]}")
        if start.tzinfo is not UTC:
            start = _utc(start)
            force_setattr(self, "period_start", start)
        if end.tzinfo is not UTC:
            end = _utc(end)
            force_setattr(self, "period_end", end)
        if end < start:
            raise ValueError("period_end has to be at or after period_start")
        if (
            "\0"
            in f"{self.subscription_id}{self.usage_type}{self.unit}{self.description}{self.source_system}{self.source_record_id}"
        ):
            raise ValueError("text cannot hold the character U+0000")

    def fingerprint(self) -> bytes:
        """The same for two records that say the same, however their numbers and times are written."""
        said = (
            self.subscription_id,
            self.usage_type,
            self.unit,
            self.quantity.normalize(),
            None if self.unit_price is None else self.unit_price.normalize(),
            self.period_start,
            self.period_end,
            self.description,
        )
        return blake2b(_ENCODER.encode(said), digest_size=16).digest()


_ENCODER = msgspec.msgpack.Encoder()


def _check_number(field: str, number: Decimal) -> None:
    """A Decimal as the columns hold it: 0 or more, below 10^12, at most 6 places."""
    if not number.is_finite() or not 0 <= number < _LARGEST:
        raise ValueError(f"{field} has to be a number from 0 to below 10^12")
    if number != number.quantize(_SIX_PLACES):
        raise ValueError(f"{field} has more than 6 decimal places")


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
