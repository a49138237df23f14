"""Who gets on line, who does not, and with what."""

from __future__ import annotations

import os
import struct
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from radius_packets import (
    ACCESS_ACCEPT,
    ACCESS_REJECT,
    ACCOUNTING_RESPONSE,
    ADSL_FORUM,
    CALLING_STATION_ID,
    CISCO,
    DELEGATED_PREFIX,
    FILTER_ID,
    FRAMED_IP,
    FRAMED_POOL,
    FRAMED_PROTOCOL,
    FRAMED_ROUTE,
    INTERIM_INTERVAL,
    MESSAGE_AUTHENTICATOR,
    MICROSOFT,
    MIKROTIK,
    REPLY_MESSAGE,
    SESSION_TIMEOUT,
    STATUS_SERVER,
    USER_NAME,
    WISPR,
    Nas,
    attribute,
    integer,
    vendor,
)
from radius_rows import add_login, add_nas, insert, spool_lines, until

pytestmark = pytest.mark.radius

DOWN, UP = (WISPR, 8), (WISPR, 7)
RATE_LIMIT = (MIKROTIK, 8)
MAC = "02:00:5e:10:00:01"


def calling(value):
    return attribute(CALLING_STATION_ID, value.encode())


def circuit(value):
    return vendor(ADSL_FORUM, 1, value)


async def test_pap_gives_what_the_row_says(db, nas):
    await add_login(
        db,
        "ada@isp.example",
        framed_ip="10.1.2.3",
        framed_pool=r"pool\n1",
        replies=[
            "Delegated-IPv6-Prefix=2001:db8:5::/56",
            "Framed-Route=10.9.0.0/24 10.1.2.3 1",
            "Framed-Route=10.8.0.0/24 10.1.2.3 1",
            r"Cisco-AVPair=sub:a\n=%{User-Name}",
        ],
        download_bps=200_000_000,
        upload_bps=100_000_000,
        interim_seconds=600,
    )
    reply = nas.pap("ada@isp.example", "right")
    assert reply.code == ACCESS_ACCEPT
    assert reply.attributes[0][0] == MESSAGE_AUTHENTICATOR
    assert reply.get(FRAMED_IP) == bytes([10, 1, 2, 3])
    assert reply.get(FRAMED_POOL) == rb"pool\n1"
    assert reply.get(DELEGATED_PREFIX) == b"\x00\x38" + bytes.fromhex("20010db8000500").ljust(16, b"\0")
    routes = [value for key, value in reply.attributes if key == FRAMED_ROUTE]
    assert routes == [b"10.9.0.0/24 10.1.2.3 1", b"10.8.0.0/24 10.1.2.3 1"]
    assert reply.get((CISCO, 1)) == rb"sub:a\n=%{User-Name}"
    assert (reply.number(DOWN), reply.number(UP)) == (200_000_000, 100_000_000)
    assert reply.number(INTERIM_INTERVAL) == 600
    assert RATE_LIMIT not in reply.names
    assert SESSION_TIMEOUT not in reply.names
    assert FILTER_ID not in reply.names


async def test_what_the_row_lacks_is_not_sent(db, nas):
    await add_login(db, "ada", interim_seconds=0)
    assert nas.pap("ada", "right").names == [MESSAGE_AUTHENTICATOR]


async def test_rate_limit_is_upload_before_download_at_a_mikrotik(db, nas):
    await db.execute(
        "UPDATE aaa_nas SET speed_replies = $1", ["Mikrotik-Rate-Limit={upload_bps}/{download_bps}"]
    )
    await add_login(db, "ada", download_bps=200_000_000, upload_bps=100_000_000)
    assert nas.pap("ada", "right").get(RATE_LIMIT) == b"100000000/200000000"


