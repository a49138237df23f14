"""The documented FNOEmailParser: reads an IMAP mailbox, leaves every mail unread, trusts only authentic ones."""

from __future__ import annotations

import imaplib
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from html.parser import HTMLParser
from typing import Any, ClassVar, Dict, List, TypeVar  # noqa: UP035 - the documented signatures say Dict and List
from zoneinfo import ZoneInfo

from fno_portal.errors import (
    FNOAuthError,
    FNOConfigError,
    FNOMailError,
    FNOUnknownOperatorError,
    FNOValidationError,
)
from fno_portal.mail import patterns as known
from fno_portal.mail.authenticity import sender_problem
from fno_portal.operators import MAIL_DOMAINS, operator_name
from fno_portal.redaction import redact_text

T = TypeVar("T")
SAST = ZoneInfo("Africa/Johannesburg")
_LARGEST = 1_000_000
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_IMAP_DATE = re.compile(r"^\d{1,2}-(?:" + "|".join(_MONTHS) + r")-\d{4}$")
_UID = re.compile(rb"UID (\d+)")


@dataclass(frozen=True, slots=True)
class MailReading:
    """One mail: what it says (`findings`), or why nobody believes or understands it (`problem`)."""

    fno: str
    mailbox: str
    uid: int
    uidvalidity: int
    message_id: str
    sender: str
    subject: str
    date: str | None
    sent_at: datetime | None
    authenticated: bool
    findings: tuple[known.Finding, ...] = ()
    problem: str | None = None
    excerpt: str = ""

    @property
    def key(self) -> str:
        """Unique in this mailbox for ever (RFC 3501: UIDVALIDITY and UID)."""
        return f"{self.mailbox}:{self.uidvalidity}:{self.uid}"


@dataclass(slots=True)
class _Raw:
    uid: int
    data: bytes = field(repr=False)


