"""What every OrderStore has to do, as rules that anybody can run on a store of their own.

    @pytest.mark.parametrize("rule", STORE_RULES, ids=lambda rule: rule.__name__)
    async def test_contract(rule, tmp_path):
        await rule(StoreSubject(open=lambda: MyStore(tmp_path / "orders"), close=lambda store: store.close()))

Each rule wants storage of its own, empty before it. `open` is called several times within a rule: a durable store finds
what the earlier one left there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from fno_portal.errors import FNODuplicateError
from fno_portal.models import (
    Cancellation,
    EventSource,
    FNOOrder,
    OrderEvent,
    OrderRequest,
    OrderStatus,
    OrderType,
    Outcome,
    RicaVerification,
    UnmatchedMessage,
)
from fno_portal.orders.store import OrderRecord, OrderStore

AT = datetime(2026, 11, 20, 9, 30, 15, 250_000, tzinfo=UTC)
_CALLERS = 8


def _leave(_: Any) -> None:
    """A store that needs no closing."""


@dataclass(frozen=True, slots=True)
class StoreSubject:
    """How a store is opened over one storage, and closed. `durable`: whether a new one finds what the old one kept."""

    open: Callable[[], OrderStore]
    close: Callable[[Any], None] = _leave
    durable: bool = True


StoreRule = Callable[[StoreSubject], Awaitable[None]]


@contextlib.contextmanager
def _store(subject: StoreSubject) -> Iterator[OrderStore]:
    store = subject.open()
    try:
        yield store
    finally:
        subject.close(store)


def record(reference: str, **fields: Any) -> OrderRecord:
    """An order that was not sent yet; `fields` change the order."""
    request = OrderRequest(
        reference=reference,
        type=OrderType.TAKEOVER,
        customer_id="cust-1",
        address="12 Main Road, Rondebosch",
        address_keys={"AMID": "AM1"},
        package="50/50 Mbps",
        losing_isp="Other ISP",
        requested_date=date(2099, 1, 5),
        rica=RicaVerification(
            verified_by="thandi", verified_at=AT, method="video", documents=("ID",), evidence_hash="0" * 64
        ),
    )
    order = FNOOrder(
        id=reference, fno="vumatel", customer_id="cust-1", address=request.address, package=request.package,
        status=OrderStatus.PENDING, rica_verified=True, type=request.type, outcome=Outcome.NOT_SENT,
    )  # fmt: skip
    return OrderRecord(order.model_copy(update=fields), request)


def event(reference: str, key: str, **fields: Any) -> OrderEvent:
    """A line of the log."""
    given = {"fno": "vumatel", "source": EventSource.WEBHOOK, "recorded_at": AT, **fields}
    return OrderEvent(reference=reference, dedupe_key=key, **given)


def moved(kept: OrderRecord, **fields: Any) -> OrderRecord:
    """The record with its order changed."""
    return replace(kept, order=kept.order.model_copy(update=fields))


async def _kept(store: OrderStore, reference: str) -> OrderRecord:
    found = await store.get(reference)
    assert found is not None, f"{reference} is not there"
    return found


async def order_comes_back_as_it_was_stored(subject: StoreSubject) -> None:
    """Every field of order, request and verification, and version 0; an unknown reference is None."""
    with _store(subject) as store:
        asked = record("A-1", notes="two floors", fno_reference=None)
        assert await store.get("A-1") is None
        assert await store.add(asked) == asked
        assert await store.get("A-1") == asked
        assert (await _kept(store, "A-1")).fingerprint == asked.fingerprint


async def first_of_a_reference_stays(subject: StoreSubject) -> None:
    """A second one under the same reference answers the first, also of many callers at once."""
    with _store(subject) as store:
        several = [record("A-1", notes=f"caller {number}") for number in range(_CALLERS)]
        answers = await asyncio.gather(*(store.add(one) for one in several))
        assert len({one.order.notes for one in answers}) == 1
        assert await _kept(store, "A-1") == answers[0]
        assert len(await store.list_orders()) == 1


async def claim_is_given_to_one(subject: StoreSubject) -> None:
    """Of many callers at once exactly one may send; the moment is kept and the version counts."""
    with _store(subject) as store:
        await store.add(record("A-1"))
        given = await asyncio.gather(*(store.claim("A-1", AT) for _ in range(_CALLERS)))
        assert sorted(given) == [False] * (_CALLERS - 1) + [True]
        kept = await _kept(store, "A-1")
        assert (kept.order.outcome, kept.sent_at, kept.version) == (Outcome.SENDING, AT, 1)


async def claim_needs_an_order_not_sent(subject: StoreSubject) -> None:
    """No claim of what is unknown, being sent, known or of unknown outcome."""
    with _store(subject) as store:
        assert await store.claim("A-0", AT) is False
        for outcome in (Outcome.SENDING, Outcome.UNKNOWN, Outcome.KNOWN):
            await store.add(record(f"A-{outcome.value}", outcome=outcome))
            assert await store.claim(f"A-{outcome.value}", AT) is False


async def save_replaces_and_logs_in_one_step(subject: StoreSubject) -> None:
    """The order and its event, and the version one higher."""
    with _store(subject) as store:
        kept = await store.add(record("A-1"))
        changes = {
            "status": OrderStatus.PENDING_CANCELLATION,
            "outcome": Outcome.KNOWN,
            "fno_reference": "VUM-1",
            "scheduled_date": "2099-01-05",
            "completed_date": "2099-01-06",
            "cancellation": Cancellation.REQUESTED,
        }
        assert await store.save(moved(kept, **changes), event("A-1", "e1", applied=True)) is True
        after = await _kept(store, "A-1")
        assert after.order == kept.order.model_copy(update=changes)
        assert (after.version, after.request) == (1, kept.request)
        assert [one.dedupe_key for one in await store.list_events("A-1")] == ["e1"]
        assert await store.save(moved(after, notes="no event")) is True


async def save_of_an_old_version_does_nothing(subject: StoreSubject) -> None:
    """Neither the order nor the log changes; of many callers at once exactly one wins."""
    with _store(subject) as store:
        kept = await store.add(record("A-1"))
        tries = [
            store.save(moved(kept, notes=f"caller {number}"), event("A-1", f"e{number}"))
            for number in range(_CALLERS)
        ]
        assert sorted(await asyncio.gather(*tries)) == [False] * (_CALLERS - 1) + [True]
        log = await store.list_events("A-1")
        assert len(log) == 1
        assert (await _kept(store, "A-1")).order.notes == f"caller {log[0].dedupe_key[1:]}"
        assert await store.save(record("A-0")) is False
        assert await store.get("A-0") is None


async def save_with_known_news_does_nothing(subject: StoreSubject) -> None:
    """The same news twice is one event, and moves the order once."""
    with _store(subject) as store:
        kept = await store.add(record("A-1"))
        assert await store.append(event("A-1", "e1")) is True
        assert await store.save(moved(kept, notes="again"), event("A-1", "e1")) is False
        assert await _kept(store, "A-1") == kept
        assert len(await store.list_events("A-1")) == 1


async def number_belongs_to_one_order(subject: StoreSubject) -> None:
    """An order is found by its operator's number, which no second order of that operator can have."""
    with _store(subject) as store:
        first, second = await store.add(record("A-1")), await store.add(record("A-2"))
        other = await store.add(record("B-1", fno="openserve"))
        assert await store.find("vumatel", "N-1") is None
        assert await store.save(moved(first, fno_reference="N-1"))
        assert await store.save(moved(other, fno_reference="N-1"))
        found = await store.find("vumatel", "N-1")
        assert found is not None
        assert found.order.id == "A-1"
        error = await _duplicate(store.save(moved(second, fno_reference="N-1"), event("A-2", "e1")))
        assert error.fno == "vumatel"
        assert await _kept(store, "A-2") == second
        assert await store.list_events("A-2") == []
        assert await store.save(moved(await _kept(store, "A-1"), notes="its own number again"))


