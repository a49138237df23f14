"""Orders: once, whatever happens; the log; the RICA gate; no identity number anywhere."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta
from unittest.mock import AsyncMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fno_portal import (
    Address,
    Cancellation,
    Capability,
    FNODuplicateError,
    FNOMasterPortal,
    FNOOrder,
    FNOOrderError,
    FNOProtocolError,
    FNORicaError,
    FNOTimeoutError,
    FNOTransitionError,
    FNOUnavailableError,
    FNOUnknownOutcomeError,
    FNOValidationError,
    FNOWebhookError,
    MemoryAudit,
    MemoryStore,
    OrderStatus,
    Outcome,
    SqliteStore,
    Workshop,
    verify_identity,
)
from fno_portal.base import ALL_ORDER_TYPES, Description
from fno_portal.orders.desk import SAST
from fno_portal.testing.operator import PASSWORD, USERNAME
from fno_portal.transitions import LEGAL, is_final
from fno_portal.webhooks import sign

ID_NUMBER = "8001015009087"


@pytest.fixture
def sim(sims):
    return sims["vumatel", "document"]


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryStore()
        return
    made = SqliteStore(tmp_path / "orders.db")
    yield made
    made.close()


def _portal(sim, store=None, **settings):
    config = {
        "base_url": sim.url, "api_key": "sim-key", "rate": 1000, "period_s": 1, "webhook_secret": "s3cret", **settings,
    }  # fmt: skip
    return FNOMasterPortal({"vumatel": config}, store=store, settle=timedelta(0), audit=MemoryAudit())


async def test_same_reference_orders_once(sim, store, order):
    portal = _portal(sim, store)
    made = await asyncio.gather(*(portal.create_order("vumatel", order) for _ in range(5)))
    assert len(sim.operator.orders) == 1
    assert {one.id for one in made} == {"ORD-1"}
    again = await portal.create_order("vumatel", order)
    assert again.fno_reference in sim.operator.orders
    with pytest.raises(FNODuplicateError, match="another order"):
        await portal.create_order("vumatel", {**order, "package": "100/100 Mbps"})


async def test_same_order_after_its_keys_were_learnt(sim, store, order):
    """A coverage check between two tries teaches the operator's keys of the place: it is the same order all the same."""
    portal = _portal(sim, store)
    first = await portal.create_order("vumatel", order)
    await portal.check_all_coverage(order["address"])
    assert await portal.create_order("vumatel", order) == first
    # By `id`, as the document's FNOOrder calls it; and after the package has gone from the offer.
    other = {**order, "id": "ORD-2", "reference": None}
    second = await portal.create_order("vumatel", other)
    known = await portal.check_all_coverage(order["address"])
    portal.cache.put(
        "vumatel", Address(order["address"]), known[0].model_copy(update={"packages": known[0].packages[1:]})
    )
    assert await portal.create_order("vumatel", other) == second
    with pytest.raises(FNODuplicateError, match="another order"):
        await portal.create_order("vumatel", {**order, "address_keys": {"placeId": "PL2"}})
    assert len(sim.operator.orders) == 2


async def test_same_order_after_its_day_has_passed(sim, store, order):
    now = datetime.now(UTC)
    config = {"vumatel": {"base_url": sim.url, "api_key": "sim-key"}}
    portal = FNOMasterPortal(config, store=store, clock=lambda: now)
    dated = {**order, "requested_date": now.astimezone(SAST).date().isoformat()}
    first = await portal.create_order("vumatel", dated)
    now += timedelta(days=2)
    assert await portal.create_order("vumatel", dated) == first
    with pytest.raises(FNOValidationError, match="in the past"):
        await portal.create_order("vumatel", {**dated, "reference": "ORD-2"})


class _Odd(AsyncMock):
    """A third party's driver whose answers are not what they should be."""

    name = "odd"

    def describe(self):
        return Description("odd", "api", frozenset(Capability), True, "nothing", ALL_ORDER_TYPES)

    def supports(self, capability):
        return capability in Capability


