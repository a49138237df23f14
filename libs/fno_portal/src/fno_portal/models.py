"""The shapes of the document: coverage, packages, orders; and what an ISP needs beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fno_portal.errors import FNOValidationError
from fno_portal.redaction import contains_id_number

_SPEED = re.compile(r"(\d+(?:\.\d+)?)\s*(?:/\s*(\d+(?:\.\d+)?))?\s*([GM])?(?:bps|b/s|bit/s)?", re.IGNORECASE)
_POLE, _ANTIMERIDIAN = 90, 180
_CURRENCY = re.compile(r"(?i)^(?:ZAR|R)\s*|\s*(?:ZAR|p/?m|per month|pm)$")


def _as_zar(value: Any) -> Any:
    """`R 1 299,50`, `ZAR 799`, 799 and 799.0 are all amounts that operators write. A float goes by its shortest text."""
    if isinstance(value, float):
        return Decimal(str(value))
    if not isinstance(value, str):
        return value
    text = _CURRENCY.sub("", value.strip()).replace("\u00a0", " ").strip()
    if re.fullmatch(r"[\d ]+,\d{2}", text):
        text = text.replace(",", ".")
    return text.replace(" ", "").replace(",", "") or None


Zar = Annotated[Decimal, BeforeValidator(_as_zar), Field(ge=0)]


def speeds_of(text: str) -> tuple[int, int] | None:
    """Download and upload in Mbit/s out of `50/50 Mbps`, `1 Gbps` or `100 Mbps`; None where no speed stands."""
    found = _SPEED.search(text)
    if not found:
        return None
    factor = 1000 if (found[3] or "").upper() == "G" else 1
    down = int(float(found[1]) * factor)
    return down, int(float(found[2]) * factor) if found[2] else down


class PackageOption(BaseModel):
    """A package that an operator offers at one address. Amounts are Decimal ZAR; None means not told, never free."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    name: str
    download_mbps: int | None = Field(default=None, gt=0)
    upload_mbps: int | None = Field(default=None, gt=0)
    monthly_cost: Zar | None = None
    setup_fee: Zar | None = None
    contract_months: int | None = Field(default=None, ge=0)
    product_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def read_speed(cls, data: Any) -> Any:
        """Take the speeds from `speed` or from the name where the operator does not give them as numbers."""
        if not isinstance(data, Mapping) or data.get("download_mbps") is not None:
            return data
        speeds = speeds_of(str(data.get("speed") or "")) or speeds_of(str(data.get("name") or ""))
        if not speeds or speeds[0] == 0:
            return data
        return {
            **data,
            "download_mbps": speeds[0],
            "upload_mbps": data.get("upload_mbps") or speeds[1] or None,
        }


class CoverageResult(BaseModel):
    """One operator's answer: covered or not. Unknown has no CoverageResult; see `CoverageAnswer`."""

    model_config = ConfigDict(
        extra="ignore",
        hide_input_in_errors=True,
        json_schema_extra={
            "example": {
                "fno": "vumatel",
                "address": "123 Main Street, Sandton",
                "is_covered": True,
                "packages": [
                    {"name": "50/50 Mbps", "monthly_cost": 799},
                    {"name": "100/100 Mbps", "monthly_cost": 999},
                ],
            }
        },
    )

    fno: str
    address: str
    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=180)
    is_covered: bool
    packages: list[PackageOption] = Field(default_factory=list)
    estimated_install_time: str | None = None
    address_keys: dict[str, str] = Field(default_factory=dict)
    checked_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


class CoverageState(str, Enum):
    COVERED = "covered"
    NOT_COVERED = "not_covered"
    UNKNOWN = "unknown"


class CoverageAnswer(BaseModel):
    """What is known of one operator at one address, with the reason where it is unknown."""

    fno: str
    state: CoverageState
    result: CoverageResult | None = None
    reason: dict[str, Any] | None = None
    elapsed_ms: int = 0
    cached: bool = False


