"""The command `fno` against simulators, through a real process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
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
        ("where\n12 Main Road\n", "no column address, it begins with where"),
        ("12 Main Road\n1 High Street\n", "no column address, it begins with 12 main road"),
        ("", "it begins with nothing"),
    ],
)
def test_a_csv_without_its_columns_is_not_asked_for(fno, sims, tmp_path, rows, says):
    (tmp_path / "many.csv").write_text(rows)
    done = fno("coverage", "--csv", str(tmp_path / "many.csv"))
    assert done.returncode == 1
    assert says in done.stderr
    assert sims["vumatel", "document"].operator.requests == 0


def test_bad_lines_of_a_csv_are_named_and_the_others_asked(fno, tmp_path):
    bad = {
        2: ",,",
        3: "x,north,18",
        5: "x,nan,18",
        6: "x,-33,",
        7: "12 Main Road, Rondebosch,-33,18",
        8: "8001015009087 Road,,",
    }
    lines = [" Address ,latitude,LONGITUDE", *(bad.get(number, "12 Main Road,,") for number in range(2, 10))]
    (tmp_path / "many.csv").write_text("\n".join(lines))
    done = fno("coverage", "--csv", str(tmp_path / "many.csv"), "--fno", "vumatel", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert [one.get("line") for one in told] == [2, 3, None, 5, 6, 7, 8, None]
    assert [one["answers"][0]["state"] for one in told if one["answers"]] == ["covered"] * 2
    for number, reason in (
        (2, "empty"), (3, "no number"), (5, "globe"), (6, "only one"), (7, "in quotes"), (8, "identity number"),
    ):  # fmt: skip
        assert re.search(f"line {number}: .*{reason}", done.stderr)
    assert "8001015009087" not in done.stdout + done.stderr


def test_a_csv_as_spreadsheets_here_write_it(fno, tmp_path):
    (tmp_path / "many.csv").write_text(
        "\ufeffaddress;latitude;longitude\r\n12 Main Road, Rondebosch;-33,961;18,461\r\n"
    )
    done = fno("coverage", "--csv", str(tmp_path / "many.csv"), "--fno", "evotel", "--json")
    assert json.loads(done.stdout)[0]["answers"][0]["state"] == "covered"


def test_a_list_that_was_stopped_goes_on_where_it_was(env, sims, tmp_path):
    sim = sims["vumatel", "document"]
    (tmp_path / "many.csv").write_text("address\n" + "".join(f"{one} Long Street\n" for one in range(30)))
    arguments = [sys.executable, "-m", "fno_portal.cli", "coverage", "--json", "--fno", "vumatel", "--csv"]
    arguments.append(str(tmp_path / "many.csv"))
    # A budget that lets ten through at once and the others never.
    held = {**env, "FNO_VUMATEL_RATE": "10", "FNO_VUMATEL_PERIOD_S": "100000"}
    running = subprocess.Popen(arguments, env=held, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while sim.operator.requests < 10 and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    _, words = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "run the same again" in words
    assert "Traceback" not in words
    asked = sim.operator.requests
    done = subprocess.run(arguments, env=env, capture_output=True, text=True, check=True, timeout=120)
    answers = [one["answers"][0] for one in json.loads(done.stdout)]
    assert {one["state"] for one in answers} == {"not_covered"}
    assert sum(one["cached"] for one in answers) >= 9
    assert sim.operator.requests - asked <= 21
    fresh = subprocess.run(
        [*arguments, "--fresh"], env=env, capture_output=True, text=True, check=True, timeout=120
    )
    assert not any(one["answers"][0]["cached"] for one in json.loads(fresh.stdout))


def test_a_long_list_waits_for_our_own_budget(fno, env, tmp_path):
    env |= {"FNO_VUMATEL_RATE": "4", "FNO_VUMATEL_PERIOD_S": "0.4", "FNO_VUMATEL_DEADLINE_S": "0.3"}
    (tmp_path / "many.csv").write_text("address\n" + "".join(f"{one} Long Street\n" for one in range(15)))
    done = fno("coverage", "--csv", str(tmp_path / "many.csv"), "--fno", "vumatel", "--json")
    answers = [one["answers"] for one in json.loads(done.stdout)]
    assert [[one["state"] for one in ones] for ones in answers] == [["not_covered"]] * 15


def test_nothing_configured_is_no_empty_answer(fno, env):
    for name in [name for name in env if name.startswith("FNO_") and name != "FNO_HOME"]:
        del env[name]
    done = fno("coverage", "12 Main Road")
    assert done.returncode == 1
    assert "no operator is configured" in done.stderr


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
    # The feed may not be read again yet, which is no problem that a timer should tell every time.
    assert "evotel" not in (again := fno("poll")).stderr
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
