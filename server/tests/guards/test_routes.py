"""Guards that walk the HTTP surface: every route names its permission and refuses who does not hold it."""

from __future__ import annotations

import uuid

import pytest
from fastapi.routing import APIRoute

from demarc.bootstrap import build_app
from demarc.modules.identity.permissions import ALL
from demarc.web.routing import RoutePolicy, TransactionRoute

# Routes without a log-in. A new name here is a decision.
OPEN = {
    ("POST", "/api/auth/token"),
    ("POST", "/api/auth/refresh"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/api/openapi.json"),
}
ANY_UUID = str(uuid.uuid4())


def api_routes(app):
    """Every (method, path, permission) of the OpenAPI document."""
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation.get("x-permission"), operation


@pytest.fixture
def app(settings, database, master_key):
    return build_app(settings, database, master_key)


def test_every_route_names_a_known_permission(app):
    for method, path, permission, _ in api_routes(app):
        if (method, path) in OPEN:
            assert permission is None
        else:
            assert permission in ALL, f"{method} {path} names no permission"
            verb = permission.rpartition(".")[2]
            assert (verb == "read") == (method == "GET") or path.endswith(("/reports", "/aggregate")), (
                f"{method} {path}: {permission}"
            )


def test_every_route_documents_its_errors_and_answers(app):
    for method, path, _, operation in api_routes(app):
        if (method, path) in OPEN and "auth" not in path:
            continue
        assert {"400", "401", "422", "503"} <= operation["responses"].keys(), f"{method} {path}"
        assert operation.get("summary"), f"{method} {path}"


def test_every_list_has_a_window(app):
    document = app.openapi()
    for method, path, _, operation in api_routes(app):
        answer = (
            operation["responses"]
            .get("200", {})
            .get("content", {})
            .get("application/json", {})
            .get("schema", {})
        )
        name = answer.get("$ref", "").rpartition("/")[2]
        if not name or "skip" not in document["components"]["schemas"][name].get("properties", {}):
            continue
        names = {parameter["name"] for parameter in operation.get("parameters", ())}
        assert {"skip", "limit", "sort"} <= names, f"{method} {path} is a list without skip, limit and sort"


async def test_nobody_gets_in_without_a_token_or_the_permission(app, callers):
    anonymous = callers.anonymous()
    reader = await callers("alpha", "read_only")
    for method, path, permission, _ in api_routes(app):
        if (method, path) in OPEN:
            continue
        concrete = path
        while "{" in concrete:
            before, _, rest = concrete.partition("{")
            concrete = f"{before}{ANY_UUID}{rest.partition('}')[2]}"
        assert (await anonymous.request(method, concrete)).status_code == 401, f"{method} {path}"
        if permission.endswith(".write"):
            refused = await reader.client.request(method, concrete, json={})
            assert refused.status_code == 403, f"{method} {path}: {refused.text}"


def test_no_route_escapes_the_transaction_edge(app):
    seen = 0
    for router_route in _flatten(app.routes):
        if isinstance(router_route, TransactionRoute):
            seen += 1
            assert isinstance(router_route.endpoint.__route_policy__, RoutePolicy)
        elif isinstance(router_route, APIRoute):
            assert all((method, router_route.path) in OPEN for method in router_route.methods), (
                router_route.path
            )
    assert seen > 0


def _flatten(routes):
    for route in routes:
        inner = getattr(route, "routes", None) or getattr(
            getattr(route, "original_router", None), "routes", None
        )
        if inner and not isinstance(route, APIRoute):
            yield from _flatten(inner)
        else:
            yield route