@pytest.mark.parametrize("answer", [None, {}, {"status": "submitted"}, {"fno_reference": ""}])
async def test_an_order_without_a_number_is_of_unknown_outcome(store, order, answer):
    odd = _Odd()
    odd.create_order.return_value, odd.find_order.return_value = answer, None
    portal = FNOMasterPortal({}, store=store)
    portal.clients["odd"] = odd
    with pytest.raises(FNOUnknownOutcomeError):
        await portal.create_order("odd", order)
    assert (await portal.get_order("ORD-1")).outcome is Outcome.UNKNOWN


async def test_answers_of_odd_kinds_can_be_stored_and_read(store, order):
    odd = _Odd()
    odd.create_order.return_value = {"fno_reference": 7, "scheduled_date": 20990105}
    odd.get_order_status.return_value = {
        "fno_reference": 7,
        "status": "completed",
        "completed_date": 20990106,
    }
    odd.cancel_order.return_value = {"cancellation": "perhaps"}
    portal = FNOMasterPortal({}, store=store)
    portal.clients["odd"] = odd
    await portal.create_order("odd", order)
    assert [(one.fno_reference, one.scheduled_date) for one in await portal.list_orders()] == [
        ("7", "20990105")
    ]
    with pytest.raises(FNOProtocolError, match="'perhaps' is not known"):
        await portal.cancel_order("ORD-1", "moved")
    assert (await portal.get_order("ORD-1")).cancellation is Cancellation.UNKNOWN
    assert (await portal.refresh_order("ORD-1")).completed_date == "20990106"


@pytest.mark.parametrize(
    ("name", "style"),
    [
        ("vumatel", "document"), ("openserve", "openserve"), ("evotel", "aex"), ("thefibrecafe", "tmf"),
        ("metrofibre", "portal"),
    ],
)  # fmt: skip
async def test_a_look_up_that_shows_others_orders_is_no_answer(sims, browser, name, style):
    """An operator that ignores the filter: what is not among the rows may be on the next page. AEx is read to its end."""
    sim = sims[name, style]
    sim.operator.take_order("another ISP's")
    sim.operator.faults.filter_ignored = True
    account = {
        "portal_url": sim.url,
        "username": USERNAME,
        "password": PASSWORD,
        "wait_s": 60,
        "deadline_s": 120,
    }
    api = {"base_url": sim.url, "api_key": "sim-key", **({"driver": "tmf"} if style == "tmf" else {})}
    config = {name: account if style == "portal" else api}
    async with FNOMasterPortal(config, workshop=Workshop(browser=browser)) as portal:
        client = portal.client(name)
        if style == "aex":
            assert await client.find_order("ORD-1") is None
        else:
            with pytest.raises(FNOProtocolError, match="others' orders alone"):
                await client.find_order("ORD-1")
        ours = sim.operator.take_order("ORD-1", address="x", package="")
        assert (await client.find_order("ORD-1"))["fno_reference"] == ours["number"]


async def test_timeout_after_the_order_was_taken(sim, store, order):
    sim.operator.faults.take_then_hang = True
    sim.operator.idempotent = False
    # Long enough for the order to be there: what is late is the answer.
    made = await _portal(sim, store, order_deadline_s=2).create_order("vumatel", order)
    assert made.outcome is Outcome.KNOWN
    assert list(sim.operator.orders) == [made.fno_reference]


async def test_html_after_the_order_was_taken(sim, store, order):
    sim.operator.faults.take_then_html = True
    sim.operator.idempotent = False
    made = await _portal(sim, store).create_order("vumatel", order)
    assert list(sim.operator.orders) == [made.fno_reference]


async def test_unknown_outcome_is_told_and_settled(sim, store, order):
    hasty = _portal(sim, store, order_deadline_s=0.5, deadline_s=0.5)
    sim.operator.idempotent = False
    sim.operator.faults.hang = True
    with pytest.raises(FNOUnknownOutcomeError, match="not sent again"):
        await hasty.create_order("vumatel", order)
    assert (await hasty.get_order("ORD-1")).outcome is Outcome.UNKNOWN
    # Asking again sends nothing.
    assert (await hasty.create_order("vumatel", order)).outcome is Outcome.UNKNOWN
    sim.operator.faults.hang = False
    await _until(lambda: sim.operator.requests and sim.operator.running == 0)
    settled = await _portal(sim, store).settle_order("ORD-1")
    assert settled.outcome is Outcome.KNOWN
    assert list(sim.operator.orders) == [settled.fno_reference]


