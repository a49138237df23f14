"""Global search; its results are limited to what the searcher may view."""

from netbox.search import SearchIndex

from .models import CarrierCharge, CircuitContract, CircuitCost, CircuitPath, CircuitTicket, ProviderAPIConfig


class CircuitCostIndex(SearchIndex):
    model = CircuitCost
    fields = (("billing_account", 300),)
    display_attrs = ("circuit", "mrc", "currency")


class CircuitContractIndex(SearchIndex):
    model = CircuitContract
    fields = (("contract_number", 100), ("notes", 5000))
    display_attrs = ("circuit", "end_date", "renewal_date")


class CircuitTicketIndex(SearchIndex):
    model = CircuitTicket
    fields = (("ticket_number", 100), ("subject", 200), ("description", 5000), ("resolution", 5000))
    display_attrs = ("circuit", "status", "priority", "subject")


class CircuitPathIndex(SearchIndex):
    model = CircuitPath
    fields = (("path_notes", 5000),)
    display_attrs = ("circuit", "path_distance_km")


class CarrierChargeIndex(SearchIndex):
    model = CarrierCharge
    fields = (("bill_number", 100), ("line_reference", 200), ("notes", 5000))
    display_attrs = ("circuit", "kind", "period_start", "dispute_status")


class ProviderAPIConfigIndex(SearchIndex):
    model = ProviderAPIConfig
    fields = (("api_endpoint", 300), ("provider_type", 500))
    display_attrs = ("provider", "provider_account", "sync_status")


indexes = (
    CircuitCostIndex,
    CircuitContractIndex,
    CircuitTicketIndex,
    CircuitPathIndex,
    CarrierChargeIndex,
    ProviderAPIConfigIndex,
)
