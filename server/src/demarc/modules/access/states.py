"""What a subscriber, a NAS and an order to a NAS may be."""

from __future__ import annotations

from enum import StrEnum

from demarc.kernel.states import StateMachine


class SubscriberStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"


class LoginDecision(StrEnum):
    """What the AAA projection tells FreeRADIUS to answer."""

    ACCEPT = "accept"
    GARDEN = "garden"
    REJECT = "reject"


class NasStatus(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"


class MessageAuthenticatorMode(StrEnum):
    """CVE-2024-3596 posture of a NAS: `auto` requires the attribute from the first valid one seen on."""

    REQUIRED = "required"
    AUTO = "auto"
    OFF = "off"


class CoaKind(StrEnum):
    DISCONNECT = "disconnect"
    COA = "coa"


class CoaOutcome(StrEnum):
    """`gone`: the NAS said NAK with Error-Cause 503 (Session-Context-Not-Found), so the session had ended."""

    PENDING = "pending"
    ACK = "ack"
    NAK = "nak"
    GONE = "gone"
    TIMEOUT = "timeout"


class PolicyKind(StrEnum):
    """Where other speeds come from: `override` (staff) goes before `fair_use` (a data cap)."""

    OVERRIDE = "override"
    FAIR_USE = "fair_use"


SUBSCRIBER = StateMachine(
    "subscriber",
    {
        SubscriberStatus.ACTIVE: frozenset({SubscriberStatus.SUSPENDED, SubscriberStatus.TERMINATED}),
        SubscriberStatus.SUSPENDED: frozenset({SubscriberStatus.ACTIVE, SubscriberStatus.TERMINATED}),
        SubscriberStatus.TERMINATED: frozenset(),
    },
)