async def test_not_found_is_not_believed_before_the_time_to_settle(sim, order):
    reach, store = {"base_url": sim.url, "api_key": "sim-key"}, MemoryStore()
    hasty = FNOMasterPortal({"vumatel": {**reach, "order_deadline_s": 0.5, "deadline_s": 0.5}}, store=store)
    sim.operator.faults.hang = True
    with pytest.raises(FNOUnknownOutcomeError):
        await hasty.create_order("vumatel", order)
    sim.operator.faults.hang = False
    await _until(lambda: sim.operator.requests and sim.operator.running == 0)
    sim.operator.orders.clear()
    portal = FNOMasterPortal({"vumatel": reach}, store=store)
    assert (await portal.settle_order("ORD-1")).outcome is Outcome.UNKNOWN
    assert not sim.operator.orders
    confirmed = await portal.confirm_order("ORD-1", "VUM-77", by="thandi")
    assert (confirmed.outcome, confirmed.fno_reference) == (Outcome.KNOWN, "VUM-77")


async def test_unreachable_operator_leaves_the_order_unsent(sim, store, order):
    portal = _portal(sim, store, base_url="http://127.0.0.1:9")
    with pytest.raises(FNOUnavailableError):
        await portal.create_order("vumatel", order)
    assert (await portal.get_order("ORD-1")).outcome is Outcome.NOT_SENT
    # The caller was told and may have ordered elsewhere: a restart does not send it hours later.
    assert await _portal(sim, store).recover() == {}
    assert not sim.operator.orders
    made = await _portal(sim, store).create_order("vumatel", order)
    assert made.outcome is Outcome.KNOWN
    assert len(sim.operator.orders) == 1


CHILD = """
    import asyncio, json, os, signal, sys
    from datetime import timedelta
    from fno_portal import FNOMasterPortal, SqliteStore

    url, path, kill_at, order = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
    steps = 0

    def step():
        global steps
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    class Watched:
        def __init__(self, inner, names):
            self.inner, self.names = inner, names
        def __getattr__(self, name):
            found = getattr(self.inner, name)
            if name not in self.names:
                return found
            async def call(*a, **k):
                step()
                result = await found(*a, **k)
                step()
                return result
            return call

    async def main():
        store = Watched(SqliteStore(path), {"add", "get", "claim", "save", "append"})
        config = {"vumatel": {"base_url": url, "api_key": "sim-key", "rate": 1000, "period_s": 1}}
        portal = FNOMasterPortal(config, store=store, settle=timedelta(0))
        portal.clients["vumatel"] = Watched(portal.clients["vumatel"], {"create_order"})
        await portal.create_order("vumatel", order)
        print(steps)

    asyncio.run(main())
"""


def _run_child(sim, path, kill_at, order) -> subprocess.CompletedProcess:
    data = {**order, "rica": json.loads(order["rica"].model_dump_json())}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), sim.url, str(path), str(kill_at), json.dumps(data)],
        capture_output=True, check=False, text=True, timeout=120, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


async def test_kill_9_between_any_two_steps(sim, order, tmp_path):
    """Killed at every step in turn; afterwards a new process finds exactly one order, or is told again and makes it."""
    sim.operator.idempotent = False
    whole = _run_child(sim, tmp_path / "whole.db", 0, order)
    steps = int(whole.stdout)
    assert steps >= 10
    for kill_at in range(1, steps + 1):
        sim.operator.orders.clear()
        path = tmp_path / f"{kill_at}.db"
        died = _run_child(sim, path, kill_at, order)
        assert died.returncode == -signal.SIGKILL
        store = SqliteStore(path)
        portal = _portal(sim, store)
        results = await portal.recover()
        assert all(isinstance(one, FNOOrder) for one in results.values())
        # The caller, who never had an answer, asks again under the same reference.
        made = await portal.create_order("vumatel", order)
        assert made.outcome is Outcome.KNOWN, f"step {kill_at}"
        assert list(sim.operator.orders) == [made.fno_reference], f"step {kill_at}"
        store.close()


