"""Accounting is acknowledged when its line is in the spool, and only then."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
from dataclasses import replace
from urllib.parse import unquote_to_bytes

import pytest
from radius_packets import (
    ACCOUNTING_RESPONSE,
    ACCT_CAUSE,
    ACCT_DELAY,
    ACCT_IN_GIGAWORDS,
    ACCT_INPUT,
    ACCT_OUT_GIGAWORDS,
    ACCT_OUTPUT,
    ACCT_SESSION_ID,
    ACCT_SESSION_TIME,
    ACCT_STATUS_TYPE,
    CALLED_STATION_ID,
    CALLING_STATION_ID,
    CLASS,
    DELEGATED_PREFIX,
    EVENT_TIMESTAMP,
    FRAMED_IP,
    FRAMED_IPV6_PREFIX,
    NAS_IDENTIFIER,
    NAS_IP,
    NAS_PORT_ID,
    USER_NAME,
    Nas,
    attribute,
    integer,
)
from radius_rows import add_login, spool_lines

from demarc.adapters.freeradius.engine import RadiusEngine
from demarc.adapters.freeradius.raddb import StatusListener, render
from demarc.adapters.freeradius.spool_format import ACCT_FIELD_NAMES

pytestmark = pytest.mark.radius

STOP = (
    attribute(ACCT_STATUS_TYPE, integer(2)),
    attribute(ACCT_SESSION_ID, b"81f0/7"),
    attribute(USER_NAME, b"ada@isp.example"),
    attribute(NAS_IP, bytes([192, 0, 2, 1])),
    attribute(NAS_PORT_ID, b"ether1:100"),
    attribute(EVENT_TIMESTAMP, integer(1_800_000_000)),
    attribute(ACCT_DELAY, integer(3)),
    attribute(ACCT_SESSION_TIME, integer(7200)),
    attribute(ACCT_IN_GIGAWORDS, integer(1)),
    attribute(ACCT_INPUT, integer(4_294_967_295)),
    attribute(ACCT_OUT_GIGAWORDS, integer(2)),
    attribute(ACCT_OUTPUT, integer(5)),
    attribute(CALLED_STATION_ID, b"bras-1"),
    attribute(CALLING_STATION_ID, b"02:00:5e:10:00:01"),
    attribute(ACCT_CAUSE, integer(1)),
    attribute(FRAMED_IP, bytes([10, 1, 2, 3])),
    attribute(FRAMED_IPV6_PREFIX, b"\x00\x40" + bytes.fromhex("20010db800010000")),
    attribute(DELEGATED_PREFIX, b"\x00\x38" + bytes.fromhex("20010db8000500")),
    attribute(CLASS, b"\x00\xffx"),
    attribute(NAS_IDENTIFIER, b"bras 1"),
)


def records(config):
    return [dict(zip(ACCT_FIELD_NAMES, line, strict=True)) for line in spool_lines(config, "acct")]


async def test_every_field_of_a_stop(nas, config):
    before = int(time.time())
    assert nas.account(*STOP).code == ACCOUNTING_RESPONSE
    (record,) = records(config)
    assert before <= int(record.pop("received_at")) <= time.time()
    assert record == {
        "version": "1",
        "packet_src_ip": "127.0.0.1",
        "status_type": "Stop",
        "acct_session_id": "81f0%2F7",
        "user_name": "ada%40isp.example",
        "nas_ip": "192.0.2.1",
        "nas_port": "ether1%3A100",
        "event_timestamp": "1800000000",
        "delay_seconds": "3",
        "session_seconds": "7200",
        "input_gigawords": "1",
        "input_octets": "4294967295",
        "output_gigawords": "2",
        "output_octets": "5",
        "called_station_id": "bras-1",
        "calling_station_id": "02%3A00%3A5e%3A10%3A00%3A01",
        "terminate_cause": "User-Request",
        "framed_ip": "10.1.2.3",
        "framed_ipv6_prefix": "2001:db8:1::/64",
        "delegated_prefix": "2001:db8:5::/56",
        "class": "0x00ff78",
        "nas_identifier": "bras%201",
    }


async def test_what_a_packet_lacks_is_empty(nas, config):
    assert nas.account(attribute(ACCT_STATUS_TYPE, integer(7))).code == ACCOUNTING_RESPONSE
    (record,) = records(config)
    present = {name: value for name, value in record.items() if value}
    del present["received_at"]
    assert present == {"version": "1", "packet_src_ip": "127.0.0.1", "status_type": "Accounting-On"}


async def test_every_status_type_is_spooled_also_one_that_nobody_knows(nas, config):
    for number in (1, 3, 8, 99):
        assert nas.account(attribute(ACCT_STATUS_TYPE, integer(number))).code == ACCOUNTING_RESPONSE
    names = [record["status_type"] for record in records(config)]
    assert names == ["Start", "Interim-Update", "Accounting-Off", "99"]


HOSTILE = [
    b"tab\there",
    b"line\nbreak\r\n1\t127.0.0.1\tStop",
    b"100%25 %41 %{User-Name} %n",
    b"quote'\"`\\",
    b"\xff\xfe\x80",
    b"j\xc3\xbcrgen",
    b"\x01\x1f\x7f",
    b"${prefix} $1",
    b"&=+ ~!*()",
]


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_hostile_text_comes_back_as_it_was(nas, config, hostile):
    text = (USER_NAME, ACCT_SESSION_ID, NAS_PORT_ID, CALLED_STATION_ID, CALLING_STATION_ID, NAS_IDENTIFIER)
    sent = [attribute(number, hostile) for number in text]
    assert nas.account(attribute(ACCT_STATUS_TYPE, integer(1)), *sent).code == ACCOUNTING_RESPONSE
    (record,) = records(config)
    names = (
        "user_name",
        "acct_session_id",
        "nas_port",
        "called_station_id",
        "calling_station_id",
        "nas_identifier",
    )
    assert {unquote_to_bytes(record[name]) for name in names} == {hostile}


async def test_a_subscriber_of_nobody_is_spooled_for_the_ingester_to_judge(db, nas, other_nas, config):
    await add_login(db, "ada@isp.example")
    assert other_nas.account(*STOP).code == ACCOUNTING_RESPONSE
    assert records(config)[0]["packet_src_ip"] == "127.0.0.2"


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip("this machine does not let us mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


async def test_a_full_disk_is_never_acknowledged_and_heals(db, config, small_disk):
    config = replace(config, spool_dir=small_disk / "spool")
    engine = RadiusEngine(config)
    await engine.start()
    try:
        nas = Nas(config.auth_port, config.acct_port)
        acknowledged = []
        for number in range(400):
            session = attribute(ACCT_SESSION_ID, f"s-{number:04}".encode())
            if nas.hasty.account(*STOP[:1], *STOP[2:], session) is not None:
                acknowledged.append(f"s-{number:04}")
                continue
            await asyncio.sleep(0.1)  # the engine reads its server's log
            if engine.problems["spool"]:  # else the machine was only slow
                break
        else:
            pytest.fail("the disk never filled")
        assert len(acknowledged) > 50
        assert set(acknowledged) <= {line[3] for line in spool_lines(config, "acct") if len(line) == 23}

        await add_login(db, "ada")
        assert nas.pap("ada", "right").code == 2, "a full disk keeps nobody off line"
        subprocess.run(["mount", "-o", "remount,size=256k", small_disk], check=True)
        again = attribute(ACCT_SESSION_ID, b"again")
        assert nas.account(*STOP[:1], *STOP[2:], again).code == ACCOUNTING_RESPONSE
        whole = [line[3] for line in spool_lines(config, "acct") if len(line) == 23]
        assert whole[-1] == "again"
    finally:
        await engine.stop()


async def test_a_spool_that_cannot_be_written_is_never_acknowledged(db, config):
    engine = RadiusEngine(config)
    await engine.start()
    try:
        nas = Nas(config.auth_port, config.acct_port)
        assert nas.account(*STOP).code == ACCOUNTING_RESPONSE
        config.spool_dir.rename(config.spool_dir.with_name("moved"))
        config.spool_dir.write_text("not a directory")
        for file in config.spool_dir.with_name("moved").iterdir():
            file.unlink()
        assert nas.hasty.account(*STOP) is None
    finally:
        await engine.stop()


async def test_a_file_that_was_taken_away_is_made_anew(nas, config):
    assert nas.account(*STOP).code == ACCOUNTING_RESPONSE
    for file in config.spool_dir.glob("acct-*"):
        assert file.stat().st_mode & 0o777 == 0o600
        file.unlink()
    assert nas.account(*STOP).code == ACCOUNTING_RESPONSE
    assert len(records(config)) == 1


def test_no_two_linelogs_share_a_file(config):
    """Each locks out its own threads only: two of them on one file overwrite each other's records."""
    files = re.findall(
        r'linelog \w+ \{\s+filename = "([^"]+)"', render(config, StatusListener(1))["radiusd.conf"]
    )
    assert len(files) == len(set(files)) == 2
