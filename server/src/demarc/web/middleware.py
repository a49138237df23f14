"""Around every request: its id, its rate limit's headers, one log line, its metrics."""

from __future__ import annotations

import re
import time
import uuid

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demarc.kernel.logs import logger
from demarc.kernel.metrics import HTTP_REQUESTS, HTTP_SECONDS
from demarc.web.limits import Headers, RequestLimits

_LOG = logger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SURFACES = ("/api/", "/v1/")
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})


class RequestEnvelope:
    """Accepts or makes `X-Request-ID`, returns it, and logs method, route, status and time; never a body or a query."""

    def __init__(self, app: ASGIApp, limits: RequestLimits) -> None:
        self.app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(b"x-request-id", request_id.encode()), *self._rate(scope)]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            _observe(scope, status, time.perf_counter() - started)
            structlog.contextvars.unbind_contextvars("request_id")

    def _rate(self, scope: Scope) -> Headers:
        """What the route has counted; requests that never came to a log-in are counted by address."""
        counted: Headers | None = scope["state"].get("rate")
        if counted is None and scope["path"].startswith(_SURFACES):
            return self._limits.anonymous(scope)
        return counted or []


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(text):
                return text
    return uuid.uuid4().hex


def _observe(scope: Scope, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "unmatched")
    HTTP_REQUESTS.labels(scope["method"], route, status).inc()
    HTTP_SECONDS.labels(scope["method"], route).observe(seconds)
    if scope["path"] not in _QUIET:
        _LOG.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 1),
        )
