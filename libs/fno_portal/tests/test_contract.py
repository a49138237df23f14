"""Every driver passes the contract suite against its simulator."""

from __future__ import annotations

import pytest
import pytest_asyncio

from fno_portal import FNO, AExClient, FrogfootClient, OpenserveClient, PortalClient, TMFClient, VumatelClient
from fno_portal.channel import Channel, Limits
from fno_portal.models import Address
from fno_portal.testing import RULES, Subject, contract
from fno_portal.testing.operator import API_KEY, PASSWORD, PREMISES, TOTP_SEED, USERNAME

COVERED, UNCOVERED, AMBIGUOUS = PREMISES[0].address, PREMISES[1].address, "1 High Street"
APIS = {
    "vumatel": ("document", VumatelClient),
    "frogfoot": ("document", FrogfootClient),
    "openserve": ("openserve", OpenserveClient),
    "evotel": ("aex", AExClient),
    "thefibrecafe": ("tmf", TMFClient),
}


FREE = Channel("portal", Limits(rate=1000, period_s=1))


class Kept(PortalClient):
    """One client, and so one log-in, for all the rules of a portal; a new one each would double the time."""

    async def aclose(self):
        """Not yet."""


@pytest_asyncio.fixture(scope="session")
async def kept():
    clients: dict[str, Kept] = {}
    yield clients
    for one in clients.values():
        await PortalClient.aclose(one)


def _subject(sims, name, browser=None, kept=None) -> Subject:
    if name in APIS:
        style, driver = APIS[name]
        sim = sims[name, style]
        make = lambda: driver(sim.url, API_KEY, name=name)  # noqa: E731
        wrong = lambda: driver(sim.url, "no-such-key", name=name)  # noqa: E731
    else:
        name = name.removesuffix("-portal")
        sim = sims[name, "portal"]
        seed = TOTP_SEED if sim.operator.totp else None

        def make():
            if name not in kept:
                kept[name] = Kept(
                    sim.url,
                    USERNAME,
                    PASSWORD,
                    name=name,
                    totp_seed=seed,
                    browser=browser,
                    wait_s=30,
                    channel=FREE,
                )
            return kept[name]

        def wrong():
            return PortalClient(
                sim.url, USERNAME, "wrong", name=name, totp_seed=seed, browser=browser, wait_s=30
            )

    def places(one):
        if name == "openserve" and browser is None:
            return Address(one.address, latitude=one.latitude, longitude=one.longitude)
        return one.address

    def count(reference):
        return sum(1 for one in sim.operator.orders.values() if one["reference"] == reference)

    by_text = not (name == "openserve" and browser is None)
    return Subject(
        make=make, make_wrong=wrong, covered=places(PREMISES[0]), uncovered=places(PREMISES[1]),
        package="50/50 Mbps", ambiguous=AMBIGUOUS if by_text else None, faults=sim.operator.faults, count_orders=count,
    )  # fmt: skip


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
async def test_api_driver(rule, name, sims):
    await rule(_subject(sims, name))


WANTED = {
    "takeover": {"losing_isp": "Other ISP"},
    "relocation": {"service_reference": "S-1", "new_address": PREMISES[2].address},
    "cancellation": {"service_reference": "S-1", "effective_date": "2099-01-31", "package": ""},
}


@pytest.mark.parametrize("name", [*APIS, "metrofibre-portal"])
async def test_what_an_order_says_reaches_the_operator(name, sims, browser, kept):
    """Type, other ISP, date of the notice, and for a relocation the new address, not the old one."""
    portal = name.endswith("-portal")
    subject = _subject(sims, name, browser if portal else None, kept)
    sim = sims[name.removesuffix("-portal"), "portal" if portal else APIS[name][0]]
    client = subject.make()
    for kind, fields in WANTED.items():
        asked = contract.order_data(subject, f"R-{kind}", type=kind, **fields)
        if kind == "relocation":
            asked["address_keys"] = {}
        await client.create_order(asked)
        taken = sim.operator.find_order(f"R-{kind}")
        assert taken["type"] == kind
        address = fields.get("new_address", PREMISES[0].address)
        assert taken["address"] == address
        for field in ("losing_isp", "service_reference", "effective_date"):
            assert (taken[field] or None) == fields.get(field), (kind, field)
    await client.aclose()


# What no selector set can change is asked of one portal; everything else of each operator's set.
ONCE = {
    contract.every_declared_type_is_taken,
    contract.hanging_operator_times_out,
    contract.failing_operator_is_unavailable,
}


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        (f"{one.value}-portal", rule)
        for one in FNO
        for rule in RULES
        if one is FNO.OCTOTEL or rule not in ONCE
    ],
    ids=lambda given: given if isinstance(given, str) else given.__name__,
)
async def test_portal_driver(rule, name, sims, browser, kept):
    await rule(_subject(sims, name, browser, kept))
