"""GraphQL filters. None reads a secret: a filter that answers yes or no would be a way to guess one."""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import strawberry
import strawberry_django
from netbox.graphql.filters import BaseModelFilter, NetBoxModelFilter, register_filter
from strawberry.scalars import ID
from strawberry_django import (
    BaseFilterLookup,
    ComparisonFilterLookup,
    DateFilterLookup,
    DatetimeFilterLookup,
    StrFilterLookup,
)

from .. import models

if TYPE_CHECKING:
    from circuits.graphql.filters import CircuitFilter, ProviderAccountFilter, ProviderFilter
    from netbox.graphql.filter_lookups import IntegerLookup

    from .enums import (
        ChargeKindEnum,
        DisputeStatusEnum,
        SyncModeEnum,
        SyncStatusEnum,
        TicketPriorityEnum,
        TicketStatusEnum,
    )

__all__ = (
    "CarrierChargeFilter",
    "CarrierCircuitFilter",
    "CircuitContractFilter",
    "CircuitCostFilter",
    "CircuitCostHistoryFilter",
    "CircuitPathFilter",
    "CircuitTicketFilter",
    "ProviderAPIConfigFilter",
    "ProviderSyncRunFilter",
)

_ENUMS = "netbox_circuit_manager.graphql.enums"
_Circuit = Annotated["CircuitFilter", strawberry.lazy("circuits.graphql.filters")]
_Provider = Annotated["ProviderFilter", strawberry.lazy("circuits.graphql.filters")]
_ProviderAccount = Annotated["ProviderAccountFilter", strawberry.lazy("circuits.graphql.filters")]
_Config = Annotated["ProviderAPIConfigFilter", strawberry.lazy("netbox_circuit_manager.graphql.filters")]
_Integer = Annotated["IntegerLookup", strawberry.lazy("netbox.graphql.filter_lookups")]


@register_filter(models.CircuitCost, lookups=True)
class CircuitCostFilter(NetBoxModelFilter):
    circuit: _Circuit | None = strawberry_django.filter_field()
    circuit_id: ID | None = strawberry_django.filter_field()
    nrc: ComparisonFilterLookup[Decimal] | None = strawberry_django.filter_field()
    mrc: ComparisonFilterLookup[Decimal] | None = strawberry_django.filter_field()
    currency: StrFilterLookup | None = strawberry_django.filter_field()
    billing_account: StrFilterLookup | None = strawberry_django.filter_field()
    last_updated_date: DateFilterLookup | None = strawberry_django.filter_field()


@register_filter(models.CircuitContract, lookups=True)
class CircuitContractFilter(NetBoxModelFilter):
    circuit: _Circuit | None = strawberry_django.filter_field()
    circuit_id: ID | None = strawberry_django.filter_field()
    contract_number: StrFilterLookup | None = strawberry_django.filter_field()
    start_date: DateFilterLookup | None = strawberry_django.filter_field()
    end_date: DateFilterLookup | None = strawberry_django.filter_field()
    renewal_date: DateFilterLookup | None = strawberry_django.filter_field()
    notice_date: DateFilterLookup | None = strawberry_django.filter_field()
    term_months: _Integer | None = strawberry_django.filter_field()
    auto_renew: strawberry_django.FilterLookup[bool] | None = strawberry_django.filter_field()
    early_termination_fee: ComparisonFilterLookup[Decimal] | None = strawberry_django.filter_field()
    currency: StrFilterLookup | None = strawberry_django.filter_field()


@register_filter(models.CircuitTicket, lookups=True)
class CircuitTicketFilter(NetBoxModelFilter):
    circuit: _Circuit | None = strawberry_django.filter_field()
    circuit_id: ID | None = strawberry_django.filter_field()
    ticket_number: StrFilterLookup | None = strawberry_django.filter_field()
    subject: StrFilterLookup | None = strawberry_django.filter_field()
    status: BaseFilterLookup[Annotated["TicketStatusEnum", strawberry.lazy(_ENUMS)]] | None = (
        strawberry_django.filter_field()
    )
    priority: BaseFilterLookup[Annotated["TicketPriorityEnum", strawberry.lazy(_ENUMS)]] | None = (
        strawberry_django.filter_field()
    )
    opened_date: DatetimeFilterLookup | None = strawberry_django.filter_field()
    closed_date: DatetimeFilterLookup | None = strawberry_django.filter_field()


