from __future__ import annotations

import pytest

from netsapiens_asyncio import VALID_MODELS, Conflict, InvalidInput, NotFound, SubscriptionAPI

URL = "https://example.com/callback"


async def test_the_whole_life_of_a_subscription(client):
    api = SubscriptionAPI(client)
    made = await api.create_subscription("cdr", URL, domain="testdomain.com")
    assert made["status"] == "pending"
    assert (await api.read_subscription(made["id"]))["post-url"] == URL
    assert [each["id"] for each in await api.read_subscription()] == [made["id"]]
    accepted = {"code": 202, "message": "Accepted"}
    assert await api.update_subscription(made["id"], error_count=0, posts_count=0) == accepted
    assert await api.update_subscription(made["id"], post_url="https://example.com/other") == accepted
    changed = await api.get_subscription(made["id"])
    assert (changed["post-url"], changed["model"]) == ("https://example.com/other", "cdr")
    assert await api.delete_subscription(made["id"]) == accepted
    with pytest.raises(NotFound):
        await api.read_subscription(made["id"])


async def test_an_equal_one_is_a_conflict(client):
    api = SubscriptionAPI(client)
    await api.create_subscription("cdr", URL)
    with pytest.raises(Conflict, match="already exists"):
        await api.create_subscription("cdr", URL)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("model", {"model": "weather"}),
        ("post_url", {"post_url": "example.com"}),
        ("post_url", {"post_url": "ftp://example.com"}),
        ("post_url", {"post_url": "https://example.com/a\nb"}),
        ("post_url", {"post_url": "https://"}),
        ("subscription_geo_support", {"subscription_geo_support": True}),
    ],
)
async def test_bad_input_is_refused_before_the_wire(client, pbx, field, changes):
    with pytest.raises(InvalidInput) as caught:
        await SubscriptionAPI(client).create_subscription(**{"model": "cdr", "post_url": URL, **changes})
    assert caught.value.field == field
    assert not pbx.seen


async def test_an_update_changes_something_and_counters_only_to_0(client):
    api = SubscriptionAPI(client)
    for changes in ({}, {"error_count": 3}, {"posts_count": -1}, {"model": "weather"}):
        with pytest.raises(InvalidInput):
            await api.update_subscription("x", **changes)


async def test_it_ends_with_the_token(moved):
    api = SubscriptionAPI(moved.client)
    made = await api.create_subscription("cdr", URL)
    await moved.clock.advance(3601)
    with pytest.raises(NotFound):
        await api.read_subscription(made["id"])


def test_the_models():
    assert SubscriptionAPI.VALID_MODELS == VALID_MODELS
    assert len(VALID_MODELS) == 11


async def test_one_as_a_bare_object_is_a_list(client, pbx):
    pbx.faults.bare_single = True
    pbx.faults.numbers_as_integers = True
    api = SubscriptionAPI(client)
    await api.create_subscription("cdr", URL, user="101")
    (found,) = await api.read_subscription()
    assert found["user"] == "101"
    assert found["error-count"] == 0
