"""Webhook steps against a real HTTP server."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio

from demarc.adapters.webhooks.poster import HttpWebhookPoster
from demarc.kernel.errors import Invalid, Unavailable
from demarc.modules.dunning.inputs import Action
from demarc.modules.dunning.ports import WebhookCall, WebhookPoster
from demarc.modules.dunning.states import ActionType

from .conftest import World


class Receiver:
    """Answers POSTs with the statuses it is told, then 200."""

    def __init__(self):
        self.statuses: list[str] = []
        self.calls: list[tuple[str, dict[str, str], dict]] = []

    async def __call__(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        request, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.calls.append((request.split()[1], headers, json.loads(body)))
        status = self.statuses.pop(0) if self.statuses else "200 OK"
        extra = "Location: http://127.0.0.1:1/\r\n" if status.startswith("3") else ""
        writer.write(f"HTTP/1.1 {status}\r\n{extra}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@pytest_asyncio.fixture
async def receiver():
    made = Receiver()
    server = await asyncio.start_server(made, "127.0.0.1", 0)
    async with server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


@pytest_asyncio.fixture
async def poster():
    made = HttpWebhookPoster()
    yield made
    await made.client.aclose()


def call(url, *, allow_private=True):
    return WebhookCall("id-1", url, {"a": 1}, allow_private)


@pytest_asyncio.fixture
async def started(world: World, receiver, poster):
    """A campaign whose only steps are a webhook and a suspension, at work on a debtor."""
    world.desk.ports[WebhookPoster] = poster
    url = f"http://localhost:{receiver.port}/hook?x=1"
    hook = Action(ActionType.WEBHOOK, url=url, data={"note": "für dich"})
    await world.campaign(("suspend_service", 0))
    async with world.tx() as tx:
        await tx.connection.execute("UPDATE dunning_campaign SET is_active = false")
    await world.campaign(("custom", 0), actions=(hook, Action(ActionType.SUSPEND_SERVICE)), max_retries=1)
    return await world.debtor(due_in_days=-8)


async def test_a_webhook_step_posts_json_and_the_ladder_goes_on(world, receiver, started):
    await world.set(webhook_private_addresses=True)
    await world.sweep()
    execution = await world.execution(started)
    [(path, headers, body)] = receiver.calls
    assert path == "/hook?x=1"
    assert headers["host"] == f"localhost:{receiver.port}"
    assert headers["webhook-id"] == f"{execution.uid}.0.0"
    assert body["type"] == "dunning.step"
    assert (body["execution_id"], body["invoice_id"]) == (str(execution.uid), started.invoice.ref)
    assert body["data"] == {"note": "für dich"}
    await world.sweep()
    assert [line[2:] for line in await world.log(execution)] == [
        ("webhook", "done"),
        ("suspend_service", "done"),
    ]


async def test_a_private_address_is_refused_unless_the_tenant_may(world, receiver, started):
    await world.sweep()
    execution = await world.execution(started)
    assert receiver.calls == []
    assert (await world.log(execution))[0][3] == "failed"
    assert execution.retries == 1


async def test_a_receiver_in_trouble_is_asked_again(world, receiver, started):
    await world.set(webhook_private_addresses=True)
    receiver.statuses = ["503 Busy", "429 Slow"]
    await world.sweep()
    execution = await world.execution(started)
    assert (await world.log(execution))[0][3] == "waiting"
    for _ in range(2):
        await world.desk.hurry()
        await world.desk.clear()
    assert len(receiver.calls) == 3
    assert len({headers["webhook-id"] for _, headers, _ in receiver.calls}) == 1
    assert (await world.log(execution))[0][3] == "done"


async def test_a_refusal_uses_the_campaigns_retries(world, receiver, started):
    await world.set(webhook_private_addresses=True)
    receiver.statuses = ["404 Gone", "410 Gone"]
    await world.sweep()
    execution = await world.execution(started)
    await world.advance(days=3)
    assert (await world.reload(execution)).status == "failed"
    assert await world.log(execution) == [(0, 0, "webhook", "failed"), (0, 1, "webhook", "failed")]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "10.1.2.3",
        "169.254.169.254",
        "[::ffff:10.0.0.1]",
        "0.0.0.0",
        "224.0.0.1",
    ],
)
async def test_addresses_that_are_not_public(poster, host):
    with pytest.raises(Invalid, match="not a public address"):
        await poster.post(call(f"http://{host}/", allow_private=False))


async def test_redirects_are_not_followed(poster, receiver):
    receiver.statuses = ["302 Found"]
    with pytest.raises(Invalid, match="302"):
        await poster.post(call(f"http://127.0.0.1:{receiver.port}/"))
    assert len(receiver.calls) == 1


async def test_nobody_there(poster):
    with pytest.raises(Unavailable, match="does not answer"):
        await poster.post(call("http://127.0.0.1:9/"))
    with pytest.raises(Unavailable, match="does not resolve"):
        await poster.post(call("http://no-such-host.invalid/"))