async def _duplicate(call: Awaitable[bool]) -> FNODuplicateError:
    try:
        await call
    except FNODuplicateError as error:
        return error
    raise AssertionError("the number was given twice")


async def list_is_oldest_first_and_filtered(subject: StoreSubject) -> None:
    """By operator, by outcome, by both; a change does not move an order in the list."""
    with _store(subject) as store:
        for number, fno in enumerate(("vumatel", "openserve", "vumatel"), start=1):
            await store.add(record(f"A-{number}", fno=fno))
        await store.claim("A-1", AT)

        async def listed(**wanted: Any) -> list[str]:
            return [one.order.id for one in await store.list_orders(**wanted)]

        assert await listed() == ["A-1", "A-2", "A-3"]
        assert await listed(fno="vumatel") == ["A-1", "A-3"]
        assert await listed(outcome=Outcome.NOT_SENT) == ["A-2", "A-3"]
        assert await listed(fno="vumatel", outcome=Outcome.SENDING) == ["A-1"]
        assert await listed(fno="frogfoot") == []


async def log_is_in_order_and_complete(subject: StoreSubject) -> None:
    """Sequence numbers grow; every field comes back; the log of one order holds no other's."""
    with _store(subject) as store:
        sast = timezone(timedelta(hours=2))
        full = event(
            "A-1", "e1", source=EventSource.MAIL, status=OrderStatus.HELD, occurred_at=AT.astimezone(sast), applied=True,
            note="late", scheduled_date="2099-01-05", evidence={"subject": "Größe \u2713", "list": [1, None, {"a": True}]},
        )  # fmt: skip
        assert await store.append(full) is True
        assert await store.append(event("A-2", "e2")) is True
        assert await store.append(event("A-1", "e3")) is True
        log = await store.list_events("A-1")
        assert [one.dedupe_key for one in log] == ["e1", "e3"]
        numbers = [one.sequence for one in log]
        assert all(one is not None for one in numbers)
        assert numbers == sorted(set(numbers), key=lambda one: one or 0)
        assert log[0].model_copy(update={"sequence": None}) == full


