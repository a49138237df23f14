"""Data caps: counted with the usage, told once, enforced on the line, and gone with a top-up or the new month."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from demarc.kernel.clock import next_month_start
from demarc.kernel.context import system
from demarc.kernel.jobs import Work
from demarc.modules.usage.caps import list_waiting_crossings
from demarc.modules.usage.metering import raise_usage
from demarc.modules.usage.rules import GB_OCTETS
from demarc.workflows.access_enforcement import enforce_tenant
from demarc.workflows.data_caps import ActOnCrossing, act_on_crossing, queue_crossings

ALPHA = 1
PLAN = {
    "plan_id": "plan_capped",
    "name": "Capped",
    "service_type": "fiber_internet",
    "bandwidth_down_mbps": 100,
    "bandwidth_up_mbps": 50,
    "monthly_fee": 4999,
    "effective_on": "2020-01-01",
    "data_limit_gb": 10,
    "data_limit_policy": {"action": "throttle", "download_mbps": 2, "upload_mbps": 1},
    "usage_prices": [
        {"usage_type": "data_topup", "unit": "GB", "unit_price": 0.9, "effective_on": "2020-01-01"}
    ],
}


@pytest.fixture
def begin(database):
    return lambda: database.begin(ALPHA, system("test"))


@pytest.fixture
def sell(admin):
    """A customer on a plan like `PLAN`, with a subscriber: the answers."""

    async def make(customer=None, **plan):
        made = await admin.post("/api/plans", {**PLAN, **plan})
        assert made.status_code in (201, 409), made.text
        customer = {"name": "Ann", "email": "ann@alpha.example"} if customer is None else customer
        owner = (await admin.post("/api/customers", customer)).json()
        service = await admin.post(
            "/api/services/lifecycle/provision",
            {
                "customer_id": owner["id"],
                "service_type": "fiber_internet",
                "service_name": "Fiber",
                "plan_id": {**PLAN, **plan}["plan_id"],
                "auto_activate": True,
            },
        )
        assert service.status_code == 201, service.text
        login = await admin.post(
            "/api/subscribers",
            {
                "username": f"u{uuid.uuid4().hex[:8]}@alpha.example",
                "password": "secure_pass_456",
                "customer_id": owner["id"],
                "service_id": service.json()["id"],
            },
        )
        assert login.status_code == 201, login.text
        return service.json(), login.json()

    return make


@pytest_asyncio.fixture
async def meter(scratch, begin):
    """As the ingester: `await meter(service, gb)` books GB of a session at the tenant's time, or at the time given."""
    connection = await asyncpg.connect(scratch.dsn("demarc_ingest"))
    await connection.execute(
        "CREATE TEMP TABLE accounting_delta (tenant_id int, session_id uuid, subscriber_id bigint, service_id bigint, "
        "event_at timestamptz, input_octets bigint, output_octets bigint)"
    )

    async def book(service, gb, at=None, session=None):
        async with begin() as tx:
            service_id = await tx.connection.fetchval(
                "SELECT id FROM service WHERE uid = $1", uuid.UUID(service["id"])
            )
            at = at or tx.now
        octets = int(Decimal(str(gb)) * GB_OCTETS)
        async with connection.transaction():
            await connection.execute("TRUNCATE accounting_delta")
            await connection.execute(
                "INSERT INTO accounting_delta VALUES ($1, $2, 7, $3, $4, $5, $6)",
                ALPHA, session or uuid.uuid4(), service_id, at, octets // 3, octets - octets // 3,
            )  # fmt: skip
            await raise_usage(connection)

    yield book
    await connection.close()


@pytest.fixture
def act(database, begin):
    """What the enforcer does after a block, and the sweep; then the jobs that it queued."""
    work = Work(database, ALPHA, "test", 0, True, system("test"), {})

    async def sweep():
        await enforce_tenant(work)
        async with begin() as tx:
            rows = await tx.connection.fetch(
                "DELETE FROM pgqueuer WHERE entrypoint = 'data_caps.act' RETURNING id, payload"
            )
        for row in sorted(rows, key=lambda row: row["id"]):
            body = msgspec.json.decode(row["payload"])["body"]
            await act_on_crossing.handler(work, ActOnCrossing(**body))

    return sweep