@pytest.mark.parametrize("taken", [True, False])
async def test_kill_9_inside_a_running_request(sim, order, tmp_path, taken):
    """The request has reached the operator, which has taken the order or is about to look at it; no answer came."""
    sim.operator.idempotent = False
    sim.operator.faults.take_then_hang, sim.operator.faults.hang = taken, not taken
    path = tmp_path / "orders.db"
    data = {**order, "rica": json.loads(order["rica"].model_dump_json())}
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), sim.url, str(path), "0", json.dumps(data)]
    )
    try:
        await _until(lambda: len(sim.operator.orders) == 1 if taken else sim.operator.requests == 1)
    finally:
        # What is under way at the operator fails there from now on; else a late order would be a third case.
        sim.operator.faults.server_error = True
        child.kill()
        child.wait()
    assert child.returncode == -signal.SIGKILL
    store = SqliteStore(path)
    assert (await store.get("ORD-1")).order.outcome is Outcome.SENDING
    sim.operator.faults.take_then_hang = sim.operator.faults.hang = False
    await _until(lambda: sim.operator.running == 0)
    # While the operator cannot tell, the outcome stays unknown and nothing is sent.
    recovered = await _portal(sim, store).recover()
    assert isinstance(recovered["ORD-1"], FNOUnavailableError)
    assert (await store.get("ORD-1")).order.outcome is Outcome.SENDING
    assert len(sim.operator.orders) == taken
    sim.operator.faults.server_error = False
    recovered = await _portal(sim, store).recover()
    assert recovered["ORD-1"].outcome is Outcome.KNOWN
    assert list(sim.operator.orders) == [recovered["ORD-1"].fno_reference]
    assert (await _portal(sim, store).create_order("vumatel", order)).outcome is Outcome.KNOWN
    assert len(sim.operator.orders) == 1
    store.close()


async def _until(there, most_s=60):
    """Wait for an event in the simulator's thread, which does not tell us of it."""
    for _ in range(most_s * 50):
        if there():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


async def test_without_rica_nothing_is_sent(sim, order, store):
    portal = _portal(sim, store)
    for bad in ({}, {"rica_verified": True}):
        with pytest.raises(FNORicaError, match="verify_identity"):
            await portal.create_order("vumatel", {**{k: v for k, v in order.items() if k != "rica"}, **bad})
    assert not sim.operator.orders
    assert await portal.list_orders() == []


async def test_rica_is_found_in_the_register(sim, order, rica):
    class Register:
        async def find(self, customer_id):
            return rica if customer_id == "cust-1" else None

    portal = FNOMasterPortal({"vumatel": {"base_url": sim.url, "api_key": "sim-key"}}, register=Register())
    del order["rica"]
    assert (await portal.create_order("vumatel", order)).rica_verified
    with pytest.raises(FNORicaError):
        await portal.create_order("vumatel", {**order, "reference": "ORD-2", "customer_id": "cust-2"})


def test_identity_is_checked_and_forgotten():
    given_fields = {"verified_by": "t", "method": "video", "documents": ["ID"], "evidence": b"x"}
    record = verify_identity(id_number=ID_NUMBER, **given_fields)
    assert ID_NUMBER not in record.model_dump_json()
    for wrong in ("8001015009088", "8013015009087", "123", ""):
        with pytest.raises(FNOValidationError) as caught:
            verify_identity(id_number=wrong, **given_fields)
        assert not wrong or wrong not in str(caught.value)
    with pytest.raises(FNOValidationError, match="verified_by"):
        verify_identity(id_number=ID_NUMBER, **{**given_fields, "verified_by": ""})


