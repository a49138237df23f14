"""GraphQL types; each restricts its rows to what the requester may view."""

from typing import TYPE_CHECKING, Annotated

import strawberry
from netbox.graphql.types import BaseObjectType, NetBoxObjectType, register_type

from .. import models
from .filters import (
    CarrierChargeFilter,
    CarrierCircuitFilter,
    CircuitContractFilter,
    CircuitCostFilter,
    CircuitCostHistoryFilter,
    CircuitPathFilter,
    CircuitTicketFilter,
    ProviderAPIConfigFilter,
    ProviderSyncRunFilter,
)

if TYPE_CHECKING:
    from circuits.graphql.types import CircuitType, ProviderAccountType, ProviderType

__all__ = (
    "CarrierChargeType",
    "CarrierCircuitType",
    "CircuitContractType",
    "CircuitCostHistoryType",
    "CircuitCostType",
    "CircuitPathType",
    "CircuitTicketType",
    "ProviderAPIConfigType",
    "ProviderSyncRunType",
)

_CORE = "circuits.graphql.types"
_OWN = "netbox_circuit_manager.graphql.types"
_Circuit = Annotated["CircuitType", strawberry.lazy(_CORE)]
_Config = Annotated["ProviderAPIConfigType", strawberry.lazy(_OWN)]


@register_type(models.CircuitCost, fields="__all__", filters=CircuitCostFilter, pagination=True)
class CircuitCostType(NetBoxObjectType):
    circuit: _Circuit


# Files stay out: their type would show where they lie on the server.
@register_type(
    models.CircuitContract, exclude=["contract_file"], filters=CircuitContractFilter, pagination=True
)
class CircuitContractType(NetBoxObjectType):
    circuit: _Circuit


@register_type(models.CircuitTicket, fields="__all__", filters=CircuitTicketFilter, pagination=True)
class CircuitTicketType(NetBoxObjectType):
    circuit: _Circuit


@register_type(models.CircuitPath, exclude=["kmz_file"], filters=CircuitPathFilter, pagination=True)
class CircuitPathType(NetBoxObjectType):
    circuit: _Circuit


@register_type(
    models.ProviderAPIConfig,
    exclude=["api_key", "api_secret"],
    filters=ProviderAPIConfigFilter,
    pagination=True,
)
class ProviderAPIConfigType(NetBoxObjectType):
    provider: Annotated["ProviderType", strawberry.lazy(_CORE)] | None
    provider_account: Annotated["ProviderAccountType", strawberry.lazy(_CORE)] | None
    provider_type: str


@register_type(models.CarrierCharge, fields="__all__", filters=CarrierChargeFilter, pagination=True)
class CarrierChargeType(NetBoxObjectType):
    circuit: _Circuit
    config: _Config | None


@register_type(models.ProviderSyncRun, exclude=["job"], filters=ProviderSyncRunFilter, pagination=True)
class ProviderSyncRunType(BaseObjectType):
    config: _Config


@register_type(models.CircuitCostHistory, fields="__all__", filters=CircuitCostHistoryFilter, pagination=True)
class CircuitCostHistoryType(BaseObjectType):
    circuit: _Circuit


@register_type(models.CarrierCircuit, fields="__all__", filters=CarrierCircuitFilter, pagination=True)
class CarrierCircuitType(BaseObjectType):
    circuit: _Circuit
    config: _Config
