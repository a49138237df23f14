from __future__ import annotations

import json

import pytest

from netsapiens_asyncio import VALID_MODELS, InvalidResponse, parse_events
from netsapiens_asyncio.events import CallEvent, CdrEvent, MessageEvent
from netsapiens_asyncio.testing.state import new_cdr


def test_a_cdr_in_the_spelling_of_api_v2():
    record = new_cdr("testdomain.com", 1_732_558_522, 63)
    (event,) = parse_events(json.dumps(record).encode(), "cdr")
    assert isinstance(event, CdrEvent)
    assert (event.id, event.identity) == (record["id"], record["id"])
    assert event.caller == "18585550100"
    assert event.orig_user == "123"
    assert (event.started_at, event.ended_at) == (1_732_558_522, 1_732_558_585)
    assert event.talk_seconds == 60
    assert event.raw["core-server"] == "core1.example.com"


def test_a_cdr_in_the_spelling_of_older_cores():
    (event,) = parse_events(
        {
            "cdr_id": 5,
            "time_start": 1_700_000_000,
            "time_release": 1_700_000_060,
            "time_answer": 0,
            "orig_sub": 12,
        },
        "cdr",
    )
    assert (event.id, event.orig_user, event.answered_at) == ("5", "12", None)


def test_a_message_hides_its_text_and_counts_its_states_apart():
    sending = {"id": 1, "text": "my secret", "status": "sending", "messagesession-id": "s"}
    first, second = parse_events([sending, {**sending, "status": "delivered"}], "message")
    assert isinstance(first, MessageEvent)
    assert first.text == "my secret"
    assert "secret" not in repr(first)
    assert first.identity != second.identity


def test_a_call():
    (event,) = parse_events('{"orig_callid": "x", "ani": 1858, "time_begin": "2023-07-19 18:32:58"}', "call")
    assert isinstance(event, CallEvent)
    assert (event.call_id, event.caller) == ("x", "1858")


@pytest.mark.parametrize("model", VALID_MODELS)
def test_every_model_parses_an_empty_record(model):
    (event,) = parse_events([{}], model)
    assert event.model == model
    assert event.identity is None


@pytest.mark.parametrize("body", [b"", b"nonsense", b"\xff\xfe", b"[1]", "null"])
def test_what_is_no_event_is_named(body):
    with pytest.raises(InvalidResponse):
        parse_events(body, "cdr")


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="model"):
        parse_events({}, "weather")
