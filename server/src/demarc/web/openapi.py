"""The OpenAPI 3.1 document of `/api`, with what every route shares: log-in, tenant, idempotency key, request id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

Document = dict[str, Any]

DESCRIPTION = """\
Sell, provision, authenticate, meter, bill and collect: the platform of an internet service provider.

**Log-in.** `POST /api/auth/token` answers an access token, good for an hour, and a refresh token, good once.
Every other route wants `Authorization: Bearer <token>` and the tenant's name in `X-Tenant-ID`.

**Money** is an integer in the currency's minor units; `unit_price` and `min_lifetime_value` are in major units.
**Times** answer as RFC 3339 in UTC; a request's time without a zone is UTC, and a day past the month's end is its last day.
**Lists** answer `total`, `skip` and `limit` beside their rows.

**Errors** are `{"error": {"code", "message", "details": [{"field", "message"}]}}`; `code` is stable, `message` says what to do.
**A POST** with an `Idempotency-Key` happens once: its first final answer is repeated word for word.
"""

TAGS = {
    "auth": "Log in, and stay logged in.",
    "users": "Staff, their roles, and tokens for programs.",
    "customers": "Who pays.",
    "plans": "What is sold, and at what price.",
    "pools": "Addresses to hand out.",
    "subscriptions": "What a customer agreed to pay for.",
    "services": "What a customer has: provision, suspend, resume, terminate.",
    "subscribers": "Who logs on to the network.",
    "sessions": "Who is on line, who was, and what was ordered of their NAS.",
    "nas": "The access servers that subscribers dial in to.",
    "usage": "What was used, and what it costs.",
    "invoices": "What is owed.",
    "payments": "What was paid.",
    "dunning": "What happens to what is not paid.",
    "notifications": "What was written to customers, and its wording.",
    "sandbox": "The clock and the mail of a sandbox tenant.",
    "health": "For balancers and monitoring.",
}

_TENANT: Document = {
    "name": "X-Tenant-ID",
    "in": "header",
    "required": True,
    "description": "the tenant of the access token, by name",
    "schema": {"type": "string", "maxLength": 40},
    "example": "demo-alpha",
}
_IDEMPOTENCY_KEY: Document = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "made up by the caller, one for each thing to be done; with another body it is refused (422)",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_REQUEST_ID: Document = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "description": "returned and logged; made up when it is missing or not 1 to 64 letters, digits, dots, dashes",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
}
_SECURITY = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}


def install_openapi(app: FastAPI) -> None:
    """Let `app.openapi()` answer the whole document; it is made once."""

    def document() -> Document:
        if app.openapi_schema is None:
            app.openapi_schema = build_document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def build_document(app: FastAPI) -> Document:
    """FastAPI's document, completed."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        routes=app.routes,
    )
    document["components"]["securitySchemes"] = _SECURITY
    for method, operation in operations(document):
        _complete(method, operation)
        if method == "PATCH":
            _forget_defaults(document, operation)
    used = {tag for _, operation in operations(document) for tag in operation.get("tags", ())}
    document["tags"] = [{"name": name, "description": TAGS.get(name, "")} for name in _in_order(used)]
    return document


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    """(method in upper case, operation) of every path."""
    for path in document["paths"].values():
        for method, operation in path.items():
            yield method.upper(), operation


def _in_order(used: set[str]) -> list[str]:
    return [name for name in TAGS if name in used] + sorted(used - TAGS.keys())


def _complete(method: str, operation: Document) -> None:
    _retitle(operation)
    parameters = operation.setdefault("parameters", [])
    needs_tenant = "x-permission" in operation
    if needs_tenant:
        operation["security"] = [{"bearer": []}]
        parameters.append(_TENANT)
    if needs_tenant and method == "POST":
        parameters.append(_IDEMPOTENCY_KEY)
    parameters.append(_REQUEST_ID)
    for status, response in operation["responses"].items():
        response.setdefault("headers", {}).update(_answer_headers(method, status, needs_tenant=needs_tenant))


def _forget_defaults(document: Document, operation: Document) -> None:
    """What a patch leaves out stays as it is: a default would promise something else."""
    reference = operation["requestBody"]["content"]["application/json"]["schema"].get("$ref", "")
    shape = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
    for field in shape.get("properties", {}).values():
        field.pop("default", None)


def _retitle(operation: Document) -> None:
    """The first line of an endpoint's docstring says more than its function's name."""
    first, _, rest = operation.get("description", "").strip().partition("\n")
    if first:
        operation["summary"] = first.rstrip(".")
        operation["description"] = rest.strip()
    if not operation.get("description"):
        operation.pop("description", None)


def _answer_headers(method: str, status: str, *, needs_tenant: bool) -> Document:
    headers = {"X-Request-ID": _header("finds this request in the log")}
    headers |= _RATE
    if status == "401":
        headers["WWW-Authenticate"] = _header("Bearer")
    if status == "429":
        headers["Retry-After"] = _header("seconds to wait")
    if needs_tenant and method == "POST" and status < "500":
        headers["Idempotent-Replayed"] = _header("`true` when an earlier answer was repeated")
    return headers


_RATE = {
    "X-RateLimit-Limit": {"description": "requests a minute", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "left in this minute", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {
        "description": "end of the minute, seconds since 1970",
        "schema": {"type": "integer"},
    },
}


def _header(description: str) -> Document:
    return {"description": description, "schema": {"type": "string"}}
