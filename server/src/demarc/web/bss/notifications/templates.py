"""`/api/notification-templates`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query

from demarc.kernel.db import Tx
from demarc.kernel.errors import invalid
from demarc.modules.notifications.queries import (
    get_template,
    get_wording,
    list_shipped_wordings,
    list_templates,
)
from demarc.modules.notifications.rules import Wording, check_syntax, preview, variables
from demarc.modules.notifications.service import create_template, delete_template, update_template
from demarc.modules.notifications.states import Channel
from demarc.web.bss.notifications.schemas import (
    PreviewIn,
    PreviewOut,
    ShippedTemplateList,
    TemplateIn,
    TemplateList,
    TemplateOut,
    TemplatePatch,
    shipped_out,
    template_out,
)
from demarc.web.bss.parameters import SortParam, WindowDep, counts
from demarc.web.routing import ApiRouter, TxDep

router = ApiRouter(prefix="/api/notification-templates", tag="notifications")
NameFilter = Annotated[str | None, Query(max_length=60)]


@router.on("POST", "", permission="notifications.write", status=201, problem=(409,))
async def create(body: TemplateIn, tx: TxDep) -> TemplateOut:
    """Word something yourself; it goes before the shipped wording of the same name."""
    return template_out(await create_template(tx, body.to_input()))


@router.on("GET", "", permission="notifications.read")
async def list_(
    tx: TxDep,
    window: WindowDep,
    channel: Channel | None = None,
    name: NameFilter = None,
    language: Annotated[str | None, Query(max_length=10)] = None,
    sort: SortParam = None,
) -> TemplateList:
    """Your own wording, by name, unless `sort` says otherwise (name, channel, updated_at)."""
    page = await list_templates(tx, window, sort=sort, channel=channel, name=name, language=language)
    return TemplateList(templates=[template_out(row) for row in page.rows], **counts(page))


@router.on("GET", "/shipped", permission="notifications.read")
async def list_of_shipped(
    window: WindowDep,
    _tx: TxDep,
    channel: Channel | None = None,
    name: NameFilter = None,
    sort: SortParam = None,
) -> ShippedTemplateList:
    """The wording that holds where you have none of your own, unless `sort` says otherwise by channel (channel, name)."""
    page = list_shipped_wordings(window, sort=sort, channel=channel, name=name)
    return ShippedTemplateList(templates=[shipped_out(row) for row in page.rows], **counts(page))


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


@router.on("GET", "/{template_id}", permission="notifications.read", problem=(404,))
async def get(template_id: UUID, tx: TxDep) -> TemplateOut:
    """One wording of your own."""
    return template_out(await get_template(tx, template_id))


@router.on("PATCH", "/{template_id}", permission="notifications.write", problem=(404,))
async def patch(template_id: UUID, body: TemplatePatch, tx: TxDep) -> TemplateOut:
    """Change your own; what is queued already keeps its text."""
    return template_out(await update_template(tx, template_id, body.changes()))


@router.on(
    "DELETE",
    "/{template_id}",
    permission="notifications.write",
    status=204,
    problem=(404,),
    response_model=None,
)
async def delete(template_id: UUID, tx: TxDep) -> None:
    """Take your own away: the shipped one holds again. A dunning step that finds none fails and says so."""
    await delete_template(tx, template_id)


async def _wording(tx: Tx, body: PreviewIn) -> Wording:
    if body.name is not None:
        return await get_wording(tx, body.channel, body.name, body.language)
    if body.body is None:
        raise invalid("name", "name a template, or send a body to try out")
    check_syntax("subject", body.subject)
    check_syntax("body", body.body)
    return Wording(body.subject, body.body)
