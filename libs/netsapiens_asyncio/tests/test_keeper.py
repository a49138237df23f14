"""Hours of the keeper, on a clock that is moved by hand: every event arrives, and once."""

from __future__ import annotations

import random
from types import SimpleNamespace

import httpx
import pytest

from netsapiens_asyncio import KeeperTiming, MessageAPI, NetsapiensAPI, RetryPolicy, SubscriptionKeeper
from netsapiens_asyncio.testing import EventSink, FakePbx, MovedClock

URL = "https://events.example.com/cdr"
CONFIG = {
    "base_url": "api.example.com",
    "client_id": "your_client_id",
    "client_secret": "your_client_secret",
    "username": "your_username",
    "password": "your_password",
}


@pytest.fixture
async def site():
    """A PBX that posts, a receiver, a keeper, and one clock."""
    clock = MovedClock()
    sink = EventSink()
    pbx = FakePbx(clock=clock, deliver=httpx.ASGITransport(sink, raise_app_exceptions=False))
    got: list[str] = []
    gaps = []

    async def store(event):
        got.append(getattr(event, "id", event.model))

    client = NetsapiensAPI(CONFIG, transport=pbx.transport(), clock=clock, retries=RetryPolicy(attempts=1))

    def keep(model="cdr", **options):
        keeper = SubscriptionKeeper(
            client, model, URL, on_event=store, on_gap=gaps.append, **{"domain": "testdomain.com", **options}
        )

        async def receive(_, body):
            await keeper.receive(body)

        sink.on_post = receive
        return keeper

    async with client:
        yield SimpleNamespace(clock=clock, sink=sink, pbx=pbx, got=got, gaps=gaps, client=client, keep=keep)
    await pbx.close()


async def minutes(site, count, made, every=1):
    for minute in range(count):
        if minute % every == 0:
            made.append((await site.pbx.add_call("testdomain.com", seconds=30))["id"])
        await site.clock.advance(60)


async def test_hours_of_renewals_and_a_restart_lose_no_event(site):
    made: list[str] = []
    async with site.keep() as keeper:
        await minutes(site, 70, made)  # over the first renewal
        assert keeper.renewals >= 1
        assert keeper.subscriptions_made == 1
        site.pbx.down = True  # calls go on through another core; nothing is posted
        await minutes(site, 5, made)
        site.pbx.restart(lose_subscriptions=True, lose_tokens=True)
        await minutes(site, 70, made)
        assert keeper.subscriptions_made == 2
    assert sorted(site.got) == sorted(made)
    assert len(site.got) == len(made) == 145
    assert {gap.reason for gap in site.gaps} >= {"unreachable"}
    assert all(gap.filled for gap in site.gaps)


async def test_a_restart_between_two_looks_is_noticed(site):
    made: list[str] = []
    async with site.keep() as keeper:
        await minutes(site, 3, made)
        site.pbx.restart(lose_subscriptions=True)
        made.append((await site.pbx.add_call("testdomain.com"))["id"])
        await site.clock.advance(120)
        assert keeper.subscriptions_made == 2
    assert sorted(site.got) == sorted(made)
    assert [gap.reason for gap in site.gaps] == ["gone"]


async def test_a_random_day_loses_nothing(site):
    """Down, restarts, failing receivers, dead refresh tokens and silence in any order."""
    chance = random.Random(11)
    made: list[str] = []
    async with site.keep():
        for _ in range(90):
            match chance.randrange(14):
                case 0:
                    site.pbx.down = True
                case 1 | 2:
                    site.pbx.restart(
                        lose_subscriptions=chance.random() < 0.5, lose_tokens=chance.random() < 0.5
                    )
                case 3:
                    site.sink.failing = True
                case 4 | 5:
                    site.sink.failing = False
                case 6:
                    site.pbx.state.refreshes.clear()
                case 7:
                    site.pbx.posting = False
                case 8 | 9:
                    site.pbx.posting = True
            await minutes(site, 2, made)
        site.pbx.restart(lose_subscriptions=False)
        site.pbx.posting, site.sink.failing = True, False
        await site.clock.advance(3600)
    assert sorted(site.got) == sorted(made)


async def test_a_pbx_that_stopped_posting_is_noticed_and_the_subscription_made_anew(site, caplog):
    made: list[str] = []
    async with site.keep() as keeper:
        await minutes(site, 5, made)
        site.pbx.posting = False
        await minutes(site, 20, made)
        assert keeper.subscriptions_made >= 2
        assert "were not posted" in caplog.text
        site.pbx.posting = True
        await minutes(site, 20, made)
    assert sorted(site.got) == sorted(made)


async def test_silence_without_calls_is_no_trouble(site):
    async with site.keep() as keeper:
        await site.clock.advance(7200)
        assert keeper.subscriptions_made == 1
    assert not site.gaps


