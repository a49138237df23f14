"""What the issue lists: each fault, on the wire where the wire matters."""

from __future__ import annotations

import time

import httpx
import pytest

from netsapiens_asyncio import (
    BadRequest,
    Conflict,
    InvalidResponse,
    MessageAPI,
    NetsapiensAPI,
    NetsapiensError,
    NoAnswer,
    NotApplied,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    RetryPolicy,
    ServerError,
    Unreachable,
    UsersAPI,
)
from netsapiens_asyncio.testing import FakePbx, MovedClock, serve

SESSION = "s" * 32
SMS = {
    "message_type": "sms",
    "message": "Exactly once",
    "destination": "12135550177",
    "from_number": "1987654321",
}


def sent(pbx, session=SESSION):
    return [each for each in pbx.state.messages.get(session, []) if each["text"] == SMS["message"]]


def requests_for(pbx, method, ending):
    return [status for verb, path, status in pbx.seen if verb == method and path.endswith(ending)]


async def test_429_waits_as_long_as_it_is_told(client, pbx):
    await client.get_token()
    pbx.faults.add("rate_limit", path="/domains/~$", seconds=1)
    began = time.monotonic()
    await client.request("GET", "/domains/~")
    assert time.monotonic() - began >= 1
    assert requests_for(pbx, "GET", "/domains/~") == [429, 200]


async def test_429_is_safe_to_repeat_for_a_send(client, pbx):
    pbx.faults.add("rate_limit", method="POST", path="/messages$", seconds=0)
    await MessageAPI(client).send_message(**SMS, messagesession=SESSION)
    assert len(sent(pbx)) == 1


async def test_429_that_asks_for_too_long_is_raised_at_once(client, pbx):
    pbx.faults.add("rate_limit", path="/domains/~$", seconds=3600)
    with pytest.raises(RateLimited) as caught:
        await client.request("GET", "/domains/~")
    assert caught.value.retry_after == 3600


async def test_a_500_is_repeated_for_reads(client, pbx):
    pbx.faults.add("status", path="/domains/~$", status=500, times=2)
    await client.request("GET", "/domains/~")
    assert requests_for(pbx, "GET", "/domains/~") == [500, 500, 200]


async def test_a_500_that_stays_is_raised_with_the_words_of_the_pbx(client, pbx):
    pbx.faults.add("status", path="/domains/~$", status=503, message="Core is busy", times=None)
    with pytest.raises(ServerError) as caught:
        await client.request("GET", "/domains/~")
    error = caught.value
    assert (error.status, error.code, error.message) == (503, 503, "Core is busy")
    assert (error.method, error.path) == ("GET", "/domains/~")
    assert len(requests_for(pbx, "GET", "/domains/~")) == 4


async def test_a_500_is_not_repeated_for_a_send(client, pbx):
    pbx.faults.add("status", method="POST", path="/messages$", status=500)
    with pytest.raises(ServerError) as caught:
        await MessageAPI(client).send_message(**SMS, messagesession=SESSION)
    assert caught.value.may_have_happened
    assert requests_for(pbx, "POST", "/messages") == [500]
    assert not sent(pbx)


async def test_a_500_after_the_send_took_effect_answers_the_message(client, pbx):
    pbx.faults.add("status_after", method="POST", path="/messages$", status=502)
    answer = await MessageAPI(client).send_message(**SMS, messagesession=SESSION)
    assert answer["text"] == SMS["message"]
    assert len(sent(pbx)) == 1


@pytest.fixture
def slow(served):
    """`served`, and what is slow on it takes until its clock is moved."""
    served.pbx.clock = MovedClock(time.time())
    return served


def hurry(client):
    """Log in with patience first: what is to get no answer need not be waited for long."""
    client._wire.client.timeout = 0.2


async def test_a_slow_read_is_given_up_and_repeated(slow):
    slow.pbx.faults.add("slow", path="/domains/~$")
    policy = RetryPolicy(first_wait=0.01)
    async with NetsapiensAPI(slow.config, timeout=1, retries=policy) as client:
        assert (await client.request("GET", "/domains/~"))["domain"] == "testdomain.com"
    assert slow.pbx.faults.armed[0].hits == 1


