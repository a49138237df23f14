"""Both sides over one PostgreSQL, filled with the same subscribers, and the load generator to drive them."""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from Crypto.Hash import MD4
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from demarc.adapters.freeradius.engine import RadiusEngine, free_port
from demarc.adapters.freeradius.raddb import DatabaseLogin, RadiusConfig, find_library_dir
from demarc.adapters.postgres.cluster import PrivateCluster
from demarc.kernel.rls import AAA_ROLE, LOGIN_ROLES, isolate
from demarc.modules.access import models

sys.path.insert(0, str(Path(__file__).parent))
from stock import SCHEMA, SECRET, Ports, make_limit_raddb, make_stock_raddb, start_server

HERE = Path(__file__).parent
DOWN, UP, INTERIM = 200_000_000, 100_000_000, 300
ONLINE_SHARE = 0.5


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

    async def measure(self, side: str, port: int, mode: str, requests: int, *extra: str) -> dict[str, Any]:
        """One run, with the processor time that the server and PostgreSQL took for each request (`cpu_us`)."""
        before = self._cpu_seconds(side)
        result = await self.load.run(port, mode, requests, *extra)
        result["cpu_us"] = (self._cpu_seconds(side) - before) / requests * 1e6
        return result

    def _cpu_seconds(self, side: str) -> float:
        children = Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text().split()
        return sum(cpu_seconds(pid) for pid in (self.server_pids[side], *map(int, children)))


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
            connection = await asyncpg.connect(cluster.owner_dsn)
            await fill(connection, cluster, users)
            async with servers(directory, cluster) as (auth, acct, spool_dir, pids):
                yield Rig(load, auth, acct, spool_dir, connection, pids, cluster.pid or 0)
            await connection.close()
        finally:
            await cluster.stop()
            cluster.destroy()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
        spool_dir=directory / "spool",
        database=DatabaseLogin(
            str(cluster.socket_dir), cluster.port, "demarc", AAA_ROLE, cluster.secret_for(AAA_ROLE)
        ),
        auth_port=free_port(),
        acct_port=free_port(),
    )
    stock_ports, limit_port = Ports(free_port(), free_port()), free_port()
    conninfo = f"host={cluster.socket_dir} port={cluster.port} dbname=demarc user=radius password=radius"
    make_stock_raddb(directory / "stock", conninfo, stock_ports)
    make_limit_raddb(directory / "limit", find_library_dir(config), config.threads, limit_port)
    engine = RadiusEngine(config)
    await engine.start()
    others = [start_server(directory / "stock", "radiusd"), start_server(directory / "limit", "limit")]
    await asyncio.sleep(3)
    try:
        auth = {"demarc": config.auth_port, "stock": stock_ports.auth, "limit": limit_port}
        pids = {"demarc": engine.pid or 0, "stock": others[0].pid, "limit": others[1].pid}
        yield auth, {"demarc": config.acct_port, "stock": stock_ports.acct}, config.spool_dir, pids
    finally:
        for server in others:
            server.terminate()
            server.wait()
        await engine.stop()


async def fill(connection: asyncpg.Connection[Any], cluster: PrivateCluster, users: int) -> None:
    for role in LOGIN_ROLES:
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{cluster.secret_for(role)}'")
    for table in (models.aaa_nas, models.aaa_login, models.radius_session):
        await create_table(connection, table)
    await fill_ours(connection, users)
    await connection.execute("CREATE ROLE radius LOGIN PASSWORD 'radius'")
    await connection.execute(SCHEMA.read_text())
    await fill_stock(connection, users)
    await connection.execute("VACUUM ANALYZE")


async def create_table(connection: asyncpg.Connection[Any], table: Table) -> None:
    ddl = CreateTable(table, include_foreign_key_constraints=[])
    await connection.execute(str(ddl.compile(dialect=postgresql.dialect())))
    for index in table.indexes:
        await connection.execute(str(CreateIndex(index).compile(dialect=postgresql.dialect())))
    for statement in isolate(table):
        await connection.execute(statement)


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
    now = datetime.now(UTC)
    online = random.Random(1).sample(range(users), int(users * ONLINE_SHARE))
    sessions = [
        (1, UUID(int=i), 1, i, i, f"u{i:06}", f"live-{i:08}", now, now, calling_id(i)) for i in online
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
    await connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO radius")
    await connection.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO radius")


def _address(user: int) -> str:
    number = user + 1
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def median(results: list[dict[str, Any]], field: str) -> float:
    return statistics.median(result[field] for result in results)
