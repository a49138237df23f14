"""`demarc db …`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from demarc.adapters.postgres.cluster import PrivateCluster
from demarc.bootstrap import Connections
from demarc.kernel.errors import Misconfigured
from demarc.kernel.migrate import current_revision, head_revision, write_revision
from demarc.kernel.settings import load_settings

app = typer.Typer(no_args_is_help=True)


@app.command()
def revision(message: Annotated[str, typer.Argument(help="what the migration does")]) -> None:
    """Start a new migration from the difference between the declared tables and the database."""
    asyncio.run(_revision(message))


async def _revision(message: str) -> None:
    settings = load_settings()
    async with PrivateCluster.from_settings(settings).attached():
        typer.echo(await write_revision(Connections(settings).owner, message))


@app.command()
def show() -> None:
    """The revision the database is at, and the newest one."""
    asyncio.run(_show())


async def _show() -> None:
    settings = load_settings()
    at = await current_revision(Connections(settings).owner)
    typer.echo(f"database: {at or 'empty'}, newest: {head_revision()}")


@app.command()
def upgrade(
    old_binaries: Annotated[
        Path | None,
        typer.Option(help="bin directory of the PostgreSQL that made the database; default: looked for"),
    ] = None,
) -> None:
    """Move the private cluster to the PostgreSQL that this Demarc brings; the old data is kept beside it."""
    asyncio.run(_upgrade(old_binaries))


async def _upgrade(old_binaries: Path | None) -> None:
    settings = load_settings()
    if settings.database_url is not None:
        raise Misconfigured("DATABASE_URL names somebody else's server: upgrade it with its own tools.")
    kept = await PrivateCluster.from_settings(settings).upgrade(old_binaries)
    if kept is None:
        typer.echo("The database is at this Demarc's PostgreSQL already.")
    else:
        typer.echo(
            f"Done. The old data is in {kept}; delete it when you are sure. `demarc up` starts the new one."
        )
