"""What `netbox check` says about the plugin's settings."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004
from django.core.exceptions import ImproperlyConfigured
from netbox.plugins import get_plugin_config

from . import crypto

PLUGIN = "netbox_circuit_manager"


@register("security")
def check_settings(**_kwargs: Any) -> list[CheckMessage]:
    return [*_keys(), *_currencies()]


def _keys() -> Iterator[CheckMessage]:
    if not get_plugin_config(PLUGIN, "encryption_keys"):
        yield Warning(
            "Carriers' credentials are encrypted with a key derived from SECRET_KEY.",
            hint="Set encryption_keys in PLUGINS_CONFIG['netbox_circuit_manager'], then run "
            "`rotate_circuit_secrets`; otherwise a changed SECRET_KEY makes them unreadable.",
            id="netbox_circuit_manager.W001",
        )
    try:
        crypto.encrypt("probe")
    except ImproperlyConfigured as error:
        yield Error(str(error), id="netbox_circuit_manager.E001")


def _currencies() -> Iterator[CheckMessage]:
    codes = [
        *get_plugin_config(PLUGIN, "supported_currencies"),
        get_plugin_config(PLUGIN, "default_currency"),
    ]
    for code in codes:
        if len(code) != 3 or not code.isalpha() or not code.isupper():  # noqa: PLR2004
            yield Error(
                f"“{code}” is no ISO 4217 currency code (three capitals).", id="netbox_circuit_manager.E002"
            )
