"""Bodies of `/api/nas`."""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from demarc.modules.access.inputs import NAME_LENGTH, VENDORS, NewNas
from demarc.modules.access.queries import Nas
from demarc.modules.access.states import MessageAuthenticatorMode, NasStatus
from demarc.web.bss.parameters import Listed

_VENDOR = f"one of {', '.join(VENDORS)}: whose attributes carry the speeds beside WISPr's"
_SECRET = "the shared secret of RFC 2865; written, never answered"  # noqa: S105 - a description


class NasIn(BaseModel):
    """A new NAS."""

    name: str = Field(min_length=1, max_length=NAME_LENGTH, examples=["bras-1"])
    source_ip: IPv4Address = Field(examples=["127.0.0.1"], description="where its packets come from")
    secret: str = Field(min_length=8, max_length=128, examples=["testing123"], description=_SECRET)
    vendor: str = Field("generic", max_length=40, description=_VENDOR)
    coa_port: int = Field(3799, ge=1, le=65535, description="where it takes orders (RFC 5176)")
    message_authenticator: MessageAuthenticatorMode = Field(
        MessageAuthenticatorMode.AUTO,
        description="CVE-2024-3596: `required`, `off`, or `auto`: required from the first valid one seen on",
    )

    def to_input(self) -> NewNas:
        return NewNas(**self.model_dump())


class NasPatch(BaseModel):
    """The fields to change; what is left out stays. A disabled NAS is a stranger to FreeRADIUS."""

    name: str | None = Field(None, min_length=1, max_length=NAME_LENGTH)
    secret: str | None = Field(None, min_length=8, max_length=128, description=_SECRET)
    vendor: str | None = Field(None, max_length=40, description=_VENDOR)
    coa_port: int | None = Field(None, ge=1, le=65535)
    message_authenticator: MessageAuthenticatorMode | None = None
    status: NasStatus | None = None

    def changes(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


class NasOut(BaseModel):
    """A NAS, without its secret."""

    id: UUID
    name: str
    source_ip: IPv4Address
    vendor: str
    coa_port: int
    message_authenticator: MessageAuthenticatorMode
    status: NasStatus
    unanswered_until: datetime | None = Field(
        description="no order is sent before, since the NAS did not answer the last one"
    )
    created_at: datetime
    updated_at: datetime


class NasList(Listed):
    """A window of the list."""

    nas: list[NasOut]


def nas_out(row: Nas) -> NasOut:
    return NasOut(
        id=row.uid,
        name=row.name,
        source_ip=row.source_ip,
        vendor=row.vendor,
        coa_port=row.coa_port,
        message_authenticator=MessageAuthenticatorMode(row.message_authenticator),
        status=NasStatus(row.status),
        unanswered_until=row.unanswered_until,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
