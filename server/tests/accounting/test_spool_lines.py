"""The gate before COPY: good lines pass unchanged, everything else is named."""

from __future__ import annotations

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demarc.adapters.freeradius import spool_format
from demarc.modules.access.accounting import ACCOUNTING_FIELDS, LOGIN_FIELDS, prepare_accounting
from demarc.modules.access.accounting.lines import ACCOUNTING_LINES, LOGIN_LINES

from ..bare_postgres import BarePostgres  # noqa: TID252 - the suite's own
from .booking import interim, login_line, start


def with_field(name: str, value: bytes) -> bytes:
    fields = interim(60, (1, 2), 60).line().rstrip(b"\n").split(b"\t")
    fields[ACCOUNTING_FIELDS.index(name)] = value
    return b"\t".join(fields) + b"\n"


def test_writer_and_reader_agree_on_the_fields() -> None:
    assert spool_format.ACCT_FIELD_NAMES == ACCOUNTING_FIELDS
    assert spool_format.AUTH_FIELD_NAMES == LOGIN_FIELDS


def test_a_good_line_is_unquoted_for_copy() -> None:
    parsed = ACCOUNTING_LINES.parse(start(0, user="a\tb\n%\\é").line(), 7)
    assert parsed.accepted == 1
    assert parsed.rejected == ()
    assert parsed.copy_text.startswith(b"7\t1\t127.0.1.1\tStart\ts1\ta\\tb\\n%\\\\\xc3\xa9\t")


@pytest.mark.parametrize(
    ("quoted", "copied"),
    [
        (b"caf%E9:ssid", rb"caf\\xe9:ssid"),
        (b"a%00b", rb"a\\x00b"),
        (b"%C3%A9%C3", "é".encode() + rb"\\xc3"),
        (b"%ED%A0%80", rb"\\xed\\xa0\\x80"),
        (b"%FF" * 253, rb"\\xff" * 253),
    ],
)
def test_octets_that_are_no_text_are_written_out(quoted: bytes, copied: bytes) -> None:
    """RFC 2865 allows any octet in a name or an SSID: it must not cost the packet's counters."""
    parsed = ACCOUNTING_LINES.parse(with_field("called_station_id", quoted), 0)
    assert parsed.rejected == ()
    assert b"\t" + copied + b"\t" in parsed.copy_text


def test_empty_lines_are_separators_and_offsets_stay_true() -> None:
    line = start(0).line()
    parsed = ACCOUNTING_LINES.parse(b"\n" + line + b"\nbroken\n", 100)
    assert parsed.copy_text.startswith(b"101\t")
    assert [(bad.offset, bad.line) for bad in parsed.rejected] == [(102 + len(line), b"broken")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"2\tx\n", "not of spool format version 1"),
        (b"1\tx\n", "has 2 fields, not 23"),
        (with_field("status_type", b"15"), "status_type is not acceptable"),
        (with_field("session_seconds", b"-4"), "session_seconds is not acceptable"),
        (with_field("input_octets", b"12.5"), "input_octets is not acceptable"),
        (with_field("received_at", b""), "received_at is not acceptable"),
        (with_field("output_octets", b"99999999999"), "output_octets is not acceptable"),
        (with_field("framed_ip", b"10.0.0.256"), "framed_ip is not an address"),
        (with_field("delegated_prefix", b"2001:db8::/129"), "delegated_prefix is not an address"),
        (with_field("delegated_prefix", b"2001:db8::/064"), "delegated_prefix is not acceptable"),
        (with_field("user_name", b"caf\xe9"), "user_name is not acceptable"),
        (with_field("class", b"x" * 20_000), "longer than 16384 octets"),
    ],
)
def test_a_bad_line_is_named(line: bytes, reason: str) -> None:
    parsed = ACCOUNTING_LINES.parse(line, 0)
    assert parsed.accepted == 0
    assert [bad.reason for bad in parsed.rejected] == [reason]
    assert len(parsed.rejected[0].line) <= 16_384


def test_a_login_line_passes() -> None:
    assert (
        LOGIN_LINES.parse(login_line("user100@isp", "Access-Reject", 1, reason="bad password"), 0).accepted
        == 1
    )


FIELD = st.one_of(
    st.binary(max_size=12).filter(lambda value: b"\n" not in value),
    st.sampled_from(
        [b"", b"0", b"9999999999", b"Start", b"Stop", b"1", b"1.2.3.4", b"::/0", b"::1%2f128", b"::ffff:1.2.3.4",
         b"%5C%2E", b"\\.", b"\\N", b"%09", b"%C3%A9", b"%C3", b"2001:db8::1/64", b"0.0.0.0"]
    ),
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(st.dictionaries(st.sampled_from(ACCOUNTING_FIELDS), FIELD, max_size=4), max_size=20))
async def test_whatever_passes_can_be_copied(seeded: BarePostgres, changes: list[dict[str, bytes]]) -> None:
    lines = []
    for changed in changes:
        fields = interim(60, (1, 2), 60).line().rstrip(b"\n").split(b"\t")
        for name, value in changed.items():
            fields[ACCOUNTING_FIELDS.index(name)] = value
        lines.append(b"\t".join(fields) + b"\n")
    block = b"".join(lines)
    parsed = ACCOUNTING_LINES.parse(block, 0)
    assert parsed.accepted + len(parsed.rejected) == len(lines)
    connection = await asyncpg.connect(seeded.dsn("demarc_ingest"))
    try:
        await prepare_accounting(connection)
        async with connection.transaction():
            from demarc.modules.access.accounting.merge import merge_accounting

            merged = await merge_accounting(connection, block, 0)
        assert merged.booked + len(merged.rejected) == len(lines)
    finally:
        await connection.close()
