"""What access needs from outside: something that carries orders to a NAS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from demarc.modules.access.states import CoaKind, CoaOutcome

SESSION_CONTEXT_NOT_FOUND = 503
"""Error-Cause of a NAK for a session that the NAS does not have (RFC 5176 section 3.5)."""


@dataclass(frozen=True, slots=True)
class CoaOrder:
    """One order to the NAS that holds a session.

    `attributes` are further attributes by their dictionary name; a list sends an attribute several times.
    """

    nas_ip: str
    coa_port: int
    secret: bytes = field(repr=False)
    kind: CoaKind
    username: str
    acct_session_id: str
    framed_ip: str | None = None
    attributes: Mapping[str, str | int | list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CoaReply:
    """The NAS's answer; `gone` and `timeout` are answers too. `attempts` counts datagrams sent."""

    outcome: CoaOutcome
    attempts: int
    error_cause: int | None = None


class CoaSender(Protocol):
    """Carries orders to NAS (RFC 5176)."""

    async def send(self, order: CoaOrder) -> CoaReply:
        """Send one order and wait for what becomes of it; a NAS that does not answer is an outcome, not an error.

        Raises:
            Invalid: an attribute or its value is unknown; nothing was sent.
        """
        ...
