"""The base of the shipped providers: they say how to ask and how to read, the engine writes in batches.

A provider of this kind streams pages of raw rows (`list_circuits`, `list_tickets`, `list_charges`) and turns one row
into a record (`read_circuit`, …). The four methods of the guide are derived from that.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import requests

from .ahead import work_ahead
from .base import BaseProviderSync
from .errors import (
    AuthenticationError,
    BadAnswer,
    ConfigurationError,
    ProviderUnavailable,
    RateLimited,
    RowRefused,
)
from .paging import Answer, ListRequest, Paging, Row
from .records import ChargeRecord, CircuitRecord, TicketRecord, read_currency
from .transport import (
    CarrierResponse,
    TransportPolicy,
    explain_exception,
    explain_status,
    public_address,
)

if TYPE_CHECKING:
    from circuits.models import Circuit

    from ..models import ProviderAPIConfig

REDIRECT = 300
UNAUTHORIZED = 401
TOO_MANY = 429
SERVER_ERROR = 500
MOST_AT_ONCE = 16


class CarrierProviderSync(BaseProviderSync):
    """A carrier whose lists are read page by page and whose rows are written in batches.

    Class attributes say what the carrier can do: `supports_delta` (only what changed since a date),
    `publishes_tickets`, `publishes_charges`, `needs_details` (the list does not carry prices), `announces_total` (the
    list says how many rows it has, so that a circuit missing from it is certainly gone), `requests_at_once` (how many
    rows are asked for at a time where each needs a request of its own; `details_of` and `read_circuit` then run in
    threads and must not touch the database; 1 for one after the other).

    Parameters of every configuration: `requests_per_second`, `requests_at_once`.
    """

    retried_methods: ClassVar[frozenset[str]] = frozenset(
        {"GET", "HEAD", "POST"}
    )  # every POST here only reads
    supports_delta: ClassVar[bool] = False
    publishes_tickets: ClassVar[bool] = False
    publishes_charges: ClassVar[bool] = False
    needs_details: ClassVar[bool] = False
    announces_total: ClassVar[bool] = False
    longest_delta_days: ClassVar[int | None] = None
    id_field: ClassVar[str] = "id"
    requests_at_once: ClassVar[int] = 4

    def __init__(self, api_config: "ProviderAPIConfig") -> None:
        self._renewing = threading.RLock()
        super().__init__(api_config)

    # What a provider says

    def list_circuits(self, since: date | None) -> Iterator[list[Row]]:
        """Pages of circuits; with `since`, only those changed on or after that day."""
        raise NotImplementedError

    def identify(self, row: Row) -> str:
        """The carrier's key of a row of the list, readable even where the rest is not; empty when there is none."""
        value = row.get(self.id_field)
        return str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""

    def read_circuit(self, row: Row) -> CircuitRecord:
        """A circuit of a row. Raises `RowRefused`."""
        raise NotImplementedError

    def name_of(self, row: Row) -> str:
        """The circuit ID in a row of the list, empty where it has none; two rows with one circuit ID are refused."""
        try:
            return self.read_circuit(row).cid
        except (RowRefused, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return ""

    def details_of(self, row: Row) -> Row:
        """The complete row, where the list does not carry everything."""
        return row

    def list_tickets(self, since: date | None) -> Iterator[list[Row]]:
        """Pages of tickets that are open or were closed lately."""
        raise NotImplementedError

    def read_ticket(self, row: Row) -> TicketRecord:
        """A ticket of a row. Raises `RowRefused`."""
        raise NotImplementedError

    def list_charges(self, since: date | None) -> Iterator[list[Row]]:
        """Pages of bill lines, each complete enough for `read_charge`."""
        raise NotImplementedError

    def read_charge(self, row: Row) -> ChargeRecord:
        """A bill line of a row. Raises `RowRefused`."""
        raise NotImplementedError

    # How it asks

    def _transport_policy(self) -> TransportPolicy:
        policy = super()._transport_policy()
        rate = self.parameters.get("requests_per_second")
        if rate is None:
            return policy
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not rate > 0:
            raise ConfigurationError("requests_per_second must be a number above 0")
        return replace(policy, requests_per_second=float(rate))

    @property
    def threads(self) -> int:
        """How many requests may be under way at once. Raises `ConfigurationError`."""
        wanted = self.parameters.get("requests_at_once", self.requests_at_once)
        if isinstance(wanted, bool) or not isinstance(wanted, int) or not 1 <= wanted <= MOST_AT_ONCE:
            raise ConfigurationError(f"requests_at_once must be a whole number from 1 to {MOST_AT_ONCE}")
        return wanted

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The configuration's parameters for this provider type."""
        parameters = self.config.parameters or {}
        if not isinstance(parameters, Mapping):
            raise ConfigurationError("The parameters of the configuration must be a JSON object")
        return parameters

    @property
    def currencies(self) -> frozenset[str]:
        """The currencies that the plugin supports."""
        from ..validators import supported_currencies  # noqa: PLC0415 - needs NetBox's settings

        return frozenset(supported_currencies())

    @property
    def stated_currency(self) -> str:
        """The currency that the configuration states for a carrier whose API has no field for it; empty when none."""
        return read_currency(self.parameters.get("currency"), self.currencies)

    def rows(self, request: ListRequest, paging: Paging) -> Iterator[list[Row]]:
        """The pages of a list. Raises `ProviderError`."""
        yield from paging.pages(self.ask, request)

    def ask(self, request: ListRequest) -> Answer:
        """One answer, decoded. An expired token is renewed once. Raises `ProviderError`."""
        used = self.session.headers.get("Authorization")
        response = self._send(request)
        if response.status_code == UNAUTHORIZED and self._renew(used):
            response = self._send(request)
        check_status(response)
        return Answer(
            body=decode(response), headers={name.lower(): value for name, value in response.headers.items()}
        )

    def ask_each(self, requests: Iterable[ListRequest]) -> Iterator[Answer]:
        """The answers to some requests, in their order, asked for a few at a time. Raises `ProviderError`."""
        for batch in work_ahead(self.ask, [list(requests)], self.threads):
            yield from (answer() for _request, answer in batch)

    def renew_credentials(self) -> bool:
        """Called after a 401; True when it is worth asking again."""
        return False

    def _renew(self, used: Any) -> bool:
        """One token for all threads that were refused with the same old one."""
        with self._renewing:
            return self.session.headers.get("Authorization") != used or self.renew_credentials()

    def url(self, path: str) -> str:
        """The address of a path below the endpoint. Raises `ConfigurationError` for a path elsewhere."""
        if not path.startswith("/"):
            raise ConfigurationError(f"A path of the API begins with a slash, {path!r} does not")
        return f"{self.api_endpoint}{path}"

    def _send(self, request: ListRequest) -> requests.Response:
        body = None if request.body is None else dict(request.body)
        return self.send(request.method, self.url(request.path), params=dict(request.query), json=body)

    def send(self, method: str, address: str, **arguments: Any) -> requests.Response:
        """A request as requests sends it, but whose exceptions are `ProviderError`s."""
        try:
            # Through get() and post(), which is where tests of providers put their stand-ins.
            call = self.session.post if method == "POST" else self.session.get
            return call(address, **arguments)
        except (BadAnswer, ConfigurationError):
            raise
        except requests.RequestException as error:
            raise ProviderUnavailable(
                f"{method} {public_address(address)}: {explain_exception(error)}"
            ) from error

    # The methods of the guide

    def authenticate(self) -> bool:
        """A key sent with every request needs no step of its own; it is tried by asking for one page."""
        if not self.api_key:
            raise ConfigurationError("The configuration has no API key")
        next(self.list_circuits(None), None)
        return True

    def get_circuits(self) -> list[dict[str, Any]]:
        return [dict(row) for page in self.list_circuits(None) for row in page]

    def get_circuit_details(self, circuit_id: str) -> dict[str, Any]:
        for page in self.list_circuits(None):
            for row in page:
                if self.identify(row) == circuit_id:
                    return dict(self.details_of(row) if self.needs_details else row)
        raise BadAnswer(f"The carrier knows no circuit {circuit_id}")

    def sync_circuit_costs(self, circuit: "Circuit", provider_data: dict[str, Any]) -> bool:
        from ..sync.engine import write_costs  # noqa: PLC0415 - models are not loaded when providers are imported

        return write_costs(self, circuit, self.read_circuit(provider_data))


class OAuthProviderSync(CarrierProviderSync):
    """A carrier that gives tokens for client credentials (RFC 6749, section 4.4).

    The API key is the client id, the API secret the client secret. Parameters: `token_path` below the endpoint,
    `token_url` where tokens come from another host, `scope`, `client_auth` (`basic` or `body`).
    """

    token_path: ClassVar[str] = "/oauth/token"  # noqa: S105 - a path
    client_auth: ClassVar[str] = "basic"

    def authenticate(self) -> bool:
        if not self.api_key or not self.api_secret:
            raise ConfigurationError(
                "The configuration needs an API key (client id) and an API secret (client secret)"
            )
        self.session.headers["Authorization"] = f"Bearer {self._fetch_token()}"
        return True

    def renew_credentials(self) -> bool:
        return self.authenticate()

    def _fetch_token(self) -> str:
        form = {"grant_type": "client_credentials"}
        if scope := self.parameters.get("scope"):
            form["scope"] = str(scope)
        in_body = self.parameters.get("client_auth", self.client_auth) == "body"
        if in_body:
            form |= {"client_id": self.api_key, "client_secret": self.api_secret}
        response = self.send(
            "POST",
            self._token_address(),
            data=form,
            auth=None if in_body else (self.api_key, self.api_secret),
            # The session's JSON content type and its old token do not belong to this request.
            headers={"Content-Type": "application/x-www-form-urlencoded", "Authorization": None},
        )
        return _read_token(response)

    def _token_address(self) -> str:
        """Where tokens come from. The client secret goes to the endpoint's host or one below it, never elsewhere."""
        address = self.parameters.get("token_url")
        if not address:
            return self.url(str(self.parameters.get("token_path") or self.token_path))
        home, host = urlsplit(self.api_endpoint).hostname or "", urlsplit(str(address)).hostname or ""
        if host != home and not host.endswith(f".{home}"):
            raise ConfigurationError(
                f"token_url leads to {host or 'no host'}, which is neither {home} nor below it: the secret is not sent there"
            )
        return str(address)


def _read_token(response: requests.Response) -> str:
    if response.status_code in (400, 401, 403):
        raise AuthenticationError(
            f"The carrier refused the credentials ({public_address(response.url)}: {explain_status(response)})"
        )
    check_status(response)
    answer = decode(response)
    token = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(token, str) or not token:
        raise AuthenticationError("The carrier's token answer has no access_token")
    if not token.isascii() or not token.isprintable():
        raise AuthenticationError("The carrier's access_token cannot be sent in a header")
    return token


def check_status(response: requests.Response) -> None:
    """Raises the `ProviderError` that fits an answer which is not a success."""
    status = response.status_code
    if status < REDIRECT:
        return
    text = f"{response.request.method} {public_address(response.url)}: {explain_status(response)}"
    if status in (401, 403):
        raise AuthenticationError(f"The carrier refused the credentials ({text})")
    if status == TOO_MANY:
        raise RateLimited(f"{text}; it asks for fewer requests, try a longer interval")
    if status >= SERVER_ERROR:
        raise ProviderUnavailable(text)
    raise BadAnswer(text)


def decode(response: requests.Response) -> Any:
    """The JSON of an answer. Raises `BadAnswer`, naming what came instead."""
    try:
        return response.json()
    except ValueError as error:
        kind = response.headers.get("Content-Type", "no stated type").partition(";")[0]
        where = public_address(response.url)
        raise BadAnswer(
            f"{where}: the answer is not JSON but {kind} ({len(response.content)} bytes)"
        ) from error


__all__ = ["CarrierProviderSync", "CarrierResponse", "OAuthProviderSync", "check_status", "decode"]
