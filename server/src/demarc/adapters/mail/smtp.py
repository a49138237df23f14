"""Sends e-mail by SMTP (RFC 5321), one connection per message."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

import aiosmtplib

from demarc.kernel.clock import real_now
from demarc.kernel.errors import Misconfigured, Unavailable
from demarc.modules.notifications.errors import Refused
from demarc.modules.notifications.ports import MailMessage

TIMEOUT_SECONDS = 20.0
_PERMANENT = 500
_REPLY_LENGTH = 300
_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
_HOW = "smtp://host:port, smtp+starttls://user:password@host or smtps://user:password@host"


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mail goes first.

    `starttls` None takes TLS when the server offers it, True demands it. A password never travels in the clear, unless
    to this machine itself.
    """

    host: str
    port: int
    use_tls: bool = False
    starttls: bool | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def from_url(cls, url: str) -> SmtpServer:
        """`smtp://`, `smtp+starttls://` or `smtps://`, with user and password percent-encoded where needed.

        Raises:
            Misconfigured: names the variable, never the value.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if host is None or parts.scheme not in _PORTS:
            raise Misconfigured(f"DEMARC_SMTP_URL is not a URL of the form {_HOW}")
        demanded = parts.scheme == "smtp+starttls" or (
            parts.scheme == "smtp" and parts.password is not None and not _is_loopback(host)
        )
        return cls(
            host=host,
            port=port or _PORTS[parts.scheme],
            use_tls=parts.scheme == "smtps",
            starttls=True if demanded else None,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class SmtpMailer:
    """The port `Mailer` over SMTP.

    Args:
        server: where mail goes first.
        sender: address of tenants that have not set their own (`mail_from`).
        tls: trust of TLS; None: the system's certificate authorities.
    """

    server: SmtpServer
    sender: str
    tls: ssl.SSLContext | None = None

    async def send(self, message: MailMessage) -> None:
        """See `Mailer.send`."""
        mail = self._compose(message)
        server = self.server
        try:
            await aiosmtplib.send(
                mail,
                hostname=server.host,
                port=server.port,
                username=server.username,
                password=server.password,
                use_tls=server.use_tls,
                start_tls=False if server.use_tls else server.starttls,
                tls_context=self.tls,
                timeout=TIMEOUT_SECONDS,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _refusal(error.recipients[0].code, error.recipients[0].message) from None
        except aiosmtplib.SMTPAuthenticationError as error:
            raise Unavailable(
                f"the mail server refused our log-in ({error.code}); check user and password in DEMARC_SMTP_URL"
            ) from None
        except aiosmtplib.SMTPResponseException as error:
            raise _refusal(error.code, error.message) from None
        except aiosmtplib.SMTPNotSupported as error:
            raise self._unsupported(message, error) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise self._away(error) from None

    def _compose(self, message: MailMessage) -> EmailMessage:
        mail = EmailMessage()
        sender = message.sender or self.sender
        try:
            mail["From"] = Address(message.sender_name, addr_spec=sender)
            mail["To"] = Address(addr_spec=message.recipient)
        except (ValueError, IndexError):
            raise Refused(
                f"{message.recipient!r} or the sender {sender!r} is not an e-mail address"
            ) from None
        mail["Subject"] = message.subject
        mail["Date"] = format_datetime(real_now())
        mail["Message-ID"] = message.message_id
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.body)
        return mail

    def _away(self, error: Exception) -> Unavailable:
        place = f"{self.server.host}:{self.server.port}"
        return Unavailable(
            f"the mail server {place} does not answer ({type(error).__name__}); will be tried again"
        )

    def _unsupported(self, message: MailMessage, error: aiosmtplib.SMTPException) -> Refused | Unavailable:
        """No STARTTLS is the server's set-up and may change; an address outside ASCII stays what it is."""
        if not message.recipient.isascii():
            return Refused(f"the mail server cannot send to {message.recipient!r}: it lacks SMTPUTF8")
        return Unavailable(f"the mail server lacks what DEMARC_SMTP_URL demands: {error}")


def _refusal(code: int, reply: str) -> Refused | Unavailable:
    """5yz is for good, 4yz asks to come back (RFC 5321, 4.2.1)."""
    text = f"the mail server answered {code} {' '.join(reply.split())[:_REPLY_LENGTH]}"
    return Refused(text) if code >= _PERMANENT else Unavailable(text)
