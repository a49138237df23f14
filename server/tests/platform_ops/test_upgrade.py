"""`demarc db upgrade` with Debian's PostgreSQL 15 as the old one: all data arrives, and a kill at any step harms nothing."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from demarc.adapters.postgres import upgrade
from demarc.adapters.postgres.binaries import pinned_major
from demarc.adapters.postgres.cluster import OWNER_ROLE, PrivateCluster
from demarc.adapters.processes.service_user import service_user
from demarc.kernel.context import system
from demarc.kernel.crypto import load_master_key
from demarc.kernel.db import Database
from demarc.kernel.errors import Conflict, Misconfigured, Unavailable
from demarc.kernel.migrate import migrate
from demarc.kernel.paging import Window
from demarc.kernel.rls import LOGIN_ROLES
from demarc.modules.audit.seal import seal_audit_log, verify_audit_log
from demarc.modules.customers.inputs import NewCustomer
from demarc.modules.customers.queries import list_customers
from demarc.modules.customers.service import create_customer
from demarc.modules.tenants.service import create_tenant

from .debian_postgres import INSTALLED, MAJOR, MISSING, DebianCluster

TESTER = system("test")
pytestmark = pytest.mark.skipif(not INSTALLED, reason=MISSING)


@pytest_asyncio.fixture(scope="module")
async def old_data() -> AsyncIterator[Path]:
    """A data directory with a migrated database, a tenant, a sealed audit log and a database of the operator's own."""
    place = Path(tempfile.mkdtemp(prefix="demarc-old-"))
    place.chmod(0o711)
    await _fill(place)
    yield place
    shutil.rmtree(place)


async def _fill(place: Path) -> None:
    cluster = DebianCluster(place, durable=False)
    await cluster.start()
    try:
        await migrate(cluster.owner_dsn, {role: cluster.secret_for(role) for role in LOGIN_ROLES})
        database = await Database.connect(cluster.dsn("demarc_app"))
        await create_tenant(
            database,
            load_master_key(place / "master.key", create=True),
            slug="alpha",
            name="Alpha",
            currency="USD",
            time_zone="UTC",
            is_sandbox=False,
            settings={},
            tenant_id=1,
        )
        async with database.begin(1, TESTER) as tx:
            for number in range(20):
                await create_customer(
                    tx, NewCustomer(name=f"Kundin {number} Ärö 🚀", email=f"c{number}@example.com")
                )
        async with database.begin(1, TESTER) as tx:
            assert await seal_audit_log(tx) >= 20
        await database.close()
        owner = await asyncpg.connect(cluster.owner_dsn)
        await owner.execute('CREATE DATABASE "the operator\'s own"')
        await owner.close()
        own = await asyncpg.connect(cluster.dsn(OWNER_ROLE, "the operator's own"))
        await own.execute("CREATE TABLE note AS SELECT 'kept' AS text")
        await own.close()
    finally:
        await cluster.stop()


@pytest.fixture
def aged(old_data: Path, data_dir: Path) -> PrivateCluster:
    """A copy of the old data directory, not running."""
    PrivateCluster(data_dir)._home  # noqa: B018 - makes the directories with their rights
    user = service_user()
    for folder in ("data", "log"):
        shutil.copytree(old_data / "postgres" / folder, data_dir / "postgres" / folder, dirs_exist_ok=True)
    shutil.copytree(old_data / "secrets", data_dir / "secrets")
    if user is not None:
        subprocess.run(["chown", "-R", f"{user.uid}:{user.gid}", data_dir / "postgres"], check=True)
    (data_dir / "postgres" / "data").chmod(0o700)
    return PrivateCluster(data_dir)


async def check_whole(cluster: PrivateCluster) -> None:
    """Everything is there, under the same passwords, rights and policies."""
    await cluster.start()
    try:
        await migrate(cluster.owner_dsn, {role: cluster.secret_for(role) for role in LOGIN_ROLES})
        owner = await asyncpg.connect(cluster.owner_dsn)
        assert await owner.fetchval("SHOW server_version_num") >= f"{pinned_major()}0000"
        assert await owner.fetchval(
            "SELECT proleakproof FROM pg_proc WHERE proname = 'texticlike' AND pronargs = 2"
        )
        await owner.close()
        database = await Database.connect(cluster.dsn("demarc_app"))
        async with database.begin(1, TESTER) as tx:
            assert (await list_customers(tx, Window())).total == 20
            made = await create_customer(tx, NewCustomer(name="Neu", email="neu@example.com"))
            assert made.id >= 1020, "the sequences go on"
        async with database.begin(1, TESTER) as tx:
            await seal_audit_log(tx)
        async with database.begin(1, TESTER) as tx:
            await seal_audit_log(tx)
            assert await verify_audit_log(tx) is None
        async with database.directory() as stranger:
            assert await stranger.fetchval("SELECT count(*) FROM customer") == 0
        await database.close()
        own = await asyncpg.connect(cluster.dsn(OWNER_ROLE, "the operator's own"))
        assert await own.fetchval("SELECT text FROM note") == "kept"
        await own.close()
    finally:
        await cluster.stop()


