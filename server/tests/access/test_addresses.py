"""What a subscriber holds is what FreeRADIUS tells the NAS, from the commit on."""

from __future__ import annotations

import uuid

import pytest_asyncio

ASSIGNMENTS = "/api/address-assignments"


@pytest_asyncio.fixture
async def pools(admin, pool):
    """A pool of every kind, by kind."""
    made = {"ipv4": pool}
    for kind, network, length in (
        ("ipv6", "2001:db8:1::/64", None),
        ("framed_prefix", "2001:db8:2::/48", None),
        ("delegated_prefix", "2001:db8:8000::/40", 56),
        ("routed", "203.0.113.0/24", 29),
    ):
        body = {
            "name": kind,
            "kind": kind,
            "network": network,
            "prefix_length": length,
            "quarantine_hours": 1,
        }
        answer = await admin.post(
            "/api/pools", {key: value for key, value in body.items() if value is not None}
        )
        assert answer.status_code == 201, answer.text
        made[kind] = answer.json()
    return made


async def test_every_kind_reaches_the_projection(admin, pools, subscribe, service, login, dial, orders, row):
    shown = (
        await subscribe(allocate_ip=True, ipv6_pool_name="ipv6", prefix_pool_name="delegated_prefix")
    ).json()
    assert (shown["static_ipv4"], shown["static_ipv6"], shown["delegated_prefix"], shown["routes"]) == (
        "10.100.0.2",
        "2001:db8:1::1",
        "2001:db8:8000::/56",
        [],
    )
    assert (await login())["replies"] == [
        "Framed-IPv6-Address=2001:db8:1::1",
        "Delegated-IPv6-Prefix=2001:db8:8000::/56",
    ]
    await dial(shown)

    async def give(kind, **body):
        return await admin.post(
            ASSIGNMENTS, {"subscriber_id": shown["id"], "pool_id": pools[kind]["id"], **body}
        )

    framed = await give("framed_prefix")
    assert (framed.status_code, framed.json()["address"]) == (201, "2001:db8:2::/64"), framed.text
    assert (await give("framed_prefix")).status_code == 200, "held already"
    assert [order["kind"] for order in await orders()] == ["disconnect"], (
        "it dials in anew with the new prefix"
    )
    blocks = [await give("routed"), await give("routed", address="203.0.113.64/29")]
    assert [answer.status_code for answer in blocks] == [201, 201], blocks[1].text
    other = await give("delegated_prefix", address="2001:db8:8000:700::/56")
    assert (other.status_code, other.json()["error"]["code"]) == (409, "HOLDS_ANOTHER")
    assert (await login())["replies"] == [
        "Framed-Route=203.0.113.0/29 0.0.0.0 1",
        "Framed-Route=203.0.113.64/29 0.0.0.0 1",
        "Framed-IPv6-Address=2001:db8:1::1",
        "Framed-IPv6-Prefix=2001:db8:2::/64",
        "Delegated-IPv6-Prefix=2001:db8:8000::/56",
    ]
    again = (await admin.get(f"/api/subscribers/{shown['id']}")).json()
    assert again["routes"] == ["203.0.113.0/29", "203.0.113.64/29"]
    assert again["framed_ipv6_prefix"] == "2001:db8:2::/64"

    released = await admin.delete(f"{ASSIGNMENTS}/{framed.json()['id']}")
    assert (released.status_code, released.json()["released_at"] is not None) == (200, True)
    twice = await admin.delete(f"{ASSIGNMENTS}/{framed.json()['id']}")
    assert (twice.status_code, twice.json()["error"]["code"]) == (409, "ALREADY_RELEASED")
    assert "Framed-IPv6-Prefix=2001:db8:2::/64" not in (await login())["replies"]
    assert (await give("framed_prefix")).json()["address"] == "2001:db8:2:1::/64", "the old one rests"

    await admin.patch(f"/api/subscribers/{shown['id']}", {"allocate_ip": False})
    moved = (await admin.get(f"/api/subscribers/{shown['id']}")).json()
    assert (moved["static_ipv4"], moved["delegated_prefix"]) == (None, "2001:db8:8000::/56")
    four = await give("ipv4", address="10.100.0.5")
    assert (four.status_code, str((await login())["framed_ip"])) == (201, "10.100.0.5"), four.text
    await admin.delete(f"{ASSIGNMENTS}/{four.json()['id']}")
    assert (await login())["framed_ip"] is None

    held = (await admin.get(ASSIGNMENTS, subscriber_id=shown["id"], is_open=True)).json()
    assert held["total"] == 5
    for name, value, count in (
        ("pool_id", pools["framed_prefix"]["id"], 2),
        ("is_open", False, 3),
        ("address", "2001:db8:8000:0:5::1", 1),
        ("address", "203.0.113.66", 1),
        ("subscriber_id", str(uuid.uuid4()), 0),
    ):
        assert (await admin.get(ASSIGNMENTS, **{name: value})).json()["total"] == count, name
    newest = (await admin.get(ASSIGNMENTS, sort="assigned_at", limit=1)).json()["assignments"][0]
    assert (await admin.get(f"{ASSIGNMENTS}/{newest['id']}")).json() == newest
    trace = (await admin.get("/api/addresses/2001:db8:8000:0:5::1/history")).json()
    assert [one["subscriber_id"] for one in trace["assignments"]] == [shown["id"]]

    await admin.post(f"/api/services/lifecycle/{service['id']}/terminate")
    assert (await admin.get(ASSIGNMENTS, is_open=True)).json()["total"] == 0, "all of it rests"


async def test_a_suspended_subscriber_keeps_its_prefix(admin, pools, subscribe, service, login):
    shown = (await subscribe(prefix_pool_name="delegated_prefix")).json()
    await admin.post(f"/api/services/lifecycle/{service['id']}/suspend", {"reason": "x"})
    assert (await login())["decision"] == "reject"
    await admin.post(f"/api/services/lifecycle/{service['id']}/resume")
    assert (await login())["replies"] == [f"Delegated-IPv6-Prefix={shown['delegated_prefix']}"]
    wrong = await subscribe(username="bob@alpha.example", service_id=service["id"], prefix_pool_name="ipv6")
    assert (wrong.status_code, wrong.json()["error"]["details"][0]["field"]) == (422, "prefix_pool_name")
    missing = await subscribe(username="bob@alpha.example", service_id=service["id"], ipv6_pool_name="none")
    assert (missing.status_code, missing.json()["error"]["details"][0]["field"]) == (404, "ipv6_pool_name")


async def test_who_had_a_prefix_that_the_nas_gave(admin, subscriber, dial, begin):
    session_id = await dial(subscriber)
    async with begin() as tx:
        await tx.connection.execute(
            "UPDATE radius_session SET delegated_prefix = '2001:db8:f00::/56' WHERE id = $1", session_id
        )
    for asked in ("2001:db8:f00:0:1::9", "2001:db8:f00::/56", "2001:db8:f00:7::/64"):
        found = (await admin.get(f"/api/addresses/{asked}/history")).json()
        assert [one["session_id"] for one in found["sessions"]] == [str(session_id)], asked
    assert (await admin.get("/api/addresses/2001:db8:f01::1/history")).json()["sessions"] == []
