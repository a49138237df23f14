"""Which addresses are public: also those that hide one that is not."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from demarc.kernel.addresses import is_public, resolve
from demarc.kernel.errors import Unavailable

INSIDE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
]
OUTSIDE = ["8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("text", INSIDE)
def test_inside(text):
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", OUTSIDE)
def test_outside(text):
    assert is_public(ip_address(text))


async def test_a_name_is_looked_up_and_an_address_is_itself():
    assert ip_address("127.0.0.1") in await resolve("localhost", 80)
    assert await resolve("10.1.2.3", 80) == [ip_address("10.1.2.3")]
    assert await resolve("0x7f.1", 80) == [ip_address("127.0.0.1")]


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a\0b", "x" * 300, ".", "a..b"])
async def test_what_leads_nowhere_is_unavailable(host):
    with pytest.raises(Unavailable, match="does not resolve"):
        await resolve(host, 80)
