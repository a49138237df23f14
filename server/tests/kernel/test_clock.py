"""Months and days where the tenant is, over daylight saving and the turn of the year."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarc.kernel.clock import as_utc, business_now, local_date, month_start, next_month_start, real_now

ZONES = st.sampled_from(
    ["UTC", "America/Chicago", "Africa/Johannesburg", "Pacific/Kiritimati", "Australia/Lord_Howe"]
)
MOMENTS = st.integers(631_152_000, 3_471_292_800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "zone", "day"),
    [
        (utc(2026, 1, 1, 3), "America/Chicago", date(2025, 12, 31)),
        (utc(2026, 1, 1, 3), "UTC", date(2026, 1, 1)),
        (utc(2026, 1, 31, 22), "Africa/Johannesburg", date(2026, 2, 1)),
    ],
)
def test_the_day_is_the_tenants(moment, zone, day):
    assert local_date(moment, zone) == day


@pytest.mark.parametrize(
    ("moment", "zone", "start", "end"),
    [
        (utc(2026, 12, 15), "UTC", utc(2026, 12, 1), utc(2027, 1, 1)),
        # Daylight saving begins inside the month: it starts at UTC-6 and ends at UTC-5.
        (utc(2026, 3, 20), "America/Chicago", utc(2026, 3, 1, 6), utc(2026, 4, 1, 5)),
        (utc(2026, 3, 1, 5, 59), "America/Chicago", utc(2026, 2, 1, 6), utc(2026, 3, 1, 6)),
        (utc(2028, 2, 29), "Africa/Johannesburg", utc(2028, 1, 31, 22), utc(2028, 2, 29, 22)),
    ],
)
def test_months_begin_at_the_tenants_midnight(moment, zone, start, end):
    assert month_start(moment, zone) == start
    assert next_month_start(moment, zone) == end


@given(MOMENTS, ZONES)
def test_months_lie_side_by_side(moment, zone):
    start, end = month_start(moment, zone), next_month_start(moment, zone)
    assert start <= moment < end
    assert month_start(end, zone) == end
    assert month_start(start, zone) == start
    assert timedelta(days=27) < end - start < timedelta(days=32)
    assert start.astimezone(ZoneInfo(zone)).strftime("%d %H:%M") == "01 00:00"


def test_a_naive_time_is_utc_and_others_are_converted():
    naive = datetime(2026, 1, 1, 12)  # noqa: DTZ001 - as a request may bring it
    assert as_utc(naive) == utc(2026, 1, 1, 12)
    assert as_utc(datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))) == utc(2026, 1, 1, 10)
    assert as_utc(datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))).tzinfo is UTC


def test_business_time_is_real_time_and_the_offset():
    before = real_now()
    moved = business_now(timedelta(days=40))
    assert before <= moved - timedelta(days=40) <= real_now()
