"""Rows of the AAA projection, and what came into the spool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from typing import Any

import asyncpg
from radius_packets import nt_hash

from demarc.adapters.freeradius.raddb import RadiusConfig


async def insert(connection: asyncpg.Connection[Any], table: str, **values: Any) -> None:
    names = ", ".join(values)
    marks = ", ".join(f"${i}" for i in range(1, len(values) + 1))
    await connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", *values.values())


async def add_nas(
    connection: asyncpg.Connection[Any], *, tenant: int = 1, address: str = "127.0.0.1", **values: Any
) -> None:
    defaults = {"secret": "nas-secret", "shortname": f"nas-{address}", "message_authenticator": "off"}
    number = int(IPv4Address(address))
    await insert(
        connection, "aaa_nas", tenant_id=tenant, nas_id=number, source_ip=address, **(defaults | values)
    )


async def add_login(
    connection: asyncpg.Connection[Any],
    username: str,
    *,
    tenant: int = 1,
    password: str = "right",
    **values: Any,
) -> None:
    number = await connection.fetchval("SELECT count(*) FROM aaa_login") + 1
    defaults = {"decision": "accept", "nt_hash": nt_hash(password).hex()}
    await insert(
        connection,
        "aaa_login",
        tenant_id=tenant,
        subscriber_id=number,
        service_id=number,
        username=username,
        **(defaults | values),
    )


def spool_lines(config: RadiusConfig, kind: str) -> list[list[str]]:
    """Records of `acct` or `auth` files, in order, each split into fields."""
    files = sorted(config.spool_dir.glob(f"{kind}-*"))
    lines = [line for file in files for line in file.read_bytes().decode("ascii").split("\n") if line]
    return [line.split("\t") for line in lines]


async def until(check: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Wait for something to become true; fail when it does not."""
    give_up_at = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < give_up_at, "did not come true in time"
        await asyncio.sleep(0.1)
