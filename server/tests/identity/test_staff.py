"""Staff, sessions and service tokens: who may, who may no more, and what is left behind."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from demarc.kernel.clock import real_now
from demarc.kernel.errors import Invalid
from demarc.modules.identity.inputs import NewServiceToken, NewUser
from demarc.modules.identity.permissions import BY_ROLE, SCOPES
from demarc.modules.identity.states import USER, Role, UserStatus

USERS, TOKENS = "/api/users", "/api/service-tokens"


@pytest_asyncio.fixture
async def owner(scratch):
    connection = await asyncpg.connect(scratch.owner_dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def log_in(callers, username, password):
    client = callers.anonymous()
    answer = await client.post("/api/auth/token", json={"username": username, "password": password})
    if answer.status_code == 200:
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        client.headers["X-Tenant-ID"] = "alpha"
    return answer, client


async def hire(admin, role="support", **more):
    body = {"email": f"{uuid4().hex[:8]}@alpha.example.com", "name": "Ann", "role": role, **more}
    answer = await admin.post(USERS, body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_user_is_made_with_a_password_that_is_shown_once(admin, callers, owner):
    made = await hire(admin, email="Ann.New@Alpha.example.com")
    assert (made["email"], made["shown_once"], made["status"]) == (
        "ann.new@alpha.example.com",
        True,
        "active",
    )
    answer, client = await log_in(callers, "ann.new@alpha.example.com", made["password"])
    assert answer.status_code == 200
    me = (await client.get("/api/auth/me")).json()
    assert (me["id"], me["tenant"]) == (made["id"], "alpha")
    assert me["permissions"] == sorted(BY_ROLE[Role.SUPPORT])
    shown = (await admin.get(f"{USERS}/{made['id']}")).json()
    assert "password" not in shown
    twice = await admin.post(USERS, {"email": "ann.new@alpha.example.com", "name": "B", "role": "billing"})
    assert (twice.status_code, twice.json()["error"]["code"]) == (409, "DUPLICATE")
    elsewhere = await admin.post(USERS, {"email": "admin@beta.example.com", "name": "B", "role": "billing"})
    assert elsewhere.status_code == 409
    lines = await owner.fetch("SELECT a::text AS line FROM audit_log a WHERE action = 'user.create'")
    assert made["password"] not in str(lines)


async def test_an_idempotent_creation_does_not_repeat_the_password(admin):
    body = {"email": "once@alpha.example.com", "name": "Once", "role": "billing"}
    first = (await admin.post(USERS, body, idempotency_key="u1")).json()
    again = (await admin.post(USERS, body, idempotency_key="u1")).json()
    assert (again["id"], again["password"], again["shown_once"]) == (first["id"], None, True)


BAD = [
    ({"email": "nobody"}, "email"),
    ({"name": " "}, "name"),
    ({"role": "owner"}, "role"),
    ({"password": "short"}, "password"),
    ({"password": "ann.bad@alpha.example.com"}, "password"),
]


async def test_bad_users_name_the_field(admin):
    for change, field in BAD:
        body = {"email": "ann.bad@alpha.example.com", "name": "Ann", "role": "support", **change}
        answer = await admin.post(USERS, body)
        assert answer.status_code == 422, answer.text
        assert field in [detail["field"] for detail in answer.json()["error"]["details"]]


async def test_the_list_has_its_filters(admin):
    made = await hire(admin, role="technician", name="Zoe Unique")

    async def found(**query):
        listed = (await admin.get(USERS, **query)).json()
        assert listed["total"] >= len(listed["users"])
        return [row["id"] for row in listed["users"]]

    assert await found(search="unique") == [made["id"]]
    assert made["id"] in await found(role="technician")
    assert made["id"] not in await found(role="billing")
    assert (await found(sort="-name"))[0] not in (await found(sort="name"))[:1]
    assert len(await found(limit=2, skip=1)) == 2
    await admin.patch(f"{USERS}/{made['id']}", {"status": "disabled"})
    assert await found(status="disabled") == [made["id"]]
    assert made["id"] not in await found(status="active")
    assert (await admin.get(USERS, sort="password_hash")).status_code == 422


async def test_who_is_disabled_or_gets_another_role_is_out_at_once(admin, callers):
    for change in ({"role": "read_only"}, {"status": "disabled"}):
        made = await hire(admin)
        answer, client = await log_in(callers, made["email"], made["password"])
        assert (await client.get("/api/customers")).status_code == 200
        patched = await admin.patch(f"{USERS}/{made['id']}", change)
        assert (patched.status_code, patched.json() | change) == (200, patched.json())
        assert (await client.get("/api/customers")).status_code in (401, 403)
        refreshed = await client.post(
            "/api/auth/refresh", json={"refresh_token": answer.json()["refresh_token"]}
        )
        assert refreshed.status_code == 401
    assert (await log_in(callers, made["email"], made["password"]))[0].status_code == 401
    await admin.patch(f"{USERS}/{made['id']}", {"status": "active"})
    assert (await log_in(callers, made["email"], made["password"]))[0].status_code == 200


async def test_the_last_administrator_stays_even_when_two_leave_at_once(admin, callers):
    me = (await admin.get("/api/auth/me")).json()
    for change in ({"status": "disabled"}, {"role": "billing"}):
        refused = await admin.patch(f"{USERS}/{me['id']}", change)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "LAST_ADMINISTRATOR")
    assert (await admin.patch(f"{USERS}/{me['id']}", {"name": "Boss"})).json()["name"] == "Boss"
    other = await hire(admin, role="admin")
    _, client = await log_in(callers, other["email"], other["password"])
    answers = await asyncio.gather(
        admin.patch(f"{USERS}/{me['id']}", {"role": "billing"}),
        client.patch(f"{USERS}/{other['id']}", json={"role": "billing"}),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_a_log_out_ends_this_session_only_and_a_log_out_everywhere_all(admin, callers):
    made = await hire(admin)
    (pair, here), (_, there) = [await log_in(callers, made["email"], made["password"]) for _ in range(2)]
    assert (await here.post("/api/auth/logout")).status_code == 204
    ended = await here.get("/api/auth/me")
    assert (ended.status_code, ended.headers["www-authenticate"]) == (401, "Bearer")
    assert (
        await here.post("/api/auth/refresh", json={"refresh_token": pair.json()["refresh_token"]})
    ).status_code == 401
    assert (await there.get("/api/auth/me")).status_code == 200
    third = (await log_in(callers, made["email"], made["password"]))[1]
    assert (await there.post("/api/auth/logout-all")).json() == {"sessions_ended": 2}
    assert {(await client.get("/api/auth/me")).status_code for client in (there, third)} == {401}
    fourth = (await log_in(callers, made["email"], made["password"]))[1]
    assert (await admin.post(f"{USERS}/{made['id']}/log-out", {})).json() == {"sessions_ended": 1}
    assert (await fourth.get("/api/auth/me")).status_code == 401


async def test_a_refresh_token_used_twice_ends_the_access_tokens_too(admin, callers, owner):
    made = await hire(admin)
    answer, client = await log_in(callers, made["email"], made["password"])
    token = answer.json()["refresh_token"]
    fresh = await client.post("/api/auth/refresh", json={"refresh_token": token})
    assert fresh.status_code == 200
    assert (await client.get("/api/auth/me")).status_code == 200
    assert (await client.post("/api/auth/refresh", json={"refresh_token": token})).status_code == 401
    assert (await client.get("/api/auth/me")).status_code == 401
    assert await owner.fetchval("SELECT count(*) FROM audit_log WHERE action = 'user.refresh_reused'") == 1


async def test_passwords_are_changed_by_oneself_and_reset_by_an_administrator(admin, callers):
    made = await hire(admin)
    _, client = await log_in(callers, made["email"], made["password"])
    change = {"current_password": "not this one", "new_password": "another right horse"}
    wrong = await client.post("/api/auth/password", json=change)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "WRONG_CREDENTIALS")
    same = await client.post(
        "/api/auth/password", json={"current_password": made["password"], "new_password": made["password"]}
    )
    assert same.status_code == 422
    good = await client.post("/api/auth/password", json=change | {"current_password": made["password"]})
    assert good.status_code == 204
    assert (await client.get("/api/auth/me")).status_code == 401
    assert (await log_in(callers, made["email"], made["password"]))[0].status_code == 401
    answer, client = await log_in(callers, made["email"], "another right horse")
    assert answer.status_code == 200
    reset = (await admin.post(f"{USERS}/{made['id']}/password-reset", {})).json()
    assert (await client.get("/api/auth/me")).status_code == 401
    assert (await log_in(callers, made["email"], reset["password"]))[0].status_code == 200
    given = await admin.post(f"{USERS}/{made['id']}/password-reset", {"password": "given by a person"})
    assert (given.json()["password"], given.json()["shown_once"]) == (None, False)


async def test_a_wrong_password_is_noted_for_the_tenant_that_it_was_tried_on(callers, owner):
    assert (await log_in(callers, "admin@alpha.example.com", "wrong"))[0].status_code == 401
    assert await owner.fetchval("SELECT tenant_id FROM audit_log WHERE action = 'user.log_in_refused'") == 1


async def test_only_administrators_manage_staff_and_only_their_own(admin, callers):
    made = await hire(admin)
    for role in Role:
        if role is Role.ADMIN:
            continue
        caller = await callers("alpha", role.value)
        assert (await caller.get(USERS)).status_code == 403
        assert (await caller.post(TOKENS, {"name": "x", "scopes": ["billing.read"]})).status_code == 403
        assert (await caller.get("/api/auth/me")).json()["role"] == role.value
    beta = await callers("beta", "admin")
    assert (await beta.get(f"{USERS}/{made['id']}")).status_code == 404
    assert (await beta.patch(f"{USERS}/{made['id']}", {"name": "x"})).status_code == 404
    assert (await beta.post(f"{USERS}/{made['id']}/password-reset", {})).status_code == 404


async def test_roles_say_what_they_permit(admin):
    listed = (await admin.get("/api/roles")).json()
    assert {row["name"]: set(row["permissions"]) for row in listed["roles"]} == {
        role.value: set(held) for role, held in BY_ROLE.items()
    }
    assert (await admin.get("/api/roles", skip=5, sort="-name")).json()["roles"][0]["name"] == "admin"
    assert (await admin.get("/api/roles", sort="permissions")).status_code == 422


def with_token(callers, token):
    client = callers.anonymous()
    client.headers.update({"Authorization": f"Bearer {token}", "X-Tenant-ID": "alpha"})
    return client


async def test_a_service_token_does_what_its_scopes_say_until_it_is_revoked(admin, callers, owner):
    body = {"name": "importer", "scopes": ["customers.read", "customers.write", "customers.read"]}
    answer = await admin.post(TOKENS, body, idempotency_key="t1")
    made = answer.json()
    assert (answer.status_code, made["scopes"]) == (201, ["customers.read", "customers.write"])
    assert made["token_hint"] == f"…{made['token'][-4:]}"
    replay = (await admin.post(TOKENS, body, idempotency_key="t1")).json()
    assert (replay["id"], replay["token"]) == (made["id"], None)
    program = with_token(callers, made["token"])
    created = await program.post("/api/customers", json={"name": "By a program"})
    assert created.status_code == 201, created.text
    assert (await program.get("/api/billing/invoices")).status_code == 403
    assert (await program.get("/api/auth/me")).status_code == 403
    line = await owner.fetchrow(
        "SELECT actor_kind, actor_name FROM audit_log WHERE action = 'customer.create'"
    )
    assert tuple(line) == ("service", "importer")
    shown = (await admin.get(f"{TOKENS}/{made['id']}")).json()
    assert "token" not in shown
    stored = await owner.fetch(
        "SELECT s::text AS line FROM service_token s UNION ALL SELECT a::text FROM audit_log a"
    )
    assert made["token"] not in str(stored)
    elsewhere = with_token(callers, made["token"])
    elsewhere.headers["X-Tenant-ID"] = "beta"
    assert (await elsewhere.get("/api/customers")).status_code == 403

    second = (await admin.post(TOKENS, {"name": "second", "scopes": ["billing.read"]})).json()

    async def found(**query):
        return [row["name"] for row in (await admin.get(TOKENS, **query)).json()["service_tokens"]]

    assert await found() == ["importer", "second"]
    assert await found(name="second", sort="-expires_at") == ["second"]
    assert (await admin.post(f"{TOKENS}/{made['id']}/revoke")).json()["revoked_at"] is not None
    assert (await program.get("/api/customers")).status_code == 401
    assert (await admin.post(f"{TOKENS}/{made['id']}/revoke")).status_code == 409
    assert (await found(is_active=True), await found(is_active=False)) == (["second"], ["importer"])
    await owner.execute("UPDATE service_token SET expires_at = $1", real_now() - timedelta(seconds=1))
    assert (await with_token(callers, second["token"]).get("/api/billing/invoices")).status_code == 401
    beta = await callers("beta", "admin")
    assert (await beta.get(f"{TOKENS}/{made['id']}")).status_code == 404


async def test_scopes_are_permissions_that_the_maker_holds(admin, callers):
    unknown = await admin.post(TOKENS, {"name": "x", "scopes": ["money.print"]})
    assert (unknown.status_code, unknown.json()["error"]["details"][0]["field"]) == (422, "scopes")
    staff = await admin.post(TOKENS, {"name": "maker", "scopes": ["users.write"]})
    assert (staff.status_code, staff.json()["error"]["details"][0]["field"]) == (422, "scopes")
    reader = (await admin.post(TOKENS, {"name": "reader", "scopes": ["users.read"]})).json()
    refused = await with_token(callers, reader["token"]).post(
        TOKENS, json={"name": "more", "scopes": ["billing.write"]}
    )
    assert refused.status_code == 403
    assert "profile.read" not in SCOPES


def test_inputs_refuse_what_no_surface_checked():
    for bad in ({"scopes": ()}, {"name": ""}, {"expires_in_days": 0}, {"scopes": ("profile.change",)}):
        with pytest.raises(Invalid):
            NewServiceToken(**{"name": "x", "scopes": ("billing.read",), **bad})
    with pytest.raises(Invalid):
        NewUser("x@example.com", "x", Role.ADMIN, "x@EXAMPLE.com")
    assert USER.can(UserStatus.DISABLED, UserStatus.ACTIVE)


async def test_a_reseller_sees_and_makes_its_own_customers_only(admin, callers, database):
    theirs = (await admin.post("/api/customers", {"name": "Of the house"})).json()
    reseller = await callers("alpha", "reseller")
    other = await hire(admin, role="reseller")
    _, rival = await log_in(callers, other["email"], other["password"])
    own = await reseller.post("/api/customers", {"name": "Of the reseller"})
    assert own.status_code == 201, own.text
    assert [row["id"] for row in (await reseller.get("/api/customers")).json()["customers"]] == [
        own.json()["id"]
    ]
    assert (await rival.get("/api/customers")).json()["total"] == 0
    for path in (f"/api/customers/{theirs['id']}",):
        assert (await reseller.get(path)).status_code == 404
        assert (await reseller.patch(path, {"name": "mine"})).status_code == 404
    assert (await rival.get(f"/api/customers/{own.json()['id']}")).status_code == 404
    assert (await admin.get("/api/customers")).json()["total"] == 2
    for path in (
        "/api/billing/invoices",
        "/api/services/lifecycle",
        "/api/subscribers",
        "/api/notifications",
    ):
        assert (await reseller.get(path)).status_code == 403, path


async def test_the_database_keeps_a_reseller_to_its_own_rows(scratch, owner):
    app = await asyncpg.connect(scratch.dsn("demarc_app"))
    try:
        reseller = await owner.fetchval("SELECT id FROM app_user WHERE email = 'reseller@alpha.example.com'")
        async with app.transaction():
            await app.fetch("SELECT * FROM begin_tenant(1, $1)", reseller)
            made = await app.fetchval(
                "INSERT INTO customer (tenant_id, name, created_at, updated_at) VALUES (1, 'x', now(), now()) RETURNING reseller_id"
            )
            assert made == reseller
            for statement in (
                "UPDATE customer SET reseller_id = NULL",
                "INSERT INTO customer (tenant_id, name, reseller_id, created_at, updated_at) VALUES (1, 'x', NULL, now(), now())",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                    async with app.transaction():
                        await app.execute(statement)
        async with app.transaction():
            await app.fetch("SELECT * FROM begin_tenant(1, NULL)")
            assert await app.fetchval("SELECT count(*) FROM customer") == 1
    finally:
        await app.close()