@pytest.fixture
def messages(admin):
    async def texts():
        listed = (await admin.get("/api/notifications", limit=500)).json()["notifications"]
        return [
            (row["channel"], row["template"]) for row in sorted(listed, key=lambda row: row["created_at"])
        ]

    return texts


@pytest.fixture
def login(begin):
    """What FreeRADIUS answers: (decision, download, upload)."""

    async def read(subscriber):
        async with begin() as tx:
            row = await tx.connection.fetchrow(
                "SELECT decision, decision_reason, download_bps, upload_bps FROM aaa_login WHERE username = $1",
                subscriber["username"],
            )
        return row["decision"], row["download_bps"], row["upload_bps"]

    return read


FULL, SLOW = ("accept", 100_000_000, 50_000_000), ("accept", 2_000_000, 1_000_000)


async def test_two_messages_then_slower_then_a_top_up_and_fast_again(
    admin, sell, meter, act, messages, login
):
    service, subscriber = await sell()
    path = f"/api/data-caps/{service['id']}"
    fresh = (await admin.get(path)).json()
    assert (fresh["data_limit_gb"], fresh["used_gb"], fresh["state"], fresh["line"]) == (10, 0, "ok", "full")

    await meter(service, 7.5)
    await act()
    assert await messages() == []
    await meter(service, 0.5)
    await act()
    await act()
    assert await messages() == [("email", "data_usage_80")]
    assert await login(subscriber) == FULL
    assert (await admin.get(path)).json()["state"] == "warned"

    await meter(service, 3)
    await act()
    await meter(service, 1)
    await act()
    assert await messages() == [("email", "data_usage_80"), ("email", "data_usage_100")]
    assert await login(subscriber) == SLOW
    shown = (await admin.get(path)).json()
    assert (shown["used_gb"], shown["used_percent"], shown["state"]) == (12, 120, "used_up")
    assert (shown["line"], shown["remaining_gb"]) == ("throttled", 0)

    bought = await admin.post(f"{path}/top-ups", {"gb": 5})
    assert (bought.status_code, bought.json()["bought"], bought.json()["gb"]) == (201, True, 5)
    assert await login(subscriber) == FULL
    shown = (await admin.get(path)).json()
    assert (shown["allowance_gb"], shown["line"], shown["state"]) == (15, "full", "warned")
    pending = (
        await admin.get("/api/billing/usage/pending", subscription_id=service["subscription_id"])
    ).json()
    assert [
        (r["usage_type"], r["total_amount"]) for r in pending["records"] if r["usage_type"] != "bandwidth_gb"
    ] == [("data_topup", 450)]
    alerts = (await admin.get(f"{path}/alerts", sort="crossed_at")).json()["alerts"]
    assert [(a["threshold_percent"], a["allowance_gb"], a["outcome"]) for a in alerts][:2] == [
        (80, 10, "told"),
        (100, 10, "told"),
    ]

    await meter(service, 3)
    await act()
    assert await login(subscriber) == SLOW, "the top-up is used up too"
    given = await admin.post(f"{path}/top-ups", {"gb": 0.5, "grant": True, "reason": "sorry"})
    assert (given.status_code, given.json()["bought"]) == (201, False)
    assert [t["gb"] for t in (await admin.get(f"{path}/top-ups")).json()["top_ups"]] == [0.5, 5]
    assert [t["gb"] for t in (await admin.get(f"{path}/top-ups", bought=True)).json()["top_ups"]] == [5]
    assert (await admin.get(f"{path}/top-ups", bought=False, sort="created_at")).json()["total"] == 1


