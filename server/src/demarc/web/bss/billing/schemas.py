"""Bodies of `/api/billing`: invoices, payments, ledger, runs, taxes. Amounts are integer minor units."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from demarc.kernel.errors import invalid
from demarc.kernel.money import round_to_minor
from demarc.modules.billing.inputs import AMOUNT_MAX, Credit, NewCreditNote, NewLine
from demarc.modules.billing.queries import (
    AccountBalance,
    Invoice,
    InvoiceLine,
    LedgerEntry,
    Refund,
    StatementEntry,
)
from demarc.modules.billing.rules import days_overdue
from demarc.modules.billing.states import InvoiceStatus, LineKind, PaymentStatus, RunStatus
from demarc.web.bss.parameters import ApiDate, ApiDatetime, Listed

Amount = Annotated[int, Field(ge=0, le=AMOUNT_MAX, strict=True, description="minor units")]
Some = Annotated[int, Field(ge=1, le=AMOUNT_MAX, strict=True, description="minor units")]
"""An amount that is not nothing. Neither is ever read out of a text or a truth value."""
Ref = Annotated[str, Field(min_length=1, max_length=50)]
LINES_MAX = 500


class LineIn(BaseModel):
    """One line: its `amount`, or `unit_price` (major units) by quantity by proration_factor, rounded half up once."""

    description: str = Field(min_length=1, max_length=500, examples=["Fiber Internet 100 Mbps, October"])
    amount: Amount | None = Field(None, examples=[7999])
    quantity: Decimal = Field(Decimal(1), ge=0, lt=10**12, decimal_places=6)
    unit: str = Field("", max_length=20)
    unit_price: Decimal | None = Field(None, ge=0, lt=10**12, decimal_places=6, description="major units")
    proration_factor: Decimal = Field(Decimal(1), ge=0, le=1, decimal_places=4)
    usage_type: str | None = Field(None, max_length=40)

    def to_line(self, currency: str) -> NewLine:
        return NewLine(
            description=self.description,
            amount_minor=self._amount(currency),
            kind=LineKind.ONE_OFF,
            usage_type=self.usage_type,
            quantity=self.quantity,
            unit=self.unit,
            unit_price=self.unit_price,
        )

    def _amount(self, currency: str) -> int:
        if self.unit_price is None:
            return self.amount or 0
        computed = round_to_minor(self.unit_price * self.quantity * self.proration_factor, currency)
        if self.amount not in (None, computed):
            raise invalid(
                "line_items", f"{self.description}: amount is {self.amount}, the prices give {computed}"
            )
        return computed

    @model_validator(mode="after")
    def _has_amount(self) -> LineIn:
        if self.amount is None and self.unit_price is None:
            raise ValueError("a line needs an amount or a unit_price")
        return self


class UsageTotalsIn(BaseModel):
    """What a usage report answers per type; only its period is read, the amounts come from the records."""

    total_quantity: float | None = None
    unit: str | None = None
    total_amount: int | None = None
    period_start: ApiDatetime | None = None
    period_end: ApiDatetime | None = None


LineItems = Annotated[
    Annotated[list[LineIn], Field(max_length=LINES_MAX), Tag("lines")]
    | Annotated[dict[str, UsageTotalsIn], Field(max_length=LINES_MAX), Tag("usage_by_type")],
    Discriminator(lambda value: "usage_by_type" if isinstance(value, dict) else "lines"),
]


class InvoiceIn(BaseModel):
    """A new invoice, for a subscription or for a customer.

    `line_items` is an array of lines, whose sum has to be `amount`, or the `usage_by_type` of a usage report: then the
    lines are made from the subscription's unbilled usage of that period itself.
    """

    subscription_id: Ref | None = Field(None, examples=["sub_abc123"])
    customer_id: UUID | None = Field(None, description="only needed without subscription_id")
    amount: Amount | None = Field(None, description="minor units, before tax", examples=[7999])
    currency: str | None = Field(None, min_length=3, max_length=3)
    due_date: ApiDate = Field(examples=["2025-10-15"])
    description: str = Field("Services", min_length=1, max_length=500)
    line_items: LineItems | None = None
    period_start: ApiDatetime | None = None
    period_end: ApiDatetime | None = None


class LineItemOut(BaseModel):
    """A line; usage that the platform metered carries its octets."""

    kind: LineKind
    description: str
    usage_type: str | None
    quantity: float
    unit: str
    unit_price: float | None
    octets: int | None
    amount: int


class InvoiceOut(BaseModel):
    """An invoice. `amount` is before tax, `amount_due` what is still to be paid of `total_amount`.

    `amount_credited` is what credit notes took back, with its tax.
    """

    id: str
    number: str
    customer_id: UUID
    subscription_id: str | None
    status: InvoiceStatus
    currency: str
    amount: int
    tax_amount: int
    total_amount: int
    amount_paid: int
    amount_credited: int
    amount_due: int
    issue_date: date
    due_date: date
    days_overdue: int
    period_start: datetime | None
    period_end: datetime | None
    notes: str
    line_items: list[LineItemOut]
    created_at: datetime
    updated_at: datetime


class InvoiceList(Listed):
    """A window of the list."""

    invoices: list[InvoiceOut]


class InvoicePatch(BaseModel):
    """What to change: when an open invoice is due, or what is noted on it."""

    due_date: ApiDate | None = None
    notes: str | None = Field(None, max_length=2000)


class CreditLineIn(BaseModel):
    """How much of which line of the invoice (the first is 1), before tax."""

    position: int = Field(ge=1, le=LINES_MAX)
    amount: Some = Field(description="minor units, before tax", examples=[2500])


class CreditNoteIn(BaseModel):
    """What to take back of an invoice: lines, or an amount over its lines in order, or (neither) all that is left."""

    reason: str = Field(min_length=1, max_length=500, examples=["Line was down for a week"])
    amount: Some | None = Field(None, description="minor units, before tax")
    currency: str | None = Field(None, min_length=3, max_length=3)
    line_items: list[CreditLineIn] = Field(default_factory=list, max_length=LINES_MAX)

    def to_input(self) -> NewCreditNote:
        return NewCreditNote(
            reason=self.reason,
            amount_minor=self.amount,
            lines=tuple(Credit(line.position, line.amount) for line in self.line_items),
            currency=self.currency,
        )


class CreditLineOut(BaseModel):
    """What of the invoice's line went back, before tax."""

    position: int
    description: str
    amount: int


