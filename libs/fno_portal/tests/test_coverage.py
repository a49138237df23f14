"""Coverage in parallel: covered, not covered, unknown with its reason; deadlines, breaker, budget, cache, audit."""

from __future__ import annotations

import traceback
from pathlib import Path

import httpx
import pytest

from fno_portal import (
    Address,
    CoverageState,
    FileAudit,
    FNOCircuitOpenError,
    FNOConfigError,
    FNOMasterPortal,
    FNONotConfiguredError,
    FNORateLimitError,
    FNOUnknownOperatorError,
    FNOUnsupportedError,
    FNOValidationError,
    Limits,
    MemoryAudit,
    MemoryCoverageCache,
    SqliteStore,
    VumatelClient,
    Workshop,
    read_environment,
)
from fno_portal.channel import Breaker, Channel
from fno_portal.config import FileSecrets
from fno_portal.coverage_file import FileCoverageCache
from fno_portal.errors import FNOAuthError, FNOTimeoutError
from fno_portal.testing.operator import API_KEY, PASSWORD, PREMISES, TOTP_SEED, USERNAME

PLACE = Address(PREMISES[0].address, latitude=PREMISES[0].latitude, longitude=PREMISES[0].longitude)


def _config(sims, **settings):
    # Wide, for a busy machine: what the tests are about ends long before.
    quick = {"deadline_s": 120, "wait_s": 60, "rate": 1000, "period_s": 1, **settings}
    api = {"api_key": API_KEY, **quick}
    person = {"username": USERNAME, "password": PASSWORD, **quick}
    return {
        "vumatel": {"base_url": sims["vumatel", "document"].url, **api},
        "openserve": {"base_url": sims["openserve", "openserve"].url, "portal_url": sims["openserve", "portal"].url, **api, **person},
        "frogfoot": {"base_url": sims["frogfoot", "document"].url, **api},
        "octotel": {"portal_url": sims["octotel", "portal"].url, "totp_seed": TOTP_SEED, **person},
        "evotel": {"base_url": sims["evotel", "aex"].url, **api},
        "metrofibre": {"portal_url": sims["metrofibre", "portal"].url, **person},
    }  # fmt: skip


async def test_six_operators_over_their_channels_and_one_hangs(sims, browser):
    """The hanging one is reported unknown at its own deadline; the others have answered."""
    config = _config(sims)
    config["vumatel"]["deadline_s"] = 1
    sims["vumatel", "document"].operator.faults.hang = True
    async with FNOMasterPortal(config, workshop=Workshop(browser=browser)) as portal:
        answers = {one.fno: one for one in await portal.check_all_coverage_detailed(PREMISES[0].address)}
        results = await portal.check_all_coverage(PREMISES[0].address)
    assert list(answers) == ["vumatel", "openserve", "frogfoot", "octotel", "evotel", "metrofibre"]
    assert answers["vumatel"].state is CoverageState.UNKNOWN
    assert answers["vumatel"].reason["code"] == "timeout"
    assert answers["vumatel"].reason["fno"] == "vumatel"
    assert {one.state for name, one in answers.items() if name != "vumatel"} == {CoverageState.COVERED}
    assert len(results) == 5
    assert all(one.cached for name, one in answers.items() if one.cached)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (httpx.ConnectError("no route"), "unavailable"),
        (httpx.ReadError("reset"), "unavailable"),
        (httpx.ReadTimeout("slow"), "timeout"),
        (TimeoutError(), "timeout"),
        (KeyError("is_covered"), "protocol"),
        (RuntimeError("a mistake of the driver's"), "protocol"),
    ],
)
async def test_what_a_driver_raises_takes_no_other_answer_along(sims, error, code):
    """A driver as the document writes it, which lets httpx's errors through."""

    class Plain(VumatelClient):
        async def check_coverage(self, address):
            raise error

    async with FNOMasterPortal({name: _config(sims)[name] for name in ("vumatel", "frogfoot")}) as portal:
        await portal.clients["vumatel"].aclose()
        portal.clients["vumatel"] = Plain("https://v.example", "k")
        answers = await portal.check_all_coverage_detailed(PREMISES[0].address)
    assert [one.state.value for one in answers] == ["unknown", "covered"]
    assert (answers[0].reason["code"], answers[0].reason["fno"]) == (code, "vumatel")


