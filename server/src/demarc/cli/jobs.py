"""`demarc jobs …`: what failed for good is kept; here a person looks at it and runs it again."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from demarc.bootstrap import Connections
from demarc.kernel.db import Database
from demarc.kernel.jobs import Envelope
from demarc.kernel.settings import load_settings

app = typer.Typer(no_args_is_help=True)
_FAILED = "SELECT id, entrypoint, created, updated, attempts, payload FROM pgqueuer WHERE status = 'failed' ORDER BY id LIMIT $1"
_RETRY = """
    UPDATE pgqueuer SET status = 'queued', attempts = 0, execute_after = now(), updated = now()
    WHERE status = 'failed' AND id = ANY($1::bigint[]) RETURNING id
"""


@app.command("list")
def list_(limit: Annotated[int, typer.Option(help="at most so many", min=1, max=1000)] = 50) -> None:
    """Jobs that failed for good, oldest first."""
    asyncio.run(_list(limit))


async def _list(limit: int) -> None:
    database = await Database.connect(Connections(load_settings()).app)
    try:
        rows = await database.pool.fetch(_FAILED, limit)
    finally:
        await database.close()
    table = Table("id", "job", "tenant", "attempts", "since")
    for row in rows:
        envelope = msgspec.json.decode(row["payload"], type=Envelope)
        table.add_row(
            str(row["id"]),
            row["entrypoint"],
            str(envelope.tenant_id),
            str(row["attempts"]),
            str(row["created"]),
        )
    Console().print(table)


@app.command()
def retry(ids: Annotated[list[int], typer.Argument(help="ids from `demarc jobs list`")]) -> None:
    """Queue failed jobs again."""
    asyncio.run(_retry(ids))


async def _retry(ids: list[int]) -> None:
    database = await Database.connect(Connections(load_settings()).app)
    try:
        rows = await database.pool.fetch(_RETRY, ids)
    finally:
        await database.close()
    typer.echo(f"{len(rows)} of {len(ids)} queued again")
