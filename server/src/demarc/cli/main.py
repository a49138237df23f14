"""`demarc …`: every command, with its help. Errors that Demarc raises on purpose end as one line, without a traceback."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from demarc.cli import accounting as accounting_commands
from demarc.cli import audit as audit_commands
from demarc.cli import db as db_commands
from demarc.cli import jobs as job_commands
from demarc.cli import processes, sandbox, tenants
from demarc.cli import radius as radius_commands
from demarc.cli.doctor import examine, explain_settings
from demarc.cli.run_state import read_processes
from demarc.cli.tour import run_tour
from demarc.cli.up import prepare_database, up
from demarc.kernel.errors import DemarcError
from demarc.kernel.logs import configure_logging
from demarc.kernel.settings import load_settings

app = typer.Typer(
    help="Demarc runs an internet service provider.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.add_typer(
    tenants.app, name="tenant", help="The operators on this installation: open one, change its settings."
)
app.add_typer(sandbox.app, name="sandbox", help="The sandbox tenants: fill them, move their clock.")
app.add_typer(radius_commands.app, name="radius", help="A simulated NAS: dial in, use data, obey CoA.")
app.add_typer(db_commands.app, name="db", help="The database: migrations and upgrades.")
app.add_typer(
    accounting_commands.app,
    name="accounting",
    help="Packets that could not be booked: look at them, book them.",
)
app.add_typer(audit_commands.app, name="audit", help="The log of writes: check that nobody changed it.")
app.add_typer(job_commands.app, name="jobs", help="Jobs that failed for good: look at them, run them again.")

console = Console()


def _run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main)


@app.command("up")
def up_command(
    with_sandbox: Annotated[
        bool, typer.Option("--sandbox/--no-sandbox", help="fill and serve demo-alpha and demo-beta")
    ] = False,
) -> None:
    """Run the whole platform in the foreground; Ctrl-C stops it."""
    settings = load_settings()
    settings = settings.model_copy(update={"sandbox": settings.sandbox or with_sandbox})
    configure_logging(settings.log_format, settings.log_level)
    _run(up(settings))


@app.command()
def serve(
    fd: Annotated[int | None, typer.Option(help="listening socket handed over by a supervisor")] = None,
) -> None:
    """Answer HTTP."""
    settings = load_settings()
    processes.run(processes.serve(settings, fd), settings)


@app.command()
def worker() -> None:
    """Run jobs and schedules."""
    settings = load_settings()
    processes.run(processes.work(settings), settings)


@app.command()
def ingest() -> None:
    """Load this node's accounting spool into sessions and usage."""
    settings = load_settings()
    processes.run(processes.ingest(settings), settings)


@app.command("mail-trap")
def mail_trap() -> None:
    """Run the sandbox's SMTP server: it keeps every message and sends none on."""
    settings = load_settings()
    processes.run(processes.trap_mail(settings), settings)


@app.command()
def migrate() -> None:
    """Bring the database to the newest revision (with DATABASE_URL; `demarc up` does it by itself)."""
    settings = load_settings()
    _run(prepare_database(settings))
    console.print("The database is at the newest revision.")


@app.command()
def status() -> None:
    """What runs here, and since when."""
    settings = load_settings()
    started = Column("started (UTC)", no_wrap=True)
    table = Table("process", "pid", "state", "restarts", started, "last reason")
    for name, record in read_processes(settings.run_dir).items():
        table.add_row(
            name,
            str(record.pid or ""),
            record.state,
            str(record.restarts),
            (record.started_at or "")[: len("2026-11-22T14:36:17")],
            (record.reason or "").rpartition(" / ")[2],
        )
    console.print(table)


@app.command()
def doctor(
    explain: Annotated[
        bool, typer.Option("--explain", help="list every setting with its meaning and present value")
    ] = False,
) -> None:
    """Look at settings, keys, database, RADIUS and mail, and say what to do about what is wrong."""
    settings = load_settings()
    if explain:
        console.print(explain_settings(settings))
        return
    findings = _run(examine(settings))
    for finding in findings:
        word = "[green]ok  [/]" if finding.ok else "[yellow]hint[/]" if finding.hint else "[red]BAD [/]"
        console.print(f"{word} {finding.name}: {finding.advice}")
    raise typer.Exit(0 if all(finding.ok or finding.hint for finding in findings) else 1)


@app.command()
def tour(
    url: Annotated[
        str | None, typer.Option(help="address of the running platform; default: from the settings")
    ] = None,
) -> None:
    """Walk one customer's life against the running sandbox, with a real RADIUS exchange at each stage."""
    _run(run_tour(load_settings(), url))


def main() -> None:
    """Entry of the console script."""
    try:
        app()
    except DemarcError as error:
        sys.stderr.write(f"demarc: {error.message}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