async def test_unknown_is_never_not_covered(sims, browser):
    sims["frogfoot", "document"].operator.faults.html = True
    sims["evotel", "aex"].operator.faults.error_in_200 = True
    async with FNOMasterPortal(_config(sims), workshop=Workshop(browser=browser)) as portal:
        answers = await portal.check_all_coverage_detailed(
            PREMISES[1].address, ["vumatel", "frogfoot", "evotel"]
        )
    assert [one.state.value for one in answers] == ["not_covered", "unknown", "unknown"]
    assert [one.reason["code"] for one in answers[1:]] == ["protocol", "coverage_failed"]


async def test_openserve_searches_text_on_its_portal_and_coordinates_by_api(sims, browser):
    async with FNOMasterPortal(
        {"openserve": _config(sims)["openserve"]}, workshop=Workshop(browser=browser)
    ) as portal:
        by_text = (await portal.check_all_coverage(PREMISES[0].address))[0]
        by_point = (await portal.check_all_coverage(PLACE))[0]
    assert by_text.is_covered
    assert by_point.address_keys == {"AMID": "AM1"}
    assert sims["openserve", "portal"].operator.logins == 1


async def test_keys_of_addresses_outlive_the_process(sims, order, tmp_path):
    config = {"evotel": _config(sims)["evotel"]}
    store = SqliteStore(tmp_path / "orders.db")
    async with FNOMasterPortal(config, store=store) as portal:
        await portal.check_all_coverage(PREMISES[0].address)
    store.close()
    store = SqliteStore(tmp_path / "orders.db")
    async with FNOMasterPortal(config, store=store) as portal:
        await portal.create_order("evotel", order)
        record = await portal.store.get("ORD-1")
    store.close()
    assert record.request.address_keys == {"premiseId": "PR1", "areaId": "AR1"}


async def test_cache_expires_and_keeps_nothing_unknown(sims):
    now = [0.0]
    sim = sims["vumatel", "document"]
    cache = MemoryCoverageCache(60, clock=lambda: now[0])
    async with FNOMasterPortal({"vumatel": _config(sims)["vumatel"]}, cache=cache) as portal:
        for passed, asked in ((0, 1), (59, 1), (60, 2)):
            now[0] = passed
            await portal.check_all_coverage(PREMISES[0].address)
            assert sim.operator.requests == asked
        sim.operator.faults.server_error = True
        await portal.check_all_coverage("7 Other Road")
        sim.operator.faults.server_error = False
        assert (await portal.check_all_coverage_detailed("7 Other Road"))[
            0
        ].state is CoverageState.NOT_COVERED


async def test_breaker_opens_and_tries_again():
    now = [0.0]
    breaker = Breaker(Limits(failures=2, open_s=10, auth_pause_s=99), clock=lambda: now[0])
    for _ in range(2):
        breaker.enter("x")
        breaker.failed(FNOTimeoutError("t"))
    with pytest.raises(FNOCircuitOpenError, match="timeout"):
        breaker.enter("x")
    now[0] = 10
    breaker.enter("x")
    with pytest.raises(FNOCircuitOpenError):
        breaker.enter("x")
    breaker.succeeded()
    breaker.enter("x")
    breaker.failed(FNOAuthError("no"))
    now[0] = 100
    with pytest.raises(FNOCircuitOpenError):
        breaker.enter("x")


async def test_wrong_credentials_are_not_tried_again_and_again(sims):
    sim = sims["vumatel", "document"]
    config = {"vumatel": {"base_url": sim.url, "api_key": "wrong-key-12345"}}
    async with FNOMasterPortal(config, audit=(audit := MemoryAudit())) as portal:
        codes = [(await portal.check_all_coverage_detailed("x"))[0].reason["code"] for _ in range(3)]
    assert codes == ["auth_failed", "circuit_open", "circuit_open"]
    assert sim.operator.requests == 1
    assert "wrong-key-12345" not in "".join(map(str, audit))


