"""What a NAS of each vendor gets in an Access-Accept from the real server."""

from __future__ import annotations

import pytest
from radius_packets import ACCESS_ACCEPT, CISCO, MIKROTIK, WISPR, integer
from radius_rows import add_login

from demarc.modules.access.rules import SPEED_REPLIES

pytestmark = pytest.mark.radius

ERX, HUAWEI, NOKIA = 4874, 2011, 6527
DOWN, UP = 200_000_000, 100_000_000
SENT = {
    "generic": [],
    "ubiquiti": [],
    "mikrotik": [((MIKROTIK, 8), b"100000000/200000000")],
    "cisco": [
        ((CISCO, 1), b"qos-policy-in=add-class(sub,(class-default),police(100000000))"),
        ((CISCO, 1), b"qos-policy-out=add-class(sub,(class-default),shape(200000000))"),
    ],
    "juniper": [((ERX, 108), b"T01 200000000"), ((ERX, 108), b"T02 100000000")],
    "huawei": [((HUAWEI, 2), integer(UP)), ((HUAWEI, 5), integer(DOWN))],
    "nokia": [((NOKIA, 126), b"i:q:1:pir=100000"), ((NOKIA, 126), b"e:r:rate=200000")],
}


async def test_each_vendor_gets_its_own_attributes(db, nas):
    await add_login(db, "ada", download_bps=DOWN, upload_bps=UP)
    assert set(SENT) == set(SPEED_REPLIES)
    for vendor, attributes in SENT.items():
        await db.execute("UPDATE aaa_nas SET speed_replies = $1", list(SPEED_REPLIES[vendor]) or None)
        reply = nas.pap("ada", "right")
        assert reply.code == ACCESS_ACCEPT
        own = [(name, value) for name, value in reply.attributes if isinstance(name, tuple)]
        wispr = [((WISPR, 8), integer(DOWN)), ((WISPR, 7), integer(UP))]
        assert sorted(own) == sorted(wispr + attributes), vendor
