"""Objects that the tests share."""

from typing import Any

from circuits.models import Circuit, CircuitType, Provider

from netbox_circuit_manager.models import ProviderAPIConfig

GEOJSON = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"name": "Lay <b>of</b> the land"},
            "geometry": {
                "type": "LineString",
                "coordinates": [[-122.42, 37.77], [-122.27, 37.80], [-121.89, 37.33]],
            },
        }
    ],
}


def circuits(count: int, provider: Provider | None = None, prefix: str = "C") -> list[Circuit]:
    """Circuits named `C1`, `C2`, … of one provider."""
    provider = provider or Provider.objects.get_or_create(name="Carrier", slug="carrier")[0]
    kind = CircuitType.objects.get_or_create(name="Wave", slug="wave")[0]
    return Circuit.objects.bulk_create(
        Circuit(cid=f"{prefix}{number}", provider=provider, type=kind) for number in range(1, count + 1)
    )


def config(**values: Any) -> ProviderAPIConfig:
    """A config with credentials: `key-in-clear`, `secret-in-clear`."""
    options = {
        "provider_type": "custom",
        "api_endpoint": "https://api.carrier.example/v1",
        "api_key": "key-in-clear",
        "api_secret": "secret-in-clear",
        **values,
    }
    return ProviderAPIConfig.objects.create(**options)
