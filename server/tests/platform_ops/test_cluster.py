"""The private cluster on real PostgreSQL: start, access, death, recovery and every refusal."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg
import pytest

from demarc.adapters.postgres.binaries import pinned_major
from demarc.adapters.postgres.cluster import OWNER_ROLE, PrivateCluster
from demarc.adapters.postgres.failures import explain_failure
from demarc.adapters.postgres.home import remove_home
from demarc.adapters.postgres.orphans import is_postmaster_of, read_postmaster
from demarc.adapters.processes.service_user import ServiceUser, service_user
from demarc.kernel.errors import Conflict, Misconfigured, Unavailable


async def query(cluster: PrivateCluster, sql: str) -> object:
    connection = await asyncpg.connect(cluster.owner_dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def until(condition: object, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


async def test_it_starts_serves_and_keeps_its_data_over_a_restart(cluster: PrivateCluster):
    await cluster.start()
    assert await cluster.probe()
    await query(cluster, "create table kept as select 7 as n")
    await cluster.stop()
    assert not await cluster.probe()
    assert cluster.pid is None
    await cluster.start()
    assert await query(cluster, "select n from kept") == 7


async def test_it_runs_without_rights_of_root(cluster: PrivateCluster):
    await cluster.start()
    assert Path(f"/proc/{cluster.pid}").stat().st_uid != 0


async def test_a_password_is_asked_for_on_the_socket_and_is_nowhere_to_be_read(
    cluster: PrivateCluster, data_dir: Path
):
    await cluster.start()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(cluster.dsn(OWNER_ROLE, password="wrong"))
    secret = cluster.secret_for(OWNER_ROLE)
    assert stat.S_IMODE(cluster.secrets.file.stat().st_mode) == 0o600
    assert secret not in cluster.log_file.read_text()
    assert secret.encode() not in Path(f"/proc/{cluster.pid}/cmdline").read_bytes()
    assert secret.encode() not in Path(f"/proc/{cluster.pid}/environ").read_bytes()
    holders = [
        path for path in data_dir.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert holders == [cluster.secrets.file]


async def test_failing_statements_leave_neither_themselves_nor_data_in_the_log(cluster: PrivateCluster):
    await cluster.start()
    with pytest.raises(asyncpg.PostgresError):
        await query(cluster, "alter role nobody_here password 'hunter2'")
    await query(cluster, "create table person (email text unique)")
    await query(cluster, "insert into person values ('jane@example.com')")
    with pytest.raises(asyncpg.UniqueViolationError):
        await query(cluster, "insert into person values ('jane@example.com')")
    log = cluster.log_file.read_text()
    assert "duplicate key" in log
    assert "hunter2" not in log
    assert "jane@example.com" not in log


async def test_without_a_port_it_listens_on_no_address_and_with_one_on_loopback_only(
    data_dir: Path, cluster: PrivateCluster, free_port: int
):
    await cluster.start()
    assert await query(cluster, "show listen_addresses") == ""
    await cluster.stop()
    with_port = PrivateCluster(data_dir, free_port)
    await with_port.start()
    try:
        assert await query(with_port, "show listen_addresses") == "127.0.0.1"
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=free_port,
            user=OWNER_ROLE,
            password=with_port.secret_for(OWNER_ROLE),
            database="demarc",
        )
        await connection.close()
    finally:
        await with_port.stop()


async def test_kill_9_of_the_server_loses_nothing_committed(cluster: PrivateCluster):
    await cluster.start()
    await query(cluster, "create table kept as select generate_series(1, 1000) as n")
    busy = await asyncpg.connect(cluster.owner_dsn)  # its backend outlives the postmaster for a moment
    os.kill(cluster.pid, signal.SIGKILL)
    assert await cluster.wait() == -signal.SIGKILL
    await cluster.start()
    assert await query(cluster, "select count(*) from kept") == 1000
    busy.terminate()


async def test_a_lock_file_whose_number_went_to_another_program_is_no_obstacle(
    cluster: PrivateCluster, data_dir: Path
):
    await cluster.start()
    os.kill(cluster.pid, signal.SIGKILL)
    await cluster.wait()
    await cluster.stop()
    user = service_user()
    other = subprocess.Popen(["/bin/sleep", "60"], user=user.uid if user else None)
    lock = data_dir / "postgres" / "data" / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
    try:
        await cluster.start()
        assert await cluster.probe()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


async def test_an_orphaned_server_is_stopped_and_replaced(cluster: PrivateCluster, data_dir: Path):
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from demarc.adapters.postgres.cluster import PrivateCluster\n"
        "from demarc.adapters.processes import owned\n"
        "owned._LIBC = None  # as on a kernel without PR_SET_PDEATHSIG\n"
        "async def main():\n"
        "    cluster = PrivateCluster(Path(sys.argv[1])); await cluster.start()\n"
        "    print(cluster.pid, flush=True); await cluster.wait()\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(data_dir)], stdout=subprocess.PIPE)
    orphan = int(await asyncio.to_thread(parent.stdout.readline))
    assert cluster.running_elsewhere
    with pytest.raises(Conflict, match=f"process {parent.pid}"):
        await cluster.start()
    async with cluster.attached():
        assert await query(cluster, "select 1") == 1
    parent.kill()
    parent.wait()
    parent.stdout.close()
    data = data_dir / "postgres" / "data"
    assert is_postmaster_of(orphan, data)
    await cluster.start()
    assert cluster.pid != orphan
    assert not is_postmaster_of(orphan, data)


async def test_attached_starts_a_server_for_the_time_of_the_block(cluster: PrivateCluster):
    async with cluster.attached():
        assert await query(cluster, "select 1") == 1
    assert cluster.pid is None


async def test_it_ends_when_its_parent_is_killed(cluster: PrivateCluster, data_dir: Path):
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from demarc.adapters.postgres.cluster import PrivateCluster\n"
        "async def main():\n"
        "    cluster = PrivateCluster(Path(sys.argv[1])); await cluster.start()\n"
        "    print(cluster.pid, flush=True); await cluster.wait()\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(data_dir)], stdout=subprocess.PIPE)
    server = int(await asyncio.to_thread(parent.stdout.readline))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    await until(lambda: not is_postmaster_of(server, data_dir / "postgres" / "data"))


async def test_an_occupied_port_is_named_with_the_way_out(data_dir: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cluster = PrivateCluster(data_dir, port)
        with pytest.raises(Misconfigured, match=rf"{port}.*DEMARC_POSTGRES_PORT"):
            await cluster.start()
        assert cluster.pid is None
    await cluster.start()
    await cluster.stop()


async def test_another_major_version_is_refused_and_left_alone(cluster: PrivateCluster, data_dir: Path):
    await cluster.start()
    await cluster.stop()
    version = data_dir / "postgres" / "data" / "PG_VERSION"
    version.write_text("15\n")
    with pytest.raises(Misconfigured, match=r"PostgreSQL 15.*demarc db upgrade"):
        await cluster.start()
    assert version.read_text() == "15\n"
    version.write_text(f"{pinned_major()}\n")
    await cluster.start()


async def test_lost_passwords_are_named_and_no_new_database_is_made(cluster: PrivateCluster):
    await cluster.start()
    await cluster.stop()
    cluster.secrets.file.unlink()
    with pytest.raises(Misconfigured, match="Restore it from a backup"):
        await cluster.start()


async def test_foreign_passwords_are_named(cluster: PrivateCluster):
    await cluster.start()
    await cluster.stop()
    cluster.secrets.file.write_text(json.dumps({OWNER_ROLE: "of another database"}))
    with pytest.raises(Misconfigured, match="do not fit"):
        await cluster.start()
    assert cluster.pid is None


async def test_a_creation_killed_in_the_middle_is_begun_again(cluster: PrivateCluster, data_dir: Path):
    half = data_dir / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    await cluster.start()
    assert not half.exists()


async def test_a_full_disk_is_named_and_nothing_is_lost(
    cluster: PrivateCluster, data_dir: Path, as_root: None
):
    """A tmpfs of its own where this machine lets us mount one."""
    small = data_dir / "postgres"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", small], check=False, capture_output=True
    ).returncode:
        pytest.skip("cannot mount a file system here")
    try:
        await cluster.start()
        await query(cluster, "create table kept as select 7 as n")
        await cluster.stop()
        with (small / "filler").open("wb") as filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"x" * 1_000_000)
        with pytest.raises(Unavailable, match=r"is full.*Free some space"):
            await cluster.start()
        (small / "filler").unlink()
        await cluster.start()
        assert await query(cluster, "select n from kept") == 7
        await cluster.stop()
    finally:
        subprocess.run(["umount", small], check=True)


def test_the_servers_own_words_become_advice(tmp_path: Path):
    lines = ['FATAL:  could not write to file "pg_wal/xlogtemp.1": No space left on device']
    assert explain_failure(lines, port=0, where=tmp_path).code == "DISK_FULL"
    assert "too" not in explain_failure(["FATAL:  odd"], port=0, where=tmp_path).message.lower()


async def test_a_data_directory_with_a_long_name_gets_a_short_socket(data_dir: Path):
    long = data_dir / ("long" * 30)
    cluster = PrivateCluster(long)
    await cluster.start()
    try:
        assert len(str(cluster.socket_dir)) < 60
        assert stat.S_IMODE(cluster.socket_dir.stat().st_mode) == 0o700
        assert await query(cluster, "select 1") == 1
    finally:
        await cluster.stop()
        remove_home(long)
    assert not cluster.socket_dir.exists()


async def test_a_closed_data_directory_of_root_is_served_from_the_state_directory(as_root: None):
    """As after `git clone` below /root."""
    closed = Path(tempfile.mkdtemp(prefix="demarc-closed-"))
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    cluster = PrivateCluster(closed / ".demarc")
    try:
        await cluster.start()
        assert (closed / ".demarc" / "postgres").is_symlink()
        await query(cluster, "create table kept as select 7 as n")
        await cluster.stop()
        again = PrivateCluster(closed / ".demarc")
        await again.start()
        assert await query(again, "select n from kept") == 7
        await again.stop()
        home = (closed / ".demarc" / "postgres").resolve()
        again.destroy()
        assert not home.exists()
    finally:
        await cluster.stop()
        remove_home(closed / ".demarc")
        shutil.rmtree(closed)


async def test_programs_out_of_reach_are_copied_once(
    as_root: None, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from demarc.adapters.postgres import binaries

    state = data_dir / "state"
    monkeypatch.setattr(binaries, "STATE_DIR", state)
    really = ServiceUser.may

    def may(user: ServiceUser, access: str, path: Path) -> bool:
        return "site-packages" not in str(path) and really(user, access, path)

    monkeypatch.setattr(ServiceUser, "may", may)
    cluster = PrivateCluster(data_dir)
    await cluster.start()
    try:
        assert Path(f"/proc/{cluster.pid}/exe").resolve().is_relative_to(state)
        assert await query(cluster, "create extension pg_trgm") is None
    finally:
        await cluster.stop()
    assert [path.name for path in state.iterdir()] == [f"postgresql-{binaries.pinned_version()}"]


async def test_a_link_to_nowhere_does_not_become_an_empty_database(data_dir: Path):
    (data_dir / "postgres").symlink_to(data_dir / "gone")
    with pytest.raises(Misconfigured, match="is gone"):
        await PrivateCluster(data_dir).start()
    (data_dir / "postgres").unlink()


async def test_destroy_refuses_a_running_cluster(cluster: PrivateCluster, data_dir: Path):
    await cluster.start()
    with pytest.raises(Conflict, match="running"):
        cluster.destroy()
    await cluster.stop()
    cluster.destroy()
    assert not (data_dir / "postgres").exists()
    assert read_postmaster(data_dir / "postgres" / "data") is None


@pytest.mark.parametrize(
    ("name", "words"), [("no-such-user", "useradd"), ("nobody", "must not own"), ("root", "must not own")]
)
def test_the_wrong_user_is_refused_with_the_command_for_the_right_one(as_root: None, name: str, words: str):
    with pytest.raises(Misconfigured, match=words):
        service_user(name)


async def test_an_ordinary_user_runs_it_as_himself(as_root: None, data_dir: Path):
    python = f"/usr/bin/python3.{sys.version_info.minor}"
    user = service_user()
    packages = Path(asyncpg.__file__).parents[1]
    sources = Path(sys.modules["demarc"].__file__).parents[1]
    if not Path(python).exists() or not user.may("r", packages / "asyncpg" / "__init__.py"):
        pytest.skip("no Python of this version that another user can run")
    data_dir.chmod(0o777)
    script = (
        "import asyncio, os, sys; from pathlib import Path\n"
        "from demarc.adapters.postgres.cluster import PrivateCluster\n"
        "async def main():\n"
        "    cluster = PrivateCluster(Path(sys.argv[1]) / 'own'); await cluster.start()\n"
        "    print(os.stat(f'/proc/{cluster.pid}').st_uid); await cluster.stop()\n"
        "asyncio.run(main())\n"
    )
    ran = subprocess.run(
        [python, "-c", script, data_dir],
        check=False,
        user=user.uid,
        group=user.gid,
        extra_groups=[],
        env={"PYTHONPATH": f"{sources}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == str(user.uid)
    shutil.rmtree(data_dir / "own")
