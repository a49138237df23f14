from __future__ import annotations

import uuid

import pytest

POOL = {"name": "residential_pool_1", "network": "10.100.0.0/28", "gateway": "10.100.0.1"}


async def test_a_pool_is_made_read_listed_changed_and_taken_back(admin):
    made = await admin.post("/api/pools", {**POOL, "is_default": True})
    assert made.status_code == 201, made.text
    body = made.json()
    assert body["network"] == "10.100.0.0/28"
    assert body["utilisation"] == {
        "total": 16,
        "free": 13,
        "assigned": 0,
        "quarantined": 0,
        "reserved": 3,
        "percent_assigned": 0.0,
    }
    path = f"/api/pools/{body['id']}"
    assert (await admin.get(path)).json() == body

    changed = await admin.patch(path, {"name": "homes", "quarantine_hours": 0})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["name"], changed.json()["quarantine_hours"]) == ("homes", 0)
    listed = (await admin.get("/api/pools", name="homes")).json()
    assert ([pool["id"] for pool in listed["pools"]], listed["total"]) == ([body["id"]], 1)

    assert (await admin.delete(path)).status_code == 200
    assert (await admin.get(path)).status_code == 404
    again = await admin.post("/api/pools", POOL)
    assert again.status_code == 201, "the network is free again"


async def test_addresses_are_listed_with_their_status(admin):
    pool = (await admin.post("/api/pools", POOL)).json()
    path = f"/api/pools/{pool['id']}/addresses"
    everything = (await admin.get(path)).json()
    assert everything["total"] == 16
    assert [row["address"] for row in everything["addresses"]][:3] == [
        "10.100.0.0",
        "10.100.0.1",
        "10.100.0.2",
    ]
    reserved = (await admin.get(path, status="reserved")).json()
    assert [row["address"] for row in reserved["addresses"]] == ["10.100.0.0", "10.100.0.1", "10.100.0.15"]
    down = (await admin.get(path, sort="-address", limit=1)).json()
    assert (down["addresses"][0]["address"], down["total"]) == ("10.100.0.15", 16)
    assert (await admin.get(path, sort="secret")).status_code == 422
    window = (await admin.get(path, status="free", skip=12, limit=5)).json()
    assert ([row["address"] for row in window["addresses"]], window["total"]) == (["10.100.0.14"], 13)


@pytest.mark.parametrize(
    ("network", "free"), [("10.1.0.0/30", 2), ("10.1.0.0/31", 2), ("10.1.0.7/32", 1), ("10.1.0.0/24", 254)]
)
async def test_network_and_broadcast_are_kept_out(admin, network, free):
    pool = (await admin.post("/api/pools", {"name": "p", "network": network})).json()
    assert pool["utilisation"]["free"] == free


async def test_the_widest_pool(admin):
    pool = await admin.post("/api/pools", {"name": "wide", "network": "100.64.0.0/14"})
    assert pool.status_code == 201, pool.text
    assert pool.json()["utilisation"]["total"] == 2**18


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"network": "10.0.0.0/13"}, "network"),
        ({"network": "10.0.0.1/24"}, "network"),
        ({"network": "2001:db8::/64"}, "network"),
        ({"network": "home"}, "network"),
        ({"network": "224.0.0.0/24"}, "network"),
        ({"network": "10.0.0.0/24", "gateway": "10.0.1.1"}, "gateway"),
        ({"network": "10.0.0.0/24", "quarantine_hours": -1}, "quarantine_hours"),
        ({"network": "10.0.0.0/24", "name": "a\u0000b"}, "name"),
        ({"network": "10.0.0.0/24", "name": "  "}, "name"),
        ({"name": "p"}, "network"),
    ],
)
async def test_bad_input_names_the_field(admin, changes, field):
    answer = await admin.post("/api/pools", {"name": "p", **changes} if "name" not in changes else changes)
    assert answer.status_code == 422, answer.text
    assert field in [detail["field"] for detail in answer.json()["error"]["details"]]


async def test_overlap_and_a_taken_name_are_conflicts(admin, callers):
    assert (await admin.post("/api/pools", POOL)).status_code == 201
    overlap = await admin.post("/api/pools", {"name": "other", "network": "10.100.0.8/29"})
    assert (overlap.status_code, overlap.json()["error"]["code"]) == (409, "POOL_OVERLAP")
    around = await admin.post("/api/pools", {"name": "other", "network": "10.100.0.0/16"})
    assert (around.status_code, around.json()["error"]["code"]) == (409, "POOL_OVERLAP")
    name = await admin.post("/api/pools", {**POOL, "network": "10.101.0.0/28", "gateway": None})
    assert (name.status_code, name.json()["error"]["code"]) == (409, "POOL_NAME_TAKEN")
    beta = await callers("beta", "admin")
    assert (await beta.post("/api/pools", POOL)).status_code == 201, "each tenant has its own network"


async def test_there_is_one_default_pool(admin):
    first = (
        await admin.post("/api/pools", {"name": "a", "network": "10.1.0.0/29", "is_default": True})
    ).json()
    second = (await admin.post("/api/pools", {"name": "b", "network": "10.2.0.0/29"})).json()
    moved = await admin.patch(f"/api/pools/{second['id']}", {"is_default": True})
    assert moved.json()["is_default"] is True
    assert (await admin.get(f"/api/pools/{first['id']}")).json()["is_default"] is False
    third = await admin.post("/api/pools", {"name": "c", "network": "10.3.0.0/29", "is_default": True})
    assert third.status_code == 201, third.text
    listed = (await admin.get("/api/pools", is_default=True)).json()
    assert [pool["name"] for pool in listed["pools"]] == ["c"]


async def test_another_tenants_pool_does_not_exist(admin, callers):
    pool = (await admin.post("/api/pools", POOL)).json()
    beta = await callers("beta", "admin")
    path = f"/api/pools/{pool['id']}"
    assert (await beta.get(path)).status_code == 404
    assert (await beta.patch(path, {"name": "x"})).status_code == 404
    assert (await beta.delete(path)).status_code == 404
    assert (await beta.get(f"{path}/addresses")).status_code == 404
    assert (await beta.get("/api/pools")).json()["total"] == 0


async def test_permissions_and_unknown_rows(callers):
    reader = await callers("alpha", "read_only")
    assert (await reader.post("/api/pools", POOL)).status_code == 403
    assert (await reader.get(f"/api/pools/{uuid.uuid4()}")).status_code == 404
    assert (await reader.get("/api/addresses/10.9.9.9/history")).json()["assignments"] == []
    assert (await reader.get("/api/addresses/nowhere/history")).status_code == 422
    assert (await callers.anonymous().get("/api/pools")).status_code == 401
