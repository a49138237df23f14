"""Both sides over one PostgreSQL, filled with the same subscribers, and the load generator to drive them."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from Crypto.Hash import MD4

from demarc.adapters.freeradius.engine import RadiusEngine, free_port
from demarc.adapters.freeradius.raddb import DatabaseLogin, RadiusConfig, find_library_dir
from demarc.adapters.postgres.cluster import PrivateCluster
from demarc.kernel.migrate import migrate
from demarc.kernel.rls import AAA_ROLE, LOGIN_ROLES

sys.path.insert(0, str(Path(__file__).parent))
from stock import SCHEMA, SECRET, Ports, make_limit_raddb, make_stock_raddb, start_server

HERE = Path(__file__).parent
DOWN, UP, INTERIM = 200_000_000, 100_000_000, 300
STOCK = "stock"
SOLD = """
INSERT INTO tenant (id, slug, name, currency, time_zone) VALUES (1, 'bench', 'Bench', 'EUR', 'Europe/Berlin');
INSERT INTO plan (tenant_id, id, ref, name, service_type, download_bps, upload_bps, currency)
VALUES (1, 1, 'fibre', 'Fibre', 'fiber_internet', 200000000, 100000000, 'EUR');
INSERT INTO plan_usage_price (tenant_id, plan_id, usage_type, unit, unit_price, effective_on)
VALUES (1, 1, 'bandwidth_gb', 'GB', 0.05, '2020-01-01');
INSERT INTO customer (tenant_id, id, name, created_at, updated_at)
SELECT 1, n, 'Customer ' || n, now(), now() FROM generate_series(0, {last}) n;
INSERT INTO subscription (tenant_id, id, ref, customer_id, plan_id, currency, monthly_minor, started_at)
SELECT 1, n, 'sub_' || n, n, 1, 'EUR', 2999, now() FROM generate_series(0, {last}) n;
INSERT INTO service (tenant_id, id, identifier, customer_id, subscription_id, plan_id, service_type, name, status,
                     provisioning_status, download_bps, upload_bps, created_at, updated_at)
SELECT 1, n, 'SVC-' || n, n, n, 1, 'fiber_internet', 'Line ' || n, 'active', 'completed', 200000000, 100000000,
       now(), now() FROM generate_series(0, {last}) n;
"""


@dataclass(frozen=True, slots=True)
class Load:
    """The compiled generator."""

    program: Path
    users: int

    async def run(self, port: int, mode: str, requests: int, *extra: str) -> dict[str, Any]:
        """One closed-loop run with 64 requests in flight; fails when an answer is missing or wrong."""
        arguments = ("-P", port, "-m", mode, "-n", requests, "-s", SECRET, "-u", self.users, "-w", 64, *extra)
        process = await asyncio.create_subprocess_exec(
            self.program, *map(str, arguments), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        result: dict[str, Any] = json.loads(output)
        if result["positive"] != requests:
            raise SystemExit(f"not every request was accepted, the figures mean nothing: {result}")
        return result


@dataclass(frozen=True, slots=True)
class Rig:
    """Everything that runs. Ports are by side."""

    load: Load
    auth: dict[str, int]
    acct: dict[str, int]
    spool_dir: Path
    database: asyncpg.Connection[Any]
    server_pids: dict[str, int]
    postmaster: int
    data_dir: Path
    helpers: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    async def measure(self, side: str, port: int, mode: str, requests: int, *extra: str) -> dict[str, Any]:
        """One run, with the processor time that the server and PostgreSQL took for each request (`cpu_us`)."""
        before = self.cpu_seconds(side)
        result = await self.load.run(port, mode, requests, *extra)
        result["cpu_us"] = (self.cpu_seconds(side) - before) / requests * 1e6
        return result

    def cpu_seconds(self, side: str) -> float:
        """Processor time so far of the side's server and its helpers, and of PostgreSQL."""
        children = Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text().split()
        pids = (self.server_pids[side], *self.helpers[side], self.postmaster, *map(int, children))
        return sum(cpu_seconds(pid) for pid in pids)


