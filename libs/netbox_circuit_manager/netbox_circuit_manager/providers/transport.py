"""The session that every provider talks through: https, timeouts, retries, a bound on answers, exact numbers.

It also remembers what failed. Providers written for the guide catch every exception and return an empty list or
dictionary; the framework asks the session whether that emptiness is the carrier's answer or a failure.
"""

import ipaddress
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import TimeoutError as Urllib3Timeout
from urllib3.util import Retry

from .errors import BadAnswer, ConfigurationError

RETRIED_STATUSES = (429, 500, 502, 503, 504)
# Said of the whole account, not of one request
HOLDING_STATUSES = (429, 503)
CHUNK_BYTES = 64 * 1024


class RequestRefused(ConfigurationError, requests.exceptions.InvalidURL):
    """The address may not be called: it is not https, or not a web address."""


class ResponseTooLarge(BadAnswer, requests.exceptions.ContentDecodingError):
    """The answer grew past the limit; the rest was not read."""


class ResponseTooSlow(BadAnswer, requests.exceptions.ReadTimeout):
    """The answer was still arriving when its time was over."""


@dataclass(frozen=True, slots=True)
class TransportPolicy:
    """Limits of one session. Times in seconds, sizes in bytes after decompression."""

    connect_timeout: float = 5
    read_timeout: float = 30
    total_timeout: float = 300
    max_response_bytes: int = 100 * 1024 * 1024
    retries: int = 4
    backoff_factor: float = 0.5
    max_retry_after: int = 60
    requests_per_second: float | None = None
    allow_loopback_http: bool = False
    retried_methods: frozenset[str] = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class RequestFailure:
    """One request that did not bring a usable answer; the address without its query."""

    method: str
    address: str
    reason: str
    status: int | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.address}: {self.reason}"


@dataclass(slots=True)
class Watch:
    """The failures seen while it was open."""

    failures: list[RequestFailure] = field(default_factory=list)


class CarrierResponse(requests.Response):
    """A response whose numbers stay exact and whose unreadable body counts as a failure."""

    on_failure: Callable[[RequestFailure], None] | None = None

    def json(self, **kwargs: Any) -> Any:
        """The body as JSON, fractions as Decimal. Raises requests' JSONDecodeError; NaN and Infinity are refused."""
        kwargs.setdefault("parse_float", Decimal)
        kwargs.setdefault("parse_constant", _refuse_constant)
        try:
            return super().json(**kwargs)
        except (ValueError, RecursionError) as error:
            # Not only what is no JSON: NaN, a number of thousands of digits, a thousand brackets.
            self._report(
                f"the body is not usable JSON but {self.headers.get('Content-Type') or 'of no stated type'}"
            )
            if isinstance(error, requests.exceptions.JSONDecodeError):
                raise
            raise requests.exceptions.JSONDecodeError(type(error).__name__, "", 0) from error

    def _report(self, reason: str) -> None:
        if self.on_failure is not None:
            method = self.request.method or "GET"
            self.on_failure(RequestFailure(method, public_address(self.url), reason, self.status_code))


class _SharedRetry(Retry):
    """Retries whose wait, where the carrier asks for fewer requests, holds up the session's other threads too."""

    def __init__(self, *arguments: Any, hold: Callable[[float], None], **kwargs: Any) -> None:
        super().__init__(*arguments, **kwargs)
        self.hold = hold

    def new(self, **kwargs: Any) -> "_SharedRetry":
        return super().new(hold=self.hold, **kwargs)

    def sleep(self, response: Any = None) -> None:
        if response is not None and response.status in HOLDING_STATUSES:
            self.hold(self.get_retry_after(response) or self.get_backoff_time())
        super().sleep(response)


class CarrierAdapter(HTTPAdapter):
    """requests' adapter, answering with `CarrierResponse`."""

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> CarrierResponse:
        carrier_response = CarrierResponse()
        carrier_response.__dict__.update(super().build_response(req, resp).__dict__)
        return carrier_response