async def test_a_vendor_may_want_speeds_in_other_units_and_a_subscriber_may_have_none(db, nas):
    await db.execute(
        "UPDATE aaa_nas SET speed_replies = $1",
        ["Cisco-AVPair=down={download_kbps}", "Cisco-AVPair=up={upload_kbps}"],
    )
    await add_login(db, "ada", download_bps=200_000_999, upload_bps=999)
    await add_login(db, "eve", replies=["Framed-Pool=p"])
    sent = [value for key, value in nas.pap("ada", "right").attributes if key == (CISCO, 1)]
    assert sent == [b"down=200000", b"up=0"]
    assert (CISCO, 1) not in nas.pap("eve", "right").names
    assert nas.pap("eve", "right").get(FRAMED_POOL) == b"p"


async def test_a_reply_that_the_dictionary_does_not_know_keeps_nobody_off_line(db, nas):
    await add_login(db, "ada", replies=["No-Such=1", "Framed-Route", "Port-Limit=many", "Framed-Pool=p"])
    reply = nas.pap("ada", "right")
    assert reply.code == ACCESS_ACCEPT
    assert reply.get(FRAMED_POOL) == b"p"


async def test_a_speed_beyond_32_bits_locks_nobody_out(db, nas):
    await add_login(db, "ada", download_bps=10_000_000_000, upload_bps=1)
    assert nas.pap("ada", "right").number(DOWN) == 2**32 - 1


@pytest.mark.parametrize("password", ["right", r"a\n'b\"c%{User-Name}", "pässwörd\uffee密码", "x" * 100])
async def test_every_password_form(db, nas, password):
    await add_login(db, "ada", password=password, clear_text=password)
    for log_in in (nas.pap, nas.chap, nas.mschap2):
        assert log_in("ada", password).code == ACCESS_ACCEPT, log_in
        assert log_in("ada", "wrong").code == ACCESS_REJECT, log_in


async def test_mschap_proves_that_the_server_knows_the_password(db, nas):
    await add_login(db, "ada")
    assert nas.mschap2("ada", "right").get((MICROSOFT, 26)) is not None


async def test_chap_is_refused_without_clear_text_and_the_others_are_not(db, nas):
    await add_login(db, "ada")
    assert nas.chap("ada", "right").code == ACCESS_REJECT
    assert nas.pap("ada", "right").code == ACCESS_ACCEPT
    assert nas.mschap2("ada", "right").code == ACCESS_ACCEPT