class Address(str):
    """An address as text that may carry coordinates and the operators' own keys (AMID, premise id).

    It is a plain `str` for whoever wants one, so the documented signatures stay as they are.
    """

    latitude: float | None
    longitude: float | None
    keys: dict[str, str]

    __slots__ = ("keys", "latitude", "longitude")

    def __new__(
        cls,
        text: str,
        *,
        latitude: float | None = None,
        longitude: float | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> Self:
        """Check the text and the coordinates.

        Raises:
            FNOValidationError: no text, an empty one without coordinates or keys, one with an identity number in it, or
                coordinates outside the globe.
        """
        if not isinstance(text, str):
            raise FNOValidationError("the address is no text", hint="Give street, number and suburb")
        cleaned = " ".join(text.split())
        if contains_id_number(cleaned):
            # It would stand in the address line of a request, which others log.
            raise FNOValidationError("the address holds an identity number", hint="Take it out")
        if not cleaned and (latitude is None or longitude is None) and not keys:
            raise FNOValidationError(
                "the address is empty", hint="Give street, number and suburb, or coordinates"
            )
        if (latitude is None) != (longitude is None):
            raise FNOValidationError(
                "only one coordinate is given", hint="Give both latitude and longitude, or none"
            )
        if not (abs(latitude or 0) <= _POLE and abs(longitude or 0) <= _ANTIMERIDIAN):
            raise FNOValidationError("the coordinates are not on the globe", hint="Give decimal degrees")
        made = super().__new__(cls, cleaned)
        made.latitude, made.longitude, made.keys = latitude, longitude, dict(keys or {})
        return made

    @classmethod
    def of(cls, address: str) -> Address:
        """The address itself, or a plain text made one."""
        return address if isinstance(address, Address) else cls(address)


class OrderStatus(str, Enum):
    """The document's eight states, and the four that TMF641 adds."""

    PENDING = "pending"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    SCHEDULED = "scheduled"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    REJECTED = "rejected"
    HELD = "held"
    PARTIAL = "partial"
    PENDING_CANCELLATION = "pending_cancellation"


class OrderType(str, Enum):
    NEW = "new"
    TAKEOVER = "takeover"
    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    RELOCATION = "relocation"
    CANCELLATION = "cancellation"


class Outcome(str, Enum):
    """What we know of the operator having the order.

    `not_sent`: it certainly does not. `sending`: under way in some process, or that process died. `known`: it told us.
    `unknown`: sent, and no answer that could be trusted; only a look-up or a person settles it.
    """

    NOT_SENT = "not_sent"
    SENDING = "sending"
    KNOWN = "known"
    UNKNOWN = "unknown"


class Cancellation(str, Enum):
    """The states of asking for an order to be cancelled; apart from the order's own."""

    REQUESTED = "requested"
    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"
    COMPLETED = "completed"
    UNKNOWN = "unknown"


class Severity(str, Enum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class RicaVerification(BaseModel):
    """Who saw which documents of the customer, when and how. The identity number itself is checked and forgotten."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)

    verified_by: str = Field(min_length=1)
    verified_at: datetime
    method: str = Field(min_length=1)
    documents: tuple[str, ...] = Field(min_length=1)
    evidence_hash: str = Field(pattern=r"^(sha256:)?[0-9a-f]{64}$")


class OrderRequest(BaseModel):
    """What an ISP asks of an operator. `reference` is ours and the idempotency key."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)

    reference: str = Field(min_length=1, max_length=64, pattern=r"^[\w.:/-]+$")
    type: OrderType = OrderType.NEW
    customer_id: str = Field(min_length=1)
    address: str = Field(min_length=1)
    address_keys: dict[str, str] = Field(default_factory=dict)
    package: str = ""
    requested_date: date | None = None
    service_reference: str | None = None
    losing_isp: str | None = None
    new_address: str | None = None
    effective_date: date | None = None
    notes: str | None = None
    contact: dict[str, str] = Field(default_factory=dict)
    rica: RicaVerification | None = None

    @property
    def rica_verified(self) -> bool:
        """Derived: a boolean alone proves nothing."""
        return self.rica is not None


class FNOOrder(BaseModel):
    """An order with an operator. `id` is our reference, `fno_reference` the operator's."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    id: str
    fno: str
    fno_reference: str | None = None
    customer_id: str
    address: str
    package: str
    status: OrderStatus
    rica_verified: bool
    scheduled_date: str | None = None
    completed_date: str | None = None
    notes: str | None = None
    type: OrderType = OrderType.NEW
    outcome: Outcome = Outcome.KNOWN
    cancellation: Cancellation | None = None


class EventSource(str, Enum):
    SUBMIT = "submit"
    LOOKUP = "lookup"
    POLL = "poll"
    WEBHOOK = "webhook"
    MAIL = "mail"
    PERSON = "person"


class OrderEvent(BaseModel):
    """One line of an order's log. `dedupe_key` is unique per operator: the same news twice is one event.

    `applied` tells whether it changed the order; `note` says why not (late, illegal). `evidence` is raw and redacted.
    """

    sequence: int | None = None
    reference: str
    fno: str
    source: EventSource
    dedupe_key: str
    status: OrderStatus | None = None
    occurred_at: datetime | None = None
    recorded_at: datetime
    applied: bool = False
    note: str = ""
    scheduled_date: str | None = None
    evidence: dict[str, Any] = Field(default_factory=dict)


class UnmatchedMessage(BaseModel):
    """A mail that nobody could place: unreadable, not authentic, or of an order we do not have. A person looks at it."""

    key: str
    fno: str
    reason: str
    sender: str = ""
    subject: str = ""
    received_at: datetime | None = None
    excerpt: str = ""
