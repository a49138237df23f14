"""Rate limits: headers on every answer, a ceiling for staff, and wrong log-ins that get slow."""

from __future__ import annotations

import pytest

from demarc.bootstrap import build_app
from demarc.web import limits
from demarc.web.limits import LOG_INS_PER_MINUTE, MinuteWindow

from ..conftest import Callers  # noqa: TID252 - the suite's own


class Clock:
    """Real time that stands still until it is moved."""

    def __init__(self):
        self.seconds = 1_000_000_020.0

    def __call__(self):
        return self

    def timestamp(self):
        return self.seconds


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(limits, "real_now", made)
    return made


@pytest.fixture
async def tight(database, settings, master_key, clock):
    """The platform with a ceiling of three requests a minute."""
    few = settings.model_copy(update={"staff_requests_per_minute": 3})
    made = Callers(build_app(few, database, master_key))
    yield made
    await made.close()


def rate(answer):
    return tuple(int(answer.headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset"))


async def test_every_answer_says_how_many_are_left(tight):
    admin = await tight("alpha", "admin")
    end = 1_000_000_080 - 1_000_000_080 % 60
    assert rate(await admin.get("/api/customers")) == (3, 2, end)
    assert rate(await admin.post("/api/customers", {})) == (3, 1, end)
    assert rate(await admin.get("/api/customers/not-a-uuid")) == (3, 0, end)


async def test_beyond_the_ceiling_it_is_429_until_the_minute_is_over(tight, clock):
    admin = await tight("alpha", "admin")
    for _ in range(3):
        assert (await admin.get("/api/customers")).status_code == 200
    refused = await admin.get("/api/customers")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMITED")
    assert rate(refused)[1] == 0
    assert int(refused.headers["retry-after"]) == rate(refused)[2] - int(clock.seconds)
    other = await tight("alpha", "read_only")
    assert (await other.get("/api/customers")).status_code == 200, "another user is not slowed"
    clock.seconds += int(refused.headers["retry-after"])
    assert (await admin.get("/api/customers")).status_code == 200


async def test_a_refusal_for_the_rate_is_not_kept_under_an_idempotency_key(tight, clock):
    admin = await tight("alpha", "admin")
    for _ in range(3):
        await admin.get("/api/customers")
    assert (await admin.post("/api/customers", {"name": "A"}, Idempotency_Key="k")).status_code == 429
    clock.seconds += 60
    assert (await admin.post("/api/customers", {"name": "A"}, Idempotency_Key="k")).status_code == 201


async def test_answers_without_a_log_in_carry_the_headers_too(tight):
    anonymous = tight.anonymous()
    for path in ("/api/customers", "/api/nothing-here", "/api/openapi.json"):
        assert rate(await anonymous.get(path))[0] == 3, path
    assert "x-ratelimit-limit" not in (await anonymous.get("/livez")).headers


async def log_in(client, password, name="admin@alpha.example.com"):
    return await client.post("/api/auth/token", json={"username": name, "password": password})


async def test_wrong_log_ins_are_counted_by_user_name_and_forgotten_after_a_minute(tight, clock):
    client = tight.anonymous()
    for left in range(LOG_INS_PER_MINUTE - 1, -1, -1):
        wrong = await log_in(client, "wrong")
        assert (wrong.status_code, rate(wrong)[:2]) == (401, (LOG_INS_PER_MINUTE, left))
    for password in ("wrong", "right horse"):
        refused = await log_in(client, password, "Admin@ALPHA.example.com")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
    assert (await log_in(client, "right horse", "read_only@alpha.example.com")).status_code == 200
    clock.seconds += 60
    assert (await log_in(client, "right horse")).status_code == 200


async def test_right_log_ins_are_not_counted(tight):
    client = tight.anonymous()
    for _ in range(LOG_INS_PER_MINUTE + 2):
        assert (await log_in(client, "right horse")).status_code == 200


def test_counts_do_not_pile_up(clock):
    window = MinuteWindow(5)
    for key in range(1000):
        window.take(key)
    clock.seconds += 60
    window.take("one")
    assert len(window._counts) == 1
    window.give_back("another")
    assert window.take("one")[0]
