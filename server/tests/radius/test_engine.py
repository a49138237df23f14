"""The server as a child process."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from radius_packets import ACCOUNTING_RESPONSE, ACCT_STATUS_TYPE, USER_NAME, Nas, attribute, integer
from radius_rows import add_login, spool_lines, until

from demarc.adapters.freeradius.checks import NasPosture, check_posture, check_radius
from demarc.adapters.freeradius.engine import RadiusEngine
from demarc.adapters.freeradius.raddb import (
    StatusListener,
    check_config,
    fingerprint,
    render,
    unprivileged_user,
    write_raddb,
)
from demarc.adapters.freeradius.server_log import LineKind, ServerLog
from demarc.adapters.freeradius.spool_format import ACCT_FILE
from demarc.adapters.processes.service_user import service_user
from demarc.kernel.errors import Misconfigured

pytestmark = pytest.mark.radius


async def test_it_answers_and_ends(db, config):
    engine = RadiusEngine(config)
    assert not await engine.probe()
    await engine.start()
    assert engine.ready
    assert await engine.probe()
    pid = engine.pid
    await engine.start()
    assert engine.pid == pid
    await engine.stop()
    assert engine.pid is None
    assert not await engine.probe()


async def test_wait_tells_how_it_ended(db, engine):
    os.kill(engine.pid, signal.SIGKILL)
    assert await engine.wait() == -signal.SIGKILL
    assert engine.pid is None
    await engine.start()
    assert await engine.probe()


@pytest.mark.parametrize("field", ["auth_port", "acct_port"])
async def test_an_occupied_port_is_named(db, config, field):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", getattr(config, field)))
        with pytest.raises(Misconfigured) as caught:
            await RadiusEngine(config).start()
        assert str(getattr(config, field)) in caught.value.message
        assert f"DEMARC_RADIUS_{field.upper()}" in caught.value.message
        ports = [check for check in check_radius(config) if check.name.startswith("UDP port")]
        assert [check.ok for check in ports].count(False) == 1


async def test_an_address_of_another_machine_is_named(db, config):
    config = replace(config, host=IPv4Address("192.0.2.1"))
    with pytest.raises(Misconfigured, match="DEMARC_RADIUS_HOST to an address of this machine"):
        await RadiusEngine(config).start()


async def test_it_starts_while_the_database_is_away(config):
    engine = RadiusEngine(replace(config, database=replace(config.database, port=1)))
    await engine.start()
    assert await engine.probe()
    await engine.stop()


async def test_a_missing_program_says_how_to_get_it(config):
    with pytest.raises(Misconfigured, match="apt-get install freeradius"):
        await RadiusEngine(replace(config, binary="no-such-radius")).start()
    with pytest.raises(Misconfigured, match="freeradius-postgresql"):
        await RadiusEngine(replace(config, library_dir=Path("/nonexistent"))).start()


def test_a_configuration_that_the_server_refuses_is_told_without_secrets(config):
    write_raddb(config, StatusListener(1))
    conf = config.directory / "radiusd.conf"
    conf.write_text(conf.read_text().replace("sql_map nas_map", "no_such_module nas_map"))
    with pytest.raises(Misconfigured) as caught:
        check_config(config)
    assert "no_such_module" in caught.value.message
    assert config.database.password not in caught.value.message


def test_the_files_are_private_and_the_password_is_in_one_of_them_only(config):
    status = StatusListener(1)
    write_raddb(config, status)
    assert config.directory.stat().st_mode & 0o777 == 0o700
    for file in config.directory.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
    assert config.database.password not in repr(config)
    assert status.secret not in repr(status)
    assert not [
        name for name, text in render(config, status).items() if "%{x}" in text and name != "database.pass"
    ]


def test_what_is_made_anew_at_each_start_is_no_change(config):
    assert fingerprint(config) == fingerprint(config)
    assert fingerprint(config) != fingerprint(replace(config, threads=config.threads + 1))


@pytest.mark.parametrize("name", ["per%cent", 'quo"te', "dollar${x}", "line\nbreak"])
def test_a_path_that_would_be_read_as_syntax_is_refused(config, tmp_path, name):
    with pytest.raises(Misconfigured, match="path"):
        render(replace(config, spool_dir=tmp_path / name), StatusListener(1))


async def test_the_secret_is_in_no_argument_and_no_environment(db, engine, config):
    for kind in ("cmdline", "environ"):
        text = Path(f"/proc/{engine.pid}/{kind}").read_bytes()
        assert config.database.password.encode() not in text
        assert b"DATABASE_URL" not in text


async def test_it_runs_as_the_user_given(db, config, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root may change the user")
    try:
        service_user("demarc")
    except Misconfigured as error:
        pytest.skip(error.message)
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    engine = RadiusEngine(replace(config, run_as="demarc"))
    await engine.start()
    status = Path(f"/proc/{engine.pid}/status").read_text()
    user = pwd.getpwnam("demarc").pw_uid
    assert "\t".join(["Uid:", *4 * [str(user)]]) in status
    await engine.stop()


@pytest.fixture
def open_dir():
    """A directory that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="demarc-radius-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


