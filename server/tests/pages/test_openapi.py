"""The OpenAPI document: valid, and complete about what every route shares."""

from __future__ import annotations

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from demarc.bootstrap import build_app


@pytest.fixture
def app(settings, database, master_key):
    return build_app(settings, database, master_key)


@pytest.fixture
def document(app):
    return app.openapi()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def headers_of(operation):
    return {one["name"]: one for one in operation["parameters"] if one["in"] == "header"}


def test_it_is_valid_openapi_3_1(document):
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_the_validator_would_notice(document):
    broken = {**document, "paths": {"/x": {"get": {"responses": {"200": {}}}}}}
    assert not OpenAPIV31SpecValidator(broken).is_valid()


async def test_it_is_served(callers, document):
    answer = await callers.anonymous().get("/api/openapi.json")
    assert answer.status_code == 200
    assert answer.json() == document


def test_every_route_that_names_a_permission_wants_log_in_and_tenant(document):
    seen = 0
    for method, path, operation in operations(document):
        if "x-permission" not in operation:
            assert "security" not in operation, path
            assert "X-Tenant-ID" not in headers_of(operation), path
            continue
        seen += 1
        assert operation["security"] == [{"bearer": []}], path
        assert headers_of(operation)["X-Tenant-ID"]["required"] is True, path
        assert ("Idempotency-Key" in headers_of(operation)) == (method == "POST"), path
    assert seen > 0
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_every_route_tells_of_the_request_id(document):
    for _, path, operation in operations(document):
        assert "X-Request-ID" in headers_of(operation), path
        for status, answer in operation["responses"].items():
            assert "X-Request-ID" in answer["headers"], (path, status)


def test_every_tag_is_explained_and_every_route_has_one(document):
    for tag in document["tags"]:
        assert tag["description"], f"web/openapi.py does not explain the tag {tag['name']}"
    known = {tag["name"] for tag in document["tags"]}
    for _, path, operation in operations(document):
        assert set(operation["tags"]) <= known, path


def test_every_error_answer_is_the_envelope(document):
    for _, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status >= "400" and path.startswith("/api"):
                schema = answer["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorEnvelope"}, (path, status)


def test_a_patch_promises_no_defaults(document):
    seen = 0
    for method, path, operation in operations(document):
        if method == "PATCH":
            reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            shape = document["components"]["schemas"][reference.rpartition("/")[2]]
            seen += 1
            assert [name for name, field in shape["properties"].items() if "default" in field] == [], path
    assert seen > 0


AGAIN = {
    "/api/services/lifecycle/provision": {"200", "201"},
    "/api/billing/invoices": {"200", "201"},
    "/api/billing/payments": {"200", "201"},
    "/api/billing/runs": {"200", "201", "202"},
    "/api/billing/usage/records": {"200", "201"},
    "/api/billing/usage/records/bulk": {"200", "201"},
}


@pytest.mark.parametrize("path", AGAIN)
def test_what_may_be_there_already_documents_both_answers_with_one_shape(document, path):
    responses = document["paths"][path]["post"]["responses"]
    assert {status for status in responses if status < "300"} == AGAIN[path]
    shapes = [responses[status]["content"]["application/json"]["schema"] for status in AGAIN[path]]
    assert all(shape == shapes[0] and "$ref" in shape for shape in shapes)
    assert len({responses[status]["description"] for status in AGAIN[path]}) == len(shapes)


def test_every_answer_documents_its_rate_limit(document):
    for method, path, operation in operations(document):
        if path.startswith("/api/"):
            assert "429" in operation["responses"], f"{method} {path}"
            for response in operation["responses"].values():
                assert {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= response[
                    "headers"
                ].keys()
