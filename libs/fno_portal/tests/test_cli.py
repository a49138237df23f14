"""The command `fno` against simulators, through a real process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from typer.testing import CliRunner

from fno_portal import SqliteStore, UnmatchedMessage
from fno_portal.cli import app
from fno_portal.testing.operator import PREMISES


@pytest.fixture
def env(sims, tmp_path):
    return {
        "FNO_HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"], "TERM": "dumb", "COLUMNS": "200",
        "FNO_VUMATEL_BASE_URL": sims["vumatel", "document"].url, "FNO_VUMATEL_API_KEY": "sim-key",
        "FNO_EVOTEL_BASE_URL": sims["evotel", "aex"].url, "FNO_EVOTEL_API_KEY": "sim-key",
    }  # fmt: skip


@pytest.fixture
def process(env):
    """`fno` as a shell runs it."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "fno_portal.cli", *arguments],
            env=env,
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def fno(env):
    """`fno` in a thread, whose event loop is its own: a process for each would take most of the time to import."""

    def invoke(*arguments):
        done = CliRunner(env=env).invoke(app, list(arguments))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    with ThreadPoolExecutor(1) as thread:
        yield lambda *arguments: thread.submit(invoke, *arguments).result()


def test_coverage_of_many_with_maps(process, env, tmp_path):
    rows = "".join(f'"{one.address}",{one.latitude},{one.longitude}\n' for one in PREMISES[:3])
    (tmp_path / "many.csv").write_text("address,latitude,longitude\n" + rows)
    env |= {"FORCE_COLOR": "1", "TERM": "xterm"}
    done = process(
        "coverage", "--csv", str(tmp_path / "many.csv"), "--map", str(tmp_path / "map.html"), "--json"
    )
    assert done.returncode == 0, done.stderr
    assert "addresses" in done.stderr
    assert "100%" in done.stderr
    told = json.loads(done.stdout)
    assert [[one["state"] for one in place["answers"]] for place in told] == [
        ["covered"] * 2,
        ["not_covered"] * 2,
        ["covered"] * 2,
    ]
    assert told[0]["answers"][0]["result"]["packages"][0]["monthly_cost"] == "799.0"
    page = (tmp_path / "map.html").read_text()
    assert page.count("<circle") == 3
    assert "http" not in page
    again = process("coverage", PREMISES[0].address, "--map", str(tmp_path / "map.geojson"))
    assert "covered" in again.stdout
    assert (
        json.loads((tmp_path / "map.geojson").read_text())["features"][0]["properties"]["state"] == "covered"
    )


def test_order_status_and_fault(fno, tmp_path, order):
    (tmp_path / "order.json").write_text(
        json.dumps({**order, "rica": json.loads(order["rica"].model_dump_json())})
    )
    first, second = (
        json.loads(fno("order", "vumatel", str(tmp_path / "order.json"), "--json").stdout) for _ in range(2)
    )
    assert first["fno_reference"] == second["fno_reference"]
    told = json.loads(fno("status", "ORD-1", "--events", "--json").stdout)
    assert (told["status"], told["outcome"]) == ("submitted", "known")
    assert told["events"]
    assert (
        json.loads(fno("fault", "evotel", "no light", "--severity", "high", "--json").stdout)["status"]
        == "open"
    )
    assert json.loads(fno("operators", "--json").stdout)[1]["assumed"] is False


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["coverage", " "], "the address is empty"),
        (["coverage", "x", "--fno", "nofibre"], "no operator 'nofibre'"),
        (["coverage", "x", "--fno", "octotel"], "not configured"),
        (["status", "ORD-0"], "no order ORD-0"),
        (["mail"], "no mailbox is configured"),
        (["order", "vumatel", "/nonexistent.json"], "no JSON file"),
        (["coverage", "x", "--map", "map.png"], "a map is .html or .geojson"),
        (["coverage", "x", "--map", "/no/such/map.html"], "no folder /no/such"),
        (["coverage", "--csv", "/nonexistent.csv"], "cannot be read"),
        (["login", "vumatel"], "no portal is configured"),
        (["fault", "vumatel", "no light", "--severity", "huge"], "severity"),
        (["fault", "evotel", "no light [red] of 8001015009087"], "identity number"),
        (["cancel", "ORD-0", "moved"], "no order ORD-0"),
    ],
)
def test_bad_input_ends_with_words(fno, arguments, says):
    done = fno(*arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("address\n12 Main Road\n \n", "line 3: the address is empty"),
        ("address,latitude,longitude\nx,north,18\n", "line 2: a coordinate is no number"),
        ("address,latitude,longitude\nx,nan,18\n", "line 2: the coordinates are not on the globe"),
        ("address,latitude\nx,-33\n", "line 2: only one coordinate"),
        ("where\n12 Main Road\n", "line 2: the address is empty"),
    ],
)
def test_a_bad_line_of_a_csv_is_named(fno, sims, tmp_path, rows, says):
    (tmp_path / "many.csv").write_text(rows)
    done = fno("coverage", "--csv", str(tmp_path / "many.csv"))
    assert done.returncode == 1
    assert says in done.stderr
    assert sims["vumatel", "document"].operator.requests == 0


