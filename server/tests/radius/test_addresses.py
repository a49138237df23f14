"""IPv6, prefixes and routed blocks in a real Access-Accept, as a subscriber's holdings say."""

from __future__ import annotations

import subprocess
from ipaddress import ip_address, ip_network

import pytest
from radius_rows import add_login

from demarc.adapters.freeradius.dictionary import RadiusDictionary
from demarc.modules.access.rules import address_replies, framed_ip
from demarc.modules.addressing.queries import Holding

pytestmark = pytest.mark.radius

HOLDINGS = [
    Holding(1, 1, "ipv4", ip_address("10.1.2.3")),
    Holding(1, 2, "routed", ip_network("203.0.113.8/29")),
    Holding(1, 2, "routed", ip_network("203.0.113.64/29")),
    Holding(1, 3, "ipv6", ip_address("2001:db8:1::5")),
    Holding(1, 4, "framed_prefix", ip_network("2001:db8:2:7::/64")),
    Holding(1, 5, "delegated_prefix", ip_network("2001:db8:8000:100::/56")),
    Holding(1, 6, "routed", ip_network("2001:db8:f::/48")),
]
SENT = (
    "Framed-IP-Address = 10.1.2.3",
    'Framed-Route = "203.0.113.8/29 0.0.0.0 1"',
    'Framed-Route = "203.0.113.64/29 0.0.0.0 1"',
    "Framed-IPv6-Address = 2001:db8:1::5",
    "Framed-IPv6-Prefix = 2001:db8:2:7::/64",
    "Delegated-IPv6-Prefix = 2001:db8:8000:100::/56",
    'Framed-IPv6-Route = "2001:db8:f::/48 :: 1"',
)


def test_freeradius_knows_every_name_and_value():
    known = RadiusDictionary.load()
    for reply in address_replies(HOLDINGS):
        name, _, value = reply.partition("=")
        assert known.check(name, value).name == name


async def test_radtest_sees_every_one(db, config, engine):
    await add_login(db, "ada", framed_ip=framed_ip(HOLDINGS), replies=address_replies(HOLDINGS))
    await add_login(db, "bob", framed_ip="10.1.2.4")

    def radtest(name):
        done = subprocess.run(
            ["radtest", name, "right", f"127.0.0.1:{config.auth_port}", "0", "nas-secret"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Received Access-Accept" in done.stdout, done.stdout + done.stderr
        return done.stdout

    answer = radtest("ada")
    for line in SENT:
        assert line in answer, answer
    assert answer.count("Framed-Route") == 2
    assert "IPv6" not in radtest("bob")
    await db.execute("UPDATE aaa_login SET replies = '{}' WHERE username = 'ada'")
    assert "IPv6" not in radtest("ada"), "released: gone from the next log-in on"
