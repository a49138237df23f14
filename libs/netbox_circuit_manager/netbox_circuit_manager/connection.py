"""Talking to a carrier on request: does the connection work?"""

import logging
from typing import Any

from .models import ProviderAPIConfig
from .providers.errors import ProviderError
from .providers.registry import provider_registry

logger = logging.getLogger("netbox.plugins.netbox_circuit_manager")


def run_connection_test(config: ProviderAPIConfig) -> dict[str, Any]:
    """`{success, message, response_time}` of the config's provider; every failure is a message, none an exception."""
    provider_class = provider_registry.get(config.provider_type)
    if provider_class is None:
        return _failure(f"Provider type {config.provider_type} is not installed here.")
    try:
        return provider_class(config).test_connection()
    except ProviderError as error:
        return _failure(str(error))
    except Exception as error:
        # A provider of another package may raise anything; its text may hold credentials, its type does not.
        logger.exception("Connection test of config %s failed", config.pk)
        return _failure(f"The provider's code failed ({type(error).__name__}); NetBox's log has the details.")


def _failure(message: str) -> dict[str, Any]:
    return {"success": False, "message": message, "response_time": 0.0}
