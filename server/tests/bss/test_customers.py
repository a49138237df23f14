from __future__ import annotations

import asyncio
import uuid

import pytest


async def test_a_customer_is_made_read_listed_and_changed(admin):
    made = await admin.post(
        "/api/customers", {"name": " Ann ", "email": "Ann@EXAMPLE.com", "phone": "+27 (82) 123-4567"}
    )
    assert made.status_code == 201, made.text
    body = made.json()
    assert (body["name"], body["email"], body["phone"]) == ("Ann", "Ann@example.com", "+27821234567")
    assert body["status"] == "active"
    assert body["created_at"].endswith("Z")

    path = f"/api/customers/{body['id']}"
    assert (await admin.get(path)).json() == body
    changed = await admin.patch(path, {"tier": "vip", "tags": ["a", "b", "a"]})
    assert changed.status_code == 200, changed.text
    assert changed.json()["tags"] == ["a", "b"]
    listed = (await admin.get("/api/customers", tier="vip")).json()
    assert [row["id"] for row in listed["customers"]] == [body["id"]]
    assert (listed["total"], listed["skip"], listed["limit"]) == (1, 0, 100)


async def test_a_list_has_windows_filters_and_a_stable_order(admin):
    for number in range(7):
        await admin.post(
            "/api/customers", {"name": f"C{number}", "tags": ["even" if number % 2 == 0 else "odd"]}
        )
    first = (await admin.get("/api/customers", limit=3)).json()
    second = (await admin.get("/api/customers", limit=3, skip=3)).json()
    assert [row["name"] for row in first["customers"] + second["customers"]] == [f"C{n}" for n in range(6)]
    assert first["total"] == 7
    beyond = (await admin.get("/api/customers", skip=50)).json()
    assert (beyond["customers"], beyond["total"]) == ([], 7)
    assert (await admin.get("/api/customers", tag="even")).json()["total"] == 4
    assert (await admin.get("/api/customers", search="c5")).json()["total"] == 1
    down = (await admin.get("/api/customers", sort="-name", limit=1)).json()
    assert down["customers"][0]["name"] == "C6"
    await admin.post("/api/customers", {"name": r"50% _\ off"})
    for part in ("%", "_", "\\", r"% _\ O"):
        assert (await admin.get("/api/customers", search=part)).json()["total"] == 1, part
    bad = await admin.get("/api/customers", sort="password")
    assert bad.status_code == 422
    assert bad.json()["error"]["details"][0]["field"] == "sort"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "A", "email": "nobody"}, "email"),
        ({"name": "A", "phone": "12"}, "phone"),
        ({"name": "A", "tier": "gold"}, "tier"),
        ({"name": "A", "tags": ["x" * 51]}, "tags"),
    ],
)
async def test_bad_input_names_the_field(admin, body, field):
    answer = await admin.post("/api/customers", body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["code"] == "VALIDATION_ERROR"
    assert field in [detail["field"] for detail in answer.json()["error"]["details"]]


async def test_bad_json_is_400(admin):
    answer = await admin.client.post(
        "/api/customers", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "MALFORMED_REQUEST"


async def test_another_tenants_customer_does_not_exist(admin, callers):
    made = (await admin.post("/api/customers", {"name": "Mine"})).json()
    beta = await callers("beta", "admin")
    assert (await beta.get(f"/api/customers/{made['id']}")).status_code == 404
    assert (await beta.patch(f"/api/customers/{made['id']}", {"name": "Theirs"})).status_code == 404
    assert (await beta.get("/api/customers")).json()["total"] == 0
    beta.client.headers["X-Tenant-ID"] = "alpha"
    refused = await beta.get("/api/customers")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "TENANT_MISMATCH")


async def test_no_token_wrong_role_unknown_row(callers):
    anonymous = callers.anonymous()
    refused = await anonymous.get("/api/customers")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    reader = await callers("alpha", "read_only")
    assert (await reader.post("/api/customers", {"name": "A"})).status_code == 403
    assert (await reader.get(f"/api/customers/{uuid.uuid4()}")).status_code == 404


async def test_an_idempotency_key_is_answered_once(admin):
    key = uuid.uuid4().hex
    first = await admin.post("/api/customers", {"name": "Once"}, Idempotency_Key=key)
    again = await admin.post("/api/customers", {"name": "Once"}, Idempotency_Key=key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await admin.post("/api/customers", {"name": "Twice"}, Idempotency_Key=key)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert (await admin.get("/api/customers")).json()["total"] == 1


async def test_a_refusal_is_repeated_too(admin):
    key = uuid.uuid4().hex
    first = await admin.post("/api/customers", {"name": ""}, Idempotency_Key=key)
    again = await admin.post("/api/customers", {"name": ""}, Idempotency_Key=key)
    assert (first.status_code, again.status_code) == (422, 422)
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_two_at_once_with_one_key_make_one_customer(admin):
    key = uuid.uuid4().hex
    answers = await asyncio.gather(
        *(admin.post("/api/customers", {"name": "Race"}, Idempotency_Key=key) for _ in range(5))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await admin.get("/api/customers")).json()["total"] == 1
