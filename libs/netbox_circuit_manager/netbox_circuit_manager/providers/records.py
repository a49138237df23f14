"""What a provider tells about circuits, tickets and bills, in NetBox's terms.

None and the empty string mean that the carrier did not say: what is not said is never written.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Literal

from .errors import RowRefused

# numeric(12, 2) of the cost columns
LARGEST_AMOUNT = Decimal("9999999999.99")
CENT = Decimal("0.01")
LONGEST_TERM = 1200  # months
QUOTED = 60  # characters of a bad value in a message
PLAIN_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?")

TicketStatus = Literal["open", "in_progress", "pending", "resolved", "closed"]
TicketPriority = Literal["low", "medium", "high", "critical"]
TICKET_STATUSES: frozenset[str] = frozenset({"open", "in_progress", "pending", "resolved", "closed"})
TICKET_PRIORITIES: frozenset[str] = frozenset({"low", "medium", "high", "critical"})
CircuitState = Literal["", "active", "ended"]
ChargeKind = Literal["recurring", "non_recurring", "usage", "credit"]


@dataclass(frozen=True, slots=True)
class ContractRecord:
    """A circuit's contract as the carrier states it."""

    number: str
    start_date: date | None = None
    end_date: date | None = None
    term_months: int | None = None
    auto_renew: bool | None = None


@dataclass(frozen=True, slots=True)
class CircuitRecord:
    """A circuit as the carrier states it.

    Args:
        carrier_id: the carrier's own key, stable over the life of the circuit.
        cid: the circuit ID as written on bills and labels.
        customer_id: the name that the customer gave when ordering.
        account: the billing account that the circuit belongs to.
        state: `ended` when the carrier says that the circuit is disconnected.
    """

    carrier_id: str
    cid: str = ""
    customer_id: str = ""
    account: str = ""
    state: CircuitState = ""
    nrc: Decimal | None = None
    mrc: Decimal | None = None
    currency: str = ""
    contract: ContractRecord | None = None
    path: dict[str, Any] | None = None

    @property
    def label(self) -> str:
        """How a report names it."""
        return self.cid or self.customer_id or self.carrier_id

    @property
    def has_cost(self) -> bool:
        """Whether the carrier states any amount."""
        return self.nrc is not None or self.mrc is not None


@dataclass(frozen=True, slots=True)
class TicketRecord:
    """A trouble ticket; `circuit` is the carrier's key, the circuit ID or the customer's name of the circuit."""

    number: str
    circuit: str
    subject: str
    status: TicketStatus
    priority: TicketPriority
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    description: str = ""
    resolution: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class ChargeRecord:
    """One line of a carrier's bill for one circuit."""

    bill_number: str
    line: str
    circuit: str
    kind: ChargeKind
    amount: Decimal
    currency: str
    period_start: date | None = None
    period_end: date | None = None
    description: str = ""


def read_money(value: Any, name: str) -> Decimal | None:
    """An amount with two decimals, None when not stated. Raises `RowRefused` for anything not plainly a number ≥ 0."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        raise RowRefused(f"{_quote(value)} is not an amount", name)
    if isinstance(value, str) and not PLAIN_NUMBER.fullmatch(value.strip()):
        raise RowRefused(f"{_quote(value)} is not an amount", name)
    amount = Decimal(value)
    if not amount.is_finite() or amount > LARGEST_AMOUNT:
        raise RowRefused(f"{_quote(value)} is out of range", name)
    if amount < 0:
        raise RowRefused(f"{_quote(value)} is negative", name)
    return amount.quantize(CENT, ROUND_HALF_UP)


def read_currency(value: Any, supported: frozenset[str], default: str = "") -> str:
    """An ISO 4217 code that the plugin supports. Raises `RowRefused` for any other."""
    if value is None or value == "":
        return default
    code = value.strip().upper() if isinstance(value, str) else ""
    if code not in supported:
        raise RowRefused(
            f"{_quote(value)} is not among the supported currencies ({', '.join(sorted(supported))})",
            "currency",
        )
    return code


def read_text(value: Any, name: str, limit: int) -> str:
    """Text or a number as text; empty when not stated. Raises `RowRefused` when too long or not text."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise RowRefused(f"{_quote(value)} is not text", name)
    text = str(value).strip()
    if len(text) > limit:
        raise RowRefused(f"longer than {limit} characters", name)
    if not is_storable(text):
        raise RowRefused("contains characters that no database stores", name)
    return text


def is_storable(text: str) -> bool:
    """Whether PostgreSQL takes the text: no null character, no half of a surrogate pair, both of which JSON can carry."""
    if "\x00" in text:
        return False
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def clip_text(value: Any, limit: int) -> str:
    """Free text for a description: shortened rather than refused."""
    text = str(value or "")
    return (text if is_storable(text) else make_storable(text)).strip()[:limit]


def make_storable(text: str) -> str:
    """The text with what a database cannot store written out."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def read_date(value: Any, name: str) -> date | None:
    """The date of an ISO 8601 date or date-time (in its own zone). Raises `RowRefused` for anything else."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value.strip()).date()
        except ValueError:
            pass
    raise RowRefused(f"{_quote(value)} is not an ISO 8601 date", name)


def read_moment(value: Any, name: str) -> datetime | None:
    """An ISO 8601 date-time; without a zone it is UTC. Raises `RowRefused` for anything else."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            pass
        else:
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    raise RowRefused(f"{_quote(value)} is not an ISO 8601 time", name)


def read_months(value: Any, name: str) -> int | None:
    """A whole number of months. Raises `RowRefused` for anything else."""
    if value is None or value == "":
        return None
    text = str(value).strip()
    if isinstance(value, bool) or not text.isdigit() or not 0 < int(text) <= LONGEST_TERM:
        raise RowRefused(f"{_quote(value)} is not a number of months", name)
    return int(text)


def read_path(value: Any) -> dict[str, Any] | None:
    """A GeoJSON path, checked and reduced to its geometry. Raises `RowRefused`."""
    from ..geo import PathFileError, read_geojson  # noqa: PLC0415 - only few carriers have paths

    if value is None or value == "":
        return None
    try:
        return read_geojson(value)
    except PathFileError as error:
        raise RowRefused(str(error), "path") from error


def check_order(start: date | None, end: date | None) -> None:
    """Raises `RowRefused` when a contract or period ends before it starts."""
    if start and end and end < start:
        raise RowRefused(f"ends on {end.isoformat()}, before it starts on {start.isoformat()}", "dates")


def _quote(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}…"