async def test_everything_moves_and_the_old_data_is_kept(aged: PrivateCluster, data_dir: Path):
    with pytest.raises(Misconfigured, match="demarc db upgrade"):
        await aged.start()
    kept = await aged.upgrade()
    assert kept == data_dir / "postgres" / "data.15"
    assert (kept / "PG_VERSION").read_text().strip() == MAJOR
    left = {path.name for path in (data_dir / "postgres").iterdir()}
    assert left == {"data", "data.15", "run", "log", "lock", "custom.conf"}
    assert await aged.upgrade() is None, "nothing to do any more"
    await check_whole(aged)


UPGRADE_AND_DIE = """
import asyncio, os, signal, sys
from pathlib import Path
from demarc.adapters.postgres import upgrade
from demarc.adapters.postgres.cluster import PrivateCluster
place, left = sys.argv[2], [int(sys.argv[3])]
owner = upgrade.Upgrade if hasattr(upgrade.Upgrade, place) else upgrade
real = getattr(owner, place)
def dying(*args):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args)
setattr(owner, place, dying)
asyncio.run(PrivateCluster(Path(sys.argv[1])).upgrade())
"""


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("_row_counts", 0),  # the first database is restored
        ("_sync", 1),  # it is `data.ready`
        ("_sync", 2),  # the old one is out of the way
    ],
)
async def test_a_kill_leaves_the_old_or_the_new_database_whole(
    aged: PrivateCluster, data_dir: Path, place: str, number: int
):
    argv = [sys.executable, "-c", UPGRADE_AND_DIE, str(data_dir), place, str(number)]
    killed = await asyncio.create_subprocess_exec(*argv)
    assert await killed.wait() == -9
    if place != "_sync":
        with pytest.raises(Misconfigured, match="demarc db upgrade"):
            await aged.start()
        assert await aged.upgrade() is not None
    await check_whole(aged)
    assert (data_dir / "postgres" / "data.15" / "PG_VERSION").exists()


async def test_old_data_that_went_on_after_the_copy_wins(aged: PrivateCluster, data_dir: Path):
    """The Demarc of before was started between the kill and the new one."""
    argv = [sys.executable, "-c", UPGRADE_AND_DIE, str(data_dir), "_sync", "1"]
    killed = await asyncio.create_subprocess_exec(*argv)
    assert await killed.wait() == -9
    ready = data_dir / "postgres" / "data.ready"
    assert ready.exists()
    (data_dir / "before").mkdir()
    ready.rename(data_dir / "before" / "data.ready")  # the Demarc of before knows nothing of it
    before = DebianCluster(data_dir)
    await before.start()
    owner = await asyncpg.connect(before.owner_dsn)
    await owner.execute("CREATE TABLE later (n int)")
    await owner.close()
    await before.stop()
    (data_dir / "before" / "data.ready").rename(ready)
    assert await aged.upgrade() is not None
    await aged.start()
    owner = await asyncpg.connect(aged.owner_dsn)
    assert await owner.fetchval("SELECT count(*) FROM later") == 0
    await owner.close()
    await aged.stop()


async def test_a_running_platform_is_left_alone(aged: PrivateCluster, data_dir: Path):
    before = DebianCluster(data_dir)
    await before.start()
    try:
        with pytest.raises(Conflict, match="already run by process"):
            await aged.upgrade()
    finally:
        await before.stop()


async def test_what_is_missing_is_named(
    aged: PrivateCluster, data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(Misconfigured, match="holds no PostgreSQL 15"):
        await aged.upgrade(data_dir)
    monkeypatch.setattr(upgrade, "_major_of_binaries", lambda place: None)
    with pytest.raises(Misconfigured, match=r"postgresql-15.*--old-binaries DIR"):
        await aged.upgrade()
    monkeypatch.undo()
    monkeypatch.setattr(upgrade.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1))
    with pytest.raises(Unavailable, match="nothing was changed"):
        await aged.upgrade()


async def test_without_a_database_there_is_nothing_to_upgrade(cluster: PrivateCluster):
    with pytest.raises(Misconfigured, match="There is no database"):
        await cluster.upgrade()