async def test_a_read_that_is_always_slow_is_raised(slow):
    slow.pbx.faults.add("slow", path="/domains/~$", times=None)
    async with NetsapiensAPI(slow.config, retries=RetryPolicy(attempts=2)) as client:
        await client.get_token()
        hurry(client)
        with pytest.raises(NoAnswer) as caught:
            await client.request("GET", "/domains/~")
    assert not isinstance(caught.value, OutcomeUnknown)


async def test_a_connection_cut_after_a_send_was_received_does_not_send_twice(served):
    served.pbx.faults.add("cut", method="POST", path="/messages$")
    async with NetsapiensAPI(served.config) as client:
        answer = await MessageAPI(client).send_message(**SMS, messagesession=SESSION)
    assert answer["messagesession-id"] == SESSION
    assert answer["text"] == SMS["message"]
    assert len(sent(served.pbx)) == 1


async def test_the_same_in_a_new_session(served):
    served.pbx.faults.add("cut", method="POST", path="/messages$")
    async with NetsapiensAPI(served.config) as client:
        answer = await MessageAPI(client).send_message(**SMS)
    assert len(sent(served.pbx, answer["messagesession-id"])) == 1
    assert sum(len(sent(served.pbx, session)) for session in served.pbx.state.messages) == 1


async def test_a_send_that_timed_out_and_is_not_done_yet_is_unknown_and_not_repeated(slow):
    slow.pbx.faults.add("slow", method="POST", path="/messages$")
    async with NetsapiensAPI(slow.config) as client:
        await client.get_token()
        hurry(client)
        with pytest.raises(OutcomeUnknown):  # not there yet: the PBX is still at it
            await MessageAPI(client).send_message(**SMS, messagesession=SESSION)
    assert not sent(slow.pbx)
    await slow.pbx.clock.advance(1)  # the PBX gets to it in the end
    assert len(sent(slow.pbx)) == 1


async def test_a_cut_without_effect_is_reported_unknown_and_not_repeated(served):
    served.pbx.faults.add("cut_early", method="POST", path="/messages$")
    async with NetsapiensAPI(served.config) as client:
        with pytest.raises(OutcomeUnknown) as caught:
            await MessageAPI(client).send_message(**SMS, messagesession=SESSION)
    assert not sent(served.pbx)
    assert caught.value.request_id
    assert len(requests_for(served.pbx, "POST", "/messages")) == 1


async def test_an_equal_message_sent_before_is_not_taken_for_the_lost_one(client, pbx):
    messages = MessageAPI(client)
    await messages.send_message(**SMS, messagesession=SESSION)
    pbx.faults.add("cut_early", method="POST", path="/messages$")
    with pytest.raises(OutcomeUnknown):
        await messages.send_message(**SMS, messagesession=SESSION)
    pbx.faults.add("cut", method="POST", path="/messages$")
    assert (await messages.send_message(**SMS, messagesession=SESSION))["text"] == SMS["message"]
    assert len(sent(pbx)) == 2


async def test_a_message_that_was_found_once_is_not_found_for_the_next_send(client, pbx):
    messages = MessageAPI(client)
    pbx.faults.add("cut", method="POST", path="/messages$")
    await messages.send_message(**SMS, messagesession=SESSION)
    pbx.faults.add("cut_early", method="POST", path="/messages$")
    with pytest.raises(OutcomeUnknown):
        await messages.send_message(**SMS, messagesession=SESSION)
    assert len(sent(pbx)) == 1


async def test_a_lost_create_is_unknown_and_not_repeated(client, pbx):
    pbx.faults.add("cut", method="POST", path="/users$")
    with pytest.raises(OutcomeUnknown):
        await UsersAPI(client).create(
            "testdomain.com", "900", first_name="A", last_name="B", email="a@b.example"
        )
    assert ("testdomain.com", "900") in pbx.state.users
    assert len(requests_for(pbx, "POST", "/users")) == 1


