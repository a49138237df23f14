"""The HTTP surface against a raw ASGI floor with the same features (bench/floor_app.py), in interleaved rounds.

Both run in a process of their own on the private PostgreSQL as shipped (durable), against the same tables, each with a
tenant of its own; ours is `demarc serve`. Prints medians and ratios as a markdown table. Ratios of requests/s suffer from
whatever else the machine does; those of the server's own CPU time per request much less.

    .venv/bin/python bench/api.py [--rounds 5] [--seconds 3] [--only ingest]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import uvloop

from demarc.adapters.postgres.cluster import PrivateCluster
from demarc.kernel.context import system
from demarc.kernel.crypto import load_master_key
from demarc.kernel.db import Database
from demarc.kernel.migrate import migrate
from demarc.kernel.rls import LOGIN_ROLES
from demarc.modules.identity.service import Principal, Tokens, create_user
from demarc.modules.identity.states import Role
from demarc.modules.tenants.service import create_tenant

BIN = Path(sys.executable).parent
ROWS_PER_REQUEST = 500
SUBSCRIPTIONS = 900
STORED_RECORDS = 200_000
CONNECTIONS = 8
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
SELL = """
INSERT INTO plan (tenant_id, id, ref, name, service_type, download_bps, upload_bps, currency)
VALUES ({tenant}, 1, 'fibre', 'Fibre', 'fiber_internet', 200000000, 100000000, 'USD');
INSERT INTO customer (tenant_id, id, name, email, phone, created_at, updated_at)
SELECT {tenant}, n, 'Customer ' || n, 'c' || n || '@example.com', '+15550100', now(), now()
FROM generate_series(1, {subscriptions}) n;
INSERT INTO subscription (tenant_id, id, ref, customer_id, plan_id, currency, monthly_minor, started_at)
SELECT {tenant}, n, 'sub_' || n, n, 1, 'USD', 2999, now() FROM generate_series(1, {subscriptions}) n;
INSERT INTO usage_record (tenant_id, subscription_id, customer_id, usage_type, quantity, unit, unit_price, currency,
                          period_start, period_end, source_system, source_record_id)
SELECT {tenant}, n % {subscriptions} + 1, n % {subscriptions} + 1, 'bandwidth_gb', n % 1000 / 7.0, 'GB', 0.05, 'USD',
       now() - n * interval '1 minute', now(), 'bench', 'stored-' || n FROM generate_series(1, {records}) n;
"""


@dataclass
class Side:
    """A server under test, its tenant and its token."""

    name: str
    port: int
    tenant: str
    token: str = field(repr=False)
    customers: list[str]
    pid: int = 0

    def cpu_seconds(self) -> float:
        """User and system time of the process."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


@dataclass(frozen=True)
class Case:
    """What is asked, and what it has to reach. `make` gives the body of the n-th request."""

    name: str
    method: str
    path: str
    aim: float
    records: int = 0


CASES = (
    Case(
        f"ingest of {ROWS_PER_REQUEST} usage records",
        "POST",
        "/api/billing/usage/records/bulk",
        0.8,
        ROWS_PER_REQUEST,
    ),
    Case(
        "list of 25 usage records (hot)",
        "GET",
        "/api/billing/usage/records?subscription_id=sub_{n}&limit=25",
        0.7,
    ),
    Case("list of 25 customers", "GET", "/api/customers?status=active&limit=25&skip={n}", 0.3),
    Case("create a customer", "POST", "/api/customers", 0.3),
)
_NUMBERS = itertools.count(1)
_RUN = secrets.token_hex(4)


def body_of(case: Case, side: Side, number: int) -> bytes:
    if case.method == "GET":
        return b""
    if not case.records:
        new = {"name": f"Customer {number}", "email": f"new{number}@example.com", "phone": "+15550100"}
        return json.dumps(new).encode()
    return json.dumps({"records": [record(side, number, n) for n in range(case.records)]}).encode()


def record(side: Side, number: int, n: int) -> dict:
    owner = (number * 7 + n) % SUBSCRIPTIONS
    return {
        "subscription_id": f"sub_{owner + 1}",
        "customer_id": side.customers[owner],
        "usage_type": "bandwidth_gb",
        "quantity": round((n + 1) * 1.234567, 6),
        "unit": "GB",
        "unit_price": 0.05,
        "period_start": "2026-10-14T08:00:00Z",
        "period_end": "2026-10-14T18:30:00Z",
        "source_system": "bench",
        "source_record_id": f"{_RUN}-{number}-{n}",
        "description": "Session usage",
    }


def request_bytes(case: Case, side: Side, number: int) -> bytes:
    body = body_of(case, side, number)
    path = case.path.format(n=number % SUBSCRIPTIONS + 1)
    head = (
        f"{case.method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {side.token}\r\n"
        f"X-Tenant-ID: {side.tenant}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
        raise SystemExit(f"not answered: {head!r}")
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))


@dataclass
class Measured:
    requests: float
    cpu_ms: float


