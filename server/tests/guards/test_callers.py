"""Who may call what: every route of the OpenAPI document as nobody, as another tenant, with all permissions but its own."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest

from demarc.modules.identity import permissions
from demarc.modules.identity.states import Role
from demarc.modules.notifications.shipped import list_shipped

from .surface import Operation

SOME_UUID = str(uuid.uuid4())
REFUSED = (403, 404)
# Routes whose path has no id of a row: what another tenant's body may not reach is in `test_no_body_reaches_…`.
SANDBOX = "/api/sandbox/"


def somewhere(path: str) -> str:
    """A path with an id that nothing has."""
    return re.sub(r"\{\w+\}", SOME_UUID, path)


async def test_nobody_gets_in_without_a_token(house):
    anonymous = house.callers.anonymous()
    for one in house.surface.guarded:
        for headers in ({}, {"Authorization": "Bearer no.token.at-all"}, {"Authorization": "Basic YTpi"}):
            answer = await anonymous.request(one.method, somewhere(one.path), headers=headers)
            assert answer.status_code == 401, f"{one.name}: {answer.text}"
            assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_token_is_good_for_its_own_tenant_only(house):
    admin = await house.caller("alpha", "admin")
    for one in house.surface.guarded:
        for headers in ({"X-Tenant-ID": "beta"}, {"X-Tenant-ID": "nobody"}, {"X-Tenant-ID": ""}):
            answer = await admin.client.request(one.method, somewhere(one.path), headers=headers)
            assert answer.status_code == 403, f"{one.name}: {answer.text}"
            assert answer.json()["error"]["code"] == "TENANT_MISMATCH"


async def test_every_permission_but_the_routes_own_is_not_enough(house, monkeypatch):
    reader = await house.caller("alpha", "read_only")
    for one in house.surface.guarded:
        _grant(monkeypatch, permissions.ALL - {one.permission})
        answer = await reader.client.request(one.method, somewhere(one.path), json={})
        assert answer.status_code == 403, f"{one.name} with all but {one.permission}: {answer.text}"
        assert one.permission in answer.json()["error"]["message"]


ENDS_SESSIONS = {"/api/auth/logout", "/api/auth/logout-all"}
"""Whoever asked them has to log in again."""


async def test_the_routes_own_permission_is_enough(own_house, monkeypatch):
    """With it alone the request comes as far as its rows and its values."""
    reader = await own_house.caller("alpha", "read_only")
    for one in own_house.surface.guarded:
        _grant(monkeypatch, frozenset({one.permission}))
        answer = await reader.client.request(one.method, somewhere(one.path), json={})
        assert answer.status_code not in (401, 403), f"{one.name}: {answer.text}"
        assert answer.status_code < 500, f"{one.name}: {answer.text}"
        if one.path in ENDS_SESSIONS:
            reader = await own_house.callers("alpha", "read_only")


def _grant(monkeypatch: pytest.MonkeyPatch, granted: frozenset[str]) -> None:
    monkeypatch.setitem(permissions.BY_ROLE, Role.READ_ONLY, granted)


async def test_another_tenants_rows_do_not_exist(house):
    """Each path with the ids of alpha's rows, asked by beta's administrator with a body that fits."""
    admin, stranger = await house.caller("alpha", "admin"), await house.caller("beta", "admin")
    seen = 0
    for one in house.surface.guarded:
        if "{" not in one.path:
            continue
        paths = await house.surface.paths(one.path, admin)
        assert paths, f"{one.name}: no row to ask for"
        for path in paths[:2]:
            seen += 1
            answer = await stranger.client.request(one.method, path, json=house.surface.body(one))
            _check_stranger(one, path, answer)
    assert seen > 50


def _check_stranger(one: Operation, path: str, answer: Any) -> None:
    if one.path in NOBODYS:
        assert answer.status_code == 200, f"{one.name}: {answer.text}"
        assert [rows for rows in answer.json().values() if isinstance(rows, list) and rows] == []
        return
    assert answer.status_code in REFUSED, f"{one.name} {path}: {answer.status_code} {answer.text}"


NOBODYS = {
    "/api/addresses/{address}/history": "an address is the same number for every tenant; its history is not"
}
"""Paths whose parameter is no id of a tenant's row: the answer is there and empty."""


async def test_another_tenants_lists_are_empty(house):
    stranger = await house.caller("beta", "admin")
    for one in house.surface.lists:
        if "{" in one.path:
            continue
        answer = await stranger.get(one.path)
        if one.path.startswith(SANDBOX):
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "SANDBOX_ONLY"), one.name
        else:
            assert answer.json()["total"] == OWN.get(one.path, 0), f"{one.name}: {answer.text}"


OWN: dict[str, int] = {
    "/api/users": len(Role),
    "/api/roles": len(Role),
    "/api/notification-templates/shipped": len(list_shipped()),
}
"""Lists in which beta has rows of its own, which the tests' template makes, or everybody's; and how many."""


async def test_no_body_reaches_another_tenants_rows(own_house, town):
    """Bodies that name alpha's customer, plan, subscription, invoice …, sent by beta's administrator."""
    stranger = await own_house.caller("beta", "admin")
    theirs = {f"{kind}_id": rows[0]["id"] for kind, rows in town.items()}
    theirs |= {"subscription_id": "sub_0", "ip_pool_name": "homes"}
    before = await _counts(own_house)
    named = 0
    for one in own_house.surface.guarded:
        body = own_house.surface.body(one)
        shape = own_house.surface.body_properties(one)
        foreign = theirs.keys() & shape.keys() - NAMES.get(one.path, set())
        if "{" in one.path or one.method != "POST" or not foreign:
            continue
        named += 1
        reaching = {**body, **{name: theirs[name] for name in foreign}}
        answer = await stranger.post(one.path, reaching)
        if one.permission is not None and one.permission.endswith(".read"):
            assert answer.status_code in (200, 404), f"{one.name}: {answer.text}"
        else:
            assert answer.status_code in (404, 422), (
                f"{one.name} {reaching}: {answer.status_code} {answer.text}"
            )
    assert named >= 5
    assert await _counts(own_house) == before


NAMES = {"/api/plans": {"plan_id"}}
"""Fields that give a new row its name: another tenant may use the same."""


async def _counts(house: Any) -> dict[str, int]:
    """Rows of every table that beta can write, as beta sees them, and as alpha does."""
    from demarc.kernel.context import system
    from demarc.kernel.schema import metadata

    counted = {}
    for tenant_id in (1, 2):
        async with house.database.begin(tenant_id, system("test")) as tx:
            for table in (
                "customer",
                "service",
                "subscription",
                "subscriber",
                "invoice",
                "payment",
                "usage_record",
            ):
                assert table in metadata.tables
                counted[f"{tenant_id} {table}"] = await tx.connection.fetchval(
                    f"SELECT count(*) FROM {table}"
                )
    return counted
