"""Portals in a real headless Chromium: sessions, TOTP, layout, CAPTCHA, evidence."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import time
from datetime import timedelta
from functools import partial

import pytest

from fno_portal import (
    FNOConfigError,
    FNOError,
    FNOHumanNeededError,
    FNOLayoutError,
    FNOMasterPortal,
    FNOTimeoutError,
    Outcome,
    PortalClient,
    SharedBrowser,
    Workshop,
)
from fno_portal.portal.evidence import EvidenceRoom
from fno_portal.portal.selectors import load_selectors
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
            state_dir=tmp_path / "state", evidence_dir=tmp_path / "evidence", **{"wait_s": 60, **options},
        )  # fmt: skip

    return made


async def test_session_is_kept_and_log_in_is_single_flight(sim, make, tmp_path):
    first = make()
    found = await asyncio.gather(*(first.check_coverage(PLACE) for _ in range(3)))
    assert all(one["is_covered"] for one in found)
    assert sim.operator.logins == 1
    await first.aclose()
    (state,) = (tmp_path / "state").glob("octotel-*.json")
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    second = make()
    assert (await second.check_coverage(PLACE))["is_covered"]
    assert sim.operator.logins == 1
    await second.aclose()


@pytest.mark.parametrize("kept", [b"", b'{"cookies": [', b"[]", b'{"cookies": 5}', b"\x80"])
async def test_a_damaged_session_is_replaced(sim, make, tmp_path, kept):
    first = make()
    await first.log_in()
    await first.aclose()
    (state,) = (tmp_path / "state").glob("octotel-*.json")
    state.write_bytes(kept)
    again = make()
    assert (await again.check_coverage(PLACE))["is_covered"]
    assert sim.operator.logins == 2
    await again.aclose()
    assert b"portal_session" in state.read_bytes()


async def test_processes_share_one_session(sim, make, browser, tmp_path):
    """Each client stands for a process: they have only the kept session in common."""
    clients = [make(), make(), make()]
    found = await asyncio.gather(*(one.check_coverage(PLACE) for one in clients))
    assert all(one["is_covered"] for one in found)
    assert sim.operator.logins == 1
    sim.operator.expire_sessions()
    found = await asyncio.gather(*(one.check_coverage(PLACE) for one in clients))
    assert all(one["is_covered"] for one in found)
    assert sim.operator.logins == 2
    for one in clients:
        await one.aclose()
    assert {file.suffix for file in (tmp_path / "state").iterdir()} == {".json", ".lock"}


async def test_session_expired_in_mid_flow(sim, make):
    client = make()
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
        "wait_s": 60,
        "deadline_s": 120,
        "order_deadline_s": 120,
    }
    async with FNOMasterPortal({"octotel": config}, workshop=Workshop(browser=browser)) as portal:
        await portal.check_all_coverage(PLACE)
        sim.operator.faults.expire_on_submit = True
        with pytest.raises(Exception, match="outcome is unknown"):
            await portal.create_order("octotel", order)
        assert (await portal.get_order("ORD-1")).outcome is Outcome.UNKNOWN
        assert not sim.operator.orders


async def test_order_taken_by_a_portal_that_never_answers_is_one_order(sim, browser, order):
    """The caller leaves once the portal has the order; the look-up finds it, and nothing is sent again."""
    config = {
        "portal_url": sim.url,
        "username": USERNAME,
        "password": PASSWORD,
        "totp_seed": TOTP_SEED,
        "wait_s": 60,
    }
    sim.operator.idempotent = False
    sim.operator.faults.take_then_hang = True
    async with FNOMasterPortal(
        {"octotel": {**config, "deadline_s": 100, "order_deadline_s": 100}},
        workshop=Workshop(browser=browser),
    ) as portal:
        asked = asyncio.create_task(portal.create_order("octotel", order))
        while not sim.operator.orders:
            assert not asked.done(), await asked
            await asyncio.sleep(0.02)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert (await portal.get_order("ORD-1")).outcome is Outcome.UNKNOWN
        sim.operator.faults.take_then_hang = False
        settled = await portal.settle_order("ORD-1")
    assert settled.outcome is Outcome.KNOWN
    assert list(sim.operator.orders) == [settled.fno_reference]


async def test_changed_layout_is_told_with_evidence(sim, make, tmp_path, monkeypatch):
    client = make()
    await client.check_coverage(PLACE)
    monkeypatch.setattr(client.portal, "expect", _soon(client.portal.expect))
    monkeypatch.setattr(sim.operator, "name", "octotel, for 8001015009087")
    sim.operator.faults.layout_changed = True
    with pytest.raises(FNOLayoutError, match="selectors v1") as caught:
        await client.check_coverage(PLACE)
    await client.aclose()
    folder = tmp_path / "evidence"
    (entry,) = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    assert caught.value.evidence == str(folder / entry["screenshot"])
    assert (folder / entry["screenshot"]).read_bytes().startswith(b"\x89PNG")
    assert list(folder.glob("*.html"))
    for file in folder.iterdir():
        assert b"8001015009087" not in file.read_bytes()
    assert "[id number]" in next(folder.glob("*.html")).read_text()


def _soon(expect):
    """Of a page that is there: what it does not show after a second it never will."""

    async def soon(page, wanted, action):
        page.wait_for_selector = partial(page.wait_for_selector, timeout=1000)
        return await expect(page, wanted, action)

    return soon


async def test_next_version_of_selectors_mends_it(sim, browser, tmp_path, order):
    """A file, and no code: v1 does not find its way on the new pages, v2 does everything on them."""
    sim.operator.faults.layout_changed = True
    renamed = {
        page: {
            key: _renamed(value) for key, value in fields.items() if key not in {"path", "words", "inside"}
        }
        for page, fields in load_selectors("octotel", 1).pages.items()
        if page != "states"
    }
    assert renamed["orders"]["row"] == ".new-order"
    (tmp_path / "octotel.v2.json").write_text(json.dumps({"extends": "octotel.v1", **renamed}))
    new = PortalClient(
        sim.url, USERNAME, PASSWORD, name="octotel", totp_seed=TOTP_SEED, browser=browser, selectors_dir=tmp_path,
        state_dir=tmp_path, wait_s=60,
    )  # fmt: skip
    assert new.portal.selectors.version == 2
    assert (await new.check_coverage(PLACE))["is_covered"]
    taken = await new.create_order({**order, "rica_verified": True})
    assert (await new.find_order("ORD-1"))["fno_reference"] == taken["fno_reference"]
    assert (await new.cancel_order(taken["fno_reference"], "moved"))["cancellation"] == "completed"
    assert (await new.get_order_status(taken["fno_reference"]))["status"] == "cancelled"
    assert (await new.submit_fault({"description": "no light"}))["fault_id"]
    old = PortalClient(
        sim.url, USERNAME, PASSWORD, name="octotel", totp_seed=TOTP_SEED, browser=browser, selectors_dir=tmp_path,
        state_dir=tmp_path, selectors_version=1, wait_s=1,
    )  # fmt: skip
    with pytest.raises(FNOError):
        await old.check_coverage(PLACE)
    await new.aclose()
    await old.aclose()


def _renamed(value):
    if isinstance(value, dict):
        return {key: _renamed(one) for key, one in value.items()}
    return re.sub(r"([#.])([a-z])", r"\1new-\2", value)


async def test_portal_that_does_not_answer_is_no_changed_layout(sim, make, monkeypatch):
    client = make()
    await client.check_coverage(PLACE)
    fill = client.portal.expect

    async def then_hang(page, wanted, action):
        found = await fill(page, wanted, action)
        sim.operator.faults.hang = True
        page.set_default_timeout(1000)
        return found

    monkeypatch.setattr(client.portal, "expect", then_hang)
    with pytest.raises(FNOTimeoutError, match="does not answer"):
        await client.check_coverage(PLACE)
    sim.operator.faults.hang = False
    await client.aclose()


class _Page:
    """Stands in for a page: what a folder keeps is asked here, not what Chromium draws."""

    url = "http://127.0.0.1/orders?id=8001015009087"

    async def evaluate(self, *_):
        return None

    async def screenshot(self, **_):
        return b"\x89PNG"

    async def content(self):
        return "<p>8001015009087</p>"


async def _keep(room, number):
    return await room.keep(
        _Page(), fno="octotel", action=f"step {number}", reason="of 8001015009087", version=1
    )


async def test_evidence_does_not_grow_for_ever(tmp_path):
    folder = tmp_path / "evidence"
    folder.mkdir(mode=0o755)
    room = EvidenceRoom(folder, keep=3, max_age=timedelta(days=30))
    (folder / "notes of a person.png").write_bytes(b"stays")
    for number in range(5):
        last = await _keep(room, number)
        for one in folder.iterdir():
            os.utime(one, (one.stat().st_atime, one.stat().st_mtime - 60))
    lines = [json.loads(one) for one in (folder / "index.jsonl").read_text().splitlines()]
    assert [one["action"] for one in lines] == ["step 2", "step 3", "step 4"]
    assert last == str(folder / lines[-1]["screenshot"])
    names = {one.name for one in folder.iterdir()}
    assert names == {"index.jsonl", "notes of a person.png"} | {
        name for one in lines for name in (one["screenshot"], one["screenshot"].replace(".png", ".html"))
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    ours = [one for one in folder.iterdir() if not one.name.startswith("notes")]
    assert {stat.S_IMODE(one.stat().st_mode) for one in ours} == {0o600}
    assert not [one for one in ours if b"8001015009087" in one.read_bytes()]
    old = time.time() - 31 * 86400
    for one in ours:
        os.utime(one, (old, old))
    await _keep(room, 5)
    assert len(list(folder.glob("octotel-*"))) == 2
    assert len((folder / "index.jsonl").read_text().splitlines()) == 1


async def test_evidence_that_cannot_be_kept_hides_no_error(tmp_path, caplog):
    room = EvidenceRoom(tmp_path / "evidence")
    (tmp_path / "evidence").rmdir()
    assert await _keep(room, 1) is None
    assert "no evidence of step 1 at octotel" in caplog.text


def test_evidence_needs_a_time_to_be_kept():
    with pytest.raises(FNOConfigError, match="evidence_keep"):
        PortalClient("https://x.example", "u", "p", name="octotel", evidence_keep=0)


async def test_portals_of_one_process_share_one_browser(sim):
    person = {"portal_url": sim.url, "username": USERNAME, "password": PASSWORD}
    portal = FNOMasterPortal({"octotel": person, "metrofibre": person})
    assert len({one.portal._shared for one in portal.clients.values()}) == 1
    await portal.aclose()


async def test_deadline_neither_waits_for_the_browser_nor_breaks_its_start(browser):
    """One caller leaves while Chromium starts; the other gets it; nothing is left running."""
    shared = SharedBrowser()

    async def hasty():
        async with asyncio.timeout(0.01):
            await shared.acquire()

    async def patient():
        return await shared.acquire()

    left, got = await asyncio.gather(hasty(), patient(), return_exceptions=True)
    assert isinstance(left, TimeoutError)
    assert got.is_connected()
    await shared.release()
    assert not got.is_connected()
    again = await shared.acquire()
    assert again.is_connected()
    await shared.release()


async def test_chromium_that_does_not_start(tmp_path):
    shared = SharedBrowser(executable_path=str(tmp_path / "nothing"))
    for _ in range(2):
        with pytest.raises(FNOConfigError, match="Chromium does not start"):
            await shared.acquire()


async def test_a_window_needs_a_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(FNOConfigError, match="no display"):
        await SharedBrowser(headless=False).acquire()


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

    helped = make(human=person)
    assert (await helped.check_coverage(PLACE))["is_covered"]
    assert len(asked) == 1
    await helped.aclose()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "no JSON object"),
        ('{"coverage": 5}', "a page that is no object"),
        ('{"extends": 5}', "extend 5"),
        ('{"extends": "nobody.v1"}', "extend 'nobody.v1'"),
        ('{"extends": "octotel.v9"}', "extend 'octotel.v9'"),
        ('{"coverage": {"path": "/"}}', "page 'coverage' do not name 'address'"),
        ('{"login": {}}', "no page 'coverage'"),
    ],
)
def test_selectors_that_cannot_be_right(tmp_path, text, says):
    (tmp_path / "octotel.v9.json").write_text(text)
    with pytest.raises(FNOConfigError, match=re.escape(says)) as caught:
        load_selectors("octotel", directory=tmp_path).page("coverage")["address"]
    assert caught.value.fno == "octotel"


@pytest.mark.parametrize("seed", ["", "short", "1!" * 16, "otpauth://hotp/x?secret=JBSWY3DPEHPK3PXP"])
def test_malformed_totp_seed(seed):
    with pytest.raises(FNOConfigError, match="malformed") as caught:
        TotpSeed(seed, fno="octotel")
    assert caught.value.fno == "octotel"
    assert not seed or seed not in str(caught.value)
