"""Where the webhooks of a campaign lead, looked up before the request's transaction is opened."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import msgspec
from fastapi import Request

from demarc.kernel.addresses import is_public, resolve
from demarc.kernel.errors import Unavailable

TIMEOUT_SECONDS = 2.0
HOSTS_MAX = 10
"""More different ones than this are looked up at delivery only."""


async def find_inside_hosts(request: Request) -> None:
    """Leave in `request.state.inside_hosts` which hosts of the body's webhooks are not public.

    A host that does not resolve in time is left to the check at delivery, which is made again for every attempt.
    """
    hosts = sorted(_hosts(await request.body()))[:HOSTS_MAX]
    found = await asyncio.gather(*(_leads_inside(host) for host in hosts))
    request.state.inside_hosts = frozenset(host for host, inside in zip(hosts, found, strict=True) if inside)


async def inside_hosts(request: Request) -> frozenset[str]:
    """What `find_inside_hosts` found."""
    hosts: frozenset[str] = request.state.inside_hosts
    return hosts


async def _leads_inside(host: str) -> bool:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return not all(is_public(address) for address in await resolve(host, 443))
    except (Unavailable, TimeoutError):
        return False


def _hosts(body: bytes) -> set[str]:
    """Of whatever the body holds: it is validated later."""
    try:
        sent: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return set()
    actions = sent.get("actions") if isinstance(sent, dict) else None
    urls = (
        [action.get("url") for action in actions or () if isinstance(action, dict)]
        if isinstance(actions, list)
        else []
    )
    return {host for host in map(_host, urls) if host}


def _host(url: object) -> str:
    try:
        return urlsplit(url).hostname or "" if isinstance(url, str) else ""
    except ValueError:
        return ""
