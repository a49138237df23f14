"""The speed attributes of each vendor: known to the installed FreeRADIUS, carried by CoA, understood by a NAS."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from demarc.adapters.coa import CoaOrder, open_client
from demarc.adapters.coa.client import load_dictionary
from demarc.adapters.freeradius.dictionary import RadiusDictionary
from demarc.adapters.nas_simulator import SimulatedNas, SimulatedSession
from demarc.modules.access.inputs import VENDORS
from demarc.modules.access.rules import SPEED_REPLIES, rate_attributes
from demarc.modules.access.states import CoaKind, CoaOutcome

SECRET = b"not-the-real-one"
DOWN, UP = 200_000_000, 100_000_000
EXPECTED = {
    "generic": {},
    "ubiquiti": {},
    "mikrotik": {"Mikrotik-Rate-Limit": "100000000/200000000"},
    "cisco": {
        "Cisco-AVPair": [
            "qos-policy-in=add-class(sub,(class-default),police(100000000))",
            "qos-policy-out=add-class(sub,(class-default),shape(200000000))",
        ]
    },
    "juniper": {"ERX-CoS-Shaping-Pmt-Type": ["T01 200000000", "T02 100000000"]},
    "huawei": {"Huawei-Input-Average-Rate": UP, "Huawei-Output-Average-Rate": DOWN},
    "nokia": {"Alc-Subscriber-QoS-Override": ["i:q:1:pir=100000", "e:r:rate=200000"]},
}


def numbers(directory: Path) -> dict[str, tuple[int, int]]:
    """Attribute -> (vendor's number, its own), as the dictionary files say."""
    vendors, found, current = {}, {}, 0
    for file in sorted(directory.glob("dictionary.*")):
        for line in file.read_text(errors="replace").splitlines():
            words = line.split("#", 1)[0].split()
            if words[:1] == ["VENDOR"]:
                vendors[words[1]] = int(words[2])
            elif words[:1] == ["BEGIN-VENDOR"]:
                current = vendors.get(words[1], 0)
            elif words[:1] == ["END-VENDOR"]:
                current = 0
            elif words[:1] == ["ATTRIBUTE"] and re.fullmatch(r"\d+", words[2]):
                found.setdefault(words[1], (current, int(words[2])))
    return found


def test_every_vendor_has_its_pack():
    assert set(SPEED_REPLIES) == set(VENDORS) == set(EXPECTED)
    for vendor, own in EXPECTED.items():
        wispr = {"WISPr-Bandwidth-Max-Down": DOWN, "WISPr-Bandwidth-Max-Up": UP}
        assert rate_attributes(vendor, DOWN, UP) == wispr | own
        assert rate_attributes(vendor, None, UP) == {}


@pytest.mark.radius
@pytest.mark.parametrize("vendor", VENDORS)
def test_the_installed_dictionary_knows_each_name_and_takes_each_value(vendor):
    installed = RadiusDictionary.load()
    for reply in SPEED_REPLIES[vendor]:
        assert installed.attribute(reply.partition("=")[0])
    for name, value in rate_attributes(vendor, DOWN, UP).items():
        for one in value if isinstance(value, list) else [value]:
            installed.check(name, str(one))


@pytest.mark.radius
def test_coa_gives_each_attribute_the_number_that_freeradius_gives_it():
    ours, theirs = load_dictionary(), numbers(Path("/usr/share/freeradius"))
    for vendor in VENDORS:
        for name in rate_attributes(vendor, DOWN, UP):
            attribute = ours.attributes[name]
            number = ours.vendors.GetForward(attribute.vendor) if attribute.vendor else 0
            assert (number, attribute.code) == theirs[name], name


def test_speeds_beyond_32_bits_fit_in():
    assert rate_attributes("huawei", 10_000_000_000, 1)["Huawei-Output-Average-Rate"] == 2**32 - 1


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_coa_reaches_the_nas_with_every_value(vendor):
    now = datetime(2026, 11, 20, tzinfo=UTC)
    async with (
        SimulatedNas("127.0.3.41", SECRET, coa_port=0, acct_port=9, clock=lambda: now) as nas,
        open_client(source_ip="127.0.0.1", retransmit_after=(20, 20)) as client,
    ):
        session = SimulatedSession(
            nas=nas,
            session_id="a1",
            username="user100@isp",
            started_at=now,
            nas_port=1,
            attributes={},
            calling_station_id="",
        )
        nas.sessions.add(session)
        wanted = rate_attributes(vendor, DOWN, UP)
        order = CoaOrder(nas.source_ip, nas.coa_port, SECRET, CoaKind.COA, "user100@isp", "a1", None, wanted)
        assert (await client.send(order)).outcome is CoaOutcome.ACK
        assert session.attributes == wanted
