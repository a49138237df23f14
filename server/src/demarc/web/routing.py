"""A route is a permission and a transaction: it commits before the answer leaves, or nothing happened.

`ApiRouter` is a FastAPI router whose routes name their permission. Each request is authenticated, bound to its
tenant and run in one transaction. A POST with an `Idempotency-Key` is answered once and repeated word for word.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy import bindparam, select
from starlette.types import ASGIApp, Receive, Scope, Send

from demarc.kernel.db import Tx
from demarc.kernel.errors import DemarcError, Forbidden, Invalid, LimitExceeded, Malformed, Unauthenticated
from demarc.kernel.sql import Query, mine
from demarc.kernel.tables import idempotency_key
from demarc.modules.identity.service import Principal
from demarc.web.errors import ErrorEnvelope, from_validation, respond, status_of
from demarc.web.limits import limits_of
from demarc.web.platform import Platform

_KEY_LENGTH = 255
_STORED = Query(
    select(idempotency_key).where(mine(idempotency_key), idempotency_key.c.key == bindparam("key"))
)
_CLAIM = "INSERT INTO idempotency_key (tenant_id, key, request_hash) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING 1"
_ANSWER = "UPDATE idempotency_key SET status_code = $3, body = $4 WHERE tenant_id = $1 AND key = $2"
_FIRST_SERVER_ERROR = 500
_WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE"})

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
FastHandler = Callable[[Request, Tx], Coroutine[Any, Any, Response | None]]
"""Answers a hot route without FastAPI; None: it cannot, and the documented endpoint answers or explains why not."""

Preparation = Callable[[Request], Coroutine[Any, Any, None]]
"""What has to ask the network before the transaction is opened; it leaves what it found in `request.state`."""


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    """What a route demands, and which of its answer's fields are shown once and never stored."""

    permission: str
    shown_once: tuple[str, ...] = ()
    fast: FastHandler | None = None
    prepare: Preparation | None = None


@dataclass(frozen=True, slots=True)
class _StoredAnswer:
    tenant_id: int
    key: str
    request_hash: bytes
    status_code: int | None
    body: bytes | None
    created_at: object


# Dependencies are coroutines: FastAPI sends a plain function to another thread, which costs more than it does.
async def current_tx(request: Request) -> Tx:
    """The request's transaction, opened by its route."""
    tx: Tx = request.state.tx
    return tx


async def current_platform(request: Request) -> Platform:
    return platform_of(request)


