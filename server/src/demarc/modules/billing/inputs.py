"""What invoices and payments may be made from; an instance that exists is valid."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from demarc.kernel.errors import invalid
from demarc.kernel.money import exponent
from demarc.modules.billing.states import LineKind

AMOUNT_MAX = 10**15
QUANTITY_END = 10**12
REF_LENGTH = 50
_REF = re.compile(r"[A-Za-z0-9._:-]+")


def check_amount(field: str, amount_minor: int, *, least: int = 0) -> None:
    """Minor units, within what the columns hold."""
    if not least <= amount_minor <= AMOUNT_MAX:
        raise invalid(field, f"has to be {least} to {AMOUNT_MAX} minor units")


def _text(field: str, value: str, longest: int) -> str:
    trimmed = value.strip()
    if not 1 <= len(trimmed) <= longest or "\0" in trimmed:
        raise invalid(field, f"has to be 1 to {longest} characters")
    return trimmed


@dataclass(frozen=True, slots=True)
class NewLine:
    """One line of an invoice; `amount_minor` is already rounded, the rest says where it comes from."""

    description: str
    amount_minor: int
    kind: LineKind = LineKind.ONE_OFF
    usage_type: str | None = None
    quantity: Decimal = Decimal(1)
    unit: str = ""
    unit_price: Decimal | None = None
    octets: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "description", _text("description", self.description, 500))
        check_amount("amount", self.amount_minor)
        if not 0 <= self.quantity < QUANTITY_END:
            raise invalid("quantity", f"of {self.description} has to be 0 to below {QUANTITY_END}")


@dataclass(frozen=True, slots=True)
class NewInvoice:
    """An invoice to a customer, for a subscription or for something else.

    `issued_on` is today by the tenant's clock unless given; `month_on` is set by the monthly run only.
    """

    customer_id: int
    lines: tuple[NewLine, ...]
    due_on: date
    subscription_id: int | None = None
    currency: str | None = None
    issued_on: date | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    month_on: date | None = None
    ref: str | None = None

    def __post_init__(self) -> None:
        if not self.lines:
            raise invalid("line_items", "an invoice needs at least one line")
        check_amount("amount", self.subtotal_minor)
        if self.period_start and self.period_end and self.period_end < self.period_start:
            raise invalid("period_end", "has to be at or after period_start")
        if self.ref is not None and (len(self.ref) > REF_LENGTH or not _REF.fullmatch(self.ref)):
            raise invalid(
                "id", f"has to be 1 to {REF_LENGTH} letters, digits, dots, colons, dashes or underscores"
            )
        if self.currency is not None:
            exponent(self.currency)

    @property
    def subtotal_minor(self) -> int:
        return sum(line.amount_minor for line in self.lines)


@dataclass(frozen=True, slots=True)
class Credit:
    """What of an invoice's line is taken back, before tax."""

    position: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class NewCreditNote:
    """What is taken back of an invoice, before tax: these lines, or an amount, or (neither) all that is left.

    `is_settlement`: nobody asked for it; what was agreed changed after its month was billed.
    """

    reason: str
    amount_minor: int | None = None
    lines: tuple[Credit, ...] = ()
    currency: str | None = None
    is_settlement: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", _text("reason", self.reason, 500))
        if self.amount_minor is not None:
            check_amount("amount", self.amount_minor, least=1)
        for line in self.lines:
            check_amount("line_items", line.amount_minor, least=1)
        if len({line.position for line in self.lines}) != len(self.lines):
            raise invalid("line_items", "each line may be named once")
        total = sum(line.amount_minor for line in self.lines)
        if self.lines and self.amount_minor not in (None, total):
            raise invalid("amount", f"is {self.amount_minor}, but the lines to be credited sum to {total}")


@dataclass(frozen=True, slots=True)
class NewRefund:
    """Money that goes back to the customer. With a reference, the same refund again is the first one."""

    reason: str
    amount_minor: int | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", _text("reason", self.reason, 500))
        if self.amount_minor is not None:
            check_amount("amount", self.amount_minor, least=1)
        if self.reference is not None:
            object.__setattr__(self, "reference", _text("reference", self.reference, 100))


@dataclass(frozen=True, slots=True)
class NewPayment:
    """Money that came in. `(method, reference)` makes it unique when a reference is given."""

    customer_id: int
    amount_minor: int
    method: str
    reference: str | None = None
    invoice_id: int | None = None
    currency: str | None = None
    received_at: datetime | None = None

    def __post_init__(self) -> None:
        check_amount("amount", self.amount_minor, least=1)
        object.__setattr__(self, "method", _text("method", self.method, 40))
        if self.reference is not None:
            object.__setattr__(self, "reference", _text("reference", self.reference, 100))
        if self.currency is not None:
            exponent(self.currency)
