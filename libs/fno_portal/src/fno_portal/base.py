"""What every driver is: the documented base class, the extra verbs with their defaults, and how answers are read."""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from typing import Any, ClassVar, Dict, Protocol  # noqa: UP035 - the documented signatures say Dict
from urllib.parse import quote, urlsplit

import httpx

from fno_portal.channel import Channel
from fno_portal.errors import (
    FNOAuthError,
    FNOConfigError,
    FNOCoverageError,
    FNOError,
    FNOFaultError,
    FNONotFoundError,
    FNOOrderError,
    FNOPackageError,
    FNOProtocolError,
    FNORateLimitError,
    FNORicaError,
    FNOTimeoutError,
    FNOUnavailableError,
    FNOUnsupportedError,
    FNOValidationError,
)
from fno_portal.redaction import contains_id_number, redact_text


class Capability(str, Enum):
    """What a driver can do; asked before a call is made."""

    COVERAGE = "coverage"
    ORDER = "order"
    ORDER_STATUS = "order_status"
    FIND_ORDER = "find_order"
    IDEMPOTENT_ORDER = "idempotent_order"
    CANCEL = "cancel"
    APPOINTMENT = "appointment"
    FAULT = "fault"
    FAULT_STATUS = "fault_status"
    WEBHOOK = "webhook"
    CHANGES = "changes"


C = Capability


@dataclass(frozen=True, slots=True)
class Description:
    """What a driver says of itself. `source` tells on what its wire format rests; `assumed` that it is not public.

    `changes_every_s` is how long the operator wants its feed of changes to be left alone between two readings.
    """

    operator: str
    channel: str
    capabilities: frozenset[Capability]
    assumed: bool
    source: str
    order_types: tuple[str, ...]
    changes_every_s: float = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON, capabilities sorted."""
        return {
            "operator": self.operator,
            "channel": self.channel,
            "capabilities": sorted(one.value for one in self.capabilities),
            "assumed": self.assumed,
            "source": self.source,
            "order_types": list(self.order_types),
        }


ALL_ORDER_TYPES = ("new", "takeover", "upgrade", "downgrade", "relocation", "cancellation")


def require_https(url: str, *, fno: str | None, what: str = "base_url") -> None:
    """Refuse a URL that would carry credentials in clear; plain HTTP is for this machine alone.

    Raises:
        FNOConfigError: no host, another scheme, user information, or HTTP to another machine.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except (ValueError, TypeError, AttributeError):
        raise FNOConfigError(f"{what} is not a web address", fno=fno, hint="Give https://host/…") from None
    if parts.username or parts.password:
        raise FNOConfigError(
            f"{what} carries credentials", fno=fno, hint="Configure them as username and password"
        )
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise FNOConfigError(f"{what} is not a web address", fno=fno, hint="Give https://host/…")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise FNOConfigError(f"{what} is not encrypted", fno=fno, hint="Use https://")


def checked_key(api_key: str, *, fno: str) -> str:
    """The key without blanks round it, as files and shells add them.

    Raises:
        FNOConfigError: none, or one that no header can carry. httpx would repeat it in its error.
    """
    key = str(api_key or "").strip()
    if not key:
        raise FNOConfigError("the API key is empty", fno=fno, hint="Configure api_key")
    if not (key.isascii() and key.isprintable()):
        raise FNOConfigError(
            "the API key has characters that no key has", fno=fno, hint="Copy api_key once more"
        )
    return key


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class FNOClient(Protocol):
    """What the portal needs of a driver. FNOClientBase gives all of it but the four documented verbs."""

    name: str
    channel: Channel

    async def check_coverage(self, address: str) -> dict[str, Any]: ...
    async def create_order(self, order_data: dict[str, Any]) -> dict[str, Any]: ...
    async def get_order_status(self, order_id: str) -> dict[str, Any]: ...
    async def submit_fault(self, fault_data: dict[str, Any]) -> dict[str, Any]: ...
    async def find_order(self, reference: str) -> dict[str, Any] | None: ...
    async def cancel_order(self, order_id: str, reason: str) -> dict[str, Any]: ...
    async def list_appointments(self, order_id: str) -> list[str]: ...
    async def book_appointment(self, order_id: str, slot: str) -> dict[str, Any]: ...
    async def get_fault_status(self, fault_id: str) -> dict[str, Any]: ...
    async def list_changes(self) -> list[dict[str, Any]]: ...
    def read_webhook(self, payload: dict[str, Any]) -> dict[str, Any]: ...
    def supports(self, capability: Capability) -> bool: ...
    def describe(self) -> Description: ...
    async def aclose(self) -> None: ...


