"""The only place that joins adapters to ports and surfaces to the domain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from sqlalchemy.engine import make_url

from demarc.adapters.coa import open_client
from demarc.adapters.freeradius.raddb import DatabaseLogin, RadiusConfig, unprivileged_user
from demarc.adapters.mail.smtp import SmtpMailer, SmtpServer
from demarc.adapters.postgres.cluster import PrivateCluster
from demarc.adapters.postgres.role_secrets import RoleSecrets
from demarc.adapters.sms.console import ConsoleSmsSender
from demarc.adapters.webhooks.poster import HttpWebhookPoster
from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Database
from demarc.kernel.rls import AAA_ROLE, APP_ROLE, INGEST_ROLE, LOGIN_ROLES
from demarc.kernel.settings import Settings
from demarc.modules.access.ports import CoaSender
from demarc.modules.dunning.ports import WebhookPoster
from demarc.modules.identity.service import Tokens
from demarc.modules.notifications.ports import Mailer, SmsSender
from demarc.web.platform import Platform, ProcessReader, SandboxLogin, unsupervised

if TYPE_CHECKING:
    from fastapi import FastAPI

_REGISTERING = (
    "demarc.modules.access.handlers",
    "demarc.modules.access.jobs",
    "demarc.modules.dunning.handlers",
    "demarc.modules.dunning.jobs",
    "demarc.modules.notifications.handlers",
    "demarc.modules.notifications.jobs",
    "demarc.modules.usage.handlers",
    "demarc.workflows.data_caps",
    "demarc.modules.services.jobs",
    "demarc.workflows.changed_months",
    "demarc.workflows.monthly_billing",
    "demarc.workflows.provisioning",
    "demarc.workflows.sandbox_clock",
    "demarc.workflows.tenant_settings",
)


def register_everything() -> None:
    """Import what registers itself: event handlers, projections and jobs. Every process that emits or works calls it."""
    for module in _REGISTERING:
        import_module(module)


def build_app(
    settings: Settings,
    database: Database,
    master_key: MasterKey,
    *,
    processes: ProcessReader = unsupervised,
    sandbox_logins: tuple[SandboxLogin, ...] = (),
) -> FastAPI:
    """The HTTP application on an open database.

    Args:
        settings: of the process.
        database: as the app role.
        master_key: signs access tokens, opens tenants' data keys.
        processes: what runs beside this process; commands know it, since the supervisor is above this room.
        sandbox_logins: shown on the start page; empty unless this is a sandbox.
    """
    from demarc.web.app import create_app  # noqa: PLC0415 - half of a command's start; only the API needs it

    tokens = Tokens(master_key.derive("access-token"))
    return create_app(Platform(settings, database, master_key, tokens, processes, sandbox_logins))


@asynccontextmanager
async def open_ports(settings: Settings, master_key: MasterKey) -> AsyncIterator[dict[type, object]]:
    """What jobs reach the outside through; sockets are closed at the end."""
    async with open_client() as coa:
        yield {
            MasterKey: master_key,
            CoaSender: coa,
            Mailer: SmtpMailer(mail_server(settings), settings.mail_from),
            SmsSender: ConsoleSmsSender(),
            WebhookPoster: HttpWebhookPoster(),
        }


def mail_server(settings: Settings) -> SmtpServer:
    """The operator's, or the sandbox's trap on this machine.

    Raises:
        Misconfigured: DEMARC_SMTP_URL cannot be read.
    """
    if settings.smtp_url is not None:
        return SmtpServer.from_url(settings.smtp_url.get_secret_value())
    return SmtpServer("127.0.0.1", settings.mail_trap_port)


@dataclass(frozen=True, slots=True)
class Connections:
    """How each role reaches the database; every URL holds a password and is never logged."""

    settings: Settings

    @property
    def owner(self) -> str:
        """The role that owns the schema: for migrations only."""
        url = self.settings.database_url
        return url.get_secret_value() if url is not None else self._cluster.owner_dsn

    @property
    def app(self) -> str:
        """The role of API and worker, which row-level security binds."""
        return self._as(APP_ROLE)

    @property
    def ingest(self) -> str:
        """The role of the ingester."""
        return self._as(INGEST_ROLE)

    @property
    def aaa(self) -> DatabaseLogin:
        """FreeRADIUS's."""
        url = make_url(self._as(AAA_ROLE))
        host = url.host or str(url.query.get("host", "localhost"))
        port = url.port or int(str(url.query.get("port", 5432)))
        return DatabaseLogin(host, port, url.database or "", AAA_ROLE, url.password or "")

    def passwords(self) -> dict[str, str]:
        """Role -> password, made at the first call, for every role that logs in."""
        secrets = RoleSecrets(self.settings.data_dir)
        return {role: secrets.secret_for(role) for role in LOGIN_ROLES}

    def _as(self, role: str) -> str:
        url = self.settings.database_url
        if url is None:
            return self._cluster.dsn(role)
        parts = urlsplit(url.get_secret_value())
        password = quote(RoleSecrets(self.settings.data_dir).secret_for(role), safe="")
        place = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{role}:{password}@{place}"))

    @property
    def _cluster(self) -> PrivateCluster:
        return PrivateCluster.from_settings(self.settings)


def radius_config(settings: Settings) -> RadiusConfig:
    """What FreeRADIUS runs with on this node."""
    return RadiusConfig(
        directory=settings.data_dir.absolute() / "radius" / "raddb",
        spool_dir=settings.spool_dir,
        database=Connections(settings).aaa,
        host=settings.radius_host,
        auth_port=settings.radius_auth_port,
        acct_port=settings.radius_acct_port,
        binary=settings.radius_binary,
        run_as=unprivileged_user(settings.data_dir / "radius"),
    )
