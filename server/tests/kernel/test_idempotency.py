"""Idempotency keys at their edges: what is repeated, what is tried again, what is nobody else's."""

from __future__ import annotations

import asyncio
import json
import uuid

import httpx
import pytest
import pytest_asyncio
from pydantic import BaseModel

from demarc.bootstrap import build_app
from demarc.kernel.context import system
from demarc.kernel.errors import Conflict, LimitExceeded, Unavailable
from demarc.kernel.outbox import emit
from demarc.web.routing import ApiRouter, TxDep


class Wish(BaseModel):
    """What the test endpoint is asked to do; it writes an event first, whatever comes after."""

    number: int = 0
    then: str = "answer"


class Secret(BaseModel):
    name: str
    password: str | None


class Endpoint:
    """Counts how often it ran; its first run fails in the way that was wished for."""

    def __init__(self):
        self.runs = 0
        self.router = ApiRouter(prefix="/test", tag="test")
        on = self.router.on

        @on("PATCH", "/wish", permission="customers.write")
        @on("POST", "/wish", permission="customers.write", status=201)
        async def wish(body: Wish, tx: TxDep, mode: str = "") -> dict[str, int | str]:
            self.runs += 1
            await emit(tx, "wish.made", entity="wish", entity_id=body.number)
            if self.runs == 1 and body.then != "answer":
                raise FAILURES[body.then]
            return {"run": self.runs, "number": body.number, "mode": mode}

        @on("POST", "/secret", permission="customers.write", shown_once=("password",))
        async def secret(tx: TxDep) -> Secret:
            self.runs += 1
            return Secret(name="ann", password="shown-once-only")


FAILURES = {
    "conflict": Conflict("not now"),
    "away": Unavailable("the NAS does not answer"),
    "limit": LimitExceeded("slowly", retry_after_seconds=3),
    "bug": ZeroDivisionError(),
    "race": Conflict("changed meanwhile", code="CONCURRENT_CHANGE"),
}


@pytest.fixture
def endpoint():
    return Endpoint()


@pytest_asyncio.fixture
async def ask(endpoint, callers, settings, database, master_key):
    """`await ask(key, body, path=…, tenant=…)`: one POST to the test endpoint."""
    app = build_app(settings, database, master_key)
    app.include_router(endpoint.router)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    known = {}
    async with httpx.AsyncClient(transport=transport, base_url="http://demarc") as client:

        async def send(
            key, body=None, *, path="/test/wish", tenant="alpha", role="admin", method="POST", content=None
        ):
            caller = known.get((tenant, role)) or known.setdefault(
                (tenant, role), await callers(tenant, role)
            )
            headers = {name: caller.client.headers[name] for name in ("Authorization", "X-Tenant-ID")}
            if key is not None:
                headers["Idempotency-Key"] = key
            if content is None:
                content = json.dumps(body or {}).encode()
            return await client.request(
                method, path, content=content, headers={**headers, "Content-Type": "application/json"}
            )

        yield send


async def events(database, tenant=1):
    async with database.begin(tenant, system("test")) as tx:
        return await tx.connection.fetchval("SELECT count(*) FROM outbox_event WHERE name = 'wish.made'")


@pytest.fixture
def key():
    return uuid.uuid4().hex


async def test_the_first_answer_is_repeated_and_nothing_happens_twice(ask, key, endpoint, database):
    first, again = await ask(key, {"number": 1}), await ask(key, {"number": 1})
    assert (first.status_code, first.json()["run"]) == (201, 1)
    assert (again.status_code, again.content) == (201, first.content)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (endpoint.runs, await events(database)) == (1, 1)


async def test_without_a_key_every_request_counts(ask, endpoint, database):
    await ask(None, {"number": 1})
    await ask(None, {"number": 1})
    assert (endpoint.runs, await events(database)) == (2, 2)


@pytest.mark.parametrize("bad", ["", "x" * 256])
async def test_a_key_has_a_length(ask, endpoint, bad):
    answer = await ask(bad)
    assert answer.status_code == 422
    assert "1 to 255" in answer.json()["error"]["message"]
    assert endpoint.runs == 0


async def test_the_longest_key_works(ask):
    key = "k" * 255
    assert (await ask(key)).json() == (await ask(key)).json()


@pytest.mark.parametrize(
    "change",
    [{"body": {"number": 2}}, {"path": "/test/secret"}, {"path": "/test/wish?mode=other"}],
    ids=["body", "path", "query"],
)
async def test_a_key_belongs_to_one_request(ask, key, change):
    assert (await ask(key, {"number": 1})).status_code == 201
    other = await ask(key, **{"body": {"number": 1}, **change})
    assert (other.status_code, other.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert (await ask(key, {"number": 1})).status_code == 201, "the first request is still answered"


async def test_a_key_belongs_to_one_tenant(ask, key, database):
    await ask(key, {"number": 1})
    theirs = await ask(key, {"number": 2}, tenant="beta")
    assert (theirs.status_code, theirs.json()["number"]) == (201, 2)
    assert (await events(database, 1), await events(database, 2)) == (1, 1)


async def test_a_key_does_not_widen_a_permission(ask, key):
    await ask(key, {"number": 1})
    refused = await ask(key, {"number": 1}, role="read_only")
    assert refused.status_code == 403
    assert "run" not in refused.text


async def test_a_refusal_is_final_and_what_it_wrote_is_gone(ask, key, endpoint, database):
    first = await ask(key, {"then": "conflict"})
    again = await ask(key, {"then": "conflict"})
    assert (first.status_code, again.status_code, again.json()) == (409, 409, first.json())
    assert (endpoint.runs, await events(database)) == (1, 0)


@pytest.mark.parametrize(("failure", "status"), [("away", 503), ("limit", 429), ("bug", 500), ("race", 409)])
async def test_what_may_be_better_next_time_is_tried_again(ask, key, endpoint, database, failure, status):
    first = await ask(key, {"then": failure})
    assert first.status_code == status
    assert await events(database) == 0
    again = await ask(key, {"then": failure})
    assert (again.status_code, again.json()["run"]) == (201, 2)
    assert await events(database) == 1
    assert (await ask(key, {"then": failure})).json() == again.json()


async def test_what_could_not_be_read_does_not_use_up_the_key(ask, key):
    assert (await ask(key, content=b"{")).status_code == 400
    assert (await ask(key, {"number": 1})).status_code == 201


async def test_many_at_once_run_once(ask, key, endpoint, database):
    answers = await asyncio.gather(*(ask(key, {"number": 1}) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert {answer.json()["run"] for answer in answers} == {1}
    assert (endpoint.runs, await events(database)) == (1, 1)
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 7


async def test_many_at_once_with_different_bodies_have_one_winner(ask, key, database):
    answers = await asyncio.gather(*(ask(key, {"number": n}) for n in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 5
    assert await events(database) == 1


async def test_a_secret_is_shown_once_and_never_stored(ask, key, scratch, database):
    first = await ask(key, path="/test/secret")
    assert first.json() == {"name": "ann", "password": "shown-once-only"}
    again = await ask(key, path="/test/secret")
    assert again.json() == {"name": "ann", "password": None, "shown_once": True}
    async with database.begin(1, system("test")) as tx:
        bodies = await tx.connection.fetch("SELECT convert_from(body, 'UTF8') AS body FROM idempotency_key")
    assert "shown-once-only" not in "".join(row["body"] for row in bodies)


async def test_a_key_means_nothing_beside_post(ask, key, endpoint):
    await ask(key, {"number": 1}, method="PATCH")
    await ask(key, {"number": 2}, method="PATCH")
    assert endpoint.runs == 2
