from __future__ import annotations

import asyncio

import pytest

from netsapiens_asyncio import InvalidInput, MessageAPI, NetsapiensAPI

SESSION = "a" * 32
GOOD = {"message_type": "sms", "message": "Hi", "destination": "+12135550177", "from_number": "1987654321"}


@pytest.mark.parametrize(
    "session",
    ["short", "a" * 31, "a" * 32 + "\n", "a" * 32 + " ", "-" * 40, "ä" * 40, "", "a" * 31 + "/", 12345],
)
async def test_bad_session_ids_are_refused_in_both_methods(client, pbx, session):
    messages = MessageAPI(client)
    with pytest.raises(ValueError, match="messagesession"):
        await messages.send_message(**GOOD, messagesession=session)
    with pytest.raises(ValueError, match="messagesession"):
        await messages.get_messages(messagesession=session)
    assert not pbx.seen


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("message_type", {"message_type": "fax"}),
        ("message", {"message": None}),
        ("message", {"message": "x" * 10_001}),
        ("from_number", {"from_number": None}),
        ("from_number", {"from_number": ""}),
        ("from_number", {"from_number": "123456"}),
        ("destination", {"destination": "123456"}),
        ("destination", {"destination": "1234567890123456"}),
        ("destination", {"destination": "12135550177\n"}),
        ("destination", {"destination": "+1213555o177"}),
        ("destination", {"destination": "٣٤٥٦٧٨٩٠"}),
        ("destination", {"destination": []}),
        ("destination", {"destination": None}),
        ("destination", {"destination": ["12135550177", "x"]}),
        ("destination", {"message_type": "chat", "destination": "a b"}),
        ("data", {"data": "eHg="}),
        ("size", {"message_type": "mms", "size": 50_000_000}),
        ("size", {"message_type": "mms", "size": -1}),
        ("data", {"message_type": "mms", "data": "A" * 8_000_000, "mime_type": "image/png"}),
        ("mime_type", {"message_type": "mms", "data": "eHg=", "mime_type": "application/x-msdownload"}),
        ("mime_type", {"message_type": "mms", "data": "eHg=", "mime_type": "image"}),
        ("mime_type", {"message_type": "mms", "data": "eHg="}),
    ],
)
async def test_bad_input_is_refused_before_the_wire_with_the_field_named(client, pbx, field, changes):
    with pytest.raises(InvalidInput) as caught:
        await MessageAPI(client).send_message(**{**GOOD, **changes})
    assert caught.value.field == field
    assert not pbx.seen


async def test_the_body_on_the_wire(client, pbx, monkeypatch):
    bodies = []
    answer = pbx.answer

    async def spy(asked):
        bodies.append(asked)
        return await answer(asked)

    monkeypatch.setattr(pbx, "answer", spy)
    messages = MessageAPI(client)
    await messages.send_message(**GOOD)
    assert bodies[-1].path == "/ns-api/v2/domains/~/users/~/messages"
    assert bodies[-1].body == {
        "type": "sms",
        "message": "Hi",
        "destination": ["+12135550177"],
        "from-number": "1987654321",
    }
    await messages.send_message("chat", "Hi", ["1001", "1002@testdomain.com"], messagesession=SESSION)
    assert bodies[-1].path == f"/ns-api/v2/domains/~/users/~/messagesessions/{SESSION}/messages"
    assert bodies[-1].body["destination"] == ["1001", "1002@testdomain.com"]
    assert bodies[-1].headers["x-request-id"]


async def test_a_new_session_can_be_read(client):
    messages = MessageAPI(client)
    answer = await messages.send_message(**GOOD)
    found = await messages.get_messages(messagesession=answer["messagesession-id"])
    assert [each["text"] for each in found] == ["Hi"]
    assert found[0]["id"] == answer["id"]


async def test_delivery_states_follow_the_clock(moved):
    messages = MessageAPI(moved.client)
    answer = await messages.send_message(**GOOD)
    lost = await messages.send_message(**{**GOOD, "destination": "12135550000"})
    states = [answer["status"]]
    for _ in range(2):
        await moved.clock.advance(2)
        states.append((await messages.get_messages(answer["messagesession-id"]))[0]["status"])
    assert states == ["sending", "sent", "delivered"]
    assert (await messages.get_messages(lost["messagesession-id"]))[0]["status"] == "failed"


async def test_numbers_that_arrive_as_integers_are_text(client, pbx):
    pbx.faults.numbers_as_integers = True
    messages = MessageAPI(client)
    await messages.send_message(**{**GOOD, "message": "941173465"}, messagesession=SESSION)
    (found,) = await messages.get_messages(SESSION)
    assert found["text"] == "941173465"
    assert found["from-number"] == "1987654321"
    assert isinstance(found["id"], str)
    sessions = await messages.get_messages()
    assert all(isinstance(each["messagesession-sms-number"], str) for each in sessions)


async def test_a_lost_answer_is_found_also_when_numbers_are_integers(client, pbx):
    pbx.faults.numbers_as_integers = True
    pbx.faults.add("cut", method="POST", path="/messages$")
    answer = await MessageAPI(client).send_message(**{**GOOD, "message": "123456"}, messagesession=SESSION)
    assert answer["text"] == "123456"
    assert len(pbx.state.messages[SESSION]) == 1


async def test_one_record_as_a_bare_object_is_a_list(client, pbx):
    pbx.faults.bare_single = True
    messages = MessageAPI(client)
    await messages.send_message(**GOOD, messagesession=SESSION)
    found = await messages.get_messages(SESSION)
    assert isinstance(found, list)
    assert len(found) == 1


async def test_1500_sessions_come_over_pages_and_a_limit_is_kept(client, pbx):
    for number in range(1_500):
        pbx.state.open_session(
            "company.com", "101", f"{number:032d}", "sms", [f"1213555{number:04d}"], "1987654321"
        )
    messages = MessageAPI(client)
    found = await messages.get_messages(domain="company.com")
    assert len({each["messagesession-id"] for each in found}) == len(found) == 1_500
    assert len(await messages.get_messages(domain="company.com", limit=1_200)) == 1_200
    assert len(await messages.get_messages(domain="company.com", limit=7)) == 7
    assert len(await messages.get_messages(domain="company.com", limit=1)) == 1
    assert len(await messages.get_messages(domain="company.com", user="101")) == 1_500


@pytest.mark.parametrize("limit", [0, -1, True, "10", 1.5])
async def test_a_limit_is_a_whole_number(client, limit):
    with pytest.raises(ValueError, match="limit"):
        await MessageAPI(client).get_messages(limit=limit)


async def test_equal_messages_sent_at_once_are_all_sent_once(served):
    served.pbx.faults.add("cut", method="POST", path="/messages$", times=3)
    async with NetsapiensAPI(served.config) as client:
        messages = MessageAPI(client)
        await asyncio.gather(*(messages.send_message(**GOOD, messagesession=SESSION) for _ in range(6)))
    assert len(served.pbx.state.messages[SESSION]) == 6
