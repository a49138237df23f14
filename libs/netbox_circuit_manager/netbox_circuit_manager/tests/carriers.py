"""What the tests of the sync share: a NetBox with circuits, and carriers that know them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from circuits.models import Circuit, CircuitType, Provider
from django.conf import settings
from django.test import override_settings

from netbox_circuit_manager.models import ProviderAPIConfig
from netbox_circuit_manager.testing import CarrierSimulator, World
from netbox_circuit_manager.testing.shapes import KEY, SECRET

PLUGIN = "netbox_circuit_manager"

# Retries without waiting.
FAST = {"request_retries": 2, "request_backoff": 0, "allow_loopback_http": True}

REST = {
    "circuits": {
        "path": "/circuits",
        "rows": "data",
        "paging": {"type": "page", "limit": 4, "more": "has_more", "total": "total"},
        "ended": ["disconnected"],
        "fields": {
            "carrier_id": "id",
            "cid": "circuit_id",
            "customer_id": "customer_reference",
            "account": "account.number",
            "status": "status",
            "mrc": "billing.monthly_fee",
            "nrc": "billing.setup_fee",
            "currency": "billing.currency",
            "contract_number": "contract.number",
            "start_date": "contract.start",
            "term_months": "contract.months",
        },
    },
    "tickets": {
        "path": "/tickets",
        "rows": "data",
        "fields": {
            "number": "id",
            "circuit": "circuit",
            "subject": "title",
            "status": "state",
            "priority": "severity",
            "opened_at": "opened",
            "closed_at": "closed",
        },
        "statuses": {"inProgress": "in_progress", "acknowledged": "open"},
    },
    "charges": {
        "path": "/charges",
        "rows": "data",
        "fields": {
            "bill_number": "invoice",
            "line": "id",
            "circuit": "circuit",
            "kind": "type",
            "amount": "amount",
            "currency": "currency",
            "period_start": "from",
            "period_end": "to",
        },
        "kinds": {"nonRecurring": "non_recurring", "usageBased": "usage"},
    },
}

# provider type: (shape of the simulator, parameters of the configuration)
CARRIERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sonata": ("sonata", {"page_size": 4}),
    "att": ("sonata", {"page_size": 4}),
    "lumen": ("lumen", {"page_size": 4}),
    "zayo": ("zayo", {"page_size": 4}),
    "verizon": ("verizon", {}),
    "custom": ("rest", REST),
}


def plugin_settings(**values: Any) -> Any:
    """`override_settings` for settings of the plugin."""
    merged = {**settings.PLUGINS_CONFIG[PLUGIN], **FAST, **values}
    return override_settings(PLUGINS_CONFIG={**settings.PLUGINS_CONFIG, PLUGIN: merged})


def make_provider(name: str = "Carrier") -> Provider:
    """A provider without circuits."""
    return Provider.objects.create(name=name, slug=name.lower().replace(" ", "-"))


def make_circuits(provider: Provider, world: World) -> list[Circuit]:
    """A circuit in NetBox for each that the carrier knows."""
    kind, _created = CircuitType.objects.get_or_create(name="Ethernet", slug="ethernet")
    return Circuit.objects.bulk_create(
        Circuit(provider=provider, cid=circuit.cid, type=kind, status="active") for circuit in world.circuits
    )


def make_config(provider: Provider | None, provider_type: str, url: str, **values: Any) -> ProviderAPIConfig:
    """A configuration that reaches a simulator."""
    parameters: Mapping[str, Any] = CARRIERS.get(provider_type, ("", {}))[1]
    defaults = {"parameters": parameters, "api_key": KEY, "api_secret": SECRET}
    return ProviderAPIConfig.objects.create(
        provider=provider, provider_type=provider_type, api_endpoint=url, **{**defaults, **values}
    )


@contextmanager
def carrier_of(provider_type: str, world: World) -> Iterator[CarrierSimulator]:
    """A simulator of the carrier behind a provider type."""
    with CarrierSimulator(CARRIERS[provider_type][0], world) as carrier:
        carrier.faults.seconds = 1.5
        if provider_type == "verizon":
            carrier.shape.page_size = 4
        yield carrier
