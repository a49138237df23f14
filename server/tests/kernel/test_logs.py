"""No secret reaches a log line, whether by its name, by its look, or inside an exception."""

from __future__ import annotations

import json
import string
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarc.kernel.logs import MASK, redact_event, redact_text

SECRET = "Tr0ub4dor-and-3"
SECRETS = st.text(string.ascii_letters + string.digits + "-_.~+/", min_size=5, max_size=40).map("Zq9".__add__)


@pytest.mark.parametrize(
    "name",
    ["password", "Password", "new_password", "passwd", "passphrase", "secret", "nas_secret", "token", "refresh_token",
     "access_token", "authorization", "api_key", "apikey", "credential", "cookie", "nt_hash", "clear_text"],
)  # fmt: skip
def test_values_are_hidden_by_name_at_any_depth(name):
    event = {"event": "x", name: SECRET, "inner": {"list": [{name: SECRET}], name: {"deep": SECRET}}}
    assert SECRET not in json.dumps(redact_event(None, "info", event))


@pytest.mark.parametrize(
    "text",
    [
        "password={}",
        "password: {}",
        'sent {{"password": "{}"}}',
        "Authorization: Bearer {}",
        "authorization=Basic {}",
        "bearer {} was refused",
        "GET /x?token={}&y=1",
        "postgresql://demarc_app:{}@127.0.0.1/demarc",
        "smtp://user:{}@mail.example:587 does not answer",
        "redis://:{}@127.0.0.1/0",
        "api_key={}",
    ],
)
@given(secret=SECRETS)
def test_what_looks_like_a_secret_is_cut_out_of_text(text, secret):
    line = redact_text(text.format(secret))
    assert MASK in line
    assert secret not in line.replace(MASK, "")


def test_plain_words_stay():
    for text in (
        "customer 12 was suspended",
        "http://127.0.0.1:8000/readyz",
        "2026-01-31T12:00:00Z",
        "a@b.example",
    ):
        assert redact_text(text) == text
    assert redact_event(None, "info", {"event": "request", "status": 200}) == {
        "event": "request",
        "status": 200,
    }


def run(script: str) -> str:
    """Standard error of a process that logs; logging is the whole process's, so it gets one of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == ""
    return done.stderr


LOGGING = """
    import logging
    from demarc.kernel.logs import configure_logging, logger
    from demarc.kernel.settings import LogFormat
    configure_logging(LogFormat.{format}, "INFO")
"""


def test_json_lines_are_one_object_each_with_the_library_records():
    lines = run(
        LOGGING.format(format="JSON")
        + """
    logger("demarc.x").info("request", status=200, password="Tr0ub4dor-and-3")
    logging.getLogger("lib").warning("token=%s", "Tr0ub4dor-and-3")
    logger("demarc.x").debug("too quiet")
    """
    ).splitlines()
    ours, theirs = (json.loads(line) for line in lines)
    assert (ours["event"], ours["status"], ours["password"], ours["level"]) == ("request", 200, MASK, "info")
    assert theirs["logger"] == "lib"
    assert SECRET not in "".join(lines)


@pytest.mark.parametrize("log_format", ["JSON", "CONSOLE"])
def test_an_exception_shows_neither_secrets_nor_locals(log_format):
    output = run(
        LOGGING.format(format=log_format)
        + """
    def connect(dsn):
        hidden_local = "Tr0ub4dor-and-3"
        raise OSError(f"cannot reach {dsn}")
    try:
        connect("postgresql://demarc_app:Tr0ub4dor-and-3@127.0.0.1/x")
    except OSError as error:
        logger("demarc.x").error("unexpected error", exc_info=error)
    """
    )
    assert "cannot reach" in output
    assert "Traceback" in output
    assert SECRET not in output


def test_a_pool_without_its_database_says_so_in_one_line():
    """It tries again every second: with a traceback each time nothing else could be read."""
    said = run(
        LOGGING.format(format="CONSOLE")
        + """
    try:
        raise ConnectionRefusedError(111, "Connection refused")
    except ConnectionRefusedError:
        logging.getLogger("asyncpg.pool").warning("Failed to restore %s", "the floor", exc_info=True)
        logging.getLogger("lib").warning("something else", exc_info=True)
    """
    ).splitlines()
    assert "Failed to restore the floor (ConnectionRefusedError)" in said[0]
    assert "something else" in said[1]
    assert "Traceback" in said[2], "what nobody expects keeps its traceback"
