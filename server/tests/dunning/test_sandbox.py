"""`/api/sandbox`: the clock and the mail trap."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import pytest_asyncio

from demarc.adapters.mail.trap import start_mail_trap
from demarc.bootstrap import build_app
from demarc.kernel.context import system
from demarc.kernel.settings import Settings

from ..conftest import Callers  # noqa: TID252
from ..notifications.post import Desk, mailer_at, ports_to, queued  # noqa: TID252 - the tests' own desk

CLOCK = "/api/sandbox/clock"


def moment(answer):
    return datetime.fromisoformat(answer.json()["now"])


async def test_the_clock_moves_forward_and_everything_with_it(admin, world):
    before = await admin.get(CLOCK)
    assert before.json()["offset_seconds"] == 0
    answer = await admin.post(f"{CLOCK}/advance", {"days": 2, "hours": 3, "minutes": 4})
    assert answer.status_code == 200, answer.text
    span = timedelta(days=2, hours=3, minutes=4)
    assert answer.json()["offset_seconds"] == span.total_seconds()
    assert timedelta(0) <= moment(answer) - moment(before) - span < timedelta(minutes=1)
    after = await admin.get(CLOCK)
    assert after.json()["offset_seconds"] == span.total_seconds()
    customer = (await admin.post("/api/customers", {"name": "Later"})).json()
    assert datetime.fromisoformat(customer["created_at"]) > moment(before) + span


async def test_a_move_makes_what_is_due_happen(admin, world):
    await world.campaign(("suspend_service", 0))
    debtor = await world.debtor(due_in_days=0)
    await admin.post(f"{CLOCK}/advance", {"days": 8})
    await world.desk.clear()
    assert await world.status(debtor) == "suspended_non_payment"
    assert "sandbox.sweep" in world.desk.ran


@pytest.mark.parametrize(
    "body", [{}, {"days": 0}, {"days": -1}, {"days": 1.5}, {"days": 10**9}, {"minutes": "soon"}]
)
async def test_time_goes_forward_by_a_sensible_span(admin, body):
    answer = await admin.post(f"{CLOCK}/advance", body)
    assert answer.status_code == 422, answer.text
    assert (await admin.get(CLOCK)).json()["offset_seconds"] == 0


async def test_the_clock_stops_a_century_ahead(admin):
    for _ in range(9):
        assert (await admin.post(f"{CLOCK}/advance", {"days": 3660})).status_code == 200
    assert (await admin.post(f"{CLOCK}/advance", {"days": 3660})).status_code == 422


async def test_only_a_sandbox_has_one(callers):
    beta = await callers("beta", "admin")
    for answer in (
        await beta.get(CLOCK),
        await beta.post(f"{CLOCK}/advance", {"days": 1}),
        await beta.get("/api/sandbox/mail"),
    ):
        assert answer.status_code == 403, answer.text
    reader = await callers("alpha", "read_only")
    assert (await reader.post(f"{CLOCK}/advance", {"days": 1})).status_code == 403


@pytest_asyncio.fixture
async def mailroom(database, master_key, tmp_path):
    """An application whose data directory holds the trap's mail."""
    server = await start_mail_trap("127.0.0.1", 0, tmp_path / "mail")
    callers = Callers(build_app(Settings(data_dir=tmp_path, sandbox=True), database, master_key))
    async with server:
        yield callers, server.sockets[0].getsockname()[1]
    await callers.close()


async def test_a_tenant_sees_its_own_mail_only(database, mailroom):
    callers, port = mailroom
    admin = await callers("alpha", "admin")
    assert (await admin.get("/api/sandbox/mail")).json()["messages"] == []
    desk = Desk(database, ports_to(mailer_at(port)))
    made = await queued(database)
    await desk.clear()
    await queued(database, about="test:2", recipient="second@example.com")
    await desk.clear()

    answer = (await admin.get("/api/sandbox/mail")).json()
    assert (answer["total"], [mail["to"] for mail in answer["messages"]]) == (
        2,
        ["second@example.com", "ann@example.com"],
    )
    mail = answer["messages"][1]
    assert (mail["notification_id"], mail["template"]) == (str(made.uid), "payment_reminder_1")
    assert mail["subject"].startswith("Payment reminder")
    assert mail["sent_at"].endswith("Z")
    assert (await admin.get("/api/sandbox/mail", limit=1, skip=1)).json()["messages"] == [mail]
    oldest = (await admin.get("/api/sandbox/mail", sort="sent_at")).json()["messages"]
    assert oldest == answer["messages"][::-1]
    assert (await admin.get("/api/sandbox/mail", sort="body")).status_code == 422

    async with database.begin(2, system("test")) as tx:
        await tx.connection.execute("UPDATE tenant SET is_sandbox = true WHERE id = 2")
    beta = await callers("beta", "admin")
    assert (await beta.get("/api/sandbox/mail")).json()["messages"] == []
