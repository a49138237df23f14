"""NetBox plugin: what circuits cost, their contracts, tickets and paths, synced from carriers' APIs."""

from netbox.plugins import PluginConfig

__version__ = "0.1.0"

# fmt: off
CURRENCIES = [
    "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "INR", "JPY", "KES", "MXN", "NGN",
    "NOK", "NZD", "PLN", "SEK", "SGD", "TRY", "USD", "ZAR",
]
# fmt: on


class CircuitManagerConfig(PluginConfig):
    name = "netbox_circuit_manager"
    verbose_name = "Circuit Manager"
    description = "Costs, contracts, tickets and paths of circuits, synced from carriers' APIs"
    version = __version__
    author = "The Demarc project"
    base_url = "circuit-manager"
    # The migrations depend on migrations of this minor release of NetBox.
    min_version = "4.7.0"
    max_version = "4.7.99"
    graphql_schema = "graphql.schema.schema"
    middleware = ["netbox_circuit_manager.middleware.UploadedFilesMiddleware"]
    default_settings = {
        "default_currency": "USD",
        "supported_currencies": CURRENCIES,
        "enable_provider_sync": True,
        # Fernet keys (netbox_circuit_manager.crypto.new_key()); the first encrypts, all decrypt. Empty: a key
        # derived from NetBox's SECRET_KEY.
        "encryption_keys": [],
        # A secret may say env:NAME instead; only names that match one of these patterns are read.
        "environment_variables": ["CIRCUIT_MANAGER_*"],
        # Carriers' APIs are https; simulators on this very machine may be plain http.
        "allow_loopback_http": False,
        "max_upload_bytes": 20 * 1024 * 1024,
        "reminder_days": [90, 60, 30],
        # Names of NetBox's notification groups that are told, beside those who subscribed to contract or circuit.
        "reminder_groups": [],
        "keep_sync_runs": 200,
        # Who the change log names for runs that nobody started.
        "sync_username": "circuit-manager",
        "sync_job_timeout": 3600,
        # Circuits written in one transaction.
        "sync_batch_size": 500,
        # Requests to carriers: seconds of silence allowed, further tries after 429 and 5xx, the first wait between
        # them (it doubles), the longest Retry-After that is heeded, and the largest answer.
        "request_timeout": 30,
        "request_retries": 4,
        "request_backoff": 0.5,
        "max_retry_after": 60,
        "max_response_bytes": 100 * 1024 * 1024,
    }

    def ready(self) -> None:
        super().ready()
        # Each registers what it declares: checks, signal receivers, widgets, background jobs, providers.
        from . import checks, events, jobs, providers, signals, widgets  # noqa: F401, PLC0415


config = CircuitManagerConfig
