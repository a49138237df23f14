"""AEx beyond the contract suite: many pages, the nearest premise, the feed of changes."""

from __future__ import annotations

import pytest

from fno_portal import (
    Address,
    AExClient,
    FNOAmbiguousAddressError,
    FNOMasterPortal,
    FNORateLimitError,
    MemoryAudit,
    OrderStatus,
)
from fno_portal.testing.operator import API_KEY, PREMISES, Premise


@pytest.fixture
def sim(sims):
    return sims["evotel", "aex"]


@pytest.fixture
async def client(sim):
    made = AExClient(sim.url, API_KEY, name="evotel")
    yield made
    await made.aclose()


@pytest.fixture
async def portal(sim):
    config = {"evotel": {"base_url": sim.url, "api_key": API_KEY, "rate": 1000, "period_s": 1}}
    async with FNOMasterPortal(config, audit=MemoryAudit()) as made:
        yield made


@pytest.mark.parametrize(("others", "requests"), [(0, 1), (49, 1), (50, 2), (120, 3)])
async def test_order_is_found_on_a_later_page(sim, client, others, requests):
    """The server ignores the filter and answers everybody's services, fifty at a time."""
    sim.operator.faults.filter_ignored = True
    for number in range(others):
        sim.operator.take_order(f"other-{number}")
    taken = sim.operator.take_order("mine")
    sim.operator.requests = 0
    assert (await client.find_order("mine"))["fno_reference"] == taken["number"]
    assert sim.operator.requests == requests
    assert await client.find_order("nobody's") is None


def _near(metres_north: float, number: int, *, covered: bool = True) -> Premise:
    keys = {"premiseId": f"NEAR{number}", "areaId": "AR1"}
    return Premise(f"{number} Long Street", covered, -33.9 + metres_north / 111_195, 18.4, keys)


async def test_nearest_premise_of_several_pages(sim, client):
    sim.operator.premises = (*(_near(120 + 10 * one, one) for one in range(24)), _near(30, 99))
    found = await client.check_coverage(Address("", latitude=-33.9, longitude=18.4))
    assert found["address_keys"]["premiseId"] == "NEAR99"
    assert found["is_covered"]


async def test_neighbour_is_not_the_premise(sim, client):
    sim.operator.premises = (_near(300, 1), _near(250, 2))
    with pytest.raises(FNOAmbiguousAddressError, match="nearest is 250 m away") as caught:
        await client.check_coverage(Address("", latitude=-33.9, longitude=18.4))
    assert [one["keys"]["premiseId"] for one in caught.value.candidates] == ["NEAR2", "NEAR1"]
    sim.operator.premises = ()
    assert not (await client.check_coverage(Address("", latitude=-33.9, longitude=18.4)))["is_covered"]


async def test_feed_moves_our_orders_with_one_request(sim, portal, order):
    for number in (1, 2, 3):
        await portal.create_order("evotel", {**order, "reference": f"ORD-{number}"})
    sim.operator.take_changes()
    orders = await portal.list_orders()
    sim.operator.set_status(orders[0].fno_reference, "scheduled", scheduled_date="2099-01-05")
    sim.operator.set_status(orders[2].fno_reference, "completed", completed_date="2099-01-06")
    sim.operator.set_status(sim.operator.take_order("another ISP's")["number"], "accepted")
    sim.operator.requests = 0
    told = (await portal.poll_changes())["evotel"]
    assert sim.operator.requests == 1
    assert [(one.id, one.status) for one in told] == [
        ("ORD-1", OrderStatus.SCHEDULED), ("ORD-3", OrderStatus.COMPLETED),
    ]  # fmt: skip
    assert (await portal.get_order("ORD-1")).scheduled_date == "2099-01-05"
    assert (await portal.get_order("ORD-3")).completed_date == "2099-01-06"
    # What a feed and a poll both tell is one event.
    before = await portal.list_events("ORD-1")
    await portal.poll_orders()
    assert await portal.list_events("ORD-1") == before


async def test_feed_is_read_once_in_ten_minutes(sim, portal):
    assert (await portal.poll_changes()) == {"evotel": []}
    sim.operator.requests = 0
    refused = (await portal.poll_changes())["evotel"]
    assert isinstance(refused, FNORateLimitError)
    assert "10 minutes" in str(refused)
    # Another process over the same store, as `fno poll` on a timer is.
    config = {"evotel": {"base_url": sim.url, "api_key": API_KEY}}
    async with FNOMasterPortal(config, store=portal.store) as later:
        assert isinstance((await later.poll_changes())["evotel"], FNORateLimitError)
    assert sim.operator.requests == 0
    # Without our store: the operator itself refuses, and the breaker stays closed.
    other = AExClient(sim.url, API_KEY, name="evotel")
    with pytest.raises(FNORateLimitError, match="429"):
        await other.list_changes()
    await other.aclose()
    assert (await portal.check_all_coverage(PREMISES[0].address))[0].is_covered


async def test_unknown_state_in_the_feed_loses_no_other_news(sim, portal, order, monkeypatch):
    from fno_portal.testing import styles

    await portal.create_order("evotel", order)
    monkeypatch.setitem(styles._AEX, "held", "Gone Fishing")
    sim.operator.take_changes()
    sim.operator.set_status(sim.operator.take_order("other")["number"], "held")
    sim.operator.set_status((await portal.get_order("ORD-1")).fno_reference, "in_progress")
    assert [one.status for one in (await portal.poll_changes())["evotel"]] == [OrderStatus.IN_PROGRESS]
    noted = [one for one in portal.client("evotel").channel.sink if one.outcome == "protocol"]
    assert "Gone Fishing" in str(noted)
