"""The long-running commands: API, worker, ingester, mail trap. Each is one process that SIGTERM ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import uvicorn

from demarc.adapters.mail.trap import run_mail_trap
from demarc.bootstrap import Connections, build_app, open_ports, register_everything
from demarc.cli.run_state import supervised_processes
from demarc.cli.sandbox import sandbox_logins
from demarc.kernel.clock import real_now
from demarc.kernel.crypto import load_master_key
from demarc.kernel.db import DATABASE_AWAY, Database
from demarc.kernel.errors import Unavailable
from demarc.kernel.logs import configure_logging, logger
from demarc.kernel.settings import Settings
from demarc.modules.access.accounting import close_stale_sessions
from demarc.modules.usage.metering import raise_usage
from demarc.worker.runner import build_queue, run_queue
from demarc.worker.schedules import install_schedules
from demarc.workflows.access_enforcement import PromptEnforcer
from demarc.workflows.metering.ingester import Ingester

_LOG = logger(__name__)
_API_POOL = 10
_INGEST_POOL = 2
_WORKER_POOL = 20
STALE_SWEEP_SECONDS = 60.0


def run(main: Coroutine[Any, Any, None], settings: Settings) -> None:
    """Run one command's coroutine with logging set up."""
    configure_logging(settings.log_format, settings.log_level)
    uvloop_run(main)


def uvloop_run(main: Coroutine[Any, Any, None]) -> None:
    import uvloop  # noqa: PLC0415 - absent on platforms without it

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


@asynccontextmanager
async def _stop_on_signal() -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    yield stop


def _spare_the_collector() -> None:
    """What was made until now stays: the garbage collector need not look at it while a request makes thousands of rows."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def serve(settings: Settings, file_descriptor: int | None) -> None:
    """Answer HTTP until SIGTERM; open requests are finished first.

    Args:
        settings: of the process.
        file_descriptor: a listening socket handed over by the supervisor, so that a restart refuses nobody.
    """
    register_everything()
    database = await Database.connect(Connections(settings).app, max_size=_API_POOL)
    try:
        app = build_app(
            settings,
            database,
            load_master_key(settings.key_file),
            processes=lambda: supervised_processes(settings.run_dir),
            sandbox_logins=sandbox_logins() if settings.sandbox else (),
        )
        config = uvicorn.Config(
            app,
            host=str(settings.http_host),
            port=settings.http_port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=10,
            server_header=False,
        )
        sockets = [socket.socket(fileno=file_descriptor)] if file_descriptor is not None else None
        _spare_the_collector()
        await uvicorn.Server(config).serve(sockets=sockets)
    finally:
        await database.close()


async def work(settings: Settings) -> None:
    """Run jobs and schedules until SIGTERM; running jobs are finished first.

    Raises:
        Unavailable: the database went away; whoever supervises starts the worker again.
    """
    register_everything()
    key = load_master_key(settings.key_file)
    database = await Database.connect(Connections(settings).app, max_size=_WORKER_POOL)
    try:
        async with open_ports(settings, key) as ports, _stop_on_signal() as stop:
            queue = build_queue(database, ports)
            install_schedules(queue, database)
            running, stopping = asyncio.create_task(run_queue(queue)), asyncio.create_task(stop.wait())
            _LOG.info("worker is ready")
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            queue.shutdown.set()
            stopping.cancel()
            try:
                await running
            except DATABASE_AWAY as error:
                raise Unavailable(
                    f"the database went away ({type(error).__name__}); jobs wait in it and run once it is back"
                ) from error
    finally:
        await database.close()


async def ingest(settings: Settings) -> None:
    """Load this node's spool until SIGTERM, the block in hand is finished first; close sessions that fell silent."""
    settings.spool_dir.mkdir(parents=True, exist_ok=True)
    register_everything()
    connections = Connections(settings)
    database = await Database.connect(connections.app, max_size=_INGEST_POOL)
    enforcer = PromptEnforcer(database)
    ingester = Ingester(
        connections.ingest,
        node=settings.radius_node,
        spool_dir=settings.spool_dir,
        raise_usage=raise_usage,
        after_commit=enforcer.take,
    )
    try:
        async with _stop_on_signal() as stop, asyncio.TaskGroup() as tasks:
            _LOG.info("ingester is ready", node=settings.radius_node)
            tasks.create_task(_close_silent_sessions(connections.ingest, stop))
            tasks.create_task(enforcer.run(stop))
            tasks.create_task(ingester.run(stop))
    finally:
        await database.close()


async def _close_silent_sessions(dsn: str, stop: asyncio.Event) -> None:
    """Every minute; a database that is away is asked again the next time."""
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), STALE_SWEEP_SECONDS)
            return
        try:
            connection = await asyncpg.connect(dsn, timeout=5)
            try:
                async with connection.transaction():
                    closed = await close_stale_sessions(connection, now=real_now())
            finally:
                await connection.close()
        except DATABASE_AWAY as error:
            _LOG.warning("silent sessions wait: the database is away", reason=type(error).__name__)
            continue
        if closed:
            _LOG.info("silent sessions closed", sessions=closed)


async def trap_mail(settings: Settings) -> None:
    """The sandbox's SMTP server: keeps every message, sends none on."""
    async with _stop_on_signal() as stop:
        await run_mail_trap("127.0.0.1", settings.mail_trap_port, settings.data_dir.absolute() / "mail", stop)
