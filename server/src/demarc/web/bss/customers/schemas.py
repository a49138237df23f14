"""Bodies of `/api/customers`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from demarc.modules.customers.inputs import NewCustomer
from demarc.modules.customers.queries import Customer
from demarc.modules.customers.states import CustomerStatus, CustomerTier
from demarc.web.bss.parameters import Listed

Address = dict[str, Any]


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

    def changes(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


class CustomerOut(BaseModel):
    """A customer."""

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
    created_at: datetime
    updated_at: datetime


class CustomerList(Listed):
    """A window of the list."""

    customers: list[CustomerOut]


def customer_out(row: Customer) -> CustomerOut:
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
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
