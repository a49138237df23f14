"""`/api/access/authorization`: what would be answered for this log-in from this NAS."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field

from demarc.modules.access.authorization import LoginTry, try_login
from demarc.modules.access.queries import get_nas, uids_of
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/access", tag="subscribers")


class AnswerKind(StrEnum):
    """`none`: FreeRADIUS does not answer at all."""

    ACCEPT = "Access-Accept"
    REJECT = "Access-Reject"
    NONE = "none"


class AuthorizationOut(BaseModel):
    """A dry run. `reply`: the attributes that would go back, a list where one comes several times."""

    answer: AnswerKind
    reason: str
    needs_password: bool = Field(description="accepted if the password is right; false: the line is enough")
    subscriber_id: UUID | None
    username: str | None
    found_by: str | None = Field(description="username, mac, circuit_id or remote_id")
    nas_id: UUID
    vendor: str
    reply: dict[str, Any]


@router.on("GET", "/authorization", permission="access.read", problem=(404,))
async def dry_run(
    tx: TxDep,
    nas_id: UUID,
    username: Annotated[str, Query(max_length=253, examples=["jane.smith@alpha.com"])],
    calling_station_id: Annotated[str, Query(max_length=253)] = "",
    circuit_id: Annotated[str, Query(max_length=253, description="Option 82, where there is no PPP")] = "",
    remote_id: Annotated[str, Query(max_length=253, description="likewise")] = "",
    ppp: Annotated[
        bool, Query(description="a dial-in with a password; false: IPoE, where lines count")
    ] = True,
) -> AuthorizationOut:
    """What FreeRADIUS would answer now, and why; nothing is sent, counted or written."""
    nas = await get_nas(tx, nas_id)
    found = await try_login(tx, nas, LoginTry(username, calling_station_id, circuit_id, remote_id, ppp))
    kinds = {True: AnswerKind.ACCEPT, False: AnswerKind.REJECT, None: AnswerKind.NONE}
    uids = {} if found.subscriber_id is None else await uids_of(tx, [found.subscriber_id])
    return AuthorizationOut(
        answer=kinds[found.accepted],
        reason=found.reason,
        needs_password=found.needs_password,
        subscriber_id=uids.get(found.subscriber_id) if found.subscriber_id is not None else None,
        username=found.username,
        found_by=found.found_by,
        nas_id=nas.uid,
        vendor=nas.vendor,
        reply=found.reply,
    )