async def test_id_numbers_are_nowhere(sim, order, tmp_path, caplog):
    """Through order, refusal, event, audit, log and error: the number leaves no trace."""
    caplog.set_level(logging.DEBUG)
    store = SqliteStore(tmp_path / "orders.db")
    audit = MemoryAudit()
    portal = FNOMasterPortal(
        {"vumatel": {"base_url": sim.url, "api_key": "sim-key", "webhook_secret": "s"}},
        store=store,
        audit=audit,
    )
    for bad in (
        {"notes": f"ID {ID_NUMBER}"},
        {"id_number": ID_NUMBER},
        {"contact": {"n": "800101 5009 087"}},
    ):
        with pytest.raises(FNOValidationError) as caught:
            await portal.create_order("vumatel", {**order, **bad})
        assert ID_NUMBER not in str(caught.value)
    made = await portal.create_order("vumatel", order)
    body = json.dumps(
        {"event_id": "e1", "order_id": made.fno_reference, "status": "accepted", "note": f"of {ID_NUMBER}"}
    ).encode()
    stamp = str(int(time.time()))
    await portal.receive_webhook(
        "vumatel", body, {"X-FNO-Timestamp": stamp, "X-FNO-Signature": sign("s", stamp, body)}
    )
    await portal.cancel_order("ORD-1", f"customer {ID_NUMBER} moved")
    with pytest.raises(FNOValidationError, match="identity number"):
        await portal.check_all_coverage_detailed(f"house of {ID_NUMBER}")
    store.close()
    for file in tmp_path.iterdir():
        assert ID_NUMBER.encode() not in file.read_bytes()
    logged = "".join(one.getMessage() for one in caplog.records)
    assert "HTTP Request: POST" in logged
    assert ID_NUMBER not in "".join(str(one) for one in audit) + logged
    assert len(audit) > 3


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"requested_date": "2020-01-01"}, "in the past"),
        ({"type": "takeover"}, "losing_isp"),
        ({"type": "cancellation", "service_reference": "S1"}, "effective_date"),
        ({"type": "relocation", "service_reference": "S1"}, "new_address"),
        ({"type": "gift"}, "type"),
        ({"address": " "}, "empty"),
        ({"customer_id": ""}, "customer_id"),
        ({"unheard_of": 1}, "unheard_of"),
        ({"package": ""}, "package"),
    ],
)
async def test_bad_orders_are_refused_before_sending(sim, order, bad, says):
    with pytest.raises(FNOValidationError, match=says) as caught:
        await _portal(sim).create_order("vumatel", {**order, **bad})
    assert caught.value.fno == "vumatel"
    assert not sim.operator.orders


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "takeover", "losing_isp": "Other ISP"},
        {"type": "upgrade", "service_reference": "S1", "package": "100/100 Mbps"},
        {"type": "downgrade", "service_reference": "S1"},
        {"type": "relocation", "service_reference": "S1", "new_address": "1 High Street, Durban"},
        {"type": "cancellation", "service_reference": "S1", "effective_date": "2099-01-31", "package": ""},
    ],
)
async def test_every_type_of_order(sim, order, fields):
    assert (await _portal(sim).create_order("vumatel", {**order, **fields})).type.value == fields["type"]


async def test_package_not_on_offer_is_known_from_coverage(sim, order):
    portal = _portal(sim)
    await portal.check_all_coverage(order["address"])
    with pytest.raises(FNOOrderError, match="On offer: 50/50 Mbps"):
        await portal.create_order("vumatel", {**order, "package": "2/2 Mbps"})
    assert not sim.operator.orders


async def test_refused_order_is_rejected_for_good(sim, order):
    portal = _portal(sim)
    with pytest.raises(FNOOrderError, match="not on offer"):
        await portal.create_order("vumatel", {**order, "package": "2/2 Mbps"})
    assert (await portal.get_order("ORD-1")).status is OrderStatus.REJECTED


def _news_of(portal, made):
    """Sends signed news of one order, as its operator does."""

    async def call(event_id, status, at):
        body = json.dumps(
            {"event_id": event_id, "order_id": made.fno_reference, "status": status, "occurred_at": at}
        ).encode()
        stamp = str(int(time.time()))
        headers = {"X-FNO-Timestamp": stamp, "X-FNO-Signature": sign("s3cret", stamp, body)}
        return await portal.receive_webhook("vumatel", body, headers)

    return call


