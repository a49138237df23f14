"""The sandbox's SMS: a log line that a message went out; its text stays in the notification."""

from __future__ import annotations

from demarc.kernel.logs import logger
from demarc.modules.notifications.errors import Refused
from demarc.modules.notifications.ports import SmsMessage

_LOG = logger(__name__)
_SHOWN_DIGITS = 3


class ConsoleSmsSender:
    """The port `SmsSender` without a provider: a sandbox tenant's message counts as sent, another's is refused."""

    async def send(self, message: SmsMessage) -> None:
        """See `SmsSender.send`."""
        if not message.is_sandbox:
            raise Refused("no SMS provider is set up on this platform", code="NO_SMS_PROVIDER")
        _LOG.info(
            "sms kept by the sandbox",
            reference=message.reference,
            to=f"…{message.recipient[-_SHOWN_DIGITS:]}",
        )