@register_filter(models.CircuitPath, lookups=True)
class CircuitPathFilter(NetBoxModelFilter):
    circuit: _Circuit | None = strawberry_django.filter_field()
    circuit_id: ID | None = strawberry_django.filter_field()
    path_distance_km: ComparisonFilterLookup[Decimal] | None = strawberry_django.filter_field()
    path_notes: StrFilterLookup | None = strawberry_django.filter_field()


@register_filter(models.ProviderAPIConfig, lookups=True)
class ProviderAPIConfigFilter(NetBoxModelFilter):
    provider: _Provider | None = strawberry_django.filter_field()
    provider_id: ID | None = strawberry_django.filter_field()
    provider_account: _ProviderAccount | None = strawberry_django.filter_field()
    provider_type: StrFilterLookup | None = strawberry_django.filter_field()
    api_endpoint: StrFilterLookup | None = strawberry_django.filter_field()
    sync_enabled: strawberry_django.FilterLookup[bool] | None = strawberry_django.filter_field()
    sync_status: StrFilterLookup | None = strawberry_django.filter_field()
    last_sync: DatetimeFilterLookup | None = strawberry_django.filter_field()


@register_filter(models.CarrierCharge, lookups=True)
class CarrierChargeFilter(NetBoxModelFilter):
    circuit: _Circuit | None = strawberry_django.filter_field()
    circuit_id: ID | None = strawberry_django.filter_field()
    config: _Config | None = strawberry_django.filter_field()
    bill_number: StrFilterLookup | None = strawberry_django.filter_field()
    line_reference: StrFilterLookup | None = strawberry_django.filter_field()
    kind: BaseFilterLookup[Annotated["ChargeKindEnum", strawberry.lazy(_ENUMS)]] | None = (
        strawberry_django.filter_field()
    )
    period_start: DateFilterLookup | None = strawberry_django.filter_field()
    period_end: DateFilterLookup | None = strawberry_django.filter_field()
    billed: ComparisonFilterLookup[Decimal] | None = strawberry_django.filter_field()
    expected: ComparisonFilterLookup[Decimal] | None = strawberry_django.filter_field()
    currency: StrFilterLookup | None = strawberry_django.filter_field()
    dispute_status: BaseFilterLookup[Annotated["DisputeStatusEnum", strawberry.lazy(_ENUMS)]] | None = (
        strawberry_django.filter_field()
    )


@register_filter(models.ProviderSyncRun, lookups=True)
class ProviderSyncRunFilter(BaseModelFilter):
    config: _Config | None = strawberry_django.filter_field()
    config_id: ID | None = strawberry_django.filter_field()
    status: BaseFilterLookup[Annotated["SyncStatusEnum", strawberry.lazy(_ENUMS)]] | None = (
        strawberry_django.filter_field()
    )
    mode: BaseFilterLookup[Annotated["SyncModeEnum", strawberry.lazy(_ENUMS)]] | None = (
        strawberry_django.filter_field()
    )
    dry_run: strawberry_django.FilterLookup[bool] | None = strawberry_django.filter_field()
    started_at: DatetimeFilterLookup | None = strawberry_django.filter_field()
    finished_at: DatetimeFilterLookup | None = strawberry_django.filter_field()


@register_filter(models.CircuitCostHistory, lookups=True)
class CircuitCostHistoryFilter(BaseModelFilter):
    circuit: _Circuit | None = strawberry_django.filter_field()
    circuit_id: ID | None = strawberry_django.filter_field()
    effective_on: DateFilterLookup | None = strawberry_django.filter_field()
    nrc: ComparisonFilterLookup[Decimal] | None = strawberry_django.filter_field()
    mrc: ComparisonFilterLookup[Decimal] | None = strawberry_django.filter_field()
    currency: StrFilterLookup | None = strawberry_django.filter_field()


@register_filter(models.CarrierCircuit, lookups=True)
class CarrierCircuitFilter(BaseModelFilter):
    config: _Config | None = strawberry_django.filter_field()
    circuit: _Circuit | None = strawberry_django.filter_field()
    circuit_id: ID | None = strawberry_django.filter_field()
    carrier_id: StrFilterLookup | None = strawberry_django.filter_field()
    account: StrFilterLookup | None = strawberry_django.filter_field()
