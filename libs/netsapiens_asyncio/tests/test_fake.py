"""The fake against a small contract of our own: the keys and types that its answers have to have."""

from __future__ import annotations

import asyncio
import sys

import httpx
import pytest

from netsapiens_asyncio import NetsapiensAPI, RateLimited, RetryPolicy
from netsapiens_asyncio.testing import FakePbx, MovedClock

text, whole, flag = str, int, bool
MAYBE = (str, type(None))
CONTRACT = {
    "/domains": {"domain": text, "reseller": text, "description": text},
    "/domains/~/users": {
        "domain": text,
        "user": text,
        "name-first-name": text,
        "name-last-name": text,
        "email-address": text,
        "user-scope": text,
    },
    "/domains/~/devices": {"device": text, "user": text, "domain": text},
    "/domains/~/phonenumbers": {
        "phonenumber": text,
        "domain": text,
        "dial-rule-translation-destination-user": text,
    },
    "/domains/~/smsnumbers": {
        "number": text,
        "application": text,
        "domain": text,
        "dest": text,
        "mms-capable": flag,
    },
    "/domains/~/messagesessions": {
        "user": text,
        "domain": text,
        "messagesession-id": text,
        "messagesession-remote": MAYBE,
        "messagesession-muted": text,
        "messagesession-last-datetime": MAYBE,
        "messagesession-last-sender": MAYBE,
        "messagesession-reciever-hostname": text,
        "messagesession-type": text,
    },
    "/domains/~/users/~/messagesessions/2d51df1810812ace8d138a2558d0bd79/messages": {
        "id": text,
        "timestamp": text,
        "type": text,
        "domain": text,
        "direction": text,
        "from-user-id": MAYBE,
        "dialed": MAYBE,
        "text": MAYBE,
        "terminating-number": MAYBE,
        "status": text,
        "media-type": MAYBE,
        "messagesession-id": text,
        "messagesession-participants": MAYBE,
    },
    "/subscriptions": {
        "id": text,
        "model": text,
        "post-url": text,
        "subscription-geo-support": text,
        "error-count": whole,
        "posts-count": whole,
        "status": text,
        "subscription-creation-datetime": text,
        "subscription-expires-datetime": text,
    },
    "/domains/~/calls": {
        "call-orig-call-id": text,
        "call-orig-user": text,
        "caller-id-number": text,
        "call-dialed-number": text,
        "call-start-datetime": text,
    },
    "/cdrs?datetime-start=2000-01-01T00:00:00Z&datetime-end=2100-01-01T00:00:00Z": {
        "id": text,
        "domain": text,
        "call-start-datetime": text,
        "call-answer-datetime": text,
        "call-disconnect-datetime": text,
        "call-direction": whole,
        "call-talking-duration-seconds": whole,
        "call-orig-caller-id": whole,
        "call-orig-user": whole,
        "call-term-user": (type(None),),
        "is-trace-expected": flag,
    },
}


@pytest.fixture
async def furnished(pbx, client):
    pbx.state.add_device("testdomain.com", "123", "123a")
    pbx.state.add_cdr("testdomain.com", pbx.clock.time() - 60, 60)
    await client.request("POST", "/subscriptions", json={"model": "cdr", "post-url": "https://example.com/x"})
    call = {"synchronous": "no", "call-id": "c1", "call-term-user": "18585551234"}
    await client.request("POST", "/domains/~/users/~/calls", json=call)
    return client


@pytest.mark.parametrize("path", CONTRACT)
async def test_a_list_answers_records_of_its_contract(furnished, path):
    records = await furnished.request("GET", path)
    assert isinstance(records, list)
    assert records
    for record in records:
        for key, kind in CONTRACT[path].items():
            assert isinstance(record[key], kind), key


async def test_limits_are_the_vendors(client, pbx):
    for number in range(150):
        pbx.state.add_user("company.com", f"{2000 + number}")
    path = "/domains/company.com/users"
    assert len(await client.request("GET", path)) == 100
    assert len(await client.request("GET", path, params={"limit": 1000, "start": 100})) == 51
    for wrong in ({"limit": 0}, {"limit": 1001}, {"start": "x"}):
        with pytest.raises(Exception, match="has to be"):
            await client.request("GET", path, params=wrong)


async def test_the_fake_runs_by_itself_and_is_steered_from_outside(credentials):
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "netsapiens_asyncio.testing", "--port", "0", "--cdrs", "3"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        url = (await asyncio.wait_for(child.stdout.readline(), 30)).decode().strip()
        async with (
            httpx.AsyncClient(base_url=url) as control,
            NetsapiensAPI({**credentials, "base_url": url}, retries=RetryPolicy(attempts=1)) as client,
        ):
            assert (await client.get_token())["user"] == "123"
            armed = await control.post("/_fake/faults", json={"kind": "rate_limit", "path": "/domains"})
            assert armed.json() == {"armed": 1}
            with pytest.raises(RateLimited):
                await client.request("GET", "/domains")
            assert (await control.post("/_fake/faults", json={"kind": "earthquake"})).status_code == 400
            await control.delete("/_fake/faults")
            assert (await control.post("/_fake/cdrs", json={"count": 4})).json() == {"cdrs": 7}
            assert (await control.get("/ns-api/v2/domains")).status_code == 401
            assert (await control.get("/ns-api/v2/weather")).status_code == 404
            assert (await control.patch("/ns-api/v2/domains")).status_code == 405
    finally:
        child.terminate()
        assert await asyncio.wait_for(child.wait(), 30) == 0


async def test_events_reach_a_receiver_over_the_network(pbx, client):
    from netsapiens_asyncio.testing import EventSink, serve

    sink = EventSink()
    async with serve(sink) as url:
        await client.request("POST", "/subscriptions", json={"model": "cdr", "post-url": f"{url}/cdr"})
        record = await pbx.add_call("testdomain.com")
        sink.failing = True
        await pbx.add_call("testdomain.com")
    ((path, body),) = sink.posts
    assert path == "/cdr"
    assert record["id"].encode() in body
    (subscription,) = await client.request("GET", "/subscriptions")
    assert (subscription["posts-count"], subscription["error-count"], subscription["status"]) == (
        2,
        1,
        "error",
    )


async def test_a_moved_clock_wakes_sleepers_in_order():
    clock = MovedClock(0)
    woken = []

    async def sleeper(seconds):
        await clock.sleep(seconds)
        woken.append((seconds, clock.time()))

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (30, 10, 50)]
    await clock.advance(40)
    assert woken == [(10, 10), (30, 30)]
    await clock.advance(10)
    assert woken[-1] == (50, 50)
    await asyncio.gather(*tasks)


def test_an_unknown_fault_is_refused():
    with pytest.raises(ValueError, match="unknown fault"):
        FakePbx().faults.add("earthquake")
