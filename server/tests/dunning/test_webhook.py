"""Webhook steps against a real HTTP server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
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
        self.raw: list[bytes] = []

    async def __call__(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        request, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.raw.append(body)
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
    return WebhookCall("id-1", "dunning.step", url, {"a": 1}, allow_private, (b"secret",))


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
        "0x7f.1",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
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


def signature(secret, headers, raw):
    """As Standard Webhooks 1.0 tells receivers to compute it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), raw))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


async def test_a_call_is_signed_by_the_tenants_secret_and_by_two_after_a_rotation(
    world, receiver, started, admin
):
    base = "/api/billing/dunning/webhook-secret"
    await world.set(webhook_private_addresses=True)
    await world.sweep()
    first = (await admin.post(f"{base}/reveal")).json()["secret"]
    _, headers, _ = receiver.calls[0]
    assert headers["x-isp-event"] == "dunning.step"
    assert headers["webhook-signature"] == signature(first, headers, receiver.raw[0])
    plain = hmac.new(base64.b64decode(first[6:]), receiver.raw[0], hashlib.sha256).hexdigest()
    assert headers["x-isp-signature"] == f"sha256={plain}"

    rotated = await admin.post(f"{base}/rotate", idempotency_key="r1")
    second = rotated.json()["secret"]
    assert second != first
    replay = (await admin.post(f"{base}/rotate", idempotency_key="r1")).json()
    assert (replay["secret"], replay["shown_once"]) == (None, True)
    later = await world.debtor(due_in_days=-8)
    await world.sweep()
    assert await world.execution(later) is not None
    _, headers, _ = receiver.calls[1]
    assert headers["webhook-signature"].split() == [
        signature(secret, headers, receiver.raw[1]) for secret in (second, first)
    ]
    async with world.tx() as tx:
        lines = await tx.connection.fetch(
            "SELECT * FROM audit_log WHERE entity = 'dunning_webhook_key' ORDER BY id"
        )
        assert [line["action"] for line in lines] == [
            "dunning_webhook_key.reveal",
            "dunning_webhook_key.rotate",
        ]
        stored = await tx.connection.fetchrow("SELECT * FROM dunning_webhook_secret")
        assert first.encode() not in stored["sealed"] + stored["previous_sealed"]
        assert first not in str(lines)


async def test_a_campaign_cannot_be_made_that_leads_inside(admin, world):
    path = "/api/billing/dunning/campaigns"
    custom = {"type": "custom"}
    body = {"name": "Hooks", "trigger_after_days": 1, "actions": [custom]}
    made = (await admin.post(path, body)).json()
    for host in ("127.0.0.1", "localhost", "[::1]", "169.254.169.254", "192.168.1.1", "0x7f.1"):
        inside = {"actions": [custom, {"type": "webhook", "url": f"http://{host}/hook"}]}
        refused = await admin.post(path, body | inside)
        assert refused.status_code == 422, refused.text
        assert refused.json()["error"]["code"] == "WEBHOOK_ADDRESS_REFUSED"
        assert refused.json()["error"]["details"][0]["field"] == "actions.1.url"
        assert (await admin.patch(f"{path}/{made['id']}", inside)).status_code == 422
    await world.set(webhook_private_addresses=True)
    assert (await admin.post(path, body | inside)).status_code == 201


async def test_a_public_address_is_taken(admin):
    for url in ("https://93.184.215.14/hook", "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]:8443/hook"):
        body = {"name": "Hooks", "trigger_after_days": 1, "actions": [{"type": "webhook", "url": url}]}
        assert (await admin.post("/api/billing/dunning/campaigns", body)).status_code == 201
