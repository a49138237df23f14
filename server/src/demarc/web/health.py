"""`/livez`, `/readyz`, `/metrics`: for balancers and Prometheus, without a log-in and without a tenant's data."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from demarc.kernel.errors import Unavailable
from demarc.web.routing import PlatformDep

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """`checks` names what was looked at and what was found."""

    status: str
    checks: dict[str, str]


@router.get("/livez")
async def livez() -> Health:
    """The process answers."""
    return Health(status="ok", checks={})


@router.get("/readyz", responses={503: {"model": Health}})
async def readyz(platform: PlatformDep, response: Response) -> Health:
    """The process can do its work: the database answers."""
    try:
        await platform.database.ping()
    except Unavailable as error:
        response.status_code = 503
        return Health(status="unavailable", checks={"database": error.message})
    return Health(status="ok", checks={"database": "ok"})


@router.get("/metrics", include_in_schema=False)
async def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
