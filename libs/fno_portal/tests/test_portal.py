"""Portals in a real headless Chromium: sessions, TOTP, layout, CAPTCHA, evidence."""

from __future__ import annotations

import asyncio
import json
import stat

import pytest

from fno_portal import (
    FNOConfigError,
    FNOHumanNeededError,
    FNOLayoutError,
    FNOMasterPortal,
    Outcome,
    PortalClient,
    Workshop,
)
from fno_portal.portal.totp import TotpSeed
from fno_portal.testing.operator import PASSWORD, PREMISES, TOTP_SEED, USERNAME

PLACE = PREMISES[0].address


@pytest.fixture
def sim(sims):
    return sims["octotel", "portal"]


@pytest.fixture
def make(sim, browser, tmp_path):
    def made(**options):
        return PortalClient(
            sim.url, USERNAME, PASSWORD, name="octotel", totp_seed=TOTP_SEED, browser=browser,
            state_dir=tmp_path / "state", evidence_dir=tmp_path / "evidence", **{"wait_s": 3, **options},
        )  # fmt: skip

    return made


async def test_session_is_kept_and_log_in_is_single_flight(sim, make, tmp_path):
    first = make(wait_s=15)
    found = await asyncio.gather(*(first.check_coverage(PLACE) for _ in range(3)))
    assert all(one["is_covered"] for one in found)
    assert sim.operator.logins == 1
    await first.aclose()
    (state,) = (tmp_path / "state").glob("octotel-*.json")
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    second = make(wait_s=15)
    assert (await second.check_coverage(PLACE))["is_covered"]
    assert sim.operator.logins == 1
    await second.aclose()


async def test_session_expired_in_mid_flow(sim, make):
    client = make(wait_s=15)
    await client.check_coverage(PLACE)
    sim.operator.faults.expire_on_submit = True
    assert (await client.check_coverage(PLACE))["is_covered"]
    assert sim.operator.logins == 2
    await client.aclose()


async def test_session_expired_while_ordering_makes_one_order(sim, browser, order):
    config = {
        "portal_url": sim.url,
        "username": USERNAME,
        "password": PASSWORD,
        "totp_seed": TOTP_SEED,
        "rate": 1000,
        "period_s": 1,
    }
    async with FNOMasterPortal({"octotel": config}, workshop=Workshop(browser=browser)) as portal:
        await portal.check_all_coverage(PLACE)
        sim.operator.faults.expire_on_submit = True
        with pytest.raises(Exception, match="outcome is unknown"):
            await portal.create_order("octotel", order)
        assert (await portal.get_order("ORD-1")).outcome is Outcome.UNKNOWN
        assert not sim.operator.orders


async def test_changed_layout_is_told_with_evidence(sim, make, tmp_path):
    client = make()
    await client.check_coverage(PLACE)
    sim.operator.faults.layout_changed = True
    with pytest.raises(FNOLayoutError, match="selectors v1") as caught:
        await client.check_coverage("house of 8001015009087")
    await client.aclose()
    folder = tmp_path / "evidence"
    (entry,) = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    assert caught.value.evidence == str(folder / entry["screenshot"])
    assert (folder / entry["screenshot"]).read_bytes().startswith(b"\x89PNG")
    assert list(folder.glob("*.html"))
    for file in folder.iterdir():
        assert b"8001015009087" not in file.read_bytes()


async def test_next_version_of_selectors_mends_it(sim, make, tmp_path):
    (tmp_path / "octotel.v2.json").write_text(
        json.dumps({"extends": "octotel.v1", "coverage": {"submit": "#gone"}})
    )
    client = make(selectors_dir=tmp_path)
    assert client.portal.selectors.version == 2
    with pytest.raises(FNOLayoutError):
        async with client.portal.new_page() as page:
            await client.portal.expect(page, ["#gone"], "test")
    await client.aclose()


async def test_captcha_hands_over_to_a_person(sim, make):
    sim.operator.faults.captcha = True
    client = make()
    with pytest.raises(FNOHumanNeededError, match="fno login octotel") as caught:
        await client.check_coverage(PLACE)
    assert caught.value.evidence
    await client.aclose()
    asked = []

    async def person(page, task):
        asked.append(task)
        sim.operator.faults.captcha = False
        await page.reload()

    helped = make(human=person, wait_s=15)
    assert (await helped.check_coverage(PLACE))["is_covered"]
    assert len(asked) == 1
    await helped.aclose()


@pytest.mark.parametrize("seed", ["", "short", "1!" * 16, "otpauth://hotp/x?secret=JBSWY3DPEHPK3PXP"])
def test_malformed_totp_seed(seed):
    with pytest.raises(FNOConfigError, match="malformed") as caught:
        TotpSeed(seed, fno="octotel")
    assert caught.value.fno == "octotel"
    assert not seed or seed not in str(caught.value)