async def test_events_late_duplicate_and_out_of_order(sim, order, store):
    portal = _portal(sim, store)
    made = await portal.create_order("vumatel", order)
    call = _news_of(portal, made)

    assert (await call("e1", "in_progress", "2026-11-20T10:00:00+02:00")).status is OrderStatus.IN_PROGRESS
    assert (await call("e1", "in_progress", "2026-11-20T10:00:00+02:00")).status is OrderStatus.IN_PROGRESS
    assert (await call("e0", "scheduled", "2026-11-19T10:00:00+02:00")).status is OrderStatus.IN_PROGRESS
    assert (await call("e2", "completed", "2026-11-21T10:00:00+02:00")).status is OrderStatus.COMPLETED
    assert (await call("e3", "in_progress", "2026-11-22T10:00:00+02:00")).status is OrderStatus.COMPLETED
    log = await portal.list_events("ORD-1")
    assert [(one.dedupe_key, one.applied) for one in log if one.source.value == "webhook"] == [
        ("webhook:e1", True), ("webhook:e0", False), ("webhook:e2", True), ("webhook:e3", False),
    ]  # fmt: skip
    assert [one.sequence for one in log] == sorted(one.sequence for one in log)
    assert (await portal.get_order("ORD-1")).completed_date == "2026-11-21"
    with pytest.raises(FNOWebhookError):
        await portal.receive_webhook(
            "vumatel", b"{}", {"X-FNO-Timestamp": "1", "X-FNO-Signature": "sha256=00"}
        )


async def test_news_of_the_future_does_not_make_later_news_old(sim, order, store):
    """A sender whose clock is wrong, or a forged date: the order must not stand still until then."""
    portal = _portal(sim, store)
    made = await portal.create_order("vumatel", order)
    call = _news_of(portal, made)

    assert (await call("e1", "accepted", "2099-01-01T00:00:00Z")).status is OrderStatus.ACCEPTED
    assert (await call("e2", "in_progress", datetime.now(UTC).isoformat())).status is OrderStatus.IN_PROGRESS
    assert (await call("e3", "completed", "2099-01-01T00:00:00Z")).completed_date < "2099"


async def test_polling_follows_the_operator(sim, order, store):
    portal = _portal(sim, store)
    made = await portal.create_order("vumatel", order)
    for status in ("accepted", "held", "in_progress", "held", "completed"):
        sim.operator.set_status(made.fno_reference, status)
        polled = await portal.poll_orders()
        assert polled["ORD-1"].status.value == status
        assert (await portal.poll_orders()).get("ORD-1", polled["ORD-1"]).status.value == status
    assert await portal.poll_orders() == {}


async def test_appointment_and_cancellation(sim, order, store):
    portal = _portal(sim, store)
    await portal.create_order("vumatel", order)
    slots = await portal.list_appointments("ORD-1")
    with pytest.raises(FNOValidationError, match="past"):
        await portal.book_appointment("ORD-1", "2020-01-01")
    with pytest.raises(FNOValidationError, match="no date"):
        await portal.book_appointment("ORD-1", "soon")
    booked = await portal.book_appointment("ORD-1", slots[0])
    assert (booked.status, booked.scheduled_date) == (OrderStatus.SCHEDULED, slots[0])
    gone = await portal.cancel_order("ORD-1", "moved")
    assert (gone.status, gone.cancellation) == (OrderStatus.CANCELLED, Cancellation.COMPLETED)
    with pytest.raises(FNOTransitionError, match="cannot be cancelled"):
        await portal.cancel_order("ORD-1", "again")


async def test_refused_cancellation_leaves_the_order(sim, order, store):
    portal = _portal(sim, store)
    made = await portal.create_order("vumatel", order)
    sim.operator.set_status(made.fno_reference, "in_progress")
    await portal.refresh_order("ORD-1")
    kept = await portal.cancel_order("ORD-1", "too late")
    assert (kept.status, kept.cancellation) == (OrderStatus.IN_PROGRESS, Cancellation.REJECTED)


async def test_cancellation_refused_by_an_error_is_rejected(sims, order, store):
    sim = sims["evotel", "aex"]
    portal = FNOMasterPortal({"evotel": {"base_url": sim.url, "api_key": "sim-key"}}, store=store)
    made = await portal.create_order("evotel", order)
    sim.operator.set_status(made.fno_reference, "in_progress")
    kept = await portal.cancel_order("ORD-1", "too late")
    assert (kept.status, kept.cancellation) == (OrderStatus.SUBMITTED, Cancellation.REJECTED)
    assert "past that" in (await portal.list_events("ORD-1"))[-1].note


