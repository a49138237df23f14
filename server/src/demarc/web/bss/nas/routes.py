"""`/api/nas`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query

from demarc.modules.access.queries import get_nas, list_nas
from demarc.modules.access.service import create_nas, update_nas
from demarc.modules.access.states import NasStatus
from demarc.web.bss.nas.schemas import NasIn, NasList, NasOut, NasPatch, nas_out
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.routing import ApiRouter, PlatformDep, TxDep

router = ApiRouter(prefix="/api/nas", tag="nas")


@router.on("POST", "", permission="access.write", status=201, problem=(409,))
async def create(body: NasIn, tx: TxDep, platform: PlatformDep) -> NasOut:
    """Take a NAS into service; a source address belongs to one NAS of the whole platform."""
    return nas_out(await create_nas(tx, platform.master_key, body.to_input()))


@router.on("GET", "", permission="access.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    status: NasStatus | None = None,
    vendor: Annotated[str | None, Query(max_length=40)] = None,
    sort: SortParam = None,
) -> NasList:
    """NAS in the order they came, unless `sort` says otherwise (created_at, name, source_ip)."""
    page = await list_nas(tx, window, sort=sort, status=status, vendor=vendor)
    return NasList(nas=[nas_out(row) for row in page.rows], **counts(page))


@router.on("GET", "/{nas_id}", permission="access.read", problem=(404,))
async def get(nas_id: UUID, tx: TxDep) -> NasOut:
    """One NAS."""
    return nas_out(await get_nas(tx, nas_id))


@router.on("PATCH", "/{nas_id}", permission="access.write", problem=(404, 409))
async def patch(nas_id: UUID, body: NasPatch, tx: TxDep, platform: PlatformDep) -> NasOut:
    """Change the fields given; FreeRADIUS follows within 30 seconds."""
    return nas_out(await update_nas(tx, platform.master_key, nas_id, body.changes()))
