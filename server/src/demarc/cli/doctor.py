"""`demarc doctor`: what is wrong here, and what to do about it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

import aiosmtplib
import asyncpg
from rich.table import Column, Table

from demarc.adapters.freeradius.checks import Check, NasPosture, check_radius
from demarc.adapters.freeradius.raddb import find_binary
from demarc.adapters.postgres.cluster import PrivateCluster
from demarc.adapters.postgres.external import check_server
from demarc.bootstrap import Connections, mail_server, radius_config
from demarc.cli.run_state import read_processes
from demarc.kernel.crypto import load_master_key
from demarc.kernel.db import DATABASE_AWAY
from demarc.kernel.errors import DemarcError, Misconfigured
from demarc.kernel.migrate import check_master_key, current_revision, head_revision
from demarc.kernel.rls import ROLES
from demarc.kernel.settings import Settings

_SPARE_BYTES = 1 << 30
_SMTP_SECONDS = 5.0


async def examine(settings: Settings) -> list[Check]:
    """Every finding, in the order in which things have to be right."""
    return [finding async for finding in _findings(settings)]


async def _findings(settings: Settings) -> AsyncIterator[Check]:
    yield _disk(settings)
    yield _key(settings)
    reachable = False
    async for finding in _database(settings):
        reachable = finding.ok
        yield finding
    if settings.radius_enabled:
        for finding in await _radius(settings, database_answers=reachable):
            yield finding
    yield await _mail(settings)


def _disk(settings: Settings) -> Check:
    place = next(
        path
        for path in (settings.data_dir.absolute(), *settings.data_dir.absolute().parents)
        if path.exists()
    )
    free = shutil.disk_usage(place).free
    return Check(
        "free disk space",
        free >= _SPARE_BYTES,
        f"{free / (1 << 30):.1f} GiB at {place}; spool and database need at least 1 GiB",
    )


def _key(settings: Settings) -> Check:
    try:
        load_master_key(settings.key_file)
    except Misconfigured as error:
        made_later = settings.database_url is None and not settings.key_file.exists()
        return Check("master key", made_later, "made at the first start" if made_later else error.message)
    mode = settings.key_file.stat().st_mode & 0o077
    return Check(
        "master key", not mode, f"{settings.key_file}" if not mode else f"run: chmod 600 {settings.key_file}"
    )


async def _database(settings: Settings) -> AsyncIterator[Check]:
    url = settings.database_url
    if url is not None:
        try:
            facts = await check_server(url.get_secret_value(), ROLES)
        except DemarcError as error:
            yield Check("DATABASE_URL", False, error.message)
            return
        yield Check("DATABASE_URL", True, f"PostgreSQL {facts.version}, owner {facts.role}")
    elif not PrivateCluster.from_settings(settings).running_elsewhere:
        yield Check("private PostgreSQL", False, "not running; start the platform: make run, or demarc up")
        return
    try:
        yield await _revision(settings)
        await check_master_key(Connections(settings).owner, load_master_key(settings.key_file))
    except (DemarcError, asyncpg.PostgresError, *DATABASE_AWAY) as error:
        yield Check("database", False, str(error))


async def _revision(settings: Settings) -> Check:
    at, head = await current_revision(Connections(settings).owner), head_revision()
    return Check(
        "migrations",
        at == head,
        f"at {at}" if at == head else f"at {at}, newest is {head}: run `demarc migrate`",
    )


async def _radius(settings: Settings, *, database_answers: bool) -> list[Check]:
    try:
        find_binary(settings.radius_binary)
    except Misconfigured as error:
        return [Check("FreeRADIUS", False, error.message)]
    postures = await _postures(settings) if database_answers else []
    running = read_processes(settings.run_dir).get("radius")
    return check_radius(
        radius_config(settings), postures, running=running is not None and running.pid is not None
    )


async def _postures(settings: Settings) -> list[NasPosture]:
    connection = await asyncpg.connect(Connections(settings).owner)
    try:
        rows = await connection.fetch(
            "SELECT shortname AS name, message_authenticator AS mode, message_authenticator_seen AS signing_seen FROM aaa_nas ORDER BY tenant_id, nas_id"
        )
    finally:
        await connection.close()
    return [NasPosture(**row) for row in rows]


async def _mail(settings: Settings) -> Check:
    if settings.smtp_url is None:
        if settings.sandbox or "mail-trap" in read_processes(settings.run_dir):
            return Check("mail", True, f"the sandbox's mail trap on port {settings.mail_trap_port}")
        return Check("mail", False, "set DEMARC_SMTP_URL: without it no e-mail leaves")
    try:
        server = mail_server(settings)
    except Misconfigured as error:
        return Check("mail", False, error.message)
    place = f"{server.host}:{server.port}"
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        use_tls=server.use_tls,
        start_tls=server.starttls,
        timeout=_SMTP_SECONDS,
    )
    try:
        async with client:
            await client.noop()
    except (aiosmtplib.SMTPException, OSError) as error:
        return Check(
            "mail",
            False,
            f"{place} does not answer ({type(error).__name__}): check DEMARC_SMTP_URL and the firewall",
        )
    return Check("mail", True, f"{place} answers")


def explain_settings(settings: Settings) -> Table:
    """Every setting: variable, meaning, present value; secrets are not shown."""
    table = Table(Column("variable", no_wrap=True), "meaning", Column("now", overflow="fold"))
    for name, field in type(settings).model_fields.items():
        alias = field.validation_alias
        variable = alias if isinstance(alias, str) else f"DEMARC_{name.upper()}"
        table.add_row(variable, field.description or "", str(getattr(settings, name)))
    return table
