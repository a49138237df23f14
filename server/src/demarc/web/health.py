"""`/livez`, `/readyz`, `/metrics`: for balancers and Prometheus, without a log-in and without a tenant's data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import BaseModel

from demarc.kernel.errors import Unavailable
from demarc.web.platform import Platform, ProcessState
from demarc.web.routing import PlatformDep

router = APIRouter(tags=["health"])

OK = "ok"
_AWAITED = ("worker", "mail-trap", "ingester", "radius")
_NOT_YET = frozenset({"waiting", "starting"})
_FAILING = "does not run; tried again and again"


class Health(BaseModel):
    """`checks` names what was looked at and what was found."""

    status: str
    checks: dict[str, str]


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was found, and whether it keeps this node from its work."""

    is_ready: bool
    checks: dict[str, str]

    @property
    def status(self) -> str:
        return OK if self.is_ready else "unavailable"


async def readiness(platform: Platform) -> Readiness:
    """Look at the database and at the processes beside this one."""
    database = await _database(platform)
    processes = _processes(platform.processes())
    is_ready = database == OK and not any(found in _NOT_YET for found in processes.values())
    return Readiness(is_ready, {"database": database, **processes})


async def _database(platform: Platform) -> str:
    try:
        await platform.database.ping()
    except Unavailable as error:
        return error.message
    return OK


def _processes(states: Mapping[str, ProcessState]) -> dict[str, str]:
    """A process that was up once, or is known to fail (FreeRADIUS missing, say), does not keep the API from answering."""
    return {name: _word(states[name]) for name in _AWAITED if name in states}


def _word(process: ProcessState) -> str:
    if process.state == "backoff":
        return _FAILING
    if process.state in _NOT_YET and process.restarts:
        return "is started again"
    return OK if process.state == "ready" else process.state


@router.get("/livez")
async def livez() -> Health:
    """The process answers."""
    return Health(status=OK, checks={})


@router.get("/readyz", responses={503: {"model": Health, "description": "not yet, or not any more"}})
async def readyz(platform: PlatformDep, response: Response) -> Health:
    """The node can do its work: the database answers, and what runs beside this process has come up.

    A process that is known to fail is named but does not count: without FreeRADIUS the API is ready all the same.
    """
    found = await readiness(platform)
    if not found.is_ready:
        response.status_code = 503
    return Health(status=found.status, checks=found.checks)


@router.get("/metrics", include_in_schema=False)
async def metrics() -> Response:
    """Of every process of this node when a supervisor gave them a directory to share, else of this one."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return Response(generate_latest(shared), media_type=CONTENT_TYPE_LATEST)