async def test_the_new_month_begins_anew(admin, sell, meter, act, messages, login, begin):
    service, subscriber = await sell()
    await meter(service, 11)
    await act()
    assert await login(subscriber) == SLOW
    async with begin() as tx:
        ends_at = next_month_start(tx.now, tx.tenant.time_zone)
        minutes = int((ends_at - tx.now) / timedelta(minutes=1)) + 1
    assert (await admin.post("/api/sandbox/clock/advance", {"minutes": minutes})).is_success
    await act()
    assert await login(subscriber) == FULL
    shown = (await admin.get(f"/api/data-caps/{service['id']}")).json()
    assert (shown["used_gb"], shown["state"], shown["line"]) == (0, "ok", "full")
    await meter(service, 8)
    await act()
    assert [template for _, template in await messages()] == [
        "data_usage_80",
        "data_usage_100",
        "data_usage_80",
    ]
    periods = (await admin.get(f"/api/data-caps/{service['id']}/periods")).json()
    assert [(p["used_gb"], p["used_percent"]) for p in periods["periods"]] == [(8, 80), (11, 110)]
    by_use = (await admin.get(f"/api/data-caps/{service['id']}/periods", sort="-used_gb", limit=1)).json()
    assert ([p["used_gb"] for p in by_use["periods"]], by_use["total"]) == ([11], 2)


async def test_what_comes_late_for_a_month_that_is_over_changes_nothing(
    sell, meter, act, messages, login, admin
):
    service, subscriber = await sell()
    await meter(service, 20, at=datetime(2025, 10, 14, tzinfo=UTC))
    await act()
    assert await messages() == []
    assert await login(subscriber) == FULL
    alerts = (await admin.get(f"/api/data-caps/{service['id']}/alerts", outcome="late")).json()
    assert alerts["total"] == 2
    only = (await admin.get(f"/api/data-caps/{service['id']}/alerts", threshold=100)).json()["alerts"]
    assert [alert["threshold_percent"] for alert in only] == [100]


async def test_blocked_is_refused_and_let_in_again(admin, sell, meter, act, login):
    service, subscriber = await sell(data_limit_policy={"action": "block"})
    await meter(service, 10)
    await act()
    assert (await login(subscriber))[0] == "reject"
    shown = (await admin.get(f"/api/subscribers/{subscriber['id']}")).json()
    assert shown["access"] == {"decision": "reject", "reason": "data limit reached"}
    assert (await admin.get(f"/api/data-caps/{service['id']}")).json()["line"] == "blocked"
    assert (await admin.post(f"/api/data-caps/{service['id']}/top-ups", {"gb": 1})).status_code == 201
    assert await login(subscriber) == FULL


async def test_charge_bills_what_is_over_and_top_ups_come_off(admin, sell, meter, act, login):
    service, subscriber = await sell(
        plan_id="plan_charged", data_limit_policy={"action": "charge", "overage_price": 0.5}
    )
    await meter(service, 14)
    await act()
    assert await login(subscriber) == FULL
    pending = (
        await admin.get("/api/billing/usage/pending", subscription_id=service["subscription_id"])
    ).json()
    assert pending["total_amount"] == 200
    await admin.post(f"/api/data-caps/{service['id']}/top-ups", {"gb": 3, "grant": True})
    pending = (
        await admin.get("/api/billing/usage/pending", subscription_id=service["subscription_id"])
    ).json()
    assert pending["total_amount"] == 50
    assert (await sell_refused(admin, {"action": "charge"})) == 422


async def sell_refused(admin, policy):
    return (
        await admin.post("/api/plans", {**PLAN, "plan_id": "other", "data_limit_policy": policy})
    ).status_code


async def test_who_subscribes_while_throttled_is_throttled(admin, sell, meter, act, login):
    service, first = await sell()
    await meter(service, 10)
    await act()
    second = await admin.post(
        "/api/subscribers",
        {
            "username": "second@alpha.example",
            "password": "secure_pass_456",
            "customer_id": first["customer_id"],
            "service_id": service["id"],
            "bandwidth_profile": {"download_mbps": 1, "upload_mbps": 80},
        },
    )
    assert second.status_code == 201, second.text
    assert await login(second.json()) == ("accept", 1_000_000, 1_000_000), "fair use never makes faster"