needs_service_user = pytest.mark.skipif(
    os.geteuid() != 0 or "demarc" not in {entry.pw_name for entry in pwd.getpwall()},
    reason="only root may change the user, and the user must exist",
)


@needs_service_user
def test_as_root_it_runs_as_the_service_user_where_he_can_get(open_dir):
    assert unprivileged_user(open_dir / "radius") == "demarc"
    closed = open_dir / "closed"
    closed.mkdir(mode=0o700)
    assert unprivileged_user(closed / "data" / "radius") is None


@needs_service_user
async def test_the_spool_of_a_start_as_root_is_taken_over(db, config, open_dir):
    made = replace(
        config, directory=open_dir / "data" / "raddb", spool_dir=open_dir / "data" / "spool", run_as="demarc"
    )
    made.spool_dir.mkdir(parents=True)
    stolen, linked = open_dir / "stolen", made.spool_dir / "acct-2026010101"
    stolen.touch()
    linked.hardlink_to(stolen)
    hours = [datetime.now(UTC) + timedelta(hours=hours) for hours in (0, 1)]
    for hour in hours:
        (made.spool_dir / hour.strftime(ACCT_FILE)).touch(mode=0o600)
    engine = RadiusEngine(made)
    await engine.start()
    try:
        start = (attribute(USER_NAME, b"ada"), attribute(ACCT_STATUS_TYPE, integer(1)))
        assert Nas(made.auth_port, made.acct_port).account(*start).code == ACCOUNTING_RESPONSE
        assert spool_lines(made, "acct")[0][4] == "ada"
        assert stolen.stat().st_uid == 0
    finally:
        await engine.stop()


@needs_service_user
def test_doctor_says_when_it_must_run_as_root(config):
    by_name = {check.name: check for check in check_radius(config, running=True)}
    assert not by_name["FreeRADIUS's user"].ok
    as_user = {check.name: check for check in check_radius(replace(config, run_as="demarc"), running=True)}
    assert as_user["FreeRADIUS's user"].ok


PARENT = """
import asyncio, os, sys
from demarc.adapters.freeradius.engine import RadiusEngine
from demarc.adapters.freeradius.raddb import DatabaseLogin, RadiusConfig
from pathlib import Path
async def main():
    engine = RadiusEngine(RadiusConfig(Path(sys.argv[1]), Path(sys.argv[2]), DatabaseLogin("127.0.0.1", 1, "x", "x"),
                                       auth_port=int(sys.argv[3]), acct_port=int(sys.argv[4])))
    await engine.start()
    print(engine.pid, flush=True)
    await engine.wait()
asyncio.run(main())
"""


async def test_it_dies_with_the_platform(config):
    arguments = [config.directory, config.spool_dir, config.auth_port, config.acct_port]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    child = int(next(line for line in parent.stdout if line.strip().isdigit()))
    parent.kill()
    parent.wait()

    async def gone():
        state = Path(f"/proc/{child}/stat")
        return not state.exists() or state.read_text().split()[2] == "Z"

    await until(gone)


async def test_a_hung_server_is_killed(db, engine, monkeypatch):
    monkeypatch.setattr("demarc.adapters.freeradius.engine.STOP_SECONDS", 0.3)
    os.kill(engine.pid, signal.SIGSTOP)
    assert not await engine.probe()
    await asyncio.wait_for(engine.stop(), 60)
    assert engine.pid is None


def test_a_flood_of_one_kind_is_counted_but_logged_once(caplog):
    moments = iter([0.0, 1.0, 2.0, 30.0])
    server = ServerLog(clock=lambda: next(moments))
    for _ in range(4):
        server.take("Error: Ignoring request to auth address 1 port 2 from unknown client 9 port 3 proto udp")
    assert server.counts[LineKind.UNKNOWN_NAS] == 4


def test_posture():
    assert check_posture(NasPosture("a", "required", False)).ok
    assert check_posture(NasPosture("a", "auto", True)).ok
    assert not check_posture(NasPosture("a", "auto", False)).ok
    assert not check_posture(NasPosture("a", "off", True)).ok


async def test_doctor_finds_all_well(db, config, engine):
    made = replace(config, run_as="demarc")
    assert all(check.ok for check in check_radius(made, running=True))
    await add_login(db, "ada")
