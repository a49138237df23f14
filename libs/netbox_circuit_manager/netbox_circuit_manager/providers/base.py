"""What a provider is: the class to extend, with the names that the guide documents."""

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import requests

from .errors import ProviderError
from .transport import CarrierSession, TransportPolicy

if TYPE_CHECKING:
    from circuits.models import Circuit

    from ..models import ProviderAPIConfig

PLUGIN = "netbox_circuit_manager"


class BaseProviderSync(ABC):
    """One carrier's API, bound to one configuration.

    Extend it, implement the four abstract methods and register the class. Methods may raise a `ProviderError`; those
    that swallow their exceptions and return an empty answer or False are understood as well, because the session
    remembers which requests failed.

    Attributes:
        config: the ProviderAPIConfig.
        api_endpoint: its endpoint without a slash at the end.
        api_key: the key in clear, for requests only.
        api_secret: the secret in clear, for requests only.
        session: a requests.Session with the key as Bearer token and JSON as content type.
    """

    provider_name: ClassVar[str] = ""
    requests_per_second: ClassVar[float | None] = None
    retried_methods: ClassVar[frozenset[str]] = frozenset({"GET", "HEAD"})

    def __init__(self, api_config: "ProviderAPIConfig") -> None:
        self.config = api_config
        self.api_endpoint = str(api_config.api_endpoint or "").rstrip("/")
        self.api_key = reveal(api_config.api_key)
        self.api_secret = reveal(api_config.api_secret)
        self.session: requests.Session = CarrierSession(self._transport_policy())
        self.session.proxies.update(_proxies(self.api_endpoint))
        made = self._setup_session()
        if made is not None:
            self.session = made

    def _setup_session(self) -> requests.Session | None:
        """Prepares the session; override it for other headers. A session that is returned replaces the one made."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        self.session.headers.update(headers)
        return self.session

    def _transport_policy(self) -> TransportPolicy:
        return TransportPolicy(
            read_timeout=setting("request_timeout", 30),
            max_response_bytes=setting("max_response_bytes", 100 * 1024 * 1024),
            retries=setting("request_retries", 4),
            backoff_factor=setting("request_backoff", 0.5),
            max_retry_after=setting("max_retry_after", 60),
            requests_per_second=self.requests_per_second,
            allow_loopback_http=setting("allow_loopback_http", False),
            retried_methods=self.retried_methods,
        )

    @abstractmethod
    def authenticate(self) -> bool:
        """Authenticates and sets the session's headers; True when the carrier accepted."""

    @abstractmethod
    def get_circuits(self) -> list[dict[str, Any]]:
        """Every circuit of the account, as the carrier describes it."""

    @abstractmethod
    def get_circuit_details(self, circuit_id: str) -> dict[str, Any]:
        """One circuit by the carrier's identifier."""

    @abstractmethod
    def sync_circuit_costs(self, circuit: "Circuit", provider_data: dict[str, Any]) -> bool:
        """Writes NRC and MRC of the circuit; True when they are now as the carrier says."""

    def sync_circuit_tickets(self, circuit: "Circuit", provider_data: dict[str, Any]) -> bool:
        """Writes the circuit's tickets; override it where the carrier has any."""
        return True

    def sync_circuit_path(self, circuit: "Circuit", provider_data: dict[str, Any]) -> bool:
        """Writes the circuit's path; override it where the carrier has any."""
        return True

    def _match_circuit(self, provider_data: dict[str, Any]) -> "Circuit | None":
        """The NetBox circuit meant: by the carrier's id known from earlier runs, then by cid.

        Only circuits of the configuration's provider (and of its account, where the carrier names one) are looked at.
        """
        from ..sync.matching import match_row  # noqa: PLC0415 - models are not loaded when providers are imported

        return match_row(self.config, provider_data)

    def sync_all(self) -> dict[str, Any]:
        """Runs a full sync and returns `{total, success, failed, errors}`; errors are sentences."""
        from ..sync.engine import run_provider  # noqa: PLC0415 - models are not loaded when providers are imported

        return run_provider(self).as_result()

    def test_connection(self) -> dict[str, Any]:
        """Authenticates and returns `{success, message, response_time}`; the time in seconds."""
        started = time.perf_counter()
        success, message = self._try_connection()
        return {
            "success": success,
            "message": message,
            "response_time": round(time.perf_counter() - started, 3),
        }

    def _try_connection(self) -> tuple[bool, str]:
        from ..sync.watched import Watched  # noqa: PLC0415 - keeps the providers importable by themselves

        try:
            Watched(self).authenticate()
        except ProviderError as error:
            return False, str(error)
        return True, "Connection successful"


def reveal(secret: Any) -> str:
    """The plain text of a stored credential. Raises `ConfigurationError` when it cannot be read."""
    from ..crypto import SecretUnreadable  # noqa: PLC0415 - needs NetBox's settings
    from .errors import ConfigurationError  # noqa: PLC0415

    plain = getattr(secret, "reveal", None)
    try:
        return str(plain() if plain is not None else secret or "")
    except SecretUnreadable as error:
        raise ConfigurationError(str(error)) from error


def setting(name: str, default: Any) -> Any:
    """A setting of the plugin."""
    from netbox.plugins import get_plugin_config  # noqa: PLC0415 - needs NetBox's settings

    value = get_plugin_config(PLUGIN, name)
    return default if value is None else value


def _proxies(endpoint: str) -> dict[str, str]:
    from utilities.proxy import resolve_proxies  # noqa: PLC0415 - needs NetBox's settings

    return dict(resolve_proxies(url=endpoint) or {})
