"""What the tests of mail and dunning share: a desk that runs queued jobs, and real SMTP servers that take, refuse or break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from aiosmtpd.smtp import SMTP

from demarc.adapters.mail.smtp import SmtpMailer, SmtpServer
from demarc.adapters.mail.trap import list_messages, start_mail_trap
from demarc.adapters.sms.console import ConsoleSmsSender
from demarc.kernel.context import system
from demarc.kernel.db import Database
from demarc.kernel.errors import Unavailable
from demarc.kernel.jobs import REGISTRY, Envelope, work_of
from demarc.modules.customers.inputs import NewCustomer
from demarc.modules.customers.service import create_customer
from demarc.modules.notifications.ports import Mailer, SmsSender
from demarc.modules.notifications.service import queue_notification
from demarc.modules.notifications.states import Channel

from ..ports import free_port  # noqa: TID252 - the suite's own

_READY = """
    UPDATE pgqueuer SET status = 'picked' WHERE id IN (
        SELECT id FROM pgqueuer WHERE status = 'queued' AND execute_after <= now() ORDER BY id LIMIT 1
        FOR UPDATE SKIP LOCKED)
    RETURNING id, entrypoint, payload, attempts
"""
_AGAIN = (
    "UPDATE pgqueuer SET status = 'queued', attempts = attempts + 1, execute_after = now() + $2 WHERE id = $1"
)


@dataclass
class Desk:
    """Runs what the transactions of a test have queued, as the worker would, one after the other."""

    database: Database
    ports: dict[type, object] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)

    async def clear(self) -> int:
        """Run every job that is due until none is left; a job that finds the outside away waits for its retry."""
        done = 0
        while (queued := await self.database.pool.fetchrow(_READY)) is not None:
            await self._run(queued)
            done += 1
        return done

    async def hurry(self) -> None:
        """Time passes: every retry is due."""
        await self.database.pool.execute("UPDATE pgqueuer SET execute_after = now()")

    async def waiting(self) -> list[str]:
        """Kinds of the jobs that wait for a retry."""
        return [
            row[0] for row in await self.database.pool.fetch("SELECT entrypoint FROM pgqueuer ORDER BY id")
        ]

    async def _run(self, queued: Any) -> None:
        kind = REGISTRY[queued["entrypoint"]]
        envelope = msgspec.json.decode(queued["payload"], type=Envelope)
        work = work_of(self.database, kind, envelope, queued["attempts"], self.ports)
        self.ran.append(kind.name)
        try:
            await kind.run(work, bytes(envelope.body))
        except Unavailable:
            assert not work.is_last_attempt, f"{kind.name} gave up by an error instead of an outcome"
            await self.database.pool.execute(_AGAIN, queued["id"], kind.delay_before(queued["attempts"]))
        else:
            await self.database.pool.execute("DELETE FROM pgqueuer WHERE id = $1", queued["id"])


ALPHA, BETA = 1, 2
CONTEXT = {
    "customer_name": "Ann",
    "company_name": "Alpha Fibre",
    "invoice_number": "INV-2025-000001",
    "due_on": "2025-10-15",
    "days_overdue": 8,
    "amount_due": "100.00 USD",
}
DATA_USAGE = {
    "service_name": "Fiber",
    "percent": 80,
    "allowance_gb": "100",
    "used_gb": "80.1",
    "renews_on": "2025-11-01",
    "action": "throttle",
    "download_mbps": "2",
    "upload_mbps": "1",
}
"""What the wording about a data cap may name."""


async def customer_of(tx, email="ann@example.com"):
    return await create_customer(tx, NewCustomer(name="Ann", email=email, phone="+15550100"))


async def queue(
    tx, customer, about="test:1", channel=Channel.EMAIL, template="payment_reminder_1", **changes
):
    return await queue_notification(
        tx,
        customer_id=customer.id,
        channel=channel,
        template=template,
        recipient=changes.pop("recipient", customer.email),
        about=about,
        context=CONTEXT | changes.pop("context", {}),
        **changes,
    )


async def queued(database, **options):
    async with database.begin(ALPHA, system("test")) as tx:
        return await queue(tx, await customer_of(tx), **options)


def mailer_at(port):
    return SmtpMailer(SmtpServer("127.0.0.1", port), "billing@isp.example")


@dataclass
class Trap:
    """A mail trap that runs, or does not."""

    maildir: Path
    port: int = field(default_factory=free_port)
    server: asyncio.Server | None = None

    @property
    def mailer(self) -> SmtpMailer:
        return SmtpMailer(SmtpServer("127.0.0.1", self.port), "billing@isp.example")

    async def open(self) -> None:
        self.server = await start_mail_trap("127.0.0.1", self.port, self.maildir)

    async def close(self) -> None:
        if self.server is not None:
            self.server.close()
            await self.server.wait_closed()
            self.server = None

    def mails(self) -> list[Any]:
        return list_messages(self.maildir)


def ports_to(mailer: SmtpMailer) -> dict[type, object]:
    return {Mailer: mailer, SmsSender: ConsoleSmsSender()}


class Doorman:
    """An SMTP handler that answers RCPT as it is told, and keeps what it takes."""

    def __init__(self, replies: dict[str, str]) -> None:
        self.replies = replies
        self.taken: list[bytes] = []

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802
        reply = self.replies.get(address, "250 OK")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802
        self.taken.append(envelope.original_content or b"")
        return "250 OK"


@asynccontextmanager
async def smtp_server(handler: Any, **options: Any) -> AsyncIterator[int]:
    """A real SMTP server on a port of its own."""
    ssl_context = options.pop("implicit_tls", None)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(handler, **options), "127.0.0.1", 0, ssl=ssl_context
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
