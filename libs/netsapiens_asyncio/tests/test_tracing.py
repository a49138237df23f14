from __future__ import annotations

import itertools

import pytest

from netsapiens_asyncio import Hooks, NetsapiensAPI, NoAnswer, RetryPolicy


async def test_hooks_see_every_attempt_under_one_request_id(pbx, credentials, quick):
    started, ended = [], []
    ids = itertools.count(1)
    async with NetsapiensAPI(
        credentials,
        transport=pbx.transport(),
        retries=quick,
        hooks=Hooks([started.append], [ended.append]),
        new_request_id=lambda: f"r{next(ids)}",
    ) as client:
        await client.get_token()
        started.clear()
        ended.clear()
        pbx.faults.add("status", path="/domains/~$", status=503)
        await client.request("GET", "/domains/~")
    assert [(each.request_id, each.attempt) for each in started] == [("r2", 1), ("r2", 2)]
    assert [(each.status, each.error) for each in ended] == [(503, None), (200, None)]
    assert all(each.seconds >= 0 for each in ended)


async def test_hooks_see_failures(pbx, credentials):
    ended = []
    async with NetsapiensAPI(
        credentials,
        transport=pbx.transport(),
        retries=RetryPolicy(attempts=1),
        hooks=Hooks(ended=[ended.append]),
    ) as client:
        await client.get_token()
        pbx.faults.add("cut", path="/domains/~$")
        with pytest.raises(NoAnswer):
            await client.request("GET", "/domains/~")
    assert (ended[-1].status, ended[-1].error) == (None, "RemoteProtocolError")