async def test_silence_of_a_model_without_history_is_told(site):
    async with site.keep("presence") as keeper:
        await site.clock.advance(3000)
        await keeper.receive({"user": "123"})
        await site.clock.advance(3000)
        assert not site.gaps
        await site.clock.advance(700)
    assert [(gap.reason, gap.filled) for gap in site.gaps] == [("silence", False)]


async def test_a_receiver_that_failed_gets_its_events(site):
    made: list[str] = []
    async with site.keep():
        site.sink.failing = True
        await minutes(site, 3, made)
        site.sink.failing = False
        await minutes(site, 3, made)
    assert sorted(site.got) == sorted(made)
    assert "posts failed" in {gap.reason for gap in site.gaps}


async def test_an_equal_subscription_is_taken_over(site):
    async with site.keep() as first:
        taken = first.subscription_id
    async with site.keep() as second:
        assert second.subscription_id == taken
        assert len(site.pbx.state.subscriptions) == 1


async def test_a_renewal_without_effect_is_noticed(site):
    made: list[str] = []
    async with site.keep() as keeper:
        site.pbx.faults.add("no_effect", method="PUT", path="/subscriptions/", times=None)
        await minutes(site, 130, made)
        assert keeper.subscriptions_made >= 2
        assert keeper.renewals == 0
    assert {gap.reason for gap in site.gaps} == {"not renewed"}
    assert sorted(site.got) == sorted(made)


async def test_since_fetches_what_was_before_the_start(site):
    from datetime import UTC, datetime

    since = datetime.fromtimestamp(site.clock.time(), UTC)
    made: list[str] = []
    await minutes(site, 10, made)
    async with site.keep(since=since):
        assert sorted(site.got) == sorted(made)


async def test_a_long_call_that_ended_in_the_gap_is_found(site):
    async with site.keep():
        await site.clock.advance(120)
        site.pbx.down = True
        record = await site.pbx.add_call("testdomain.com", seconds=3 * 3600)
        await site.clock.advance(120)
        site.pbx.restart()
        await site.clock.advance(120)
    assert site.got == [record["id"]]


async def test_messages_are_fetched_too(site):
    async with site.keep("message") as keeper:
        site.pbx.restart()
        await MessageAPI(site.client).send_message("sms", "Hi", "12135550177", "1987654321")
        await site.pbx.settle()
        await site.clock.advance(120)
        assert keeper.subscriptions_made == 2
    assert (
        len(site.got) == len(set(site.got)) == 2
    )  # the one sent, and the one that was there a moment before


async def test_models_without_history_tell_the_gap(site):
    async with site.keep("presence", timing=KeeperTiming(check_every=30)):
        site.pbx.restart()
        await site.clock.advance(60)
    assert [(gap.reason, gap.filled) for gap in site.gaps] == [("gone", False)]


async def test_an_event_whose_handler_failed_comes_again(site):
    keeper = site.keep()
    failures = iter([RuntimeError("database is away")])

    async def store(event):
        for failure in failures:
            raise failure
        site.got.append(event.id)

    keeper._on_event = store
    async with keeper:
        record = await site.pbx.add_call("testdomain.com")
        assert site.got == []
        await site.clock.advance(120)
    assert site.got == [record["id"]]


async def test_a_handler_that_fails_over_history_does_not_end_the_keeper(site):
    keeper = site.keep()
    failing = True

    async def store(event):
        if failing:
            raise RuntimeError("database is away")
        site.got.append(event.id)

    keeper._on_event = store
    async with keeper:
        site.pbx.posting = False
        record = await site.pbx.add_call("testdomain.com")
        site.pbx.restart()
        await site.clock.advance(300)
        assert keeper.trouble == "handler failed"
        failing = False
        await site.clock.advance(120)
        assert keeper.trouble is None
    assert site.got == [record["id"]]


async def test_a_refused_login_is_not_repeated_quickly(site):
    site.pbx.state.accounts.clear()
    async with site.keep() as keeper:
        await site.clock.advance(3600)
        assert keeper.trouble == "unreachable"
        assert site.pbx.token_requests < 70


async def test_an_api_key_needs_no_renewal_of_tokens(site):
    config = {"base_url": "api.example.com", "api_key": "nsd_your_api_key"}
    async with NetsapiensAPI(config, transport=site.pbx.transport(), clock=site.clock) as client:
        site.client = client
        keeper = SubscriptionKeeper(client, "cdr", URL, on_event=lambda _: None, domain="testdomain.com")
        async with keeper:
            await site.clock.advance(3 * 3600)
        assert keeper.subscriptions_made == 1
    assert site.pbx.token_requests == 0


@pytest.mark.parametrize("model", ["weather", ""])
def test_an_unknown_model_is_refused(site, model):
    with pytest.raises(ValueError, match="model"):
        site.keep(model)