class CarrierSession(requests.Session):
    """A requests.Session for one carrier.

    Redirects are not followed: an API that moved is a change of the configuration, and credentials must not travel
    to an address nobody entered. Several threads may send at once; they share one rate.
    """

    def __init__(self, policy: TransportPolicy | None = None) -> None:
        super().__init__()
        self.policy = policy or TransportPolicy()
        self.auth = _keep_headers
        self._watches: list[Watch] = []
        self._rate = threading.Lock()
        self._next_request_at = 0.0
        retry = _SharedRetry(
            hold=self.hold,
            total=self.policy.retries,
            backoff_factor=self.policy.backoff_factor,
            backoff_jitter=self.policy.backoff_factor / 2,
            status_forcelist=RETRIED_STATUSES,
            allowed_methods=self.policy.retried_methods,
            respect_retry_after_header=True,
            retry_after_max=self.policy.max_retry_after,
            raise_on_status=False,
        )
        for scheme in ("https://", "http://"):
            self.mount(scheme, CarrierAdapter(max_retries=retry))

    def request(self, method: Any, url: Any, *arguments: Any, **kwargs: Any) -> requests.Response:
        """As requests does it; a form goes out as a form, though the session's own content type is JSON."""
        if isinstance(kwargs.get("data"), (dict, list, tuple)) and not kwargs.get("files"):
            kwargs["headers"] = {
                "Content-Type": "application/x-www-form-urlencoded",
                **(kwargs.get("headers") or {}),
            }
        return super().request(method, url, *arguments, **kwargs)

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        """Collects the failures of every request sent inside the block."""
        watch = Watch()
        self._watches.append(watch)
        try:
            yield watch
        finally:
            self._watches.remove(watch)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Sends within the policy's limits.

        Raises `RequestRefused`, `ResponseTooLarge`, `ResponseTooSlow` or requests' own exceptions.
        """
        address = public_address(request.url)
        method = request.method or "GET"
        kwargs.update(stream=True, allow_redirects=False)
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = (self.policy.connect_timeout, self.policy.read_timeout)
        try:
            check_address(request.url or "", allow_loopback_http=self.policy.allow_loopback_http)
            self._keep_rate()
            response = super().send(request, **kwargs)
            self._read(response)
        except requests.RequestException as error:
            self.report(RequestFailure(method, address, explain_exception(error)))
            raise
        if isinstance(response, CarrierResponse):
            response.on_failure = self.report
        if response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
            self.report(RequestFailure(method, address, explain_status(response), response.status_code))
        return response

    def report(self, failure: RequestFailure) -> None:
        """Tells every open watch of a failure."""
        for watch in self._watches:
            watch.failures.append(failure)

    def hold(self, seconds: float) -> None:
        """Lets no further request out for some seconds."""
        with self._rate:
            self._next_request_at = max(self._next_request_at, time.monotonic() + seconds)

    def _keep_rate(self) -> None:
        rate = self.policy.requests_per_second
        with self._rate:
            now = time.monotonic()
            mine = max(now, self._next_request_at)
            if rate:
                self._next_request_at = mine + 1 / rate
        if mine > now:
            time.sleep(mine - now)

    def _read(self, response: requests.Response) -> None:
        """Reads the body here, so that its size and time are bounded however the caller asked."""
        limit = self.policy.max_response_bytes
        announced = response.headers.get("Content-Length", "")
        if announced.isdigit() and int(announced) > limit:
            _refuse_size(response, limit)
        deadline = time.monotonic() + self.policy.total_timeout
        body = bytearray()
        for chunk in response.iter_content(CHUNK_BYTES):
            body += chunk
            if len(body) > limit:
                _refuse_size(response, limit)
            if time.monotonic() > deadline:
                response.close()
                raise ResponseTooSlow(f"the answer took longer than {self.policy.total_timeout:g} seconds")
        response._content = bytes(body)  # noqa: SLF001 - requests has no public way to hand over a body that was read
        response._content_consumed = True  # noqa: SLF001


def check_address(address: str, *, allow_loopback_http: bool) -> None:
    """Raises `RequestRefused` unless the address is https, or http on loopback where that is explicitly allowed."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError as error:
        raise RequestRefused("the API endpoint is not a web address") from error
    if not host:
        raise RequestRefused("the API endpoint is not a web address: enter it as https://host/path")
    if parts.scheme == "https":
        return
    if parts.scheme == "http" and allow_loopback_http and is_loopback(host):
        return
    raise RequestRefused(
        f"the API endpoint must be https, not {parts.scheme or 'without a scheme'}: credentials would travel in clear. "
        "Plain http is possible for a loopback address, with the plugin setting allow_loopback_http"
    )


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by its literal address or the name localhost; nothing is resolved."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def public_address(address: str | None) -> str:
    """The address without user, query and fragment, which may carry credentials."""
    try:
        parts = urlsplit(address or "")
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an unreadable address"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def explain_exception(error: requests.RequestException) -> str:
    """The reason in plain words; requests' own texts may quote addresses with their query."""
    if isinstance(error, (RequestRefused, ResponseTooLarge, ResponseTooSlow)):
        return str(error)
    reasons: tuple[tuple[type[requests.RequestException], str], ...] = (
        (requests.exceptions.SSLError, "the TLS certificate was not accepted"),
        (requests.exceptions.ProxyError, "the proxy did not pass the request on"),
        (requests.exceptions.ConnectTimeout, "no connection within the time allowed"),
        (requests.exceptions.ReadTimeout, "no answer within the time allowed"),
        (requests.exceptions.RetryError, "no usable answer after every retry"),
        (requests.exceptions.ConnectionError, "the connection failed or was cut"),
        (requests.exceptions.ChunkedEncodingError, "the answer was cut off"),
        (requests.exceptions.ContentDecodingError, "the answer's compression is damaged"),
    )
    # After retries requests hides a timeout in a ConnectionError.
    cause = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(cause, Urllib3Timeout):
        return "no answer within the time allowed"
    return next((text for kind, text in reasons if isinstance(error, kind)), type(error).__name__)


def explain_status(response: requests.Response) -> str:
    """The refusal in words, with the host alone of where a redirect leads."""
    if response.is_redirect or response.is_permanent_redirect:
        target = urlsplit(response.headers.get("Location", "")).hostname or "the same host"
        return f"answered {response.status_code}, a redirect to {target}; redirects are not followed"
    return f"answered {response.status_code} {response.reason or ''}".strip()


def decode_json(text: str) -> Any:
    """JSON with exact fractions, as carriers' answers are read."""
    return json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)


def _refuse_size(response: requests.Response, limit: int) -> NoReturn:
    response.close()
    raise ResponseTooLarge(
        f"the answer is larger than {limit // (1024 * 1024)} MiB; it was refused while it arrived"
    )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Without an auth of its own, requests would let a .netrc file replace the Authorization header."""
    return request