class CreditNoteOut(BaseModel):
    """A credit note. `amount` is before tax, `total_amount` with the tax that goes back."""

    id: UUID
    number: str
    invoice_id: str
    customer_id: UUID
    currency: str
    amount: int
    tax_amount: int
    total_amount: int
    reason: str
    issue_date: date
    line_items: list[CreditLineOut]
    created_at: datetime


class CreditNoteList(Listed):
    """A window of the list."""

    credit_notes: list[CreditNoteOut]


class Why(BaseModel):
    """Why a payment is taken back."""

    reason: str = Field(min_length=1, max_length=500, examples=["Chargeback by the card's bank"])


class RefundIn(BaseModel):
    """Money to pay back to the customer: what is left of the payment, or a part of that."""

    reason: str = Field(min_length=1, max_length=500, examples=["Overpaid"])
    amount: Some | None = Field(None, description="minor units; all that is left by default")
    reference: str | None = Field(
        None, min_length=1, max_length=100, description="the same one again is the first refund"
    )


class RefundOut(BaseModel):
    """What was paid back."""

    id: UUID
    amount: int
    reference: str | None
    reason: str
    created_at: datetime


class VoidIn(BaseModel):
    """Why the invoice is taken back."""

    reason: str = Field(min_length=1, max_length=500)


class PaymentIn(BaseModel):
    """Money that came in: to an invoice, or to what the customer owes, oldest due first."""

    customer_id: UUID | None = Field(None, description="only needed without invoice_id")
    invoice_id: Ref | None = Field(None, examples=["in_xyz789"])
    amount: Some = Field(examples=[10000])
    currency: str | None = Field(None, min_length=3, max_length=3)
    method: str = Field(min_length=1, max_length=40, examples=["bank_transfer"])
    reference: str | None = Field(
        None, min_length=1, max_length=100, description="unique within the method", examples=["TRX-1"]
    )
    received_at: ApiDatetime | None = None


class AllocationOut(BaseModel):
    """What of a payment went to an invoice."""

    invoice_id: str
    amount: int


class PaymentOut(BaseModel):
    """A payment; `unallocated_amount` is the customer's credit until an invoice uses it or it is paid back."""

    id: UUID
    customer_id: UUID
    invoice_id: str | None
    amount: int
    currency: str
    method: str
    reference: str | None
    status: PaymentStatus
    allocations: list[AllocationOut]
    unallocated_amount: int
    refunded_amount: int
    refunds: list[RefundOut]
    received_at: datetime
    created_at: datetime


class PaymentList(Listed):
    """A window of the list."""

    payments: list[PaymentOut]


class LedgerEntryOut(BaseModel):
    """One entry: debit positive, credit negative."""

    id: int
    transaction_id: int
    kind: str
    account: str
    currency: str
    amount: int
    memo: str
    posted_at: datetime


class StatementEntryOut(BaseModel):
    """One entry: what it added to what the customer owes (below zero: took off), and what he owed after it."""

    id: int
    transaction_id: int
    kind: str
    memo: str
    amount: int
    balance: int
    posted_at: datetime


class StatementOut(Listed):
    """A customer's account; the balances are those at the beginning and the end of the time asked for."""

    customer_id: UUID
    currency: str
    opening_balance: int
    closing_balance: int
    entries: list[StatementEntryOut]


class BalanceOut(BaseModel):
    """What the entries of an account come to."""

    account: str
    currency: str
    balance: int