class FNOEmailParser:
    """Parse FNO status emails for order updates."""

    EMAIL_PATTERNS: ClassVar[dict[str, dict[str, str]]] = known.EMAIL_PATTERNS

    def __init__(
        self,
        imap_server: str,
        username: str,
        password: str,
        *,
        port: int = 993,
        mailbox: str = "INBOX",
        authserv_ids: Iterable[str] = (),
        require_authentication: bool = True,
        domains: Mapping[str, Iterable[str]] | None = None,
        patterns: Mapping[str, Mapping[str, str]] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = 30,
    ) -> None:
        """Connect over TLS and log in.

        Args:
            imap_server: host name, checked against its certificate.
            username: of the mailbox.
            password: of the mailbox.
            port: of IMAP over TLS.
            mailbox: the folder.
            authserv_ids: the names under which our own mail server writes Authentication-Results; no other is believed.
            require_authentication: False takes every mail with a fitting From, which anybody can forge.
            domains: sender domains by operator, beside the known ones.
            patterns: patterns by operator, instead of the shipped ones.
            ssl_context: for a private certificate authority.
            timeout: seconds for one exchange.

        Raises:
            FNOMailError: no connection. FNOAuthError: the log-in was refused.
        """
        self._server, self._port, self._timeout = imap_server, port, timeout
        self._username, self._password = username, password
        self._mailbox = mailbox
        self._trusted = tuple(authserv_ids)
        self._required = require_authentication
        self._domains = {**MAIL_DOMAINS, **{name: tuple(ones) for name, ones in (domains or {}).items()}}
        self._patterns = {
            **self.EMAIL_PATTERNS,
            **{name: dict(ones) for name, ones in (patterns or {}).items()},
        }
        self._context = ssl_context or ssl.create_default_context()
        self.mail = self._connect()

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators whose mails are understood."""
        return tuple(sorted(set(self._domains) & set(self._patterns)))

    def close(self) -> None:
        """Log out; a connection that is gone is fine."""
        try:
            self.mail.logout()
        except (imaplib.IMAP4.error, OSError):
            self._hang_up()

    def _hang_up(self) -> None:
        with suppress(OSError):
            self.mail.shutdown()

    def parse_fno_emails(self, fno: str, since_date: str) -> List[Dict[str, Any]]:  # noqa: UP006
        """Parse emails from specific FNO.

        Args:
            fno: the operator's name.
            since_date: `01-Nov-2026` as IMAP writes it, or `2026-11-01`.

        Returns:
            One dict per piece of news in authentic mails, oldest first: `type`, `reference` (the order's or fault's
            number, or None), `date` and `subject` of the mail, `scheduled_date` (ISO) where it tells one, `sent_at`
            (SAST), `message_id`, `authenticated`.
        """
        return [
            {
                "type": finding.type,
                "reference": finding.reference,
                "date": reading.date,
                "subject": reading.subject,
                "scheduled_date": finding.scheduled_date,
                "sent_at": reading.sent_at.isoformat() if reading.sent_at else None,
                "message_id": reading.message_id,
                "authenticated": reading.authenticated,
            }
            for reading in self.read(fno, since_date)
            if reading.problem is None
            for finding in reading.findings
        ]

    def read(self, fno: str, since: str | date) -> list[MailReading]:
        """Every mail that claims to be the operator's, each once by Message-ID, with what it says or its problem.

        Raises:
            FNOUnknownOperatorError: no domain or patterns. FNOConfigError: nobody is trusted to check senders.
            FNOMailError: the mailbox cannot be read.
        """
        name = operator_name(fno)
        if name not in self._domains or name not in self._patterns:
            raise FNOUnknownOperatorError(
                f"mails of {name} are not known",
                fno=name,
                hint="Give `domains` and `patterns` for this operator",
            )
        if self._required and not self._trusted:
            raise FNOConfigError(
                "no mail server is trusted to check senders",
                fno=name,
                hint="Set authserv_ids to the name your mail server writes into Authentication-Results",
            )
        validity, raws = self._retry(lambda: self._fetch(name, _imap_date(since)))
        return self._once([self._understand(name, validity, raw) for raw in raws])

    def _once(self, readings: list[MailReading]) -> list[MailReading]:
        # Only believed mails shadow later ones: else a forgery could take a real mail's Message-ID beforehand.
        seen: set[str] = set()
        kept = []
        for reading in readings:
            if reading.problem is None:
                if reading.message_id in seen:
                    continue
                seen.add(reading.message_id)
            kept.append(reading)
        return kept

    def _connect(self) -> imaplib.IMAP4_SSL:
        try:
            mail = imaplib.IMAP4_SSL(
                self._server, self._port, ssl_context=self._context, timeout=self._timeout
            )
        except (OSError, imaplib.IMAP4.error) as error:
            raise self._lost(error) from error
        try:
            mail.login(self._username, self._password)
        except imaplib.IMAP4.abort as error:
            raise self._lost(error) from error
        except imaplib.IMAP4.error as error:
            raise FNOAuthError(
                f"the mailbox at {self._server} refused the log-in",
                hint="Check user name and password of the mailbox",
            ) from error
        return mail

    def _lost(self, error: Exception) -> FNOMailError:
        return FNOMailError(
            f"the mailbox at {self._server}:{self._port} cannot be reached ({type(error).__name__})",
            hint="Check server, port and certificate; nothing is lost, the next poll reads on",
        )

    def _retry(self, work: Callable[[], T]) -> T:
        """Run; where the connection has gone, connect again and run once more. Reading changes nothing."""
        try:
            return work()
        except (imaplib.IMAP4.abort, OSError):
            self._hang_up()
            self.mail = self._connect()
        try:
            return work()
        except (imaplib.IMAP4.abort, OSError) as error:
            raise self._lost(error) from error

    def _fetch(self, fno: str, since: str) -> tuple[int, list[_Raw]]:
        answer, data = self.mail.select(_quoted(self._mailbox), readonly=True)
        if answer != "OK":
            raise FNOMailError(
                f"the mailbox has no folder {self._mailbox}",
                fno=fno,
                hint="Check the folder's name, or make it",
            )
        validity = int((self.mail.response("UIDVALIDITY")[1] or [b"0"])[0] or 0)
        numbers: set[int] = set()
        for domain in self._domains[fno]:
            # IMAP compares pieces of text: mails of a subdomain (noreply@mail.vumatel.co.za) want a search of their own.
            wanted = f'OR FROM "@{domain}" FROM ".{domain}"'
            answer, data = self.mail.uid("SEARCH", f"({wanted} SINCE {since})")
            if answer != "OK":
                raise FNOMailError("the search was refused", fno=fno, hint="Check the mail server")
            numbers |= {int(one) for one in (data[0] or b"").split()}
        return validity, [raw for number in sorted(numbers) if (raw := self._fetch_one(number))]

    def _fetch_one(self, number: int) -> _Raw | None:
        answer, data = self.mail.uid("FETCH", str(number), f"(UID BODY.PEEK[]<0.{_LARGEST}>)")
        if answer != "OK":
            return None
        parts = [part for part in data if isinstance(part, tuple)]
        # Deleted between search and fetch: an OK without a body.
        return _Raw(number, parts[0][1]) if parts else None

    def _understand(self, fno: str, validity: int, raw: _Raw) -> MailReading:
        about: dict[str, Any] = {
            "fno": fno, "mailbox": self._mailbox, "uid": raw.uid, "uidvalidity": validity,
            "message_id": f"uid-{validity}-{raw.uid}", "sender": "", "subject": "", "date": None, "sent_at": None,
            "authenticated": False,
        }  # fmt: skip
        try:
            return self._read_message(fno, raw, about)
        except Exception as error:  # noqa: BLE001
            # An edge: anybody can send a mail over which Python's parsers stumble, each in its own way (recursion,
            # assertions, unbound names). It is one mail for a person, and must not keep the others from being read.
            return MailReading(**about, problem=f"unreadable ({type(error).__name__})")

    def _read_message(self, fno: str, raw: _Raw, about: dict[str, Any]) -> MailReading:
        message = BytesParser(_class=EmailMessage, policy=policy.default).parsebytes(raw.data)
        about |= _head(message, about)
        body = self._get_email_body(message)
        problem = sender_problem(message, self._domains[fno], self._trusted)
        about["authenticated"] = problem is None
        excerpt = redact_text(body)[:500]
        if problem and (self._required or "domain is not" in problem or "exactly one" in problem):
            return MailReading(**about, problem=problem, excerpt=excerpt)
        findings = tuple(known.find_news(dict(self._patterns[fno]), f"{about['subject']}\n{body}"))
        unknown = None if findings else f"no pattern (version {known.VERSION}) fits"
        return MailReading(**about, findings=findings, problem=unknown, excerpt=excerpt)

    def _get_email_body(self, msg: EmailMessage) -> str:
        """The text of a mail: its plain part, else its HTML without tags."""
        part = msg.get_body(preferencelist=("plain", "html"))
        if part is None:
            return ""
        content = str(part.get_content())
        if part.get_content_type() != "text/html":
            return " ".join(content.split())
        reader = _Text()
        reader.feed(content)
        return " ".join(" ".join(reader.pieces).split())


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - HTMLParser's
        self._hidden += tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"script", "style"}

    def handle_data(self, data: str) -> None:
        if self._hidden <= 0:
            self.pieces.append(data)


def _head(message: EmailMessage, about: dict[str, Any]) -> dict[str, Any]:
    day = message["Date"]
    moment = getattr(day, "datetime", None)
    if moment is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return {
        "message_id": str(message["Message-ID"] or about["message_id"]).strip(),
        "sender": redact_text(str(message["From"] or ""))[:200],
        "subject": redact_text(str(message["Subject"] or ""))[:300],
        "date": str(day) if day is not None else None,
        "sent_at": moment.astimezone(SAST) if moment else None,
    }


def _quoted(name: str) -> str:
    if re.search(r'["\\\r\n]', name):
        raise FNOValidationError("the folder's name has a quote or a line break", hint="Rename the folder")
    return f'"{name}"'


def _imap_date(since: str | date) -> str:
    if isinstance(since, str):
        if _IMAP_DATE.match(since):
            return since
        try:
            since = date.fromisoformat(since)
        except ValueError:
            raise FNOValidationError(
                "since_date is not a date", hint="Write 01-Nov-2026 or 2026-11-01"
            ) from None
    # strftime("%b") would follow the locale.
    return f"{since.day:02}-{_MONTHS[since.month - 1]}-{since.year}"
