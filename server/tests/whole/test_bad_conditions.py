"""What a wrong environment gets: one line that says what is wrong and what to do, and nothing lost."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess

import pytest

from .conftest import BIN, make_platform

pytestmark = pytest.mark.platform


@pytest.fixture
def stopped():
    """A platform that has run once and was stopped."""
    made = make_platform(DEMARC_RADIUS_ENABLED="false")
    yield made
    made.stop()
    shutil.rmtree(made.home, ignore_errors=True)


def up(platform, **env):
    done = subprocess.run(
        [str(BIN / "demarc"), "up", "--sandbox"],
        env=platform.env | env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_an_occupied_port_names_the_variable_that_changes_it(stopped):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", int(stopped.env["DEMARC_HTTP_PORT"])))
        holder.listen()
        said = up(stopped)
    assert stopped.env["DEMARC_HTTP_PORT"] in said
    assert "DEMARC_HTTP_PORT" in said


def test_a_bad_setting_names_its_variable_and_never_its_value(stopped):
    said = up(stopped, DEMARC_HTTP_PORT="eighty-three")
    assert "DEMARC_HTTP_PORT" in said
    assert "eighty-three" not in said


def test_another_master_key_is_refused_and_the_right_one_still_works(stopped):
    stopped.start()
    stopped.stop()
    key = stopped.home / "data" / "master.key"
    right = key.read_text()
    key.write_text(base64.b64encode(os.urandom(32)).decode())
    said = up(stopped)
    assert "master key" in said
    assert right.strip() not in said
    key.write_text("not a key")
    assert str(key) in up(stopped)
    key.write_text(right)
    stopped.start()


def test_a_second_platform_on_the_same_directory_names_the_first(stopped):
    stopped.start()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    said = up(stopped, DEMARC_HTTP_PORT=str(port))
    assert str(stopped.process.pid) in said


def test_without_freeradius_the_platform_runs_and_doctor_says_what_is_missing():
    made = make_platform(DEMARC_RADIUS_BINARY="freeradius-that-is-not-here")
    try:
        made.start()
        done = made.command("doctor", check=False)
        assert done.returncode == 1
        assert "apt-get install freeradius" in " ".join(done.stdout.split())
    finally:
        made.stop()
        shutil.rmtree(made.home, ignore_errors=True)


def test_sigterm_ends_everything_in_order(stopped):
    stopped.start()
    pids = [stopped.pid(name) for name in ("postgres", "worker", "api")]
    stopped.process.send_signal(signal.SIGTERM)
    assert stopped.process.wait(120) == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