async def test_rate_budget_is_kept():
    channel = Channel("x", Limits(rate=2, period_s=60, deadline_s=0.2))
    await channel.spend()
    await channel.spend()
    with pytest.raises(FNORateLimitError, match="2 requests in 60 s"):
        await channel.spend()


async def test_waiting_for_our_own_budget_is_no_failure_of_the_operator(sims):
    """AEx takes two requests for an address. Its breaker must stay closed, and a list of many is told to be patient."""
    slow = {"rate": 1, "period_s": 60, "deadline_s": 0.4, "failures": 1}
    config = {"evotel": {"base_url": sims["evotel", "aex"].url, "api_key": API_KEY, **slow}}
    async with FNOMasterPortal(config) as portal:
        reasons = [
            (await portal.check_all_coverage_detailed(PREMISES[0].address))[0].reason for _ in range(2)
        ]
    assert [(one["code"], one["ours"]) for one in reasons] == [("rate_limited", True)] * 2
    channel = Channel("x", Limits(rate=1, period_s=0.15, deadline_s=0.4, failures=1))

    async def many():
        async with channel.operation("many", {}, 0.4):
            for _ in range(20):
                await channel.spend()

    with pytest.raises(FNORateLimitError):
        await many()
    assert not channel.breaker.is_open


async def test_every_interaction_is_audited(sims):
    audit = MemoryAudit()
    async with FNOMasterPortal({"vumatel": _config(sims)["vumatel"]}, audit=audit) as portal:
        await portal.check_all_coverage(PREMISES[0].address)
        sims["vumatel", "document"].operator.faults.html = True
        await portal.check_all_coverage("1 Elsewhere")
    assert [(one.action, one.outcome) for one in audit] == [
        ("GET /coverage/check", "200"), ("check_coverage", "ok"),
        ("GET /coverage/check", "protocol"), ("check_coverage", "protocol"),
    ]  # fmt: skip


async def test_bad_input(sims):
    config = {name: _config(sims)[name] for name in ("vumatel", "evotel")}
    async with FNOMasterPortal(config) as portal:
        with pytest.raises(FNOValidationError, match="empty"):
            await portal.check_all_coverage("  ")
        with pytest.raises(FNOUnknownOperatorError, match="Known: vumatel"):
            await portal.check_all_coverage_detailed("x", ["nofibre"])
        with pytest.raises(FNONotConfiguredError, match="FNO_OCTOTEL_"):
            portal.client("octotel")
        with pytest.raises(FNOUnsupportedError, match="evotel: appointment"):
            await portal.client("evotel").list_appointments("X")
        for latitude in (99, float("nan")):
            with pytest.raises(FNOValidationError, match="globe"):
                Address("x", latitude=latitude, longitude=1)
        with pytest.raises(FNOValidationError, match="no text"):
            await portal.check_all_coverage(None)
        answer = (await portal.check_all_coverage_detailed("1 High Street", ["evotel"]))[0]
    assert answer.state is CoverageState.UNKNOWN
    assert answer.reason["code"] == "address_ambiguous"
    assert len(answer.reason["candidates"]) == 2


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"base_url": "http://api.example.com", "api_key": "k"}, "not encrypted"),
        ({"base_url": "https://u:p@api.example.com", "api_key": "k"}, "carries credentials"),
        ({"base_url": "https://api.example.com"}, "api_key is missing"),
        ({"username": "x"}, "neither base_url nor portal_url"),
        (
            {"portal_url": "https://x.example", "username": "u", "password": "p", "totp_seed": "not base32!"},
            "TOTP seed is malformed",
        ),
        ({"base_url": "https://x.example", "api_key": "k", "rate": 0}, "above zero"),
        ({"base_url": "https://x.example", "api_key": "k", "driver": "nothing"}, "no API driver"),
        ({"base_url": 5, "api_key": "k"}, "base_url is no text"),
        ({"base_url": "https://[::1", "api_key": "k"}, "not a web address"),
        ({"base_url": "https://x.example:99999", "api_key": "k"}, "not a web address"),
        (
            {"base_url": "https://x.example", "api_key": "k", "timeout": -1},
            "timeout must be a number above zero",
        ),
        (
            {"base_url": "https://x.example", "api_key": "k", "timeout": "x"},
            "timeout must be a number above zero",
        ),
        ("https://x.example", "no mapping"),
    ],
)
def test_configuration_that_cannot_work(settings, says):
    with pytest.raises(FNOConfigError, match=says) as caught:
        FNOMasterPortal(
            {"octotel": settings}
            if "driver" in settings or "portal_url" in settings
            else {"vumatel": settings}
        )
    assert caught.value.fno
    assert "not base32!" not in str(caught.value)


