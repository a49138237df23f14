"""Malformed packets and spool lines are counted and kept aside; the rest goes on."""

from __future__ import annotations

import os
import random
import socket
import uuid

import pytest

from .conftest import until

pytestmark = [pytest.mark.platform, pytest.mark.radius]


async def test_garbage_on_the_radius_ports_and_in_the_spool_stops_nobody(platform):
    async with platform.api() as api, platform.nas(api) as nas:
        name = f"calm.{uuid.uuid4().hex[:6]}@alpha.com"
        subscriber = await api.subscribe(name, "secure_pass_456")
        subscription = (await api.get(f"/api/services/lifecycle/{subscriber['service_id']}"))[
            "subscription_id"
        ]
        dice = random.Random(7)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
            noise.bind(("127.0.0.11", 0))
            for _ in range(200):
                for port in (platform.auth_port, platform.acct_port):
                    body = dice.randbytes(dice.randrange(0, 300))
                    head = bytes([dice.choice((1, 4, 12, 99)), dice.randrange(256)]) + (
                        len(body) + 20
                    ).to_bytes(2, "big")
                    noise.sendto(dice.choice((body, head + bytes(16) + body)), ("127.0.0.1", port))
        spool = platform.home / "data" / "radius" / "spool"
        with (spool / "acct-2020010100").open("ab") as file:
            file.write(b"\n1\tnonsense\n\xff\xfe\x00\n" + os.urandom(500).replace(b"\n", b"") + b"\n")

        dialed = await nas.dial(name, "secure_pass_456")
        assert dialed.accepted
        dialed.session.carry(input_octets=17, output_octets=4_294_967_297)
        dialed.session.stop()
        await nas.drain()

        async def stored():
            records = (await api.get("/api/billing/usage/records", subscription_id=subscription))["records"]
            return [(row["input_octets"], row["output_octets"]) for row in records] == [(17, 4_294_967_297)]

        await until("the good packets' octets", stored)
