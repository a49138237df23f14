"""What the README prints is run as printed."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fno_portal import FNOMasterPortal, Outcome
from fno_portal.testing import RULES, RunningSimulator, SimulatedOperator, Subject, styles
from fno_portal.testing.operator import API_KEY, PACKAGES, PREMISES

README = Path(__file__).parents[1] / "README.md"
WORDS = {"submitted": "open", "scheduled": "planned", "in_progress": "working", "completed": "done"}


def _block(word: str) -> str:
    (found,) = [
        one for one in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if word in one
    ]
    return found


def _myfibre(operator: SimulatedOperator) -> list[Route]:
    def shown(order):
        return {"job": order["number"], "ref": order["reference"], "state": WORDS[order["status"]]}

    async def feasible(request: Request):
        place = next(iter(operator.places(request.query_params["q"])), None)
        covered = place is not None and place.covered
        plans = [{"title": one.name, "zar": one.price} for one in PACKAGES] if covered else []
        return JSONResponse({"feasible": covered, "plans": plans})

    async def jobs(request: Request):
        if request.method == "GET":
            found = operator.find_order(request.query_params["ref"])
            return JSONResponse([shown(found)] if found else [])
        data = await request.json()
        if data["plan"] and operator.package(data["plan"]) is None:
            return styles._refused("package_not_on_offer", "no such plan")
        answer = JSONResponse(shown(operator.take_order(data["ref"])))
        return await styles._after_order(operator, request, answer)

    async def job(request: Request):
        found = operator.orders.get(request.path_params["number"])
        return JSONResponse(shown(found)) if found else styles._missing()

    return [
        Route("/feasible", feasible), Route("/jobs", jobs, methods=["GET", "POST"]), Route("/jobs/{number}", job),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def sim():
    styles.STYLES["myfibre"] = _myfibre
    with RunningSimulator("myfibre", SimulatedOperator("myfibre")) as running:
        yield running
    del styles.STYLES["myfibre"]


@pytest.fixture(scope="module")
def driver():
    names: dict = {}
    exec(compile(_block("class MyFibre"), "README.md", "exec"), names)
    return names["MyFibre"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
async def test_printed_driver_passes_the_contract(rule, sim, driver):
    await rule(
        Subject(
            make=lambda: driver(sim.url, API_KEY),
            make_wrong=lambda: driver(sim.url, "no-such-key"),
            covered=PREMISES[0].address,
            uncovered=PREMISES[1].address,
            package="50/50 Mbps",
            faults=sim.operator.faults,
            count_orders=lambda wanted: sum(
                one["reference"] == wanted for one in sim.operator.orders.values()
            ),
        )
    )


async def test_printed_driver_orders_once_behind_the_portal(sim, driver, order):
    """Also when the answer is lost: its look-up settles it."""
    config = {
        "base_url": sim.url, "api_key": API_KEY, "driver": driver, "rate": 1000, "period_s": 1, "order_deadline_s": 2,
    }  # fmt: skip
    sim.operator.orders.clear()
    sim.operator.idempotent = False
    sim.operator.faults.take_then_hang = True
    async with FNOMasterPortal({"myfibre": config}) as portal:
        made = await portal.create_order("myfibre", order)
    sim.operator.faults.take_then_hang = False
    assert made.outcome is Outcome.KNOWN
    assert list(sim.operator.orders) == [made.fno_reference]


def test_printed_driver_is_about_thirty_lines():
    written = [
        line for line in _block("class MyFibre").partition("class MyFibre")[2].splitlines() if line.strip()
    ]
    assert len(written) <= 32


async def test_first_snippet_runs(sims, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FNO_VUMATEL_BASE_URL", sims["vumatel", "document"].url)
    monkeypatch.setenv("FNO_VUMATEL_API_KEY", API_KEY)
    names = {"scan": b"scan", "id_number": "8001015009087"}
    await eval(
        compile(_block("from_environment"), "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names
    )
    assert names["order"].outcome is Outcome.KNOWN
    assert capsys.readouterr().out.startswith("vumatel covered")
    await names["portal"].aclose()
    names["portal"].store.close()


def test_every_setting_is_told(driver):
    """Each variable that the configuration reads stands in the README."""
    from fno_portal import config

    text = README.read_text()
    settings = (*config._TEXTS, *config.SECRET_KEYS, *config._NUMBERS)
    assert [one for one in settings if one.upper() not in text] == []
    assert inspect.isclass(driver)
