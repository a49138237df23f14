"""Every example of the README runs as printed, one after the other, against the fake PBX on a port. And again."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import sys
import types
from pathlib import Path

from printed.fences import read_examples
from printed.tolerance import in_coroutine, with_tokens

EXAMPLES = read_examples(Path(__file__).parents[1] / "README.md", "python")
TOKEN_KEYS = [
    "username",
    "user",
    "territory",
    "domain",
    "department",
    "uid",
    "login",
    "scope",
    "user_email",
    "displayName",
    "access_token",
    "expires_in",
    "token_type",
    "refresh_token",
    "client_id",
    "apiversion",
    "expires_at",
    "api_url",
]
SUBSCRIPTION_KEYS = [
    "id",
    "model",
    "post-url",
    "subscription-geo-support",
    "user",
    "domain",
    "preferred-server",
    "status",
    "error-count",
    "posts-count",
    "subscription-creation-datetime",
    "subscription-expires-datetime",
]


async def run_all(served) -> list[dict]:
    config = types.ModuleType("config")
    config.AUTH_CONFIG = dict(served.config)
    sys.modules["config"] = config
    space: dict = {"asyncio": asyncio}
    answers = []
    # The session example of the document comes without the client that it uses.
    exec(
        "from netsapiens_asyncio.auth import NetsapiensAPI\nauth_client = NetsapiensAPI(config)",
        space | {"config": config.AUTH_CONFIG},
        space,
    )
    try:
        for example in EXAMPLES:
            text = with_tokens(example.code, {'"api.example.com"': repr(served.url)})
            space.pop("response", None)
            exec(in_coroutine(text), space)
            with contextlib.redirect_stdout(io.StringIO()):
                await space["example"]()
            answers.append((example.code, space.get("response")))
    finally:
        del sys.modules["config"]
        await space["auth_client"].close()
    return answers


async def test_every_example_runs_and_answers_as_documented_twice(served):
    assert len(EXAMPLES) >= 20
    for _ in range(2):
        answers = await run_all(served)
        found = {}
        for example, response in answers:
            for name in ("create_subscription(", "read_subscription(subscription_id", "read_subscription()"):
                if name in example:
                    found[name] = response
            if "update_subscription(" in example or "delete_subscription(" in example:
                assert response == {"code": 202, "message": "Accepted"}
            if "valid_session_id" in example:
                assert response == {"code": 202, "message": "Accepted"}
            if "get_messages(" in example:
                assert isinstance(response, list)
                assert response
                assert all("messagesession-id" in each for each in response)
        assert set(SUBSCRIPTION_KEYS) <= set(found["create_subscription("])
        assert found["create_subscription("]["id"] == "603559d421797c7b09b904ea9b6e6079"
        assert found["read_subscription(subscription_id"]["model"] == "message"
        assert isinstance(found["read_subscription()"], list)


async def test_the_token_has_the_documented_keys(client):
    token = await client.get_token()
    assert set(TOKEN_KEYS) <= set(token)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", token["expires_at"])
    assert token["api_url"] == "https://api.example.com"
    assert token["username"] == "123@testdomain.com"


def test_the_documented_signatures():
    import inspect

    from netsapiens_asyncio.calls import CallsAPI
    from netsapiens_asyncio.messages import MessageAPI
    from netsapiens_asyncio.subscribe import SubscriptionAPI

    def names(function):
        return [
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is not parameter.KEYWORD_ONLY and parameter.name != "self"
        ]

    assert names(MessageAPI.send_message) == (
        [
            "message_type",
            "message",
            "destination",
            "from_number",
            "messagesession",
            "data",
            "mime_type",
            "size",
        ]
    )
    assert names(MessageAPI.get_messages) == ["messagesession", "domain", "user", "limit"]
    assert names(SubscriptionAPI.create_subscription) == (
        ["model", "post_url", "subscription_geo_support", "reseller", "domain", "user", "preferred_server"]
    )
    assert names(SubscriptionAPI.read_subscription) == ["subscription_id"]
    assert names(SubscriptionAPI.update_subscription) == [
        "subscription_id",
        "model",
        "post_url",
        "subscription_geo_support",
        "subscription_expires_datetime",
        "preferred_server",
        "error_count",
        "posts_count",
    ]
    assert names(CallsAPI.read_calls) == ["domain", "count", "user", "callid"]
