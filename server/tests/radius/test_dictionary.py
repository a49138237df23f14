"""Attribute names and values are checked against the dictionary of the installed server."""

from __future__ import annotations

import pytest

from demarc.adapters.freeradius.dictionary import RadiusDictionary
from demarc.kernel.errors import Invalid, Misconfigured

pytestmark = pytest.mark.radius


@pytest.fixture(scope="module")
def dictionary():
    return RadiusDictionary.load()


def test_it_reads_the_whole_installed_dictionary(dictionary):
    assert len(dictionary) > 5000
    assert dictionary.attribute("mikrotik-rate-limit").vendor == "Mikrotik"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Mikrotik-Rate-Limit", "5M/5M"),
        ("Framed-IP-Address", "10.0.0.1"),
        ("Delegated-IPv6-Prefix", "2001:db8::/56"),
        ("Session-Timeout", "4294967295"),
        ("Service-Type", "Framed-User"),
        ("WISPr-Bandwidth-Max-Down", "200000000"),
        ("Class", "0x00ff"),
        ("Cisco-AVPair", "ip:sub-qos-policy-in=x"),
        ("Framed-Interface-Id", "0x0000000000000001"),
    ],
)
def test_good(dictionary, name, value):
    assert dictionary.check(name, value).name == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Mikrotik-Rate-Limitt", "5M/5M"),
        ("Framed-IP-Address", "10.0.0.256"),
        ("Framed-IP-Address", "host.example"),
        ("Delegated-IPv6-Prefix", "2001:db8::1/56"),
        ("Session-Timeout", "4294967296"),
        ("Session-Timeout", "-1"),
        ("Session-Timeout", "an hour"),
        ("Service-Type", "Framed-Userr"),
        ("Filter-Id", ""),
        ("Filter-Id", "x" * 254),
        ("Filter-Id", "a\0b"),
        ("Cleartext-Password", "x"),
        ("", "x"),
    ],
)
def test_bad(dictionary, name, value):
    with pytest.raises(Invalid) as caught:
        dictionary.check(name, value)
    assert name in caught.value.message


def test_none_installed(tmp_path):
    with pytest.raises(Misconfigured, match="apt-get install"):
        RadiusDictionary.load(tmp_path)