class LedgerOut(Listed):
    """Entries in the order they were written; `balances` is over all of them, and `sum` is always 0.

    Of all customers together what they owe is one account, `receivable`.
    """

    entries: list[LedgerEntryOut]
    balances: list[BalanceOut]
    sum: int


class AccountOut(BaseModel):
    """What a customer owes by the ledger: open invoices less credit."""

    customer_id: UUID
    currency: str
    balance: int
    open_amount: int
    overdue_amount: int
    credit: int
    lifetime_value: int


class RunIn(BaseModel):
    """Bill a month: of one subscription, or of all."""

    period: str = Field(examples=["2025-10"], max_length=10)
    subscription_id: Ref | None = None
    dry_run: bool = Field(False, description="show what would be billed, write nothing")
    skip: int = Field(0, ge=0, description="for a dry run over many: answered subscriptions to pass over")


class RunFailure(BaseModel):
    """A subscription that could not be billed, and why."""

    subscription_id: str
    code: str
    message: str


class PreviewOut(BaseModel):
    """What a subscription would be billed."""

    subscription_id: str
    currency: str
    amount: int
    tax_amount: int
    total_amount: int
    line_items: list[LineItemOut]


class RunOut(BaseModel):
    """A monthly run and its progress. With `dry_run`, `preview` holds what would be billed and nothing was written."""

    id: UUID | None
    period: str
    subscription_id: str | None
    dry_run: bool
    status: RunStatus
    subscriptions: int
    billed: int
    unchanged: int
    failed: int
    remaining: int
    total_amount: int
    failures: list[RunFailure]
    preview: list[PreviewOut] | None
    created_at: datetime
    updated_at: datetime


class RunList(Listed):
    """A window of the list."""

    runs: list[RunOut]


class TaxRuleIn(BaseModel):
    """A tax on every invoice issued from a day on; a later rule of the same name replaces it."""

    name: str = Field(min_length=1, max_length=60, examples=["sales tax"])
    rate: Decimal = Field(ge=0, lt=1, decimal_places=6, examples=[0.08])
    effective_on: ApiDate


class TaxRuleOut(BaseModel):
    name: str
    rate: float
    effective_on: date


class TaxRuleList(Listed):
    """A window of the list."""

    tax_rules: list[TaxRuleOut]


def line_out(line: InvoiceLine | NewLine) -> LineItemOut:
    return LineItemOut(
        kind=LineKind(line.kind),
        description=line.description,
        usage_type=line.usage_type,
        quantity=float(line.quantity),
        unit=line.unit,
        unit_price=None if line.unit_price is None else float(line.unit_price),
        octets=line.octets,
        amount=line.amount_minor,
    )


def invoice_out(
    row: Invoice, lines: list[InvoiceLine], *, customer: UUID, subscription: str | None, today: date
) -> InvoiceOut:
    overdue = days_overdue(today, row.due_on, row.issued_on) if row.open_minor else 0
    return InvoiceOut(
        id=row.ref,
        number=row.number,
        customer_id=customer,
        subscription_id=subscription,
        status=InvoiceStatus(row.status),
        currency=row.currency,
        amount=row.subtotal_minor,
        tax_amount=row.tax_minor,
        total_amount=row.total_minor,
        amount_paid=row.paid_minor,
        amount_credited=row.credited_minor,
        amount_due=row.open_minor,
        issue_date=row.issued_on,
        due_date=row.due_on,
        days_overdue=overdue,
        period_start=row.period_start,
        period_end=row.period_end,
        notes=row.notes,
        line_items=[line_out(line) for line in lines],
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def entry_out(row: LedgerEntry) -> LedgerEntryOut:
    return LedgerEntryOut(
        id=row.id,
        transaction_id=row.transaction_id,
        kind=row.kind,
        account=row.account,
        currency=row.currency,
        amount=row.amount_minor,
        memo=row.memo,
        posted_at=row.posted_at,
    )


def statement_entry_out(row: StatementEntry) -> StatementEntryOut:
    return StatementEntryOut(
        id=row.id,
        transaction_id=row.transaction_id,
        kind=row.kind,
        memo=row.memo,
        amount=row.amount_minor,
        balance=row.balance_minor,
        posted_at=row.posted_at,
    )


def refund_out(row: Refund) -> RefundOut:
    return RefundOut(
        id=row.uid,
        amount=row.amount_minor,
        reference=row.reference,
        reason=row.reason,
        created_at=row.created_at,
    )


def balance_out(row: AccountBalance) -> BalanceOut:
    return BalanceOut(account=row.account, currency=row.currency, balance=row.balance_minor)


def report_period(items: dict[str, UsageTotalsIn]) -> tuple[datetime, datetime] | None:
    """The period that a report's entries carry; None when they do not.

    Raises:
        Invalid: they carry different ones.
    """
    periods: set[Any] = {
        (item.period_start.astimezone(UTC), item.period_end.astimezone(UTC))
        for item in items.values()
        if item.period_start is not None and item.period_end is not None
    }
    if len(periods) > 1:
        raise invalid("line_items", "the entries are of different periods; bill one report at a time")
    return periods.pop() if periods else None
