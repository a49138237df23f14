"""The sandbox's mail trap: a real SMTP server that keeps every message in a maildir and sends none on."""

from __future__ import annotations

import asyncio
import errno
import mailbox
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_binary_file, policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from demarc.kernel.errors import Misconfigured
from demarc.kernel.logs import logger

_LOG = logger(__name__)
SIZE_MAX = 5_000_000
LISTED_MAX = 1000
_GREETING = "demarc.trap"


@dataclass(frozen=True, slots=True)
class TrappedMail:
    """One message as it arrived. `sent_at` is its own Date header, or the file's time."""

    message_id: str
    sender: str
    recipient: str
    subject: str
    sent_at: datetime
    body: str


class _Keeper:
    """Writes each accepted message to the maildir before the server says 250."""

    def __init__(self, maildir: Path) -> None:
        self._maildir = maildir

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        content = envelope.original_content or b""
        try:
            await asyncio.to_thread(_keep, self._maildir, content)
        except OSError as error:
            _LOG.error("the mail trap cannot write", maildir=str(self._maildir), reason=error.strerror)
            return "452 4.3.1 no space to keep the message, try again later"
        return "250 2.0.0 kept in the trap, sent nowhere"


def _keep(maildir: Path, content: bytes) -> None:
    box = mailbox.Maildir(maildir, create=False)
    try:
        box.add(content)
    finally:
        box.close()


async def start_mail_trap(host: str, port: int, maildir: Path) -> asyncio.Server:
    """Listen; the caller closes the server.

    Raises:
        Misconfigured: the port is taken or not allowed, or the directory cannot be made.
    """
    try:
        for folder in ("tmp", "new", "cur"):
            (maildir / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"the mail trap cannot keep mail in {maildir}: {error.strerror}") from error
    keeper, loop = _Keeper(maildir), asyncio.get_running_loop()

    def connection() -> SMTP:
        return SMTP(keeper, hostname=_GREETING, ident="Demarc mail trap", data_size_limit=SIZE_MAX, loop=loop)

    try:
        return await loop.create_server(connection, host, port)
    except OSError as error:
        raise Misconfigured(_cannot_listen(host, port, error)) from error


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken, the mail trap cannot listen; set DEMARC_MAIL_TRAP_PORT to a free one"
    return f"the mail trap cannot listen on {host}:{port} ({error.strerror}); set DEMARC_MAIL_TRAP_PORT"


async def run_mail_trap(host: str, port: int, maildir: Path, stop: asyncio.Event) -> None:
    """Keep mail until `stop` is set.

    Raises:
        Misconfigured: as `start_mail_trap`.
    """
    server = await start_mail_trap(host, port, maildir)
    async with server:
        _LOG.info("mail trap is ready", host=host, port=port, maildir=str(maildir))
        await stop.wait()


def list_messages(maildir: Path, *, limit: int = LISTED_MAX) -> list[TrappedMail]:
    """The newest messages, newest first; none when there is no maildir yet. Reads files: call it off the event loop."""
    files = [file for folder in ("new", "cur") for file in (maildir / folder).glob("*")]
    files.sort(key=lambda file: file.stat().st_mtime_ns, reverse=True)
    return [_read(file) for file in files[:limit]]


def _read(file: Path) -> TrappedMail:
    with file.open("rb") as opened:
        mail = message_from_binary_file(opened, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    body = mail.get_body(("plain",))
    return TrappedMail(
        message_id=_header(mail, "Message-ID"),
        sender=_header(mail, "From"),
        recipient=_header(mail, "To"),
        subject=_header(mail, "Subject"),
        sent_at=_sent_at(mail, file),
        body=str(body.get_content()) if body is not None else "",
    )


def _header(mail: EmailMessage, name: str) -> str:
    return str(mail.get(name, "")).strip()


def _sent_at(mail: EmailMessage, file: Path) -> datetime:
    try:
        return parsedate_to_datetime(_header(mail, "Date")).astimezone(UTC)
    except ValueError:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)