@pytest.mark.parametrize(
    ("customer", "channel", "outcome"),
    [
        ({"name": "Ann", "phone": "+13125550100"}, ["sms", "sms"], "told"),
        ({"name": "Ann"}, [], "unreachable"),
    ],
)
async def test_by_sms_or_not_at_all(admin, sell, meter, act, messages, login, customer, channel, outcome):
    service, subscriber = await sell(customer)
    await meter(service, 10)
    await act()
    assert [sent for sent, _ in await messages()] == channel
    assert await login(subscriber) == SLOW
    alerts = (await admin.get(f"/api/data-caps/{service['id']}/alerts")).json()["alerts"]
    assert {alert["outcome"] for alert in alerts} == {outcome}


async def test_a_wording_that_cannot_be_rendered_holds_nothing_up(admin, sell, meter, act, login, begin):
    from demarc.modules.notifications.inputs import NewTemplate
    from demarc.modules.notifications.service import set_template
    from demarc.modules.notifications.states import Channel

    async with begin() as tx:
        await set_template(tx, NewTemplate(Channel.EMAIL, "data_usage_100", "{{ nothing_known }}", "Used up"))
    service, subscriber = await sell()
    await meter(service, 10)
    await act()
    assert await login(subscriber) == SLOW
    alerts = (await admin.get(f"/api/data-caps/{service['id']}/alerts", sort="crossed_at")).json()["alerts"]
    assert [alert["outcome"] for alert in alerts] == ["told", "unreachable"]


async def test_two_at_once_tell_once_and_one_job_waits_for_each(sell, meter, messages, database, begin):
    service, _ = await sell()
    await meter(service, 10)
    for _ in range(2):
        async with begin() as tx:
            assert await queue_crossings(tx) == 2
    async with begin() as tx:
        ids = await list_waiting_crossings(tx)
        queued = await tx.connection.fetchval(
            "SELECT count(*) FROM pgqueuer WHERE entrypoint = 'data_caps.act'"
        )
    assert queued == 2
    work = Work(database, ALPHA, "test", 0, True, system("test"), {})
    await asyncio.gather(*(act_on_crossing.handler(work, ActOnCrossing(one)) for one in ids * 3))
    for one in ids:
        await act_on_crossing.handler(work, ActOnCrossing(one))
    async with begin() as tx:
        assert await queue_crossings(tx) == 0
    assert sorted(await messages()) == [("email", "data_usage_100"), ("email", "data_usage_80")]


async def test_a_service_gets_its_own_cap_that_counts_from_the_month_on_and_loses_it(
    admin, sell, meter, act, login, messages
):
    service, subscriber = await sell(data_limit_gb=None, data_limit_policy=None, plan_id="plan_free")
    path = f"/api/data-caps/{service['id']}"
    assert (await admin.get(path)).json()["error"]["code"] == "NO_DATA_CAP"
    await meter(service, 4)
    slow = (
        await admin.post("/api/bandwidth-profiles", {"name": "Slow", "download_mbps": 2, "upload_mbps": 1})
    ).json()
    body = {"data_limit_gb": 4, "data_limit_policy": {"action": "throttle", "profile": slow["name"]}}
    put = await admin.client.put(path, json=body)
    assert (put.status_code, put.json()["used_gb"], put.json()["line"]) == (200, 4, "throttled"), put.text
    assert await login(subscriber) == SLOW
    assert len(await messages()) == 2
    put = await admin.client.put(path, json={**body, "data_limit_gb": 40})
    assert put.json()["line"] == "full"
    assert await login(subscriber) == FULL
    put = await admin.client.put(path, json=body)
    assert put.json()["line"] == "throttled"
    assert (await admin.delete(path)).status_code == 200
    assert await login(subscriber) == FULL
    assert (await admin.delete(path)).status_code == 404
    for bad in (
        {"data_limit_gb": 0},
        {"data_limit_gb": 4, "data_limit_policy": {"action": "throttle"}},
        {"data_limit_gb": 4, "data_limit_policy": {"action": "block", "download_mbps": 1, "upload_mbps": 1}},
        {
            "data_limit_gb": 4,
            "data_limit_policy": {"action": "throttle", "profile": "Slow", "upload_mbps": 1},
        },
        {"data_limit_gb": 4, "data_limit_policy": {"action": "vanish"}},
        {},
    ):
        assert (await admin.client.put(path, json=bad)).status_code == 422, bad
    nameless = {"data_limit_gb": 4, "data_limit_policy": {"action": "throttle", "profile": "Nobody"}}
    assert (await admin.client.put(path, json=nameless)).status_code == 404
    charged = {"data_limit_gb": 4, "data_limit_policy": {"action": "charge"}}
    assert (await admin.client.put(path, json=charged)).json()["error"]["code"] == "NO_PACKAGE_PRICE"


