"""The plugin's queries."""

import strawberry
import strawberry_django

from .types import (
    CarrierChargeType,
    CarrierCircuitType,
    CircuitContractType,
    CircuitCostHistoryType,
    CircuitCostType,
    CircuitPathType,
    CircuitTicketType,
    ProviderAPIConfigType,
    ProviderSyncRunType,
)


@strawberry.type(name="Query")
class CircuitManagerQuery:
    circuit_cost: CircuitCostType = strawberry_django.field()
    circuit_cost_list: list[CircuitCostType] = strawberry_django.field()

    circuit_contract: CircuitContractType = strawberry_django.field()
    circuit_contract_list: list[CircuitContractType] = strawberry_django.field()

    circuit_ticket: CircuitTicketType = strawberry_django.field()
    circuit_ticket_list: list[CircuitTicketType] = strawberry_django.field()

    circuit_path: CircuitPathType = strawberry_django.field()
    circuit_path_list: list[CircuitPathType] = strawberry_django.field()

    provider_api_config: ProviderAPIConfigType = strawberry_django.field()
    provider_api_config_list: list[ProviderAPIConfigType] = strawberry_django.field()

    carrier_charge: CarrierChargeType = strawberry_django.field()
    carrier_charge_list: list[CarrierChargeType] = strawberry_django.field()

    provider_sync_run: ProviderSyncRunType = strawberry_django.field()
    provider_sync_run_list: list[ProviderSyncRunType] = strawberry_django.field()

    circuit_cost_history: CircuitCostHistoryType = strawberry_django.field()
    circuit_cost_history_list: list[CircuitCostHistoryType] = strawberry_django.field()

    carrier_circuit: CarrierCircuitType = strawberry_django.field()
    carrier_circuit_list: list[CarrierCircuitType] = strawberry_django.field()


schema = [CircuitManagerQuery]
