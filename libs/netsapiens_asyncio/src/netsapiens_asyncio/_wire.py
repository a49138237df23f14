"""HTTP to one PBX: one pool, request ids, the error tree, retries that never repeat a write."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from uuid import uuid4

import httpx
import stamina

from netsapiens_asyncio import errors
from netsapiens_asyncio._masking import mask, private_values
from netsapiens_asyncio.clock import Clock
from netsapiens_asyncio.tracing import Hooks, RequestEnded, RequestStarted

log = logging.getLogger("netsapiens_asyncio")

API = "/ns-api/v2"
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
REPEATABLE = frozenset({"GET", "PUT", "DELETE"})
PASSING = frozenset({500, 502, 503, 504})
TOO_MANY = 429
UNAUTHORIZED = 401
Params = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long one call is retried.

    Attributes:
        attempts: in all; 1 turns retries off.
        seconds: in all, waiting included.
        first_wait, longest_wait: of the exponential backoff, in seconds.
        longest_retry_after: a `Retry-After` beyond it is raised at once instead of waited for.
    """

    attempts: int = 4
    seconds: float = 45.0
    first_wait: float = 0.2
    longest_wait: float = 5.0
    longest_retry_after: float = 30.0


@dataclass(slots=True)
class Call:
    """One call of the API, over all its attempts."""

    method: str
    path: str
    params: Params | None = None
    body: dict[str, Any] | None = None
    form: dict[str, str] | None = None
    repeatable: bool = False  # a write that may be sent twice, such as asking for a token
    request_id: str = ""
    attempt: int = 0
    ambiguous: bool = False  # an earlier attempt may have taken effect

    @property
    def safe(self) -> bool:
        return self.repeatable or self.method in REPEATABLE


class Bearer(Protocol):
    """Where the wire gets tokens from."""

    async def bearer(self) -> str: ...

    async def replace(self, stale: str) -> str: ...

    def secrets(self) -> Iterable[str]: ...