@pytest.mark.parametrize("kind", ["pap", "chap", "mschap"])
async def test_radtest(db, config, engine, kind):
    await add_login(db, "ada", clear_text="right", framed_ip="10.1.2.3")
    done = subprocess.run(
        ["radtest", "-t", kind, "ada", "right", f"127.0.0.1:{config.auth_port}", "0", "nas-secret"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Received Access-Accept" in done.stdout, done.stdout + done.stderr
    assert "Framed-IP-Address = 10.1.2.3" in done.stdout


async def test_no_password_at_all_is_refused(db, nas):
    await add_login(db, "ada")
    assert nas.bare("ada").code == ACCESS_REJECT
    for log_in in (nas.pap, nas.chap, nas.mschap2):
        assert log_in("ada", "").code == ACCESS_REJECT


async def test_a_suspended_subscriber_is_refused_at_the_next_packet(db, nas):
    await add_login(
        db, "ada", framed_ip="10.1.2.3", framed_pool="p", replies=["Delegated-IPv6-Prefix=2001:db8::/56"]
    )
    assert nas.pap("ada", "right").code == ACCESS_ACCEPT
    await db.execute("UPDATE aaa_login SET decision = 'reject', decision_reason = 'unpaid invoice 7'")
    refused = nas.pap("ada", "right")
    assert refused.code == ACCESS_REJECT
    assert refused.names == [MESSAGE_AUTHENTICATOR, REPLY_MESSAGE]
    assert refused.get(REPLY_MESSAGE) == b"Access suspended"
    await db.execute("UPDATE aaa_login SET decision = 'accept'")
    assert nas.pap("ada", "right").code == ACCESS_ACCEPT


async def test_a_wrong_password_gets_no_reply_items(db, nas):
    await add_login(
        db,
        "ada",
        framed_ip="10.1.2.3",
        download_bps=5,
        upload_bps=5,
        expires_at=datetime(2099, 1, 1, tzinfo=UTC),
    )
    refused = nas.pap("ada", "wrong")
    assert (refused.code, refused.names) == (ACCESS_REJECT, [MESSAGE_AUTHENTICATOR, REPLY_MESSAGE])
    assert refused.get(REPLY_MESSAGE) == nas.pap("nobody", "wrong").get(REPLY_MESSAGE)


async def test_the_garden_lets_in_with_its_own_pool(db, nas):
    await add_login(
        db, "ada", decision="garden", framed_pool="garden", download_bps=1_000_000, upload_bps=1_000_000
    )
    reply = nas.pap("ada", "right")
    assert reply.code == ACCESS_ACCEPT
    assert (reply.get(FRAMED_POOL), reply.get(FILTER_ID)) == (b"garden", b"garden")
    assert nas.pap("ada", "wrong").code == ACCESS_REJECT


async def test_expiry_follows_the_tenants_moved_clock(db, nas):
    await add_login(db, "ada", expires_at=datetime.now(UTC) + timedelta(hours=1))
    reply = nas.pap("ada", "right")
    assert reply.code == ACCESS_ACCEPT
    assert 3500 < reply.number(SESSION_TIMEOUT) <= 3601
    await db.execute("UPDATE aaa_nas SET clock_offset = interval '59 minutes'")
    assert 30 < nas.pap("ada", "right").number(SESSION_TIMEOUT) <= 61
    await db.execute("UPDATE aaa_nas SET clock_offset = interval '61 minutes'")
    refused = nas.pap("ada", "right")
    assert (refused.code, refused.get(REPLY_MESSAGE)) == (ACCESS_REJECT, b"Access expired")
    await db.execute("UPDATE aaa_nas SET clock_offset = interval '-1 day'")
    assert nas.pap("ada", "right").number(SESSION_TIMEOUT) > 86400


async def test_another_tenants_subscriber_is_unknown(db, nas, other_nas, config):
    await add_login(db, "ada")
    await add_login(db, "bob", tenant=2)
    assert other_nas.pap("ada", "right").code == ACCESS_REJECT
    assert nas.pap("bob", "right").code == ACCESS_REJECT
    assert other_nas.pap("bob", "right").code == ACCESS_ACCEPT
    assert [line[6] for line in spool_lines(config, "auth")][:2] == ["unknown%20user", "unknown%20user"]


async def open_session(db, username, calling_id, **values):
    row = {"tenant_id": 1, "nas_id": 1, "subscriber_id": 1, "service_id": 1, "acct_session_id": calling_id}
    row |= {
        "started_at": datetime.now(UTC),
        "updated_at": datetime.now(UTC),
        "calling_station_id": calling_id,
    }
    identifier = await db.fetchval("SELECT gen_random_uuid()")
    await insert(db, "radius_session", id=identifier, username=username, **(row | values))


async def test_session_limit(db, nas):
    await add_login(db, "ada", session_limit=1)
    await open_session(db, "ada", MAC)
    other = nas.pap("ada", "right", calling("02:00:5e:10:00:02"))
    assert (other.code, other.get(REPLY_MESSAGE)) == (ACCESS_REJECT, b"Too many sessions")
    assert nas.pap("ada", "right").code == ACCESS_REJECT, "no calling id is another device"
    assert nas.pap("ada", "right", calling(MAC)).code == ACCESS_ACCEPT, "the same device replaces its ghost"
    await db.execute("UPDATE aaa_login SET session_limit = 2")
    assert nas.pap("ada", "right").code == ACCESS_ACCEPT
    await db.execute("UPDATE radius_session SET calling_station_id = ''")
    await db.execute("UPDATE aaa_login SET session_limit = 1")
    assert nas.pap("ada", "right").code == ACCESS_REJECT, "an unnamed session is another device, too"
    await db.execute("UPDATE radius_session SET tenant_id = 2")
    assert nas.pap("ada", "right").code == ACCESS_ACCEPT


async def test_a_mac_logs_on_without_password_only_from_that_device(db, nas, other_nas):
    await add_login(db, "line-1", mac=MAC, framed_ip="10.1.2.3")
    for spelled in (MAC, MAC.upper(), "02-00-5E-10-00-01", "02005e100001", "0200.5e10.0001"):
        reply = nas.bare(spelled, calling(spelled))
        assert reply.code == ACCESS_ACCEPT, spelled
        assert (reply.get(FRAMED_IP), reply.get(USER_NAME)) == (bytes([10, 1, 2, 3]), b"line-1")
    assert nas.bare(MAC, calling("1:" + MAC)).code == ACCESS_ACCEPT
    assert nas.pap(MAC, "cisco", calling(MAC)).code == ACCESS_ACCEPT
    assert nas.bare(MAC, calling("02:00:5e:10:00:02")).code == ACCESS_REJECT
    assert nas.bare(MAC).code == ACCESS_REJECT
    assert nas.bare("line-1", calling(MAC)).code == ACCESS_REJECT, "a name alone opens nothing"
    assert other_nas.bare(MAC, calling(MAC)).code == ACCESS_REJECT
    ppp = attribute(FRAMED_PROTOCOL, integer(1))
    assert nas.pap(MAC, "x", calling(MAC), ppp).code == ACCESS_REJECT, "a PPP dial-in writes its own name"
    assert nas.chap(MAC, "x", calling(MAC)).code == ACCESS_REJECT
    assert nas.mschap2(MAC, "x", calling(MAC)).code == ACCESS_REJECT


async def test_a_circuit_logs_on_without_password(db, nas, other_nas):
    await add_login(db, "line-1", circuit_id="olt-1/1/3:100")
    await add_login(db, "ada")
    assert nas.bare("anything", circuit(b"olt-1/1/3:100")).get(USER_NAME) == b"line-1"
    assert nas.bare("", circuit(b"olt-1/1/3:100")).code == ACCESS_ACCEPT
    assert nas.bare("line-1", circuit(b"olt-1/1/3:100")).code == ACCESS_ACCEPT
    assert nas.bare("line-1", circuit(b"olt-1/1/3:101")).code == ACCESS_REJECT
    assert nas.bare("x", circuit(b"olt-1/1/3:100' OR 1=1 --")).code == ACCESS_REJECT
    assert nas.bare("x", circuit(b"\x00\xff\xfe")).code == ACCESS_REJECT
    assert other_nas.bare("x", circuit(b"olt-1/1/3:100")).code == ACCESS_REJECT
    ppp = attribute(FRAMED_PROTOCOL, integer(1))
    assert nas.bare("x", circuit(b"olt-1/1/3:100"), ppp).code == ACCESS_REJECT


async def test_a_port_is_one_of_its_access_node_where_the_row_says_which(db, nas, other_nas):
    """Agent-Remote-Id alone, or with the circuit id: then both have to match."""
    await add_login(db, "port-of-1", circuit_id="0/3/12", remote_id="olt-1")
    await add_login(db, "port-of-2", circuit_id="0/3/12", remote_id="olt-2")
    await add_login(db, "cpe", remote_id="cpe-9")
    await add_login(db, "any-node", circuit_id="0/4/1")

    def remote(value):
        return vendor(ADSL_FORUM, 2, value)

    for sent, name in (
        ((circuit(b"0/3/12"), remote(b"olt-1")), b"port-of-1"),
        ((circuit(b"0/3/12"), remote(b"olt-2")), b"port-of-2"),
        ((remote(b"cpe-9"),), b"cpe"),
        ((remote(b"cpe-9"), circuit(b"0/9/9")), b"cpe"),
        ((circuit(b"0/4/1"), remote(b"olt-7")), b"any-node"),
    ):
        assert nas.bare("x", *sent).get(USER_NAME) == name, sent
    for sent in ((circuit(b"0/3/12"),), (circuit(b"0/3/12"), remote(b"olt-3")), (remote(b"olt-1"),)):
        assert nas.bare("x", *sent).code == ACCESS_REJECT, sent
    assert nas.bare("port-of-1", circuit(b"0/3/12")).code == ACCESS_REJECT
    assert nas.bare("x", remote(b"cpe-9"), attribute(FRAMED_PROTOCOL, integer(1))).code == ACCESS_REJECT
    assert other_nas.bare("x", remote(b"cpe-9")).code == ACCESS_REJECT


async def test_a_password_subscriber_keeps_his_password_on_somebody_elses_line(db, nas):
    await add_login(db, "line-1", circuit_id="c-1")
    await add_login(db, "ada", framed_ip="10.9.9.9")
    assert nas.bare("ada", circuit(b"c-1")).code == ACCESS_REJECT
    assert nas.pap("ada", "right", circuit(b"c-1")).get(FRAMED_IP) == bytes([10, 9, 9, 9])
    assert nas.pap("ada", "wrong", circuit(b"c-1")).code == ACCESS_REJECT


async def test_a_suspended_line_is_refused(db, nas):
    await add_login(db, "line-1", mac=MAC, decision="reject")
    assert nas.bare(MAC, calling(MAC)).code == ACCESS_REJECT


HOSTILE = [
    b"' OR '1'='1",
    b"ada'--",
    b"ada' UNION SELECT 'accept',NULL,NULL--",
    b"\\' OR 1=1--",
    b"\xbf\x27 OR 1=1--",
    b"%{sql:DELETE FROM aaa_login}",
    b"${prefix}",
    b"ada\x00x",
    b"\xff\xfe",
    b"ada\t1\n",
    b"x" * 253,
]


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_is_an_unknown_user_and_never_an_error(db, nas, engine, name):
    await add_login(db, "ada", password="other")
    reply = nas.pap(name, "right")
    assert reply.code == ACCESS_REJECT
    assert nas.pap("ada", "other").code == ACCESS_ACCEPT
    assert await db.fetchval("SELECT count(*) FROM aaa_login") == 1
    assert not any(engine.problems.values()), dict(engine.problems)


async def test_odd_but_honest_names_log_on(db, nas):
    for name in ("o+b/c#1!", "jürgen@isp.example", "a b", "x%y", "(z)~{q}|$@^&*"):
        await add_login(db, name)
        assert nas.pap(name, "right").code == ACCESS_ACCEPT, name


async def test_an_unknown_source_is_ignored_counted_and_taken_when_it_becomes_a_nas(db, nas, engine):
    stranger = Nas(nas.port_auth, nas.port_acct, address="127.0.0.9")
    await add_login(db, "ada")
    assert stranger.hasty.pap("ada", "right") is None
    assert stranger.hasty.account() is None

    async def counted():
        return engine.problems["unknown_nas"] > 0

    await until(counted)
    await add_nas(db, address="127.0.0.9")

    async def answered():
        return stranger.hasty.pap("ada", "right") is not None

    await until(answered)
    await db.execute("DELETE FROM aaa_nas WHERE source_ip = '127.0.0.9'")

    counted_before = engine.problems["unknown_nas"]

    async def ignored():
        stranger.hasty.pap("ada", "right")
        return engine.problems["unknown_nas"] > counted_before

    await until(ignored)


@pytest.mark.parametrize(
    "secret", [r"sl\ash\\n\t", "quote'\"`", "%{User-Name}${prefix}", "spaces and = signs", "s" * 60]
)
async def test_any_secret_works(db, engine, config, secret):
    await add_nas(db, address="127.0.0.7", secret=secret)
    await add_login(db, "ada")
    nas = Nas(config.auth_port, config.acct_port, address="127.0.0.7", secret=secret.encode())
    assert nas.pap("ada", "right").code == ACCESS_ACCEPT


async def test_a_wrong_secret_gets_no_answer(db, engine, nas):
    await add_login(db, "ada")
    nas.secret = b"wrong"
    assert nas.hasty.pap("ada", "right") is None
    assert nas.hasty.account() is None


async def test_message_authenticator_required(db, engine, config):
    await add_nas(db, address="127.0.0.6", message_authenticator="required")
    await add_login(db, "ada")
    nas = Nas(config.auth_port, config.acct_port, address="127.0.0.6")
    assert nas.hasty.pap("ada", "right", signed=False) is None
    assert nas.pap("ada", "right").code == ACCESS_ACCEPT


async def test_message_authenticator_auto_requires_it_from_the_first_one_on(db, engine, config):
    await add_nas(db, address="127.0.0.5", message_authenticator="auto")
    await add_login(db, "ada")
    nas = Nas(config.auth_port, config.acct_port, address="127.0.0.5")
    assert nas.pap("ada", "right", signed=False).code == ACCESS_ACCEPT
    assert nas.pap("ada", "right").code == ACCESS_ACCEPT
    assert nas.hasty.pap("ada", "right", signed=False) is None
    assert nas.pap("ada", "right").code == ACCESS_ACCEPT
    lines = spool_lines(config, "auth")
    assert [line[7] for line in lines] == ["0", "1", "0", "1"]
    assert [line[4] for line in lines] == ["Access-Accept", "Access-Accept", "No-Answer", "Access-Accept"]


async def test_the_mark_of_a_signing_nas_outlives_a_restart(db, engine, config):
    await add_nas(db, address="127.0.0.4", message_authenticator="auto", message_authenticator_seen=True)
    await add_login(db, "ada")
    nas = Nas(config.auth_port, config.acct_port, address="127.0.0.4")
    assert nas.hasty.pap("ada", "right", signed=False) is None
    assert nas.pap("ada", "right").code == ACCESS_ACCEPT


@pytest.mark.parametrize(
    ("port", "alive"), [("port_auth", ACCESS_ACCEPT), ("port_acct", ACCOUNTING_RESPONSE)]
)
async def test_a_nas_may_ask_whether_the_server_lives(engine, nas, port, alive):
    """RFC 5997: an Access-Reject would tell the NAS to look for another server."""
    body = attribute(MESSAGE_AUTHENTICATOR, bytes(16))
    reply = nas.ask(STATUS_SERVER, body, os.urandom(16), getattr(nas, port))
    assert (reply.code, reply.names[:1]) == (alive, [MESSAGE_AUTHENTICATOR] if alive == ACCESS_ACCEPT else [])
    assert nas.hasty.ask(STATUS_SERVER, b"", os.urandom(16), getattr(nas, port)) is None


async def test_broken_packets_are_survived(db, engine, nas):
    await add_login(db, "ada")
    hasty = replace(nas, timeout=0.05)
    for body in (
        b"\x01",
        b"\x01\x01",
        b"\x01\xff",
        b"\x1a\x03x",
        os.urandom(200),
        struct.pack("!BBI", 26, 6, 9),
    ):
        hasty.ask(1, body, os.urandom(16), nas.port_auth)
        hasty.ask(4, body, os.urandom(16), nas.port_acct)
    assert nas.pap("ada", "right").code == ACCESS_ACCEPT


async def test_log_ins_are_spooled_with_their_reason(db, nas, config):
    await add_login(db, "ada")
    await add_login(db, "eve", decision="reject", decision_reason="unpaid")
    nas.pap("ada", "right", calling(MAC))
    nas.pap("ada", "wr0ng-secret")
    nas.pap("eve", "right")
    accepted, wrong, suspended = spool_lines(config, "auth")
    assert accepted[0] == "1"
    assert abs(int(accepted[1]) - datetime.now(UTC).timestamp()) < 60
    assert accepted[2:] == ["127.0.0.1", "ada", "Access-Accept", MAC.replace(":", "%3A"), "", "1"]
    assert wrong[4] == "Access-Reject"
    assert wrong[6].startswith("pap")
    assert "wr0ng-secret" not in "".join(wrong)
    assert suspended[4:7] == ["Access-Reject", "", "unpaid"]
