"""`demarc up`: the whole platform on one machine, in the foreground."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from pathlib import Path

from demarc.adapters.freeradius.engine import RadiusEngine
from demarc.adapters.postgres.cluster import PrivateCluster
from demarc.adapters.postgres.external import check_server
from demarc.adapters.processes.listening import Listening
from demarc.bootstrap import Connections, mail_server, radius_config
from demarc.cli.children import OutputSink, ProcessChild, console_output, http_ready
from demarc.cli.sandbox import seed
from demarc.cli.supervise import Supervisor
from demarc.kernel.crypto import load_master_key
from demarc.kernel.errors import Misconfigured
from demarc.kernel.migrate import check_master_key, migrate
from demarc.kernel.rls import ROLES
from demarc.kernel.settings import LogFormat, Settings

_BACKLOG = 1024


async def up(settings: Settings) -> None:
    """Run until SIGTERM or Ctrl-C.

    Raises:
        Misconfigured: a port is taken, a key is wrong, a directory cannot be used; the message says what to do.
    """
    # A value that cannot be read is told here, not by a worker that starts again and again.
    mail_server(settings)
    listener = _listen(settings)
    say = console_output(prefixed=settings.log_format is LogFormat.CONSOLE)
    supervisor = Supervisor(settings.run_dir, say)
    command = [sys.executable, "-m", "demarc.cli.main"]
    env = _environment(settings)

    database = _add_database(supervisor, settings)

    async def prepare() -> None:
        _clear_metrics(settings)
        await prepare_database(settings)
        if settings.sandbox:
            await seed(settings)

    supervisor.add_step("prepare", prepare, depends_on=database)
    supervisor.add(
        "worker", ProcessChild("worker", [*command, "worker"], sink=say, env=env), depends_on=["prepare"]
    )
    if settings.sandbox and settings.smtp_url is None:
        supervisor.add(
            "mail-trap",
            ProcessChild("mail-trap", [*command, "mail-trap"], sink=say, env=env),
            depends_on=["prepare"],
        )
    if settings.radius_enabled:
        supervisor.add(
            "ingester",
            ProcessChild("ingester", [*command, "ingest"], sink=say, env=env),
            depends_on=["prepare"],
        )
        supervisor.add("radius", LazyRadius(settings), depends_on=["prepare"], essential=False)
    for number in range(1, settings.http_workers + 1):
        name = "api" if settings.http_workers == 1 else f"api-{number}"
        api = ProcessChild(
            name,
            [*command, "serve", "--fd", str(listener.fileno())],
            sink=say,
            env=env,
            ready=http_ready(f"{_address(settings)}/livez"),
            pass_fds=[listener.fileno()],
        )
        supervisor.add(name, api, depends_on=["prepare"])
    say(
        "demarc",
        f"starting on {settings.data_dir.absolute()}; ready when {_address(settings)}/readyz answers 200",
    )
    announcing = asyncio.create_task(_announce(supervisor, settings, say))
    try:
        await supervisor.run()
    finally:
        announcing.cancel()


async def _announce(supervisor: Supervisor, settings: Settings, say: OutputSink) -> None:
    """Once everything has come up: where it is and how to try it."""
    await supervisor.all_ready()
    say(
        "demarc",
        f"ready: {_address(settings)}/ says what runs here, {_address(settings)}/docs describes the API",
    )
    if settings.sandbox:
        say("demarc", "try it: in another shell, with the same DEMARC_ variables, run .venv/bin/demarc tour")


async def prepare_database(settings: Settings) -> None:
    """Master key, migrations, roles: everything a process needs before it starts. Harmless to repeat."""
    first_start = settings.database_url is None and not settings.key_file.exists()
    key = load_master_key(settings.key_file, create=first_start or settings.sandbox)
    connections = Connections(settings)
    await migrate(connections.owner, connections.passwords())
    await check_master_key(connections.owner, key)
    settings.spool_dir.mkdir(parents=True, exist_ok=True)


class LazyRadius:
    """FreeRADIUS as a child; its configuration needs passwords that exist only once the database is prepared."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine: RadiusEngine | None = None

    @property
    def pid(self) -> int | None:
        return self._engine.pid if self._engine is not None else None

    async def start(self) -> None:
        if self._engine is None:
            self._engine = RadiusEngine(radius_config(self._settings))
        await self._engine.start()

    async def probe(self) -> bool:
        return self._engine is not None and await self._engine.probe()

    async def stop(self) -> None:
        if self._engine is not None:
            await self._engine.stop()

    async def wait(self) -> int:
        return await self._engine.wait() if self._engine is not None else 0


def _add_database(supervisor: Supervisor, settings: Settings) -> list[str]:
    url = settings.database_url
    if url is None:
        supervisor.add("postgres", PrivateCluster.from_settings(settings))
        return ["postgres"]

    async def check() -> None:
        await check_server(url.get_secret_value(), ROLES)

    supervisor.add_step("database", check)
    return ["database"]


def _listen(settings: Settings) -> socket.socket:
    """The API's socket belongs to the supervisor: it outlives a restart of the API."""
    family = socket.AF_INET6 if settings.http_host.version == 6 else socket.AF_INET  # noqa: PLR2004 - the IP version
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((str(settings.http_host), settings.http_port))
    except OSError as error:
        listener.close()
        place = Listening(
            "TCP", str(settings.http_host), settings.http_port, "DEMARC_HTTP_HOST", "DEMARC_HTTP_PORT"
        )
        raise Misconfigured(place.advice(error), code="PORT_TAKEN") from None
    listener.listen(_BACKLOG)
    listener.set_inheritable(True)
    return listener


def _environment(settings: Settings) -> dict[str, str]:
    return os.environ | {
        "DEMARC_DATA_DIR": str(settings.data_dir.absolute()),
        "DEMARC_SANDBOX": str(settings.sandbox).lower(),
        "PROMETHEUS_MULTIPROC_DIR": str(_metrics_dir(settings)),
        "PYTHONUNBUFFERED": "1",
    }


def _metrics_dir(settings: Settings) -> Path:
    """Where the processes keep their counters, so that /metrics of the API shows those of all."""
    return settings.run_dir / "metrics"


def _clear_metrics(settings: Settings) -> None:
    shutil.rmtree(_metrics_dir(settings), ignore_errors=True)
    _metrics_dir(settings).mkdir(parents=True)


def _address(settings: Settings) -> str:
    host = f"[{settings.http_host}]" if settings.http_host.version == 6 else str(settings.http_host)  # noqa: PLR2004
    return f"http://{host}:{settings.http_port}"
