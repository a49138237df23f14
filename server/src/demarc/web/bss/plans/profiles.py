"""`/api/bandwidth-profiles`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field

from demarc.modules.catalog.inputs import BITS_PER_MEGABIT, NewProfile, bits_per_second
from demarc.modules.catalog.queries import BandwidthProfile, get_profile, list_profiles
from demarc.modules.catalog.service import create_profile, delete_profile, update_profile
from demarc.web.bss.parameters import Listed, SortParam, WindowDep, counts
from demarc.web.bss.plans.schemas import Mbps
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/bandwidth-profiles", tag="plans")
_SPEEDS = {"download_mbps": "download_bps", "upload_mbps": "upload_bps"}


class ProfileIn(BaseModel):
    """Speeds with a name; plans and data caps that name it copy its speeds."""

    name: str = Field(min_length=1, max_length=100, examples=["Slow"])
    description: str = Field("", max_length=2000)
    download_mbps: Mbps = Field(examples=[2])
    upload_mbps: Mbps = Field(examples=[1])

    def to_input(self) -> NewProfile:
        return NewProfile(
            self.name,
            bits_per_second(self.download_mbps, field="download_mbps"),
            bits_per_second(self.upload_mbps, field="upload_mbps"),
            self.description,
        )


class ProfilePatch(BaseModel):
    """The fields to change; what was sold with the profile keeps its speeds."""

    name: str | None = Field(None, min_length=1, max_length=100)
    description: str | None = Field(None, max_length=2000)
    download_mbps: Mbps | None = None
    upload_mbps: Mbps | None = None

    def changes(self) -> dict[str, Any]:
        """Speeds in bit/s."""
        return {
            _SPEEDS.get(field, field): bits_per_second(value, field=field) if field in _SPEEDS else value
            for field, value in self.model_dump(exclude_unset=True).items()
        }


class ProfileOut(BaseModel):
    """A bandwidth profile."""

    id: UUID
    name: str
    description: str
    download_mbps: float
    upload_mbps: float
    created_at: datetime
    updated_at: datetime


class ProfileList(Listed):
    """A window of the list."""

    bandwidth_profiles: list[ProfileOut]


def profile_out(row: BandwidthProfile) -> ProfileOut:
    return ProfileOut(
        id=row.uid,
        name=row.name,
        description=row.description,
        download_mbps=row.download_bps / BITS_PER_MEGABIT,
        upload_mbps=row.upload_bps / BITS_PER_MEGABIT,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


@router.on("POST", "", permission="catalog.write", status=201, problem=(409,))
async def create(body: ProfileIn, tx: TxDep) -> ProfileOut:
    """Give speeds a name."""
    return profile_out(await create_profile(tx, body.to_input()))


@router.on("GET", "", permission="catalog.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    search: Annotated[str | None, Query(max_length=100, description="part of the name")] = None,
    sort: SortParam = None,
) -> ProfileList:
    """Profiles by name, unless `sort` says otherwise (name, created_at, download_mbps)."""
    page = await list_profiles(tx, window, sort=sort, search=search)
    return ProfileList(bandwidth_profiles=[profile_out(row) for row in page.rows], **counts(page))


@router.on("GET", "/{profile_id}", permission="catalog.read", problem=(404,))
async def get(profile_id: UUID, tx: TxDep) -> ProfileOut:
    """One profile."""
    return profile_out(await get_profile(tx, profile_id))


@router.on("PATCH", "/{profile_id}", permission="catalog.write", problem=(404, 409))
async def patch(profile_id: UUID, body: ProfilePatch, tx: TxDep) -> ProfileOut:
    """Change the fields given."""
    return profile_out(await update_profile(tx, profile_id, body.changes()))


@router.on("DELETE", "/{profile_id}", permission="catalog.write", problem=(404,))
async def delete(profile_id: UUID, tx: TxDep) -> ProfileOut:
    """Forget the profile; the last answer it gives."""
    return profile_out(await delete_profile(tx, profile_id))
