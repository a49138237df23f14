"""Guards that walk the HTTP surface: every route names its permission and its answers. Who is refused: test_callers."""

from __future__ import annotations

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
