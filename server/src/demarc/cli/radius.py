"""`demarc radius …`: simulated subscribers against the running platform."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress as Bar
from rich.table import Table

from demarc.adapters.freeradius.engine import RadiusEngine
from demarc.adapters.nas_simulator.nas import SimulatedNas
from demarc.adapters.nas_simulator.simulation import (
    Credentials,
    NasAddress,
    Progress,
    SimulationPlan,
    run_simulation,
)
from demarc.bootstrap import radius_config
from demarc.kernel.clock import as_utc
from demarc.kernel.errors import Unavailable
from demarc.kernel.logs import configure_logging
from demarc.kernel.settings import load_settings

app = typer.Typer(no_args_is_help=True)
console = Console()

NasIp = Annotated[str, typer.Option("--nas", help="source address of the simulated NAS (any 127.x)")]
Secret = Annotated[
    str, typer.Option(envvar="DEMARC_NAS_SECRET", help="its shared secret", show_default=False)
]
Password = Annotated[str, typer.Option(envvar="DEMARC_SUBSCRIBER_PASSWORD", prompt=True, hide_input=True)]


@app.command()
def dial(
    username: str,
    password: Password,
    nas: NasIp = "127.0.0.1",
    secret: Secret = "testing123",  # noqa: S107 - the sandbox's
    method: Annotated[str, typer.Option(help="pap, chap or mschapv2")] = "pap",
    stay: Annotated[
        bool, typer.Option("--stay", help="stay on line, send Interims, obey CoA, until Ctrl-C")
    ] = False,
    interim: Annotated[float, typer.Option(help="seconds between Interims", min=1)] = 60,
) -> None:
    """Log one subscriber in; with --stay he uses the line until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_dial(username, password, nas, secret, method, interim if stay else None))


async def _dial(
    username: str, password: str, source_ip: str, secret: str, method: str, interim: float | None
) -> None:
    settings = load_settings()
    async with SimulatedNas(
        source_ip,
        secret.encode(),
        radius_host=str(settings.radius_host),
        auth_port=settings.radius_auth_port,
        acct_port=settings.radius_acct_port,
        clock=lambda: datetime.now(UTC),
    ) as nas:
        answer = await nas.dial(username, password, method=method)
        _show_answer(answer.accepted, answer.attributes)
        session = answer.session
        while session is not None and interim is not None and session.active:
            await asyncio.sleep(interim)
            session.carry(input_octets=1 << 20, output_octets=10 << 20)
            session.interim()
            console.print(
                f"{session.session_id}: {session.output_octets >> 20} MiB down, {session.download_bps} bit/s"
            )
        if session is not None and session.active:
            session.stop()
        await nas.drain()
        for order in nas.orders_obeyed:
            console.print(f"the platform ordered: {order}")


def _show_answer(accepted: bool, attributes: Mapping[str, object]) -> None:
    console.print("[green]Access-Accept[/]" if accepted else "[red]Access-Reject[/]")
    for name, value in attributes.items():
        console.print(f"    {name} = {value}")


@app.command()
def simulate(
    users: Annotated[
        Path,
        typer.Option(
            help="file of user names and passwords, one pair a line, parted by a blank", exists=True
        ),
    ],
    nas: NasIp = "127.0.0.11",
    secret: Secret = "testing123",  # noqa: S107 - the sandbox's
    days: Annotated[float, typer.Option(help="days of business time to play", min=0.01)] = 1.0,
    interim_minutes: Annotated[int, typer.Option(help="business minutes between Interims", min=2)] = 60,
    begins: Annotated[
        datetime | None, typer.Option(help="business time of the first packet; default: now")
    ] = None,
    time_zone: Annotated[str, typer.Option(help="months of the report are counted here")] = "UTC",
    seed: Annotated[int, typer.Option(help="the same seed gives the same story")] = 1,
) -> None:
    """Play many subscribers over days of business time, faults included, and print what they used."""
    settings = load_settings()
    start = as_utc(begins) if begins else datetime.now(UTC)
    pairs = [line.split(maxsplit=1) for line in users.read_text().splitlines() if line.strip()]
    plan = SimulationPlan(
        nas=(NasAddress(nas, secret.encode()),),
        subscribers=tuple(Credentials(name, password.strip()) for name, password in pairs),
        begins_at=start,
        ends_at=start + timedelta(days=days),
        time_zone=time_zone,
        interim=timedelta(minutes=interim_minutes),
        seed=seed,
        radius_host=str(settings.radius_host),
        auth_port=settings.radius_auth_port,
        acct_port=settings.radius_acct_port,
    )
    with Bar(console=console) as bar:
        task = bar.add_task("simulating", total=1.0)

        def show(progress: Progress) -> None:
            moment = f"{progress.moment:%Y-%m-%d %H:%M}, {progress.on_line} on line"
            bar.update(task, completed=progress.done, description=moment)

        report = asyncio.run(run_simulation(plan, show))
    table = Table("subscriber", "month", "octets up", "octets down")
    for (username, month), (up, down) in sorted(report.octets.items()):
        table.add_row(username, month, f"{up:,}", f"{down:,}")
    console.print(table)
    console.print(
        f"{report.packets} packets, {report.log_ins} log-ins, {report.refused} refused, {report.reboots} reboots"
    )


@app.command()
def serve() -> None:
    """Run FreeRADIUS alone in the foreground, for a node that has no API; SIGTERM ends it."""
    settings = load_settings()
    configure_logging(settings.log_format, settings.log_level)
    asyncio.run(_serve(RadiusEngine(radius_config(settings))))


async def _serve(engine: RadiusEngine) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await engine.start()
    ended, stopping = asyncio.create_task(engine.wait()), asyncio.create_task(stop.wait())
    await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await engine.stop()
    if not stop.is_set():
        raise Unavailable(f"FreeRADIUS ended by itself with {await ended}")