async def news_is_known_by_operator_and_key(subject: StoreSubject) -> None:
    """The same key of another operator is other news."""
    with _store(subject) as store:
        assert await store.has_event("vumatel", "e1") is False
        given = await asyncio.gather(*(store.append(event("A-1", "e1")) for _ in range(_CALLERS)))
        assert sorted(given) == [False] * (_CALLERS - 1) + [True]
        assert await store.has_event("vumatel", "e1") is True
        assert await store.has_event("openserve", "e1") is False
        assert await store.append(event("B-1", "e1", fno="openserve")) is True


async def unmatched_mails_queue(subject: StoreSubject) -> None:
    """Oldest first, each key once, until a person takes it off."""
    with _store(subject) as store:
        first = UnmatchedMessage(
            key="k1",
            fno="vumatel",
            reason="unreadable",
            sender="a@b",
            subject="s",
            received_at=AT,
            excerpt="x",
        )
        second = UnmatchedMessage(key="k2", fno="vumatel", reason="no order")
        assert await store.add_unmatched(first) is True
        assert await store.add_unmatched(second) is True
        assert await store.add_unmatched(first.model_copy(update={"reason": "other"})) is False
        assert await store.list_unmatched() == [first, second]
        assert await store.remove_unmatched("k1") is True
        assert await store.remove_unmatched("k1") is False
        assert await store.list_unmatched() == [second]


async def keys_of_places_are_kept(subject: StoreSubject) -> None:
    """Per operator and place; later ones stand in the stead of earlier ones."""
    with _store(subject) as store:
        assert await store.keys("evotel", "12 main road") == {}
        await store.keep_keys("evotel", "12 main road", {"premiseId": "P1", "areaId": "A1"})
        await store.keep_keys("evotel", "12 main road", {"premiseId": "P2"})
        await store.keep_keys("openserve", "12 main road", {"AMID": "7"})
        assert await store.keys("evotel", "12 main road") == {"premiseId": "P2"}
        assert await store.keys("openserve", "12 main road") == {"AMID": "7"}
        assert await store.keys("evotel", "13 main road") == {}


async def everything_outlives_the_process(subject: StoreSubject) -> None:
    """A durable store, opened anew, has all of it, and goes on counting."""
    if not subject.durable:
        return
    with _store(subject) as store:
        await store.add(record("A-1"))
        await store.claim("A-1", AT)
        await store.save(moved(await _kept(store, "A-1"), fno_reference="N-1"), event("A-1", "e1"))
        await store.add_unmatched(UnmatchedMessage(key="k1", fno="vumatel", reason="r"))
        await store.keep_keys("vumatel", "place", {"id": "1"})
        before = await _kept(store, "A-1")
    with _store(subject) as store:
        assert await _kept(store, "A-1") == before
        assert await store.claim("A-1", AT) is False
        assert await store.has_event("vumatel", "e1") is True
        assert await store.append(event("A-1", "e2")) is True
        assert [one.dedupe_key for one in await store.list_events("A-1")] == ["e1", "e2"]
        assert [one.key for one in await store.list_unmatched()] == ["k1"]
        assert await store.keys("vumatel", "place") == {"id": "1"}


STORE_RULES: tuple[StoreRule, ...] = (
    order_comes_back_as_it_was_stored,
    first_of_a_reference_stays,
    claim_is_given_to_one,
    claim_needs_an_order_not_sent,
    save_replaces_and_logs_in_one_step,
    save_of_an_old_version_does_nothing,
    save_with_known_news_does_nothing,
    number_belongs_to_one_order,
    list_is_oldest_first_and_filtered,
    log_is_in_order_and_complete,
    news_is_known_by_operator_and_key,
    unmatched_mails_queue,
    keys_of_places_are_kept,
    everything_outlives_the_process,
)