async def test_the_list_of_caps_and_its_filters(admin, sell, meter, callers):
    one, _ = await sell()
    other, _ = await sell(plan_id="plan_blocked", data_limit_gb=5, data_limit_policy={"action": "block"})
    await meter(one, 10)

    async def services(**query):
        listed = (await admin.get("/api/data-caps", **query)).json()
        return [cap["service_id"] for cap in listed["data_caps"]], listed["total"]

    assert await services() == ([one["id"], other["id"]], 2)
    assert await services(sort="limit_gb") == ([other["id"], one["id"]], 2)
    assert await services(action="block") == ([other["id"]], 1)
    assert await services(used_up=True) == ([one["id"]], 1)
    assert await services(used_up=False) == ([other["id"]], 1)
    assert await services(service_id=one["id"]) == ([one["id"]], 1)
    assert await services(customer_id=other["customer_id"]) == ([other["id"]], 1)
    assert await services(customer_id=str(uuid.uuid4())) == ([], 0)
    beta = await callers("beta", "admin")
    assert (await beta.get("/api/data-caps")).json()["total"] == 0
    for part in ("", "/periods", "/alerts", "/top-ups"):
        assert (await beta.get(f"/api/data-caps/{one['id']}{part}")).status_code == 404
    assert (await beta.post(f"/api/data-caps/{one['id']}/top-ups", {"gb": 1})).status_code == 404


async def test_a_top_up_without_a_price_or_a_cap(admin, sell):
    service, _ = await sell(plan_id="plan_no_price", usage_prices=[])
    path = f"/api/data-caps/{service['id']}/top-ups"
    assert (await admin.post(path, {"gb": 1})).json()["error"]["code"] == "NO_TOP_UP_PRICE"
    assert (await admin.post(path, {"gb": 0, "grant": True})).status_code == 422
    assert (await admin.post(path, {"gb": 1, "grant": True})).status_code == 201
    await admin.delete(f"/api/data-caps/{service['id']}")
    assert (await admin.post(path, {"gb": 1, "grant": True})).status_code == 404


async def test_what_was_sold_keeps_its_cap_and_another_plan_brings_its_own(admin, sell):
    service, _ = await sell()
    patched = await admin.patch("/api/plans/plan_capped", {"data_limit_gb": 99})
    assert (patched.json()["data_limit_gb"], patched.json()["data_limit_policy"]["action"]) == (99, "notify")
    path = f"/api/data-caps/{service['id']}"
    assert (await admin.get(path)).json()["data_limit_gb"] == 10
    later, _ = await sell(plan_id="plan_capped")
    assert (await admin.get(f"/api/data-caps/{later['id']}")).json()["data_limit_gb"] == 99
    assert (await admin.patch("/api/plans/plan_capped", {"data_limit_gb": None})).json()[
        "data_limit_gb"
    ] is None
    assert (await admin.patch("/api/plans/plan_capped", {"data_limit_policy": {}})).status_code == 422
    assert (await admin.get("/api/plans", has_data_cap=True)).json()["total"] == 0
    ended = await admin.post(f"/api/services/lifecycle/{service['id']}/terminate", {"reason": "moved away"})
    assert ended.is_success, ended.text
    assert (await admin.get(path)).status_code == 404
