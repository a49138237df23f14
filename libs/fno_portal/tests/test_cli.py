"""The command `fno` against simulators, through a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from fno_portal.testing.operator import PREMISES


@pytest.fixture
def fno(sims, tmp_path):
    env = {
        "FNO_HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"], "TERM": "dumb", "COLUMNS": "200",
        "FNO_VUMATEL_BASE_URL": sims["vumatel", "document"].url, "FNO_VUMATEL_API_KEY": "sim-key",
        "FNO_EVOTEL_BASE_URL": sims["evotel", "aex"].url, "FNO_EVOTEL_API_KEY": "sim-key",
    }  # fmt: skip

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "fno_portal.cli", *arguments],
            env=env,
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )

    return run


def test_coverage_of_many_with_maps(fno, tmp_path):
    rows = "".join(f'"{one.address}",{one.latitude},{one.longitude}\n' for one in PREMISES[:3])
    (tmp_path / "many.csv").write_text("address,latitude,longitude\n" + rows)
    done = fno("coverage", "--csv", str(tmp_path / "many.csv"), "--map", str(tmp_path / "map.html"), "--json")
    assert done.returncode == 0, done.stderr
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
    again = fno("coverage", PREMISES[0].address, "--map", str(tmp_path / "map.geojson"))
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
    ],
)
def test_bad_input_ends_with_words(fno, arguments, says):
    done = fno(*arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_every_command(fno):
    told = fno("--help").stdout
    assert all(
        word in told for word in ("coverage", "order", "status", "fault", "mail", "login", "operators")
    )