def platform_of(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


TxDep = Annotated[Tx, Depends(current_tx)]
PlatformDep = Annotated[Platform, Depends(current_platform)]


def authenticate(request: Request) -> Principal:
    """Who asks, from `Authorization: Bearer`; `X-Tenant-ID` has to name the token's tenant.

    Raises:
        Unauthenticated: no token, or not a valid one.
        Forbidden: the header names another tenant.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(
            "send an access token: Authorization: Bearer <token>, from POST /api/auth/token"
        )
    principal = platform_of(request).tokens.read(token.strip())
    tenant = request.headers.get("x-tenant-id")
    if tenant is None:
        raise Forbidden("name your tenant in the header X-Tenant-ID", code="TENANT_REQUIRED")
    if tenant != principal.tenant_slug:
        raise Forbidden("X-Tenant-ID is not the tenant of this access token", code="TENANT_MISMATCH")
    return principal


class TransactionRoute(APIRoute):
    """Authenticates, opens the transaction, runs the endpoint, commits, answers."""

    def get_route_handler(self) -> Handler:
        endpoint = super().get_route_handler()
        policy: RoutePolicy = getattr(self.endpoint, "__route_policy__")  # noqa: B009 - set by ApiRouter
        if policy.fast is not None:
            endpoint = _fast_first(policy.fast, endpoint)

        async def handle(request: Request) -> Response:
            principal = authenticate(request)
            limits_of(request).take(request, principal.counted_as)
            principal.require(policy.permission)
            if policy.prepare is not None:
                await policy.prepare(request)
            key = request.headers.get("idempotency-key") if request.method == "POST" else None
            if key is not None:
                return await _run_once(request, principal, policy, endpoint, key)
            return await _run(request, principal, endpoint)

        return handle


def _fast_first(fast: FastHandler, endpoint: Handler) -> Handler:
    async def handle(request: Request) -> Response:
        return await fast(request, request.state.tx) or await endpoint(request)

    return handle


async def _run(request: Request, principal: Principal, endpoint: Handler) -> Response:
    if request.method not in _WITHOUT_BODY:
        await request.body()  # before a connection is held: a slow sender holds none
    async with platform_of(request).database.begin(
        principal.tenant_id, principal.actor, request_id=request.state.request_id
    ) as tx:
        request.state.tx = tx
        return await endpoint(request)


async def _run_once(
    request: Request, principal: Principal, policy: RoutePolicy, endpoint: Handler, key: str
) -> Response:
    """Run under an idempotency key: the first final answer is stored in the same transaction as what it made."""
    if not 1 <= len(key) <= _KEY_LENGTH:
        raise Invalid(f"Idempotency-Key has to be 1 to {_KEY_LENGTH} characters")
    asked = f"{request.url.path}?{request.url.query}"
    digest = hashlib.sha256(asked.encode() + b"\0" + await request.body()).digest()

    async def claimed(inner: Request) -> Response:
        tx: Tx = inner.state.tx
        if await tx.connection.fetchval(_CLAIM, tx.tenant.id, key, digest) is None:
            return await _replay(tx, key, digest)
        response = await endpoint(inner)
        stored = _without_secrets(bytes(response.body), policy.shown_once)
        await tx.connection.execute(_ANSWER, tx.tenant.id, key, response.status_code, stored)
        return response

    try:
        return await _run(request, principal, claimed)
    except (DemarcError, RequestValidationError) as error:
        typed = from_validation(error) if isinstance(error, RequestValidationError) else error
        await _keep_refusal(request, principal, key, digest, typed)
        raise typed from error


async def _replay(tx: Tx, key: str, digest: bytes) -> Response:
    stored = await tx.find(_STORED, _StoredAnswer, key=key)
    if stored is None or stored.request_hash != digest:
        raise Invalid(
            "this Idempotency-Key was used with another request; use a new key", code="IDEMPOTENCY_KEY_REUSED"
        )
    return Response(
        stored.body,
        status_code=stored.status_code or _FIRST_SERVER_ERROR,
        media_type="application/json",
        headers={"Idempotent-Replayed": "true"},
    )


async def _keep_refusal(
    request: Request, principal: Principal, key: str, digest: bytes, error: DemarcError
) -> None:
    """A refusal is a final answer too, unless trying again later may help."""
    if status_of(error) >= _FIRST_SERVER_ERROR or isinstance(error, LimitExceeded | Malformed):
        return
    if error.code in ("IDEMPOTENCY_KEY_REUSED", "CONCURRENT_CHANGE"):
        return
    response = respond(error)
    database = platform_of(request).database
    async with database.begin(
        principal.tenant_id, principal.actor, request_id=request.state.request_id
    ) as tx:
        if await tx.connection.fetchval(_CLAIM, tx.tenant.id, key, digest) is not None:
            await tx.connection.execute(
                _ANSWER, tx.tenant.id, key, response.status_code, bytes(response.body)
            )


def _without_secrets(body: bytes, shown_once: tuple[str, ...]) -> bytes:
    if not shown_once:
        return body
    answer = json.loads(body)
    return json.dumps({**answer, **dict.fromkeys(shown_once), "shown_once": True}).encode()


_PROBLEMS = {
    400: "the request cannot be read",
    401: "no valid access token",
    403: "not allowed, or another tenant",
    404: "no such row for this tenant",
    409: "duplicate, or not possible in the present state",
    413: "the body is larger than any that is documented",
    422: "a value is not acceptable",
    429: "too many requests in this minute",
    503: "the database does not answer",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documented error answers of a route."""
    return {status: {"model": ErrorEnvelope, "description": _PROBLEMS[status]} for status in sorted(statuses)}


def _of_body(method: str) -> tuple[int, ...]:
    return () if method in _WITHOUT_BODY else (413,)


_SUCCESSES = {
    200: "it was there already, or nothing was to be made",
    201: "made",
    202: "taken on, and going on",
}


def successes(endpoint: Callable[..., Any], model: Any, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documented success answers beside the ordinary one, of the same shape."""
    shape = model or get_type_hints(endpoint).get("return")
    return {status: {"model": shape, "description": _SUCCESSES[status]} for status in statuses}


class ApiRouter(APIRouter):
    """Routes with a permission each: `@router.on("POST", "", permission="customers.write", status=201)`."""

    def __init__(self, *, prefix: str, tag: str) -> None:
        super().__init__(prefix=prefix, tags=[tag], route_class=TransactionRoute)

    def on(
        self,
        method: str,
        path: str,
        *,
        permission: str,
        status: int = 200,
        also: tuple[int, ...] = (),
        problem: tuple[int, ...] = (),
        shown_once: tuple[str, ...] = (),
        fast: FastHandler | None = None,
        prepare: Preparation | None = None,
        **options: Any,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register an endpoint.

        Args:
            method: HTTP method.
            path: below the router's prefix.
            permission: what the caller's role has to hold.
            status: of the ordinary answer.
            also: other success statuses that the endpoint may set (200: what was there already).
            problem: documented error statuses beside 400, 401, 403, 422, 429 and 503, and 413 where there is a body.
            shown_once: fields of the answer that are never stored for a replay.
            fast: asked first; for routes that have to be fast, and mean the same as the endpoint.
            prepare: run before the transaction is opened, once the caller may.
            **options: passed to FastAPI.
        """

        def register(endpoint: Callable[..., Any]) -> Callable[..., Any]:
            setattr(endpoint, "__route_policy__", RoutePolicy(permission, shown_once, fast, prepare))  # noqa: B010 - read by TransactionRoute
            self.add_api_route(
                path,
                endpoint,
                methods=[method],
                status_code=status,
                responses=successes(endpoint, options.get("response_model"), *also)
                | problems(400, 401, 403, 422, 429, 503, *_of_body(method), *problem),
                openapi_extra={"x-permission": permission, **options.pop("openapi_extra", {})},
                **options,
            )
            return endpoint

        return register


class ExactPaths:
    """In front of the router: routes whose path has no parameter are found by one look-up, not by trying all in turn.

    Args:
        router: what answers everything else.
        routers: whose routes are looked up.
    """

    def __init__(self, router: ASGIApp, routers: Iterable[APIRouter]) -> None:
        self._router = router
        routes = [route for one in routers for route in one.routes if isinstance(route, APIRoute)]
        self._exact = {
            (method, route.path): route
            for route in reversed(routes)  # of two with one path the first one answers
            if not route.param_convertors
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._exact.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self._router(scope, receive, send)
            return
        scope.update(route=route, endpoint=route.endpoint, path_params={})
        await route.handle(scope, receive, send)