async def test_unmatched_mails_are_taken_off_by_a_person(fno, tmp_path):
    (tmp_path / "home").mkdir()
    store = SqliteStore(tmp_path / "home" / "orders.db")
    for key in ("k1", "k2"):
        await store.add_unmatched(UnmatchedMessage(key=key, fno="vumatel", reason="unreadable"))
    store.close()
    left = json.loads(fno("mail", "--done", "k1", "--json").stdout)["unmatched"]
    assert [one["key"] for one in left] == ["k2"]
    assert "no unmatched mail has the key k1" in fno("mail", "--done", "k1").stderr


def test_a_broken_store_is_told_in_words(fno, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "orders.db").write_bytes(b"no database at all, " * 100)
    done = fno("status", "ORD-1")
    assert done.returncode == 1
    assert "local_failure" in done.stderr
    assert "home" in done.stderr


def test_a_home_that_cannot_be_made_is_told(fno, env):
    env["FNO_HOME"] = "/proc/nobody/writes/here"
    assert "Set FNO_HOME" in fno("operators").stderr


def test_simulators_run_by_one_command(fno, env, tmp_path):
    """Its environment points `fno` at every operator and the mailbox; a switch breaks one of them; Ctrl-C ends it."""
    running = subprocess.Popen(
        [sys.executable, "-m", "fno_portal.testing"], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        exported = dict(re.findall(r"export (\w+)='?([^'\n]*)'?", "".join(_until(running, "FNO_OPERATORS"))))
        env.clear()
        env |= {**exported, "FNO_HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"], "TERM": "dumb"}
        told = json.loads(fno("operators", "--json").stdout)
        assert {one["operator"]: one["channel"] for one in told} == {
            "vumatel": "api+portal", "openserve": "api+portal", "frogfoot": "api+portal", "octotel": "portal",
            "evotel": "api+portal", "metrofibre": "portal", "thefibrecafe": "api",
        }  # fmt: skip
        httpx.post(f"{exported['FNO_VUMATEL_BASE_URL']}/_sim/faults", json={"server_error": True})
        httpx.post(f"{exported['FNO_VUMATEL_PORTAL_URL']}/_sim/faults", json={"server_error": True})
        ask = ("coverage", PREMISES[0].address, "--fno", "vumatel", "--fno", "thefibrecafe", "--json")
        (answer,) = json.loads(fno(*ask).stdout)
        assert [one["state"] for one in answer["answers"]] == ["unknown", "covered"]
        assert json.loads(fno("mail", "--json").stdout) == {"orders": [], "unmatched": []}
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(30)
    assert running.returncode == 0


def _until(running, word):
    lines = []
    for line in running.stdout:
        lines.append(line)
        if word in line:
            break
    return lines


COMMANDS = (
    "operators", "coverage", "order", "status", "poll", "confirm", "cancel", "fault", "fault-status", "mail", "login",
)  # fmt: skip


def test_every_command_has_help_and_json():
    runner = CliRunner()
    told = runner.invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert set(COMMANDS) == {one.name or one.callback.__name__ for one in app.registered_commands}
    for name in COMMANDS:
        assert re.search(rf"^. {name} ", told, re.MULTILINE), name
        page = runner.invoke(app, [name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
        assert page.exit_code == 0
        assert "--json" in page.output, name


def test_poll_settles_and_follows_while_another_operator_fails(fno, sims, tmp_path, order):
    data = {**order, "rica": json.loads(order["rica"].model_dump_json())}
    for name, reference in (("vumatel", "ORD-1"), ("evotel", "ORD-2")):
        (tmp_path / "order.json").write_text(json.dumps({**data, "reference": reference}))
        assert fno("order", name, str(tmp_path / "order.json")).returncode == 0
    (number,) = sims["evotel", "aex"].operator.orders
    sims["evotel", "aex"].operator.set_status(number, "in_progress")
    sims["vumatel", "document"].operator.faults.server_error = True
    told = fno("poll", "--json")
    assert told.returncode == 0, told.stderr
    polled = json.loads(told.stdout)
    assert [(one["id"], one["status"]) for one in polled["orders"]] == [("ORD-2", "in_progress")]
    assert (polled["problems"]["ORD-1"]["code"], polled["problems"]["ORD-1"]["fno"]) == (
        "unavailable",
        "vumatel",
    )
    assert "feed" in (again := fno("poll")).stderr or "429" in again.stderr
    assert "ORD-2: in_progress" in again.stdout


def test_a_person_confirms_an_order_of_unknown_outcome(fno, sims, tmp_path, order):
    """The order went to a portal that never answered; nobody can look it up by machine."""
    (tmp_path / "order.json").write_text(
        json.dumps({**order, "rica": json.loads(order["rica"].model_dump_json())})
    )
    sims["vumatel", "document"].operator.faults.server_error = True
    lost = fno("order", "vumatel", str(tmp_path / "order.json"))
    assert lost.returncode == 1
    assert "outcome_unknown" in lost.stderr
    assert "settle_order looks it up" in lost.stderr
    told = json.loads(fno("confirm", "ORD-1", "--number", "VUM-77", "--by", "thandi", "--json").stdout)
    assert (told["fno_reference"], told["outcome"]) == ("VUM-77", "known")
    again = fno("confirm", "ORD-1", "--by", "thandi")
    assert again.returncode == 1
    assert "is known" in again.stderr