async def measure(case: Case, side: Side, seconds: float) -> Measured:
    """Requests per second over a few connections, and the server's CPU milliseconds per request."""
    made = asyncio.Queue[bytes](maxsize=CONNECTIONS * 4)
    for _ in range(made.maxsize):
        made.put_nowait(request_bytes(case, side, next(_NUMBERS)))
    done = 0
    until = 0.0

    async def one() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", side.port, limit=1 << 24)
        while time.perf_counter() < until:
            await ask(reader, writer, made.get_nowait())
            done += 1
            # Made while the server works on the requests of the other connections.
            made.put_nowait(request_bytes(case, side, next(_NUMBERS)))
        writer.close()

    started, cpu = time.perf_counter(), side.cpu_seconds()
    until = started + seconds
    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    elapsed = time.perf_counter() - started
    return Measured(done / elapsed, (side.cpu_seconds() - cpu) / done * 1000)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def wait_open(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


async def prepare(cluster: PrivateCluster, home: Path) -> list[Side]:
    """Two tenants alike: one is asked through the platform, one through the floor."""
    key = load_master_key(home / "master.key", create=True)
    await migrate(cluster.owner_dsn, {role: cluster.secret_for(role) for role in LOGIN_ROLES})
    database = await Database.connect(cluster.dsn("demarc_app"))
    tokens, sides = Tokens(key.derive("access-token")), []
    for tenant_id, name in ((1, "demarc"), (2, "floor")):
        await create_tenant(
            database, key, slug=name, name=name, currency="USD", time_zone="UTC", tenant_id=tenant_id
        )
        async with database.begin(tenant_id, system("bench")) as tx:
            user = await create_user(
                tx,
                email=f"admin@{name}.example.com",
                name=name,
                password=secrets.token_hex(8),
                role=Role.ADMIN,
            )
            sql = SELL.format(tenant=tenant_id, subscriptions=SUBSCRIPTIONS, records=STORED_RECORDS)
            await tx.connection.execute(sql)
            uids = await tx.connection.fetch("SELECT uid FROM customer ORDER BY id")
        token = tokens.sign(Principal(user.id, user.email, tenant_id, name, Role.ADMIN))
        sides.append(Side(name, free_port(), name, token, [str(row["uid"]) for row in uids]))
    await database.close()
    owner = await asyncpg.connect(cluster.owner_dsn)
    await owner.execute("ANALYZE")
    await owner.close()
    return sides


def start(side: Side, cluster: PrivateCluster, home: Path, log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "DEMARC_DATA_DIR": str(home), "DEMARC_HTTP_PORT": str(side.port)}
    environment["DEMARC_STAFF_REQUESTS_PER_MINUTE"] = str(10**9)  # counted all the same, never reached
    if side.name == "demarc":
        command = [str(BIN / "demarc"), "serve"]
    else:
        environment |= {"FLOOR_DSN": cluster.dsn("demarc_app"), "FLOOR_KEY_FILE": str(home / "master.key")}
        command = [
            str(BIN / "uvicorn"), "floor_app:app", "--app-dir", str(Path(__file__).parent), "--port", str(side.port),
            "--no-access-log", "--log-level", "warning",
        ]  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    side.pid = process.pid
    return process


def make_home() -> Path:
    """A scratch directory that the database's own user may enter."""
    home = Path(tempfile.mkdtemp(prefix="demarc-bench-"))
    home.chmod(0o755)
    return home


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", default="", help="part of a case's name")
    wanted = parser.parse_args()
    home = make_home()
    cluster = PrivateCluster(home)
    await cluster.start()
    try:
        with ExitStack() as stack:
            us, floor = sides = await prepare(cluster, home)
            for side in sides:
                process = start(side, cluster, home, home / f"{side.name}.log")
                stack.callback(process.wait)
                stack.callback(process.terminate)
                await wait_open(side.port)
            cases = [case for case in CASES if wanted.only in case.name]
            results: dict[tuple[str, str], list[Measured]] = {}
            for number in range(wanted.rounds + 1):
                for case in cases:
                    for side in sides if number % 2 else reversed(sides):
                        measured = await measure(case, side, wanted.seconds if number else 1)
                        if number:  # the first round warms up
                            results.setdefault((case.name, side.name), []).append(measured)
            show(cases, results, us, floor)
    except BaseException:
        for log in sorted(home.glob("*.log")):
            print(f"{log.name}:\n{log.read_text()[-3000:]}", file=sys.stderr)
        raise
    finally:
        await cluster.stop()
        shutil.rmtree(home, ignore_errors=True)


def show(cases: list[Case], results: dict, us: Side, floor: Side) -> None:
    def median(case: Case, side: Side, what: str) -> float:
        return statistics.median(getattr(measured, what) for measured in results[case.name, side.name])

    print("| case | Demarc /s | floor /s | ratio | aim | Demarc CPU ms | floor CPU ms | CPU ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for case in cases:
        ours, theirs = median(case, us, "requests"), median(case, floor, "requests")
        ratios = [
            a.requests / b.requests
            for a, b in zip(results[case.name, us.name], results[case.name, floor.name], strict=True)
        ]
        cpu, floor_cpu = median(case, us, "cpu_ms"), median(case, floor, "cpu_ms")
        print(
            f"| {case.name} | {ours:,.0f} | {theirs:,.0f} | **{statistics.median(ratios):.2f}** | {case.aim} "
            f"| {cpu:.2f} | {floor_cpu:.2f} | {floor_cpu / cpu:.2f} |"
        )
        if case.records:
            print(
                f"| … records | {ours * case.records:,.0f} | {theirs * case.records:,.0f} | | 10,000 | | | |"
            )


if __name__ == "__main__":
    uvloop.run(main())
