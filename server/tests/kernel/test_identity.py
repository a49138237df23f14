"""Log-in, tokens that expire, refresh tokens that are good once, and people who have left."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta

import asyncpg
import jwt
import pytest
import pytest_asyncio

from demarc.kernel.errors import Forbidden, Unauthenticated
from demarc.modules.identity import sessions
from demarc.modules.identity import tokens as token_module
from demarc.modules.identity.permissions import ALL, BY_ROLE
from demarc.modules.identity.service import Principal, Tokens
from demarc.modules.identity.states import Role

ADMIN = {"username": "admin@alpha.example.com", "password": "right horse"}
PRINCIPAL = Principal(1, "ann", 1, "alpha", Role.SUPPORT)


@pytest_asyncio.fixture
async def owner(scratch):
    connection = await asyncpg.connect(scratch.owner_dsn)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
def client(callers):
    return callers.anonymous()


async def log_in(client, **changes):
    return await client.post("/api/auth/token", json={**ADMIN, **changes})


async def refresh(client, token):
    return await client.post("/api/auth/refresh", json={"refresh_token": token})


async def works(client, pair):
    headers = {"Authorization": f"Bearer {pair['access_token']}", "X-Tenant-ID": "alpha"}
    return await client.get("/api/customers", headers=headers)


async def test_log_in_answers_a_pair_that_works(client):
    answer = await log_in(client)
    assert answer.status_code == 200
    pair = answer.json()
    assert (pair["token_type"], pair["expires_in"]) == ("bearer", 3600)
    assert (await works(client, pair)).status_code == 200


async def test_e_mail_is_known_in_any_case(client):
    assert (await log_in(client, username="ADMIN@Alpha.Example.COM")).status_code == 200


async def test_a_refusal_does_not_say_what_was_wrong(client):
    wrong = await log_in(client, password="wrong horse")
    unknown = await log_in(client, username="nobody@alpha.example.com")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()
    assert wrong.json()["error"]["code"] == "WRONG_CREDENTIALS"


async def test_an_unknown_user_costs_as_much_hashing_as_a_wrong_password(client, monkeypatch):
    verified = []
    monkeypatch.setattr(sessions, "verify", lambda stored, _: verified.append(stored) or False)
    await log_in(client)
    await log_in(client, username="nobody@alpha.example.com")
    assert len(verified) == 2
    assert all(stored.startswith("$argon2id$") for stored in verified)


async def test_a_refresh_token_is_good_once_and_using_it_twice_ends_every_session(client):
    first = (await log_in(client)).json()
    elsewhere = (await log_in(client)).json()
    second = await refresh(client, first["refresh_token"])
    assert second.status_code == 200
    assert second.json()["refresh_token"] != first["refresh_token"]
    assert (await works(client, second.json())).status_code == 200

    assert (await refresh(client, first["refresh_token"])).status_code == 401
    for pair in (second.json(), elsewhere):
        assert (await refresh(client, pair["refresh_token"])).status_code == 401
    assert (await log_in(client)).status_code == 200, "the user may log in anew"


async def test_using_a_token_twice_does_not_touch_other_users(client):
    mine = (await log_in(client)).json()
    theirs = (await log_in(client, username="support@alpha.example.com")).json()
    await refresh(client, mine["refresh_token"])
    await refresh(client, mine["refresh_token"])
    assert (await refresh(client, theirs["refresh_token"])).status_code == 200


async def test_twice_at_once_is_twice(client):
    pair = (await log_in(client)).json()
    answers = await asyncio.gather(*(refresh(client, pair["refresh_token"]) for _ in range(5)))
    won = [answer.json() for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    assert (await refresh(client, won[0]["refresh_token"])).status_code == 401


async def test_an_expired_refresh_token_is_refused(client, owner):
    pair = (await log_in(client)).json()
    await owner.execute("UPDATE refresh_token SET expires_at = now() - interval '1 second'")
    assert (await refresh(client, pair["refresh_token"])).status_code == 401


@pytest.mark.parametrize("token", ["x", "0" * 43])
async def test_an_unknown_refresh_token_is_refused(client, token):
    assert (await refresh(client, token)).status_code == 401


async def test_refresh_tokens_are_stored_as_hashes(client, owner):
    pair = (await log_in(client)).json()
    stored = await owner.fetch("SELECT t::text AS line FROM refresh_token t")
    assert stored
    assert pair["refresh_token"] not in "".join(row["line"] for row in stored)


async def test_who_left_gets_no_further(client, owner):
    pair = (await log_in(client)).json()
    await owner.execute("UPDATE app_user SET status = 'disabled' WHERE email = $1", ADMIN["username"])
    assert (await works(client, pair)).status_code == 403, (
        "an access token is checked against the user at each request"
    )
    assert (await refresh(client, pair["refresh_token"])).status_code == 401
    assert (await log_in(client)).status_code == 401


async def test_a_closed_tenant_lets_nobody_in(client, owner):
    pair = (await log_in(client)).json()
    await owner.execute("UPDATE tenant SET status = 'closed' WHERE id = 1")
    assert (await works(client, pair)).status_code == 403
    assert (await refresh(client, pair["refresh_token"])).status_code == 401
    assert (await log_in(client)).status_code == 401


async def test_log_in_is_audited_without_its_secrets(client, owner):
    pair = (await log_in(client)).json()
    lines = await owner.fetch("SELECT a::text AS line FROM audit_log a WHERE action = 'user.log_in'")
    assert len(lines) == 1
    for secret in (ADMIN["password"], pair["access_token"], pair["refresh_token"]):
        assert secret not in lines[0]["line"]


def test_a_token_says_who_it_is_of():
    tokens = Tokens(b"k" * 48)
    assert tokens.read(tokens.sign(PRINCIPAL)) == PRINCIPAL


def test_an_expired_token_says_so(monkeypatch):
    tokens = Tokens(b"k" * 48)
    monkeypatch.setattr(token_module, "ACCESS_LIFETIME", timedelta(seconds=-1))
    with pytest.raises(Unauthenticated, match="expired"):
        tokens.read(tokens.sign(PRINCIPAL))


def claims(**changes):
    good = {
        "sub": "1", "name": "ann", "tid": 1, "tenant": "alpha", "role": "admin", "aud": "demarc", "exp": time.time() + 86_400
    }  # fmt: skip
    return {name: value for name, value in (good | changes).items() if value is not None}


@pytest.mark.parametrize(
    "token",
    [
        jwt.encode(claims(), b"x" * 32, algorithm="HS256"),
        jwt.encode(claims(), b"k" * 48, algorithm="HS384"),
        jwt.encode(claims(), None, algorithm="none"),
        jwt.encode(claims(aud="other"), b"k" * 48, algorithm="HS256"),
        jwt.encode(claims(exp=None), b"k" * 48, algorithm="HS256"),
        jwt.encode(claims(role="owner"), b"k" * 48, algorithm="HS256"),
        jwt.encode(claims(tid=None), b"k" * 48, algorithm="HS256"),
        "not a token",
        "a.b.c",
        "",
    ],
    ids=["other key", "other algorithm", "unsigned", "other audience", "endless", "unknown role", "no tenant", "text", "dots", "empty"],
)  # fmt: skip
def test_a_token_that_is_not_ours_is_refused(token):
    with pytest.raises(Unauthenticated):
        Tokens(b"k" * 48).read(token)


def test_a_changed_claim_is_noticed():
    import base64

    tokens = Tokens(b"k" * 48)
    head, body, signature = tokens.sign(PRINCIPAL).split(".")
    forged = json.loads(base64.urlsafe_b64decode(body + "==")) | {"role": "admin"}
    body = base64.urlsafe_b64encode(json.dumps(forged).encode()).rstrip(b"=").decode()
    with pytest.raises(Unauthenticated):
        tokens.read(f"{head}.{body}.{signature}")


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("permission", sorted(ALL))
def test_a_role_holds_what_its_table_says(role, permission):
    who = Principal(1, "x", 1, "alpha", role)
    if permission in BY_ROLE[role]:
        who.require(permission)
    else:
        with pytest.raises(Forbidden, match=permission):
            who.require(permission)


def test_every_role_reads_something_and_only_the_administrator_holds_all():
    assert {role for role, held in BY_ROLE.items() if held == ALL} == {Role.ADMIN}
    assert set(BY_ROLE) == set(Role)
    assert not any(permission.endswith(".write") for permission in BY_ROLE[Role.READ_ONLY])
