"""Bodies of `/api/plans`."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, Field, model_validator

from demarc.modules.catalog.inputs import (
    BITS_PER_MEGABIT,
    GB_OCTETS,
    METERED_TYPE,
    MONEY_MAX_MINOR,
    QUANTITY_MAX,
    SPEED_MAX_MBPS,
    TIERS_MAX,
    UNIT_PRICE_MAX,
    NewDataCap,
    NewPlan,
    NewPrice,
    NewUsagePrice,
    Tier,
    bits_per_second,
)
from demarc.modules.catalog.queries import Plan, PlanPrice, PlanUsagePrice
from demarc.modules.catalog.states import CapAction, PlanStatus, PriceModel
from demarc.web.bss.parameters import ApiDate, Listed

Mbps = Annotated[float, Field(gt=0, le=SPEED_MAX_MBPS, allow_inf_nan=False, description="Mbit/s")]
Minor = Annotated[int, Field(ge=0, le=MONEY_MAX_MINOR, strict=True, description="minor units (cents)")]
PlanRef = Annotated[str, Field(min_length=1, max_length=50, examples=["plan_fiber_100"])]
UnitPrice = Annotated[Decimal, Field(ge=0, le=UNIT_PRICE_MAX, allow_inf_nan=False)]
Quantity = Annotated[Decimal, Field(ge=0, le=QUANTITY_MAX, allow_inf_nan=False)]
LimitGb = Annotated[
    Decimal,
    Field(
        gt=0,
        le=QUANTITY_MAX / 1000,
        allow_inf_nan=False,
        examples=[500],
        description="GB (2^30 octets, both directions) a calendar month",
    ),
]
_OFFER = "exclusive: an offer for a while; two offers never share a day"
_SPEEDS = {"bandwidth_down_mbps": "download_bps", "bandwidth_up_mbps": "upload_bps"}


class PriceIn(BaseModel):
    """A recurring price and an activation fee; today (the tenant's) unless `effective_on` says otherwise."""

    monthly_fee: Minor
    activation_fee: Minor = 0
    effective_on: ApiDate | None = None
    effective_until: ApiDate | None = Field(None, description=_OFFER)

    def to_input(self) -> NewPrice:
        return NewPrice(self.monthly_fee, self.activation_fee, self.effective_on, self.effective_until)


class TierIn(BaseModel):
    """The price of the units up to and including `up_to`; the last tier has none."""

    up_to: Quantity | None = Field(None, examples=[100])
    unit_price: UnitPrice = Field(examples=[0.05])


class UsagePriceIn(BaseModel):
    """What usage costs, in major units.

    `flat`: each unit `unit_price`. `package`: `included_quantity` units a month are in, each further one is `unit_price`. `tiered`: each
    unit at the price of the tier it falls into. `volume`: all at the price of the tier that the month's whole quantity falls into.
    """

    usage_type: str = Field(min_length=1, max_length=40, examples=["bandwidth_gb"])
    unit: str = Field(min_length=1, max_length=20, examples=["GB"])
    model: PriceModel = PriceModel.FLAT
    unit_price: UnitPrice | None = Field(None, examples=[0.05])
    included_quantity: Quantity = Decimal(0)
    tiers: list[TierIn] = Field(default_factory=list, max_length=TIERS_MAX)
    effective_on: ApiDate | None = None
    effective_until: ApiDate | None = Field(None, description=_OFFER)

    def to_input(self) -> NewUsagePrice:
        return NewUsagePrice(
            self.usage_type,
            self.unit,
            self.unit_price,
            self.effective_on,
            model=self.model,
            included=self.included_quantity,
            tiers=tuple(Tier(tier.up_to, tier.unit_price) for tier in self.tiers),
            until_on=self.effective_until,
        )


class DataPolicyIn(BaseModel):
    """What follows when the data is used up; the customer is told at 80 and 100 % in any case.

    `throttle` needs speeds, or the name of a bandwidth profile that has them. `charge` bills what is over: by `overage_price` for a GB, or
    by the plan's package price.
    """

    action: CapAction = CapAction.NOTIFY
    download_mbps: Mbps | None = Field(None, examples=[2])
    upload_mbps: Mbps | None = Field(None, examples=[1])
    profile: str | None = Field(None, min_length=1, max_length=100, description="name of a bandwidth profile")


class PlanDataPolicyIn(DataPolicyIn):
    """As on a service; `overage_price` makes the package price of `bandwidth_gb`: `data_limit_gb` included, this for each further GB."""

    overage_price: UnitPrice | None = None


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
    data_limit_gb: LimitGb | None = None
    data_limit_policy: PlanDataPolicyIn | None = None

    @model_validator(mode="after")
    def _policy_of_a_limit(self) -> Self:
        return need_limit(self)

    def to_plan(self, cap: NewDataCap | None) -> NewPlan:
        return NewPlan(
            ref=self.plan_id,
            name=self.name,
            description=self.description,
            service_type=self.service_type,
            download_bps=bits_per_second(self.bandwidth_down_mbps, field="bandwidth_down_mbps"),
            upload_bps=bits_per_second(self.bandwidth_up_mbps, field="bandwidth_up_mbps"),
            price=self.to_input(),
            currency=self.currency,
            usage_prices=(*(price.to_input() for price in self.usage_prices), *self._overage()),
            cap=cap,
        )

    def _overage(self) -> tuple[NewUsagePrice, ...]:
        price = None if self.data_limit_policy is None else self.data_limit_policy.overage_price
        if price is None or self.data_limit_gb is None:
            return ()
        return (overage(price, self.data_limit_gb, self.effective_on),)


class PlanPatch(BaseModel):
    """The fields to change; what is left out stays, and so does everything that was sold."""

    name: str | None = Field(None, min_length=1, max_length=100)
    description: str | None = Field(None, max_length=2000)
    bandwidth_down_mbps: Mbps | None = None
    bandwidth_up_mbps: Mbps | None = None
    status: PlanStatus | None = None
    data_limit_gb: LimitGb | None = Field(None, description="null: sold without a data cap from now on")
    data_limit_policy: DataPolicyIn | None = None

    @model_validator(mode="after")
    def _policy_of_a_limit(self) -> Self:
        return need_limit(self)

    def changes(self) -> dict[str, Any]:
        """Without the status and the data cap; speeds in bit/s."""
        given = self.model_dump(exclude_unset=True, exclude={"status", "data_limit_gb", "data_limit_policy"})
        return {
            _SPEEDS.get(field, field): bits_per_second(value, field=field) if field in _SPEEDS else value
            for field, value in given.items()
        }


class PriceOut(BaseModel):
    """A price and the day it counts from."""

    monthly_fee: int
    activation_fee: int
    effective_on: date
    effective_until: date | None = Field(description="exclusive; null: until another one takes over")
    created_at: datetime


class TierOut(BaseModel):
    """Up to and including `up_to`; null: all further units."""

    up_to: float | None
    unit_price: float


class UsagePriceOut(BaseModel):
    """A usage price and the day it counts from; `unit_price` in major units, of the first unit that costs something."""

    usage_type: str
    unit: str
    model: PriceModel
    unit_price: float
    included_quantity: float
    tiers: list[TierOut]
    effective_on: date
    effective_until: date | None
    created_at: datetime


class DataPolicyOut(BaseModel):
    """What follows when the data is used up; speeds are the throttled ones."""

    action: CapAction
    download_mbps: float | None
    upload_mbps: float | None


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
    data_limit_gb: float | None
    data_limit_policy: DataPolicyOut | None
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


M = TypeVar("M", bound=BaseModel)


def need_limit(body: M) -> M:
    """A policy says what follows from a limit: without one in the same body it says nothing."""
    given: Any = body
    if given.data_limit_policy is not None and given.data_limit_gb is None:
        raise ValueError("data_limit_policy needs data_limit_gb beside it")
    return body


def overage(price: Decimal, included: Decimal, effective_on: date | None) -> NewUsagePrice:
    """The package price that a data cap charges by."""
    return NewUsagePrice(METERED_TYPE, "GB", price, effective_on, model=PriceModel.PACKAGE, included=included)


def policy_out(action: str | None, download_bps: int | None, upload_bps: int | None) -> DataPolicyOut | None:
    if action is None:
        return None
    return DataPolicyOut(
        action=CapAction(action), download_mbps=_mbps(download_bps), upload_mbps=_mbps(upload_bps)
    )


def _mbps(bps: int | None) -> float | None:
    return None if bps is None else bps / BITS_PER_MEGABIT


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
        data_limit_gb=None if row.cap_octets is None else row.cap_octets / GB_OCTETS,
        data_limit_policy=policy_out(row.cap_action, row.cap_download_bps, row.cap_upload_bps),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def price_out(row: PlanPrice) -> PriceOut:
    return PriceOut(
        monthly_fee=row.monthly_minor,
        activation_fee=row.activation_minor,
        effective_on=row.effective_on,
        effective_until=row.until_on,
        created_at=row.created_at,
    )


def usage_price_out(row: PlanUsagePrice) -> UsagePriceOut:
    rate = row.rate
    return UsagePriceOut(
        usage_type=row.usage_type,
        unit=row.unit,
        model=rate.model,
        unit_price=float(row.unit_price),
        included_quantity=float(row.included),
        tiers=[
            TierOut(
                up_to=None if tier.up_to is None else float(tier.up_to), unit_price=float(tier.unit_price)
            )
            for tier in rate.tiers
        ],
        effective_on=row.effective_on,
        effective_until=row.until_on,
        created_at=row.created_at,
    )