@dataclass(slots=True)
class Wire:
    """Sends calls. Knows nothing of what they mean."""

    origin: str
    client: httpx.AsyncClient
    clock: Clock
    retries: RetryPolicy
    hooks: Hooks
    new_request_id: Callable[[], str] = field(default=lambda: uuid4().hex)
    clock_offset: float | None = None  # the PBX's clock minus ours, from its Date headers, in seconds
    _date: str = ""  # the header that was read last

    async def send(self, call: Call, tokens: Bearer | None = None) -> Any:
        """The decoded answer of a call; retried where that is safe.

        Raises:
            ApiError, AuthenticationError, Unreachable, NoAnswer, OutcomeUnknown, InvalidResponse
        """
        call.request_id = self.new_request_id()
        try:
            return await self._once(call, tokens)
        except errors.NetsapiensError as error:
            if self._next_wait(call, error) is False:
                raise
            return await self._again(call, tokens, error)

    async def _again(self, call: Call, tokens: Bearer | None, first: errors.NetsapiensError) -> Any:
        """Under stamina, which is told of the first failure by raising it again: calls that succeed never pay for it."""
        failed: errors.NetsapiensError | None = first

        def decide(error: Exception) -> bool | float:
            return self._next_wait(call, error)

        async for attempt in stamina.retry_context(
            on=decide,
            attempts=self.retries.attempts,
            timeout=self.retries.seconds,
            wait_initial=self.retries.first_wait,
            wait_max=self.retries.longest_wait,
            wait_jitter=self.retries.first_wait,
        ):
            with attempt:
                if failed is not None:
                    error, failed = failed, None
                    raise error
                return await self._once(call, tokens)
        raise AssertionError  # stamina raises the last failure

    def _next_wait(self, call: Call, error: Exception) -> bool | float:
        """False: give up. True: wait as the backoff says. A number: wait so many seconds."""
        if self.retries.attempts <= 1:
            return False
        if isinstance(error, errors.RateLimited):  # refused before it was processed: safe for every method
            wait = error.retry_after
            return True if wait is None else wait <= self.retries.longest_retry_after and max(wait, 0.001)
        if isinstance(error, errors.Unreachable):
            return True
        passing = isinstance(error, errors.NoAnswer) or (
            isinstance(error, errors.ServerError) and error.status in PASSING
        )
        return passing and call.safe

    async def _once(self, call: Call, tokens: Bearer | None) -> Any:
        token = "" if tokens is None else await tokens.bearer()
        response = await self._exchange(call, token)
        if response.status_code == UNAUTHORIZED and tokens is not None:
            fresh = await tokens.replace(token)
            if fresh != token:
                response = await self._exchange(call, fresh)
        if response.is_success:
            return self._decode(call, response)
        if response.status_code == 404 and call.method == "DELETE" and call.ambiguous:  # noqa: PLR2004
            return {"code": 202, "message": "Accepted"}  # the first try had deleted it
        raise self._error(call, response, () if tokens is None else tokens.secrets())

    async def _exchange(self, call: Call, token: str) -> httpx.Response:
        call.attempt += 1
        for started in self.hooks.started:
            started(RequestStarted(call.method, call.path, call.request_id, call.attempt))
        began = time.perf_counter()
        status, problem = None, None
        try:
            response = await self.client.send(self._request(call, token))
            status = response.status_code
        except httpx.HTTPError as error:
            problem = type(error).__name__
            raise self._broken(call, error) from error
        finally:
            self._report(call, status, time.perf_counter() - began, problem)
        self._note_date(response)
        return response

    def _request(self, call: Call, token: str) -> httpx.Request:
        if not call.path.startswith("/"):
            raise errors.InvalidInput("path", "has to begin with /")
        headers = {"X-Request-ID": call.request_id}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = self.origin + (call.path if call.path.startswith("/ns-api/") else API + call.path)
        try:
            return self.client.build_request(
                call.method, url, params=call.params, json=call.body, data=call.form, headers=headers
            )
        except httpx.InvalidURL:
            raise errors.InvalidInput("path", "has characters that no URL can carry") from None

    def _report(self, call: Call, status: int | None, seconds: float, problem: str | None) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "%s %s -> %s in %.0f ms (request %s, attempt %d)",
                call.method,
                call.path,
                status or problem,
                seconds * 1000,
                call.request_id,
                call.attempt,
            )
        for ended in self.hooks.ended:
            ended(
                RequestEnded(call.method, call.path, call.request_id, call.attempt, status, seconds, problem)
            )

    @staticmethod
    def _broken(call: Call, error: httpx.HTTPError) -> errors.NetsapiensError:
        what = f"{call.method} {call.path}"
        if isinstance(error, NOT_SENT):
            return errors.Unreachable(
                f"{what}: no connection to the PBX ({type(error).__name__}); check base_url and network"
            )
        call.ambiguous = True
        kind = errors.NoAnswer if call.safe else errors.OutcomeUnknown
        hint = "" if call.safe else "; it may have taken effect, look before repeating it"
        return kind(
            f"{what}: sent, and no answer came ({type(error).__name__}, request {call.request_id}){hint}",
            method=call.method,
            path=call.path,
            request_id=call.request_id,
        )

    def _note_date(self, response: httpx.Response) -> None:
        date = response.headers.get("date")
        if date and date != self._date:  # once a second is enough, and closest to the truth at the turn
            self._date = date
            try:
                self.clock_offset = parsedate_to_datetime(date).timestamp() - self.clock.time()
            except ValueError:
                return

    @staticmethod
    def _decode(call: Call, response: httpx.Response) -> Any:
        if not response.content:
            return {"code": response.status_code, "message": response.reason_phrase}
        try:
            return json.loads(response.content)
        except ValueError:
            kind = response.headers.get("content-type", "no content type")
            raise errors.InvalidResponse(
                f"{call.method} {call.path} answered {response.status_code} with something that is not JSON ({kind}); "
                f"is base_url the API host? (request {call.request_id})"
            ) from None

    @staticmethod
    def _error(call: Call, response: httpx.Response, secrets: Iterable[str]) -> errors.ApiError:
        if response.status_code in PASSING:
            call.ambiguous = True
        sent: Mapping[str, Any] | None = call.body if call.form is None else call.form
        # Masked whole: a cut first could leave half of a secret that no longer matches.
        text = mask(response.text, [*secrets, *private_values(sent)])
        code, message = _own_words(text, response)
        kind = errors.error_class(response.status_code)
        error = kind(
            status=response.status_code,
            code=code,
            message=message,
            method=call.method,
            path=call.path,
            body=text,
            request_id=call.request_id,
            may_have_happened=not call.safe and response.status_code in PASSING,
        )
        if isinstance(error, errors.RateLimited):
            error.retry_after = read_retry_after(response.headers.get("retry-after"))
        return error


def _own_words(text: str, response: httpx.Response) -> tuple[int, str]:
    """`code` and `message` of the PBX's error object; its first words when it is no such object."""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return response.status_code, " ".join(text.split())[:200] or response.reason_phrase
    code = body.get("code", response.status_code)
    code = int(code) if str(code).isdigit() else response.status_code
    return code, str(body.get("message") or body.get("error_description") or response.reason_phrase)[:500]


def read_retry_after(value: str | None) -> float | None:
    """Seconds of a `Retry-After` header in either of its forms (RFC 9110, 10.2.3)."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