@asynccontextmanager
async def rig(users: int) -> AsyncIterator[Rig]:
    """Start PostgreSQL, fill it, start the three servers; end them all."""
    with tempfile.TemporaryDirectory(prefix="demarc-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # noqa: ASYNC240  before anything runs
        load = Load(build_generator(directory), users)
        cluster = PrivateCluster(directory / "data")
        await cluster.start()
        try:
            await fill(cluster, users)
            async with servers(directory, cluster) as (auth, acct, spool_dir, pids):
                connection = await asyncpg.connect(cluster.owner_dsn)
                yield Rig(load, auth, acct, spool_dir, connection, pids, cluster.pid or 0, directory / "data")
                await connection.close()
        finally:
            await cluster.stop()
            cluster.destroy()


def cpu_seconds(pid: int) -> float:
    """Of a process and of the children that it has waited for; 0 for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def build_generator(directory: Path) -> Path:
    program = directory / "radload"
    subprocess.run(["cc", "-O2", "-o", program, HERE / "radload.c", "-lcrypto"], check=True)
    return program


@asynccontextmanager
async def servers(
    directory: Path, cluster: PrivateCluster
) -> AsyncIterator[tuple[dict[str, int], dict[str, int], Path, dict[str, int]]]:
    config = RadiusConfig(
        directory=directory / "raddb",
        spool_dir=directory / "data" / "radius" / "spool",  # where `demarc ingest` looks
        database=DatabaseLogin(
            str(cluster.socket_dir), cluster.port, "demarc", AAA_ROLE, cluster.secret_for(AAA_ROLE)
        ),
        auth_port=free_port(),
        acct_port=free_port(),
    )
    stock_ports, limit_ports = Ports(free_port(), free_port()), Ports(free_port(), free_port())
    conninfo = f"host={cluster.socket_dir} port={cluster.port} dbname={STOCK} user=radius password=radius"
    make_stock_raddb(directory / "stock", conninfo, stock_ports)
    make_limit_raddb(directory / "limit", find_library_dir(config), config.threads, limit_ports)
    engine = RadiusEngine(config)
    await engine.start()
    others = [start_server(directory / "stock", "radiusd"), start_server(directory / "limit", "limit")]
    await asyncio.sleep(3)
    try:
        auth = {"demarc": config.auth_port, "stock": stock_ports.auth, "limit": limit_ports.auth}
        pids = {"demarc": engine.pid or 0, "stock": others[0].pid, "limit": others[1].pid}
        acct = {"demarc": config.acct_port, "stock": stock_ports.acct, "limit": limit_ports.acct}
        yield auth, acct, config.spool_dir, pids
    finally:
        for server in others:
            server.terminate()
            server.wait()
        await engine.stop()


async def fill(cluster: PrivateCluster, users: int) -> None:
    """Our schema as shipped in `demarc`, the other side's as shipped in `stock`, with the same subscribers."""
    await migrate(cluster.owner_dsn, {role: cluster.secret_for(role) for role in LOGIN_ROLES})
    ours = await asyncpg.connect(cluster.owner_dsn)
    await sell(ours, users)
    await fill_ours(ours, users)
    await ours.execute("CREATE ROLE radius LOGIN PASSWORD 'radius'")
    await ours.execute("CREATE DATABASE stock")
    stock = await asyncpg.connect(cluster.dsn("demarc_owner", STOCK))
    await stock.execute(SCHEMA.read_text())
    await fill_stock(stock, users)
    for connection in (ours, stock):
        await connection.execute("VACUUM ANALYZE")
        await connection.close()


async def sell(connection: asyncpg.Connection[Any], users: int) -> None:
    """A tenant with a plan that prices usage; each subscriber is a customer with a subscription and a service."""
    await connection.execute(SOLD.format(last=users - 1))


def calling_id(user: int) -> str:
    return "02:00:" + ":".join(f"{user >> shift & 255:02X}" for shift in (24, 16, 8, 0))


async def fill_ours(connection: asyncpg.Connection[Any], users: int) -> None:
    await connection.execute(
        "INSERT INTO aaa_nas (tenant_id, nas_id, source_ip, secret, shortname, message_authenticator) "
        "VALUES (1, 1, '127.0.0.1', $1, 'bras1', 'auto')",
        SECRET,
    )
    logins = [
        (
            1,
            i,
            i,
            f"u{i:06}",
            "accept",
            MD4.new(f"p{i:06}".encode("utf-16le")).hexdigest(),
            _address(i),
            DOWN,
            UP,
        )
        for i in range(users)
    ]
    columns = ("tenant_id", "subscriber_id", "service_id", "username", "decision", "nt_hash", "framed_ip")
    await connection.copy_records_to_table(
        "aaa_login", records=logins, columns=(*columns, "download_bps", "upload_bps")
    )
    # The later half is on line, and later than now, so that no sweep ends them as silent while the rounds run.
    began_at = datetime.now(UTC)
    heard_at = began_at + timedelta(hours=6)
    sessions = [
        (1, UUID(int=i), 1, i, i, f"u{i:06}", f"live-{i:08}", began_at, heard_at, calling_id(i))
        for i in range(users // 2, users)
    ]
    columns = ("tenant_id", "id", "nas_id", "subscriber_id", "service_id", "username", "acct_session_id")
    await connection.copy_records_to_table(
        "radius_session",
        records=sessions,
        columns=(*columns, "started_at", "updated_at", "calling_station_id"),
    )


async def fill_stock(connection: asyncpg.Connection[Any], users: int) -> None:
    """The manual's way: password and address per user, the plan as a group."""
    checks = [(f"u{i:06}", "Cleartext-Password", ":=", f"p{i:06}") for i in range(users)]
    replies = [(f"u{i:06}", "Framed-IP-Address", ":=", str(_address(i))) for i in range(users)]
    columns = ("username", "attribute", "op", "value")
    await connection.copy_records_to_table("radcheck", records=checks, columns=columns)
    await connection.copy_records_to_table("radreply", records=replies, columns=columns)
    groups = [(f"u{i:06}", "plan-200", 1) for i in range(users)]
    await connection.copy_records_to_table(
        "radusergroup", records=groups, columns=("username", "groupname", "priority")
    )
    plan = {"WISPr-Bandwidth-Max-Down": DOWN, "WISPr-Bandwidth-Max-Up": UP, "Acct-Interim-Interval": INTERIM}
    for name, value in plan.items():
        await connection.execute(
            "INSERT INTO radgroupreply (groupname, attribute, op, value) VALUES ('plan-200', $1, ':=', $2)",
            name,
            str(value),
        )
    began_at = datetime.now(UTC)
    sessions = [
        (
            f"live-{i:08}",
            f"{i:032x}",
            f"u{i:06}",
            "127.0.0.1",
            began_at,
            began_at,
            0,
            calling_id(i),
            _address(i),
        )
        for i in range(users // 2, users)
    ]
    columns = ("acctsessionid", "acctuniqueid", "username", "nasipaddress", "acctstarttime", "acctupdatetime")
    await connection.copy_records_to_table(
        "radacct",
        records=sessions,
        columns=(*columns, "acctsessiontime", "callingstationid", "framedipaddress"),
    )
    await connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO radius")
    await connection.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO radius")


def _address(user: int) -> str:
    number = user + 1
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def median(results: list[dict[str, Any]], field: str) -> float:
    return statistics.median(result[field] for result in results)
