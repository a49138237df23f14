"""Pools of every kind over HTTP."""

from __future__ import annotations

import uuid

import pytest

POOL = {"name": "homes6", "kind": "delegated_prefix", "network": "2001:db8:8000::/40"}


async def test_a_pool_of_prefixes(admin, callers):
    made = await admin.post("/api/pools", {**POOL, "is_default": True})
    assert made.status_code == 201, made.text
    body = made.json()
    assert (body["kind"], body["network"], body["prefix_length"]) == (
        "delegated_prefix",
        "2001:db8:8000::/40",
        56,
    )
    assert (body["utilisation"]["total"], body["utilisation"]["free"]) == (65536, 65536)
    huge = await admin.post("/api/pools", {"name": "wan", "kind": "ipv6", "network": "2001:DB8:1::/48"})
    assert huge.status_code == 201, huge.text
    assert huge.json()["utilisation"]["total"] == 1 << 80
    assert huge.json()["network"] == "2001:db8:1::/48"
    four = await admin.post("/api/pools", {"name": "v4", "network": "10.0.0.0/29", "is_default": True})
    assert four.status_code == 201, "each kind has its default"
    listed = (await admin.get("/api/pools", kind="delegated_prefix")).json()
    assert [pool["name"] for pool in listed["pools"]] == ["homes6"]
    assert (await admin.get("/api/pools", is_default=True)).json()["total"] == 2
    overlap = await admin.post("/api/pools", {**POOL, "name": "x", "network": "2001:db8:8080::/48"})
    assert (overlap.status_code, overlap.json()["error"]["code"]) == (409, "POOL_OVERLAP")
    beta = await callers("beta", "admin")
    path = f"/api/pools/{body['id']}/exclusions"
    assert (await beta.get(path)).status_code == 404
    assert (await beta.post(path, {"first": "2001:db8:8000::/56"})).status_code == 404
    assert (await admin.delete(f"/api/pools/{body['id']}")).status_code == 200


async def test_exclusions(admin):
    pool = (await admin.post("/api/pools", POOL)).json()
    path = f"/api/pools/{pool['id']}/exclusions"
    made = await admin.post(path, {"first": "2001:db8:8000:100::/56", "note": "lab"})
    assert made.status_code == 201, made.text
    assert (made.json()["first"], made.json()["note"]) == ("2001:db8:8000:100::", "lab")
    second = await admin.post(path, {"first": "2001:db8:8000::", "last": "2001:db8:8000:ff::"})
    assert second.status_code == 201, second.text
    overlap = await admin.post(path, {"first": "2001:db8:8000:1::"})
    assert (overlap.status_code, overlap.json()["error"]["code"]) == (409, "EXCLUSION_OVERLAP")
    listed = (await admin.get(path)).json()
    assert [row["first"] for row in listed["exclusions"]] == ["2001:db8:8000::", "2001:db8:8000:100::"]
    assert (await admin.get(path, sort="-created_at")).json()["exclusions"][0]["id"] == second.json()["id"]
    assert (await admin.get(f"/api/pools/{pool['id']}")).json()["utilisation"]["reserved"] == 2
    assert (await admin.delete(f"{path}/{made.json()['id']}")).status_code == 200
    assert (await admin.delete(f"{path}/{made.json()['id']}")).status_code == 404
    for body, field in (
        ({"first": "nowhere"}, "first"),
        ({"first": "10.0.0.1"}, "first"),
        ({"first": "2001:db9::"}, "first"),
        ({"first": "2001:db8:8000:2::", "last": "2001:db8:8000:1::"}, "last"),
        ({"first": "2001:db8:8000:2::", "note": "a\u0000b"}, "note"),
        ({}, "first"),
    ):
        answer = await admin.post(path, body)
        assert answer.status_code == 422, answer.text
        assert field in [detail["field"] for detail in answer.json()["error"]["details"]]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "ipv6", "network": "10.0.0.0/24"}, "network"),
        ({"kind": "ipv6", "network": "fe80::/64"}, "network"),
        ({"kind": "ipv6", "network": "ff02::/64"}, "network"),
        ({"kind": "ipv6", "network": "2000::/3"}, "network"),
        ({"kind": "ipv6", "network": "2001:db8::1/64"}, "network"),
        ({"kind": "ipv6", "network": "2001:db8::/64", "prefix_length": 64}, "prefix_length"),
        ({"kind": "delegated_prefix", "network": "2001:db8::/40", "prefix_length": 47}, "prefix_length"),
        ({"kind": "delegated_prefix", "network": "2001:db8::/40", "prefix_length": 65}, "prefix_length"),
        ({"kind": "delegated_prefix", "network": "2001:db8::/60"}, "prefix_length"),
        ({"kind": "framed_prefix", "network": "2001:db8::/96"}, "prefix_length"),
        ({"kind": "routed", "network": "203.0.113.0/24"}, "prefix_length"),
        ({"kind": "routed", "network": "203.0.113.0/24", "prefix_length": 33}, "prefix_length"),
        (
            {"kind": "routed", "network": "203.0.113.0/24", "prefix_length": 29, "gateway": "203.0.113.1"},
            "gateway",
        ),
        ({"kind": "ipv6", "network": "2001:db8::/64", "gateway": "10.0.0.1"}, "gateway"),
        ({"kind": "carrier", "network": "2001:db8::/64"}, "kind"),
    ],
)
async def test_bad_input_names_the_field(admin, changes, field):
    answer = await admin.post("/api/pools", {"name": "p", **changes})
    assert answer.status_code == 422, answer.text
    assert field in [detail["field"] for detail in answer.json()["error"]["details"]], answer.text


async def test_nothing_is_found_of_others(admin, callers):
    assert (await admin.get(f"/api/address-assignments/{uuid.uuid4()}")).status_code == 404
    assert (await admin.delete(f"/api/address-assignments/{uuid.uuid4()}")).status_code == 404
    pool = (await admin.post("/api/pools", POOL)).json()
    body = {"subscriber_id": str(uuid.uuid4()), "pool_id": pool["id"]}
    answer = await admin.post("/api/address-assignments", body)
    assert (answer.status_code, answer.json()["error"]["details"][0]["field"]) == (404, "subscriber_id")
    answer = await admin.post("/api/address-assignments", {**body, "pool_id": str(uuid.uuid4())})
    assert (answer.status_code, answer.json()["error"]["details"][0]["field"]) == (404, "pool_id")
    assert (await admin.get("/api/addresses/2001:db8::/56/history")).json()["assignments"] == []
    assert (await admin.get("/api/addresses/2001:db8::1/56/history")).status_code == 422
    assert (await admin.get("/api/address-assignments", address="x")).status_code == 422
    of_no_pool = await admin.get("/api/address-assignments", pool_id=str(uuid.uuid4()))
    assert (of_no_pool.status_code, of_no_pool.json()["total"]) == (200, 0)
    reader = await callers("alpha", "read_only")
    assert (await reader.post("/api/address-assignments", body)).status_code == 403