async def test_a_delete_whose_answer_was_lost_is_repeated_and_done(client, pbx):
    pbx.faults.add("cut", method="DELETE", path="/users/123$")
    assert (await UsersAPI(client).delete("testdomain.com", "123"))["code"] == 202
    with pytest.raises(NotFound):
        await UsersAPI(client).delete("testdomain.com", "123")


async def test_202_without_effect_is_noticed_when_asked(client, pbx):
    pbx.faults.add("no_effect", method="POST", path="/messages$")
    with pytest.raises(NotApplied):
        await MessageAPI(client).send_message(**SMS, messagesession=SESSION, confirm=True)
    answer = await MessageAPI(client).send_message(**SMS, messagesession=SESSION, confirm=True)
    assert answer["messagesession-id"] == SESSION


async def test_no_connection_is_told_apart(credentials):
    async with serve(FakePbx()) as url:
        pass  # the port is free again
    async with NetsapiensAPI({**credentials, "base_url": url}, retries=RetryPolicy(attempts=1)) as client:
        with pytest.raises(Unreachable):
            await client.get_token()


async def test_a_connection_that_comes_back_is_used(client, pbx, monkeypatch):
    await client.get_token()
    transport = client._wire.client._transport
    direct = transport.handle_async_request
    failures = iter([True, True])

    async def flaky(request):
        if next(failures, False):
            raise httpx.ConnectError("no route", request=request)
        return await direct(request)

    monkeypatch.setattr(transport, "handle_async_request", flaky)
    await MessageAPI(client).send_message(**SMS, messagesession=SESSION)  # nothing was sent: safe to repeat
    assert len(sent(pbx)) == 1


async def test_html_instead_of_json_is_named(client, pbx):
    pbx.faults.add("html", path="/domains/~$")
    with pytest.raises(InvalidResponse, match="not JSON"):
        await client.request("GET", "/domains/~")


async def test_errors_keep_status_code_and_message(client):
    with pytest.raises(NotFound) as missing:
        await client.request("GET", "/domains/nowhere.example")
    assert (missing.value.status, missing.value.message) == (404, "Domain not found")
    with pytest.raises(Conflict) as conflict:
        await UsersAPI(client).create(
            "testdomain.com", "123", first_name="A", last_name="B", email="a@b.example"
        )
    assert conflict.value.message == "UID already exists."
    with pytest.raises(BadRequest, match="user is required"):
        await client.request("POST", "/domains/testdomain.com/users", json={})


async def test_an_error_body_is_bounded(client, pbx):
    pbx.faults.add("status", path="/domains/~$", status=400, message="x" * 100_000)
    with pytest.raises(BadRequest) as caught:
        await client.request("GET", "/domains/~")
    assert len(caught.value.body) == 2_000
    assert len(str(caught.value)) < 1_000


async def test_every_error_is_an_exception_of_the_tree(client, pbx):
    pbx.faults.add("status", path="/domains/~$", status=418)
    with pytest.raises(NetsapiensError) as caught:
        await client.request("GET", "/domains/~")
    assert isinstance(caught.value, Exception)


@pytest.mark.parametrize("segment", ["", ".", ".."])
async def test_a_path_cannot_be_left(client, segment):
    with pytest.raises(ValueError, match="path"):
        await UsersAPI(client).get("testdomain.com", segment)


async def test_a_segment_is_quoted(client, pbx):
    with pytest.raises(NotFound):
        await UsersAPI(client).get("testdomain.com", "a/b?c=d#e")
    assert pbx.seen[-1][1] == "/ns-api/v2/domains/testdomain.com/users/a%2Fb%3Fc%3Dd%23e"


@pytest.mark.parametrize("path", ["domains", "", "/domains/\n", "/domains/\x00"])
async def test_a_path_that_no_url_carries_is_refused(client, path):
    await client.get_token()
    with pytest.raises(ValueError, match="path"):
        await client.request("GET", path)