async def test_cancellation_is_stored_before_it_is_sent(sim, order, store):
    """Lost on the way it is of unknown outcome, and a poll settles it; never sent, it leaves no trace on the order."""
    portal = _portal(sim, store)
    await portal.create_order("vumatel", order)
    away = _portal(sim, store, base_url="http://127.0.0.1:9")
    with pytest.raises(FNOUnavailableError):
        await away.cancel_order("ORD-1", "moved")
    assert (await portal.get_order("ORD-1")).cancellation is None
    seen = []

    async def watched(self, order_id, reason):
        seen.append((await store.get("ORD-1")).order.cancellation)
        self_answer = await real(order_id, reason)
        raise FNOTimeoutError(f"lost: {self_answer}", fno="vumatel")

    client = portal.clients["vumatel"]
    real, client.cancel_order = client.cancel_order, watched.__get__(client)
    with pytest.raises(FNOTimeoutError):
        await portal.cancel_order("ORD-1", "moved")
    assert seen == [Cancellation.UNKNOWN]
    assert (await portal.get_order("ORD-1")).cancellation is Cancellation.UNKNOWN
    done = await portal.refresh_order("ORD-1")
    assert (done.status, done.cancellation) == (OrderStatus.CANCELLED, Cancellation.COMPLETED)


async def test_number_of_another_order_is_not_taken(sim, order, store):
    """An operator that gives one number twice: the second order stays unknown, and the first is not touched."""
    portal = _portal(sim, store)
    made = await portal.create_order("vumatel", order)

    async def same(order_data):
        return {"fno_reference": made.fno_reference, "status": "submitted"}

    portal.clients["vumatel"].create_order = same
    with pytest.raises(FNODuplicateError, match="belongs to another order"):
        await portal.create_order("vumatel", {**order, "reference": "ORD-2"})
    assert (await portal.get_order("ORD-2")).outcome is Outcome.UNKNOWN
    assert (await portal.get_order("ORD-1")) == made


async def test_webhook_that_is_signed_and_strange(sim, order):
    portal = FNOMasterPortal(
        {"cafe": {"base_url": sim.url, "api_key": "k", "driver": "tmf", "webhook_secret": "s3cret"}}
    )
    body, stamp = json.dumps({"eventId": "e", "event": "not an object"}).encode(), str(int(time.time()))
    headers = {"X-FNO-Timestamp": stamp, "X-FNO-Signature": sign("s3cret", stamp, body)}
    with pytest.raises(FNOWebhookError, match="could not be read") as caught:
        await portal.receive_webhook("cafe", body, headers)
    assert caught.value.fno == "cafe"


async def test_openserve_cancellation_is_pending_until_told(sims, order):
    sim = sims["openserve", "openserve"]
    portal = FNOMasterPortal({"openserve": {"base_url": sim.url, "api_key": "sim-key"}})
    await portal.create_order("openserve", {**order, "address_keys": {"AMID": "AM1"}})
    asked = await portal.cancel_order("ORD-1", "moved")
    assert (asked.status, asked.cancellation) == (OrderStatus.PENDING_CANCELLATION, Cancellation.REQUESTED)
    done = await portal.refresh_order("ORD-1")
    assert (done.status, done.cancellation) == (OrderStatus.CANCELLED, Cancellation.COMPLETED)


async def test_faults_with_severity(sim):
    portal = _portal(sim)
    taken = await portal.submit_fault("vumatel", {"description": "no light", "severity": "critical"})
    assert (await portal.get_fault_status("vumatel", taken["fault_id"]))["status"] == "open"
    with pytest.raises(FNOValidationError, match="severity"):
        await portal.submit_fault("vumatel", {"description": "x", "severity": "apocalyptic"})


@given(st.lists(st.sampled_from(list(OrderStatus)), max_size=30))
def test_no_walk_leaves_a_final_state(walk):
    state = OrderStatus.PENDING
    for wanted in walk:
        if wanted in LEGAL[state]:
            assert not is_final(state)
            state = wanted
    assert set(LEGAL) == set(OrderStatus)
