"""Bodies of `/api/plans`."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, Field

from demarc.modules.catalog.inputs import (
    BITS_PER_MEGABIT,
    MONEY_MAX_MINOR,
    SPEED_MAX_MBPS,
    UNIT_PRICE_MAX,
    NewPlan,
    NewPrice,
    NewUsagePrice,
    bits_per_second,
)
from demarc.modules.catalog.queries import Plan, PlanPrice, PlanUsagePrice
from demarc.modules.catalog.states import PlanStatus
from demarc.web.bss.parameters import ApiDate, Listed

Mbps = Annotated[float, Field(gt=0, le=SPEED_MAX_MBPS, allow_inf_nan=False, description="Mbit/s")]
Minor = Annotated[int, Field(ge=0, le=MONEY_MAX_MINOR, strict=True, description="minor units (cents)")]
PlanRef = Annotated[str, Field(min_length=1, max_length=50, examples=["plan_fiber_100"])]
_SPEEDS = {"bandwidth_down_mbps": "download_bps", "bandwidth_up_mbps": "upload_bps"}


class PriceIn(BaseModel):
    """A recurring price and an activation fee; today (the tenant's) unless `effective_on` says otherwise."""

    monthly_fee: Minor
    activation_fee: Minor = 0
    effective_on: ApiDate | None = None

    def to_input(self) -> NewPrice:
        return NewPrice(self.monthly_fee, self.activation_fee, self.effective_on)


class UsagePriceIn(BaseModel):
    """What a unit of usage costs, in major units."""

    usage_type: str = Field(min_length=1, max_length=40, examples=["bandwidth_gb"])
    unit: str = Field(min_length=1, max_length=20, examples=["GB"])
    unit_price: Decimal = Field(ge=0, le=UNIT_PRICE_MAX, allow_inf_nan=False, examples=[0.05])
    effective_on: ApiDate | None = None

    def to_input(self) -> NewUsagePrice:
        return NewUsagePrice(self.usage_type, self.unit, self.unit_price, self.effective_on)


class PlanIn(PriceIn):
    """A plan with its first price."""

    plan_id: PlanRef
    name: str = Field(min_length=1, max_length=100, examples=["Fiber 100"])
    description: str = Field("", max_length=2000)
    service_type: str = Field(min_length=1, max_length=40, examples=["fiber_internet"])
    bandwidth_down_mbps: Mbps
    bandwidth_up_mbps: Mbps
    currency: str | None = Field(None, min_length=3, max_length=3, description="the tenant's, the only one")
    usage_prices: list[UsagePriceIn] = Field(default_factory=list, max_length=50)

    def to_plan(self) -> NewPlan:
        return NewPlan(
            ref=self.plan_id,
            name=self.name,
            description=self.description,
            service_type=self.service_type,
            download_bps=bits_per_second(self.bandwidth_down_mbps, field="bandwidth_down_mbps"),
            upload_bps=bits_per_second(self.bandwidth_up_mbps, field="bandwidth_up_mbps"),
            price=self.to_input(),
            currency=self.currency,
            usage_prices=tuple(price.to_input() for price in self.usage_prices),
        )


class PlanPatch(BaseModel):
    """The fields to change; what is left out stays, and so does everything that was sold."""

    name: str | None = Field(None, min_length=1, max_length=100)
    description: str | None = Field(None, max_length=2000)
    bandwidth_down_mbps: Mbps | None = None
    bandwidth_up_mbps: Mbps | None = None
    status: PlanStatus | None = None

    def changes(self) -> dict[str, Any]:
        """Without the status; speeds in bit/s."""
        given = self.model_dump(exclude_unset=True, exclude={"status"})
        return {
            _SPEEDS.get(field, field): bits_per_second(value, field=field) if field in _SPEEDS else value
            for field, value in given.items()
        }


class PriceOut(BaseModel):
    """A price and the day it counts from."""

    monthly_fee: int
    activation_fee: int
    effective_on: date
    created_at: datetime


class UsagePriceOut(BaseModel):
    """A usage price and the day it counts from; `unit_price` in major units."""

    usage_type: str
    unit: str
    unit_price: float
    effective_on: date
    created_at: datetime


class PlanOut(BaseModel):
    """A plan with the price of today, null when its first one lies ahead. `plan_id` is `id`, as other bodies call it."""

    id: str
    plan_id: str
    name: str
    description: str
    service_type: str
    bandwidth_down_mbps: float
    bandwidth_up_mbps: float
    currency: str
    monthly_fee: int | None
    activation_fee: int | None
    status: PlanStatus
    created_at: datetime
    updated_at: datetime


class PlanList(Listed):
    """A window of the list."""

    plans: list[PlanOut]


class PriceList(Listed):
    """A window of the list."""

    prices: list[PriceOut]


class UsagePriceList(Listed):
    """A window of the list."""

    usage_prices: list[UsagePriceOut]


def plan_out(row: Plan, price: PlanPrice | None) -> PlanOut:
    return PlanOut.model_construct(
        id=row.ref,
        plan_id=row.ref,
        name=row.name,
        description=row.description,
        service_type=row.service_type,
        bandwidth_down_mbps=row.download_bps / BITS_PER_MEGABIT,
        bandwidth_up_mbps=row.upload_bps / BITS_PER_MEGABIT,
        currency=row.currency,
        monthly_fee=None if price is None else price.monthly_minor,
        activation_fee=None if price is None else price.activation_minor,
        status=PlanStatus(row.status),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def price_out(row: PlanPrice) -> PriceOut:
    return PriceOut(
        monthly_fee=row.monthly_minor,
        activation_fee=row.activation_minor,
        effective_on=row.effective_on,
        created_at=row.created_at,
    )


def usage_price_out(row: PlanUsagePrice) -> UsagePriceOut:
    return UsagePriceOut(
        usage_type=row.usage_type,
        unit=row.unit,
        unit_price=float(row.unit_price),
        effective_on=row.effective_on,
        created_at=row.created_at,
    )
