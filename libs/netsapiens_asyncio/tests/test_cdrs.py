from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest

from netsapiens_asyncio import CdrsAPI, IncompleteCdrs, InvalidInput
from netsapiens_asyncio._paging import read_pages
from netsapiens_asyncio.cdrs import slices
from netsapiens_asyncio.testing.state import new_cdr

END = datetime(2024, 11, 25, 18, tzinfo=UTC)
NAIVE = END.replace(tzinfo=None)
START = END - timedelta(hours=12)


def fill(pbx, count, spread=43_000):
    for number in range(count):
        pbx.state.add_cdr("testdomain.com", START.timestamp() + 1 + number * spread / count, 30)


async def test_50_000_while_new_ones_arrive_each_exactly_once(client, pbx):
    """New ones go in at the front, the back and the middle of the span that is being read."""
    whole = new_cdr("testdomain.com", START.timestamp(), 30)
    template = {
        key: whole[key] for key in ("domain", "call-talking-duration-seconds")
    }  # 50,000 whole ones would test the JSON parser
    chance = random.Random(7)
    for number in range(50_000):
        pbx.state.cdrs.add({**template, "id": f"old-{number}"}, START.timestamp() + chance.uniform(1, 43_000))
    seen: list[str] = []
    late = 0
    async for record in CdrsAPI(client).iterate(START, END, domain="testdomain.com"):
        seen.append(record["id"])
        if len(seen) % 250 == 0 and late < 200:
            late += 1
            at = START.timestamp() + chance.choice([1, 43_100, chance.uniform(1, 43_000)])
            pbx.state.cdrs.add({**template, "id": f"late-{late}"}, at)
    assert len(seen) == len(set(seen)) == 50_200
    assert set(seen) == {record["id"] for record, _ in pbx.state.cdrs.records}


async def test_spans_of_days_meet_without_gap_and_without_double(client, pbx):
    for hours in range(-72, 1):  # some exactly where two slices meet
        pbx.state.add_cdr("testdomain.com", (END + timedelta(hours=hours)).timestamp(), 10)
    start = END - timedelta(days=3)
    records = [record["id"] async for record in CdrsAPI(client).iterate(start, END, domain="testdomain.com")]
    assert len(records) == len(set(records)) == 73


async def test_only_the_domain_and_all_of_them(client, pbx):
    fill(pbx, 5)
    pbx.state.add_cdr("company.com", START.timestamp() + 5, 30)
    cdrs = CdrsAPI(client)
    assert len([each async for each in cdrs.iterate(START, END)]) == 5
    assert len([each async for each in cdrs.iterate(START, END, domain=None)]) == 6
    assert (await cdrs.count(START, END))["total"] == 5
    short = [each async for each in cdrs.iterate_user(START, END)]
    assert len(short) == 5
    assert isinstance(short[0]["cdr_id"], str)


async def test_text_and_numbers_are_put_right(client, pbx):
    fill(pbx, 1)
    pbx.faults.bare_single = True
    pbx.faults.numbers_as_integers = True
    (record,) = [each async for each in CdrsAPI(client).iterate(START, END)]
    assert record["call-orig-caller-id"] == "18585550100"
    assert record["call-orig-user"] == "123"
    assert record["call-talking-duration-seconds"] == 27


async def test_a_count_that_is_never_reached_is_reported(client, pbx, monkeypatch):
    fill(pbx, 3)
    monkeypatch.setattr(CdrsAPI, "_counted", lambda *_: _async(9))
    seen = []
    with pytest.raises(IncompleteCdrs):
        await collect(seen, CdrsAPI(client).iterate(START, END))
    assert len(seen) == len(set(seen)) == 3


async def collect(into, records):
    async for record in records:
        into.append(record["id"])


async def _async(value):
    return value


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("start", {"start": NAIVE}),
        ("end", {"end": NAIVE}),
        ("end", {"start": END, "end": START}),
        ("kind", {"kind": "Upwards"}),
        ("page", {"page": 0}),
        ("page", {"page": 5_000}),
    ],
)
async def test_bad_input_is_refused_before_the_wire(client, pbx, field, arguments):
    with pytest.raises(InvalidInput) as caught:
        await collect([], CdrsAPI(client).iterate(**{"start": START, "end": END, **arguments}))
    assert caught.value.field == field
    assert not pbx.seen


def test_slices_cover_the_span():
    parts = list(slices(END - timedelta(days=2, hours=3), END))
    assert len(parts) == 3
    assert all(before[1] == after[0] for before, after in itertools.pairwise(parts))


async def test_records_that_go_away_between_pages_hide_no_others():
    records = [{"id": number} for number in range(100)]
    served = 0

    async def fetch(start, limit):
        nonlocal served
        served += 1
        if served == 3:
            del records[:10]  # what is left moves up
        return records[start : start + limit]

    found = [record["id"] async for record in read_pages(fetch, lambda each: each["id"], page=10)]
    assert sorted(found) == list(range(100))
    assert len(found) == 100


async def test_a_route_that_does_not_page_ends(caplog):
    records = [{"id": number} for number in range(10)]

    async def fetch(start, limit):
        return records[:limit]

    assert len([each async for each in read_pages(fetch, lambda each: each["id"], page=5)]) == 5
    assert "repeats its page" in caplog.text
