"""`/api/notification-templates`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.modules.notifications.queries import get_known_wording, get_wording, list_known_wordings
from demarc.modules.notifications.rules import Wording, check_syntax, preview, variables
from demarc.modules.notifications.service import create_template, delete_template, update_template
from demarc.modules.notifications.states import Channel
from demarc.web.bss.notifications.schemas import (
    PreviewIn,
    PreviewOut,
    TemplateIn,
    TemplateList,
    TemplateOut,
    TemplatePatch,
    template_out,
)
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/notification-templates", tag="notifications")
NamePath = Annotated[str, Path(pattern="^[a-z0-9_]{1,60}$")]
LanguagePath = Annotated[str, Path(pattern="^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$", max_length=10)]
_ONE = "/{channel}/{name}/{language}"


@router.on("POST", "", permission="notifications.write", status=201, problem=(409,))
async def create(body: TemplateIn, tx: TxDep) -> TemplateOut:
    """Word something yourself; it goes before the shipped wording of the same name."""
    made = await create_template(tx, body.to_input())
    return await _one(tx, Channel(made.channel), made.name, made.language)


@router.on("GET", "", permission="notifications.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    channel: Channel | None = None,
    name: Annotated[str | None, Query(max_length=60)] = None,
    language: Annotated[str | None, Query(max_length=10)] = None,
    is_own: Annotated[bool | None, Query(description="yours, not shipped")] = None,
    sort: SortParam = None,
) -> TemplateList:
    """Your wording and the shipped, by channel and name, unless `sort` says otherwise (channel, name, language)."""
    page = await list_known_wordings(
        tx, window, sort=sort, channel=channel, name=name, language=language, is_own=is_own
    )
    return TemplateList(templates=[template_out(row) for row in page.rows], **counts(page))


@router.on("POST", "/preview", permission="notifications.write", problem=(404,))
async def try_out(body: PreviewIn, tx: TxDep) -> PreviewOut:
    """What a message would read like, and which names it lacks; nothing is sent."""
    wording = await _wording(tx, body)
    names = variables(wording)
    text = preview(wording, body.context)
    return PreviewOut(
        subject=text.subject,
        body=text.body,
        variables=names,
        missing=[name for name in names if name not in body.context],
    )


@router.on("GET", _ONE, permission="notifications.read", problem=(404,))
async def get(channel: Channel, name: NamePath, language: LanguagePath, tx: TxDep) -> TemplateOut:
    """One wording, in exactly this language."""
    return await _one(tx, channel, name, language)


@router.on("PATCH", _ONE, permission="notifications.write", problem=(404,))
async def patch(
    channel: Channel, name: NamePath, language: LanguagePath, body: TemplatePatch, tx: TxDep
) -> TemplateOut:
    """Change your own; what is queued already keeps its text."""
    await update_template(tx, channel, name, language, body.changes())
    return await _one(tx, channel, name, language)


@router.on("DELETE", _ONE, permission="notifications.write", status=204, problem=(404,), response_model=None)
async def delete(channel: Channel, name: NamePath, language: LanguagePath, tx: TxDep) -> None:
    """Take your own away: the shipped one holds again. A dunning step that finds none fails and says so."""
    await delete_template(tx, channel, name, language)


async def _one(tx: Tx, channel: Channel, name: str, language: str) -> TemplateOut:
    return template_out(await get_known_wording(tx, channel, name, language))


async def _wording(tx: Tx, body: PreviewIn) -> Wording:
    if body.name is not None:
        return await get_wording(tx, body.channel, body.name, body.language)
    if body.body is None:
        raise invalid("name", "name a template, or send a body to try out")
    check_syntax("subject", body.subject)
    check_syntax("body", body.body)
    return Wording(body.subject, body.body)