@pytest.mark.parametrize("key", ["s3cret\nX: y", "s3crét", "s3cret\0"])
@pytest.mark.parametrize("name", ["vumatel", "openserve"])
def test_a_key_that_no_header_carries_is_refused_unsaid(name, key):
    with pytest.raises(FNOConfigError, match="characters that no key has") as caught:
        FNOMasterPortal({name: {"base_url": "https://x.example", "api_key": key}})
    assert "s3c" not in "".join(traceback.format_exception(caught.value))


async def test_blanks_round_a_key_are_cut(sims):
    config = {"vumatel": {"base_url": sims["vumatel", "document"].url, "api_key": f" {API_KEY}\n"}}
    async with FNOMasterPortal(config) as portal:
        assert await portal.check_all_coverage(PREMISES[0].address)


async def test_an_audit_file_on_a_full_disk_costs_no_answer(sims, caplog):
    config = {"vumatel": _config(sims)["vumatel"]}
    async with FNOMasterPortal(config, audit=FileAudit(Path("/dev/full"))) as portal:
        assert await portal.check_all_coverage(PREMISES[0].address)
    assert "check_coverage" in caplog.text


@pytest.mark.parametrize("broken", [b"no database " * 500, None])
async def test_a_cache_file_that_is_broken_costs_no_answer(sims, tmp_path, broken):
    file = tmp_path / "coverage.db"
    file.write_bytes(broken) if broken else file.mkdir()
    cache = FileCoverageCache(file)
    async with FNOMasterPortal({"vumatel": _config(sims)["vumatel"]}, cache=cache) as portal:
        for _ in range(2):
            assert (await portal.check_all_coverage_detailed(PLACE))[0].cached is False


async def test_a_cache_file_outlives_the_process_and_expires(sims, tmp_path):
    now = 1_000_000.0
    config = {"vumatel": _config(sims)["vumatel"]}

    async def ask():
        cache = FileCoverageCache(tmp_path / "coverage.db", 60, clock=lambda: now)
        async with FNOMasterPortal(config, cache=cache) as portal:
            (answer,) = await portal.check_all_coverage_detailed(PLACE)
        cache.close()
        assert answer.result.packages
        return answer.cached

    assert [await ask(), await ask()] == [False, True]
    now += 60
    assert await ask() is False
    now -= 3600  # The clock was set back: how old the answer is cannot be told.
    assert await ask() is False
    assert (tmp_path / "coverage.db").stat().st_mode & 0o077 == 0


def test_configuration_from_environment_and_vault(tmp_path):
    (tmp_path / "vumatel_api_key").write_text("from-the-vault\n")
    env = {"FNO_VUMATEL_BASE_URL": "https://v.example", "FNO_VUMATEL_RATE": "5", "FNO_OPERATORS": "cafe",
           "FNO_CAFE_BASE_URL": "https://c.example", "FNO_CAFE_API_KEY": "k", "FNO_CAFE_DRIVER": "tmf"}  # fmt: skip
    config = read_environment(env, FileSecrets(tmp_path))
    assert config["vumatel"] == {"base_url": "https://v.example", "rate": 5.0, "api_key": "from-the-vault"}
    portal = FNOMasterPortal(config)
    assert set(portal.clients) == {"vumatel", "cafe"}
    assert portal.describe()[1]["assumed"] is False
