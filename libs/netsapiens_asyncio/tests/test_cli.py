"""The command, run as its users run it: as a child process with an environment."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import sys

import pytest

from netsapiens_asyncio.cli import _plain, read_credentials
from netsapiens_asyncio.errors import InvalidInput


@pytest.fixture
def netsapiens(served, tmp_path):
    async def run(*arguments, stdin=None, **environment):
        names = {f"NETSAPIENS_{key.upper()}": value for key, value in served.config.items()}
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "netsapiens_asyncio.cli", *arguments),
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **names, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(child.communicate(stdin), 60)
        return child.returncode, out.decode(), err.decode()

    return run


async def test_token_shows_the_account_and_not_the_token(netsapiens, served):
    status, out, _ = await netsapiens("--json", "token")
    assert status == 0
    shown = json.loads(out)
    assert shown["username"] == "123@testdomain.com"
    assert shown["expires_at"]
    assert not {"access_token", "refresh_token"} & set(shown)
    assert not any(name in out for name in served.pbx.state.tokens)


async def test_send_and_sessions_and_messages(netsapiens):
    send = ("--json", "send", "--from", "1987654321", "--to", "12135550177", "--message")
    status, out, _ = await netsapiens(*send, "-", stdin=b"From standard input\n")
    assert status == 0
    session = json.loads(out)["messagesession-id"]
    status, out, _ = await netsapiens("messages", session)
    assert "text: From standard input" in out
    status, out, _ = await netsapiens("--json", "sessions", "--limit", "1")
    assert len(json.loads(out)) == 1


async def test_subscriptions(netsapiens):
    status, out, _ = await netsapiens("--json", "subscriptions", "create", "cdr", "https://example.com/cdr")
    made = json.loads(out)
    assert status == 0
    status, _, err = await netsapiens("subscriptions", "create", "cdr", "https://example.com/cdr")
    assert status == 1
    assert "already exists" in err
    assert made["id"] in (await netsapiens("subscriptions", "list"))[1]
    assert (await netsapiens("subscriptions", "delete", made["id"]))[0] == 0
    assert (await netsapiens("subscriptions", "list"))[1] == "nothing found\n"


async def test_cdrs_to_csv(netsapiens, served, tmp_path):
    for number in range(3):
        served.pbx.state.add_cdr(
            "testdomain.com", served.pbx.clock.time() - 600 + number, 60, call_orig_to_user="=cmd()"
        )
    file = tmp_path / "cdrs.csv"
    span = ("cdrs", "--since", "2000-01-01", "--until", "2000-01-03")
    status, out, _ = await netsapiens("--json", *span, "--csv", str(file))
    assert (status, json.loads(out)["cdrs"]) == (0, 0)
    import datetime as dt

    today = dt.datetime.now(dt.UTC)
    span = (
        "cdrs",
        "--since",
        (today - dt.timedelta(hours=1)).isoformat(),
        "--until",
        today.isoformat(),
    )
    status, out, _ = await netsapiens(*span, "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 3
    assert rows[0]["call-talking-duration-seconds"] == "57"
    assert rows[0]["call-orig-to-user"] == "'=cmd()"
    assert (await netsapiens(*span, "--csv", str(file)))[0] == 0
    assert len(list(csv.DictReader(file.open()))) == 3
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    "arguments",
    [("send", "--to", "12135550177", "--message", "x"), ("sessions", "--limit", "0"), ("messages", "short")],
)
async def test_refused_input_ends_with_2_and_the_field(netsapiens, arguments):
    status, _, err = await netsapiens(*arguments)
    assert status == 2
    assert err.startswith("netsapiens: ")
    assert "Traceback" not in err


async def test_a_lost_send_ends_with_3(netsapiens, served):
    served.pbx.faults.add("cut_early", method="POST", path="/messages$")
    status, _, err = await netsapiens("send", "--from", "1987654321", "--to", "12135550177", "--message", "x")
    assert status == 3
    assert "may have taken effect" in err


async def test_help_and_a_missing_configuration(netsapiens):
    assert (await netsapiens("--help"))[0] == 0
    assert (await netsapiens())[0] == 2
    status, _, err = await netsapiens("token", NETSAPIENS_PASSWORD="")
    assert status == 2
    assert "password" in err
    status, _, err = await netsapiens("token", NETSAPIENS_PASSWORD="wrong-secret")
    assert status == 1
    assert "wrong-secret" not in err


async def test_a_credentials_file_that_is_named_has_to_be_there(netsapiens, tmp_path):
    status, _, err = await netsapiens("--credentials", str(tmp_path / "other.toml"), "token")
    assert status == 2
    assert "there is no file" in err


async def test_retries_are_not_printed(netsapiens):
    status, _, err = await netsapiens("token", NETSAPIENS_BASE_URL="http://localhost:1")
    assert status == 1
    assert len(err.splitlines()) == 1
    assert "no connection to the PBX" in err


def test_a_credentials_file_has_to_be_private(tmp_path):
    file = tmp_path / "credentials.toml"
    file.write_text('base_url = "api.example.com"\napi_key = "nsd_key"\n')
    file.chmod(0o640)
    with pytest.raises(InvalidInput, match="chmod 600"):
        read_credentials({}, file)
    file.chmod(0o600)
    assert read_credentials({}, file) == {"base_url": "api.example.com", "api_key": "nsd_key"}
    assert read_credentials({"NETSAPIENS_API_KEY": "other"}, file)["api_key"] == "other"
    file.write_text('password = "half a secret')
    with pytest.raises(InvalidInput) as caught:
        read_credentials({}, file)
    assert "half" not in str(caught.value)
    assert read_credentials({}, tmp_path / "none") == {}


def test_cells_that_would_run_get_an_apostrophe_and_numbers_do_not():
    assert _plain("=1+1") == "'=1+1"
    assert _plain("@SUM(A1)") == "'@SUM(A1)"
    assert _plain("+18585550100") == "+18585550100"
    assert _plain("-5") == "-5"
    assert _plain(5) == 5
