"""Bodies of `/api/customers`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from demarc.modules.billing.service import MovedBalance
from demarc.modules.customers.inputs import NewCustomer
from demarc.modules.customers.queries import Customer, Note
from demarc.modules.customers.states import CustomerStatus, CustomerTier
from demarc.web.bss.parameters import Listed

Address = Annotated[
    dict[str, Any],
    Field(
        max_length=50,
        examples=[{"street": "1 Main St", "city": "Springfield", "postal_code": "12345", "country": "US"}],
        description="free fields; country is an ISO 3166 code of two letters",
    ),
]


class CustomerIn(BaseModel):
    """A new customer; only the name is required."""

    name: str = Field(min_length=1, max_length=255, examples=["New Customer"])
    email: str | None = Field(None, max_length=254, examples=["new.customer@example.com"])
    phone: str | None = Field(None, max_length=32, examples=["+1234567890"])
    tier: CustomerTier = CustomerTier.BASIC
    tags: list[str] = Field(default_factory=list, max_length=50)
    address: Address | None = None
    billing_address: Address | None = None
    language: str = Field("en", min_length=2, max_length=10)

    def to_input(self) -> NewCustomer:
        return NewCustomer(**{**self.model_dump(), "tags": tuple(self.tags)})


class CustomerPatch(BaseModel):
    """The fields to change; what is left out stays."""

    name: str | None = Field(None, min_length=1, max_length=255)
    email: str | None = Field(None, max_length=254)
    phone: str | None = Field(None, max_length=32)
    tier: CustomerTier = CustomerTier.BASIC
    tags: list[str] = Field(default_factory=list, max_length=50)
    address: Address | None = None
    billing_address: Address | None = None
    language: str = Field("en", min_length=2, max_length=10)

    reseller_id: UUID | None = Field(None, description="the user (role reseller) whose customer it is")

    def changes(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


class CustomerOut(BaseModel):
    """A customer. `lifetime_value` is what he ever paid, minor units of the tenant's currency."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    email: str | None
    phone: str | None
    tier: CustomerTier
    tags: list[str]
    address: Address | None
    billing_address: Address | None
    language: str
    status: CustomerStatus
    lifetime_value: int
    reseller_id: UUID | None
    erased_at: datetime | None
    created_at: datetime
    updated_at: datetime


class CustomerList(Listed):
    """A window of the list."""

    customers: list[CustomerOut]


class NoteIn(BaseModel):
    """What to note."""

    body: str = Field(min_length=1, max_length=5000, examples=["Asked for an invoice by post"])


class NoteOut(BaseModel):
    """A note; its author is whoever wrote it first."""

    id: UUID
    body: str
    author: str
    created_at: datetime
    updated_at: datetime


class NoteList(Listed):
    """A window of the list."""

    notes: list[NoteOut]


class MergeIn(BaseModel):
    """Which customer is the same as this one."""

    duplicate_id: UUID
    dry_run: bool = Field(False, description="show what would move, change nothing")


class MergedBalanceOut(BaseModel):
    """What both owed in one currency, and what the one that is left owes; below zero it is credit."""

    currency: str
    balance: int
    duplicate_balance: int
    balance_after: int


class MergeOut(BaseModel):
    """What moved, or would: rows by table."""

    customer: CustomerOut
    duplicate_id: UUID
    dry_run: bool
    moved: dict[str, int]
    balances: list[MergedBalanceOut]


class ErasureIn(BaseModel):
    """Why the customer is forgotten."""

    reason: str = Field(min_length=1, max_length=500, examples=["Asked for by the customer"])


class ExportOut(BaseModel):
    """Everything that is known of a customer, as it is stored, by table; secrets are left out.

    `truncated` names tables of which there is more: their lists have the rest.
    """

    exported_at: datetime
    customer: dict[str, Any]
    data: dict[str, list[dict[str, Any]]]
    truncated: list[str]


def note_out(row: Note) -> NoteOut:
    return NoteOut(
        id=row.uid, body=row.body, author=row.author, created_at=row.created_at, updated_at=row.updated_at
    )


def balance_of(one: MovedBalance) -> MergedBalanceOut:
    return MergedBalanceOut(
        currency=one.currency,
        balance=one.survivor_minor,
        duplicate_balance=one.source_minor,
        balance_after=one.survivor_minor + one.source_minor,
    )


def customer_out(row: Customer, *, paid_minor: int, reseller: UUID | None) -> CustomerOut:
    return CustomerOut.model_construct(
        id=row.uid,
        name=row.name,
        email=row.email,
        phone=row.phone,
        tier=CustomerTier(row.tier),
        tags=row.tags,
        address=row.address,
        billing_address=row.billing_address,
        language=row.language,
        status=CustomerStatus(row.status),
        lifetime_value=paid_minor,
        reseller_id=reseller,
        erased_at=row.erased_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
