"""What carries a message outside. Adapters implement it, bootstrap joins it (`Work.port(Mailer)`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class MailMessage:
    """One e-mail, ready to send.

    `message_id` (RFC 5322, with its angle brackets) is the same at every attempt, so that a repeat can be recognised.
    `sender` is an address, or None for the platform's own; `sender_name` is shown beside it.
    """

    message_id: str
    sender: str | None
    sender_name: str
    recipient: str
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class SmsMessage:
    """One text message. `reference` is the same at every attempt."""

    reference: str
    recipient: str
    body: str
    is_sandbox: bool


class Mailer(Protocol):
    """Sends e-mail."""

    async def send(self, message: MailMessage) -> None:
        """Returns once the next server has taken the message.

        Raises:
            Unavailable: no answer, or "try again later" (SMTP 4xx): worth another attempt.
            Refused: the server refused this message for good (SMTP 5xx).
        """
        ...


class SmsSender(Protocol):
    """Sends text messages."""

    async def send(self, message: SmsMessage) -> None:
        """Raises `Unavailable` and `Refused` as `Mailer.send` does."""
        ...