class DriverBase(ABC):
    """The verbs of a driver, whatever its channel. Answers are dicts in the words of the document's models.

    `check_coverage` gives the fields of CoverageResult (`is_covered`, `packages`, …, `address_keys`); `create_order`,
    `get_order_status` and `find_order` those of FNOOrder, with `fno_reference` and `status`; `submit_fault` gives
    `fault_id` and `status`.
    """

    name: str = "unnamed"
    channel_kind: ClassVar[str] = "api"
    capabilities: ClassVar[frozenset[Capability]] = frozenset({C.COVERAGE, C.ORDER, C.ORDER_STATUS, C.FAULT})
    order_types: ClassVar[tuple[str, ...]] = ALL_ORDER_TYPES
    assumed: ClassVar[bool] = True
    source: ClassVar[str] = "not stated"
    changes_every_s: ClassVar[float] = 0
    channel: Channel

    @abstractmethod
    async def check_coverage(self, address: str) -> Dict[str, Any]:  # noqa: UP006
        """Check if address has fibre coverage."""

    @abstractmethod
    async def create_order(self, order_data: Dict[str, Any]) -> Dict[str, Any]:  # noqa: UP006
        """Create a new fibre activation order."""

    @abstractmethod
    async def get_order_status(self, order_id: str) -> Dict[str, Any]:  # noqa: UP006
        """Get status of an existing order."""

    @abstractmethod
    async def submit_fault(self, fault_data: Dict[str, Any]) -> Dict[str, Any]:  # noqa: UP006
        """Submit a fault/support ticket."""

    async def find_order(self, reference: str) -> dict[str, Any] | None:
        """The order that carries our reference, or None where the operator says that it has none."""
        raise self.unsupported(C.FIND_ORDER, reference)

    async def cancel_order(self, order_id: str, reason: str) -> dict[str, Any]:
        """Ask for an order to be cancelled; answers `{"cancellation": "requested" | "completed" | "rejected"}`."""
        raise self.unsupported(C.CANCEL, order_id, reason)

    async def list_appointments(self, order_id: str) -> list[str]:
        """Free dates (ISO) for the technician's visit."""
        raise self.unsupported(C.APPOINTMENT, order_id)

    async def book_appointment(self, order_id: str, slot: str) -> dict[str, Any]:
        """Take one of the free dates; answers the order."""
        raise self.unsupported(C.APPOINTMENT, order_id, slot)

    async def get_fault_status(self, fault_id: str) -> dict[str, Any]:
        """`{"fault_id", "status"}` of a fault that was reported."""
        raise self.unsupported(C.FAULT_STATUS, fault_id)

    async def list_changes(self) -> list[dict[str, Any]]:
        """What changed at the operator since the last time this was asked, as `get_order_status` answers it."""
        raise self.unsupported(C.CHANGES)

    def read_webhook(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Translate a call from the operator: `{"event_id", "fno_reference", "status", "occurred_at"}`."""
        raise self.unsupported(C.WEBHOOK, payload)

    def supports(self, capability: Capability) -> bool:
        """Whether the driver declares the capability."""
        return capability in self.capabilities

    def describe(self) -> Description:
        """What this driver is, can do and rests on."""
        return Description(
            self.name,
            self.channel_kind,
            self.capabilities,
            self.assumed,
            self.source,
            self.order_types,
            self.changes_every_s,
        )

    async def aclose(self) -> None:  # noqa: B027 - nothing to let go of is fine
        """Let go of connections."""

    def unsupported(self, capability: Capability, *_: object) -> FNOUnsupportedError:
        """The error for a verb that the channel lacks."""
        return FNOUnsupportedError(
            f"{capability.value} is not possible over this operator's {self.channel_kind}",
            fno=self.name,
            hint=f"It can: {', '.join(sorted(one.value for one in self.capabilities))}",
        )


class FNOClientBase(DriverBase):
    """Base class for FNO API clients."""

    base_url: str
    client: httpx.AsyncClient

    def __init__(
        self,
        base_url: str,
        api_key: str,
        timeout: int = 30,
        *,
        name: str | None = None,
        channel: Channel | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        headers: Mapping[str, str] | None = None,
        order_path: str | None = None,
    ) -> None:
        """Make the client; nothing is sent.

        Args:
            base_url: https, or http to this machine.
            api_key: sent as a bearer token.
            timeout: seconds for one request.
            name: the operator's name where it is not the class's own.
            channel: budget, breaker and audit; made anew when missing.
            transport: another httpx transport (tests, proxies).
            headers: more headers for every request.
            order_path: unused by the base; drivers whose paths vary take it.
        """
        self.name = name or type(self).name
        require_https(base_url, fno=self.name)
        api_key = checked_key(api_key, fno=self.name)
        self.base_url = base_url
        self.order_path = order_path
        self.channel = channel or Channel(self.name)
        self.client = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}", "Accept": "application/json", **(headers or {})},
            timeout=timeout,
            transport=transport,
            follow_redirects=False,
        )

    async def aclose(self) -> None:
        """Close the HTTP connections."""
        await self.client.aclose()

    async def exchange(
        self, method: str, path: str, *, failure: type[FNOError] = FNOError, **arguments: Any
    ) -> Any:
        """Send one request within the budget, and read the JSON answer.

        Args:
            method: `get`, `post`, `put`, …: the method of `self.client` to use.
            path: below base_url.
            failure: the error for an answer that refuses what was asked.
            arguments: handed to httpx (params, json, headers).

        Raises:
            FNOAuthError, FNOTimeoutError, FNOUnavailableError, FNOProtocolError, FNONotFoundError, or `failure`.
        """
        return (await self.send(method, path, failure=failure, **arguments))[0]

    async def send(
        self, method: str, path: str, *, failure: type[FNOError] = FNOError, **arguments: Any
    ) -> tuple[Any, Any]:
        """As `exchange`, with the response's headers beside the answer."""
        await self.channel.spend()
        began = time.monotonic()
        outcome = "failed"
        try:
            response = await self._transmit(method, path, arguments)
            outcome = (
                str(getattr(response, "status_code", "")) if isinstance(response, httpx.Response) else "ok"
            )
            headers = response.headers if isinstance(response, httpx.Response) else {}
            return await self._read(response, failure), headers
        except FNOError as error:
            outcome = error.code
            raise
        finally:
            self.channel.note(f"{method.upper()} {path}", outcome, time.monotonic() - began, {})

    async def _transmit(self, method: str, path: str, arguments: dict[str, Any]) -> Any:
        try:
            return await getattr(self.client, method)(path, **arguments)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise FNOUnavailableError(
                f"no connection ({type(error).__name__})",
                fno=self.name,
                hint="Check base_url and the network; it is tried again later",
                sent=False,
            ) from error
        except httpx.TimeoutException as error:
            raise FNOTimeoutError(
                f"no answer to {method.upper()} {path} in time", fno=self.name, hint="Try again later"
            ) from error
        except httpx.HTTPError as error:
            raise FNOUnavailableError(
                f"the connection broke ({type(error).__name__})", fno=self.name, hint="Try again later"
            ) from error

    async def _read(self, response: Any, failure: type[FNOError]) -> Any:
        if isinstance(response, httpx.Response):
            check_status(response, self.name, failure)
        payload = await _json(response, self.name)
        problem = self.business_error(payload)
        if problem is not None:
            raise refusal(problem, failure, self.name)
        return payload

    def business_error(self, payload: Any) -> Any:
        """What is wrong, where an answer of 200 says that it failed; None where it is fine."""
        if not isinstance(payload, Mapping):
            return None
        if payload.get("success") is False:
            return payload.get("error") or payload.get("message") or "the operator reports a failure"
        return payload.get("error") or payload.get("errors") or None


async def _json(response: Any, fno: str) -> Any:
    try:
        payload = response.json()
        # A stand-in made by unittest.mock answers with an awaitable.
        return await payload if inspect.isawaitable(payload) else payload
    except ValueError as error:
        kind = response.headers.get("content-type", "no content type").split(";")[0]
        raise FNOProtocolError(
            f"the answer is not JSON but {kind}",
            fno=fno,
            hint="A log-in page, a proxy or a maintenance page may stand before the API; check base_url",
        ) from error


_STATUS: dict[int, tuple[type[FNOError], str, str]] = {
    401: (FNOAuthError, "the credentials were refused", "Check api_key with the operator"),
    403: (FNOAuthError, "access was refused", "Ask the operator which rights the key has"),
    404: (FNONotFoundError, "the operator does not know it", "Check the reference"),
    408: (FNOTimeoutError, "the operator timed out", "Try again later"),
    429: (FNORateLimitError, "the operator's own rate limit is reached", "Lower `rate` for this operator"),
    504: (FNOTimeoutError, "the operator timed out", "Try again later"),
}
_REDIRECT, _REFUSED, _BROKEN = 300, 400, 500


def check_status(response: httpx.Response, fno: str, failure: type[FNOError]) -> None:
    """Turn an HTTP status that is no success into its error."""
    status = response.status_code
    if status < _REDIRECT:
        return
    if status in _STATUS:
        kind, message, hint = _STATUS[status]
        raise kind(f"{message} (HTTP {status})", fno=fno, hint=hint)
    if status >= _BROKEN:
        raise FNOUnavailableError(f"the operator failed (HTTP {status})", fno=fno, hint="Try again later")
    if status < _REFUSED:
        raise FNOProtocolError(
            f"the operator sends us elsewhere (HTTP {status})", fno=fno, hint="Check base_url"
        )
    raise refusal(_reason(response), failure, fno)


def refusal(problem: Any, failure: type[FNOError], fno: str) -> FNOError:
    """The typed error for a refusal in the operator's words."""
    code, text = _words(problem)
    kind = _CODES.get(code, failure)
    if issubclass(failure, FNOCoverageError) and not issubclass(kind, FNOCoverageError | FNOAuthError):
        kind = failure
    return kind(
        f"refused: {redact_text(text)}"[:400], fno=fno, hint=_REFUSAL_HINTS.get(kind, "Mend the request")
    )


_CODES: dict[str, type[FNOError]] = {
    "package_not_on_offer": FNOPackageError,
    "not_found": FNONotFoundError,
    "unauthorized": FNOAuthError,
    "invalid_credentials": FNOAuthError,
}
_REFUSAL_HINTS: dict[type[FNOError], str] = {
    FNOPackageError: "Check coverage again and choose a package that it lists",
    FNOCoverageError: "Coverage stays unknown; mend the address or ask the operator",
    FNOFaultError: "Mend the report",
    FNOOrderError: "Mend the order; nothing was ordered",
}


def _words(problem: Any) -> tuple[str, str]:
    if isinstance(problem, list) and problem:
        problem = problem[0]
    if isinstance(problem, Mapping):
        code = str(problem.get("code") or "")
        text = problem.get("message") or problem.get("reason") or problem.get("error") or code
        return code, str(text or "no reason given")
    return "", str(problem)


def _reason(response: httpx.Response) -> Any:
    try:
        payload = response.json()
    except ValueError:
        return f"HTTP {response.status_code}"
    if isinstance(payload, Mapping):
        return payload.get("error") or payload.get("errors") or payload
    return f"HTTP {response.status_code}"


def require_rica(order_data: Mapping[str, Any], fno: str) -> None:
    """The driver's own gate, below the portal's: no order leaves without a verified identity, and none with its number.

    Raises:
        FNORicaError: neither a verification record nor its derived `rica_verified` is there.
        FNOValidationError: something in the order is shaped like an identity number.
    """
    if not (order_data.get("rica") or order_data.get("rica_verified") is True):
        raise FNORicaError(
            "the customer's identity is not verified",
            fno=fno,
            hint="Verify it (RicaVerification) and hand the record in as `rica`",
        )
    if contains_id_number(str({key: value for key, value in order_data.items() if key != "rica"})):
        raise FNOValidationError(
            "the order holds an identity number",
            fno=fno,
            hint="Take it out: operators are told that the customer is verified, never the number",
        )


def own_row(rows: Any, reference: str, *fields: str, fno: str) -> dict[str, Any] | None:
    """The row of a look-up that bears our reference in one of the fields, or None for an empty answer.

    Raises:
        FNOProtocolError: no list, or others' orders alone. A server that ignores the filter may have ours on a further
            page: to take that for "no such order" would order twice.
    """
    if not isinstance(rows, list) or not all(isinstance(one, Mapping) for one in rows):
        raise FNOProtocolError("the look-up gave no list", fno=fno, hint="The API may have changed")
    mine = [dict(one) for one in rows if any(one.get(field) == reference for field in fields)]
    if rows and not mine:
        raise FNOProtocolError(
            "the look-up gave others' orders alone", fno=fno, hint="Ask the operator for the order"
        )
    return mine[0] if mine else None


def segment(text: str) -> str:
    """One piece of a path, whatever stands in it: a number with a slash or a `?` must not reach another resource."""
    return quote(text, safe="") if text not in {".", ".."} else "%2E" * len(text)


def require_fields(answer: Any, fields: tuple[str, ...], *, fno: str, what: str) -> dict[str, Any]:
    """The answer as a dict that has the fields.

    Raises:
        FNOProtocolError: it is no object, or a field is missing.
    """
    if not isinstance(answer, Mapping):
        raise FNOProtocolError(f"the answer to {what} is not an object", fno=fno, hint="Tell the operator")
    missing = [field for field in fields if answer.get(field) is None]
    if missing:
        raise FNOProtocolError(
            f"the answer to {what} lacks {', '.join(missing)}",
            fno=fno,
            hint="The operator's API may have changed",
        )
    return dict(answer)
