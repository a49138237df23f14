"""What a NAS and a subscriber may be made or changed from; an instance that exists is valid."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address
from typing import Any

from demarc.kernel.errors import invalid
from demarc.modules.access.states import MessageAuthenticatorMode, NasStatus, PolicyKind, SubscriberStatus

NAME_LENGTH = 100
USERNAME_LENGTH = range(3, 65)
PASSWORD_LENGTH = range(8, 256)
LAST_CHARACTER = "\uffff"
NAS_SECRET_LENGTH = range(8, 129)
CIRCUIT_ID_LENGTH = 253
SESSIONS_MAX = 1000
BITS_PER_MEGABIT = 1_000_000
MEGABITS_MAX = 1_000_000
PORT_MAX = 65535
VENDORS = ("generic", "mikrotik", "cisco", "juniper", "huawei", "nokia", "ubiquiti")

# What FreeRADIUS hands to the database unchanged: printable ASCII without blanks, quotes, '=', backslash, '%' and braces.
_USERNAME = re.compile(r"[!#$&*+\-./0-9:;?@A-Z^_a-z~|]+")
_CIRCUIT_ID = re.compile(r"[ !#$&()*+,\-./0-9:;<>?@A-Z\[\]^_a-z~|{}%]+")
_NAS_SECRET = re.compile(r"[!-~]+")
_MAC = re.compile(r"(?:[0-9a-f]{2}[-:.]?){5}[0-9a-f]{2}", re.IGNORECASE)


def clean_name(name: str) -> str:
    """1 to 100 printable characters after trimming."""
    trimmed = name.strip()
    if not 1 <= len(trimmed) <= NAME_LENGTH or not trimmed.isprintable():
        raise invalid("name", f"has to be 1 to {NAME_LENGTH} printable characters")
    return trimmed


def clean_username(username: str) -> str:
    """3 to 64 characters that every NAS and FreeRADIUS carry unchanged; upper and lower case differ."""
    if len(username) not in USERNAME_LENGTH:
        raise invalid(
            "username", f"has to be {USERNAME_LENGTH.start} to {USERNAME_LENGTH.stop - 1} characters"
        )
    if _USERNAME.fullmatch(username) is None:
        raise invalid(
            "username", "letters, digits and !#$&*+-./:;?@^_~| only, as in jane.smith@alpha.example"
        )
    return username


def clean_password(password: str) -> str:
    """8 to 255 characters of 16 bits, none of them a control character; MS-CHAPv2 and PAP see it as it is."""
    if len(password) not in PASSWORD_LENGTH:
        raise invalid(
            "password", f"has to be {PASSWORD_LENGTH.start} to {PASSWORD_LENGTH.stop - 1} characters"
        )
    if not password.isprintable():
        raise invalid("password", "control characters are not possible")
    # FreeRADIUS makes the NT hash of what PAP brings in characters of 16 bits; what needs two of them never matches.
    if max(password) > LAST_CHARACTER:
        raise invalid("password", "emoji and other characters beyond U+FFFF are not possible")
    return password


def clean_mac(mac: str) -> str:
    """Any usual notation, kept as aa:bb:cc:dd:ee:ff."""
    if _MAC.fullmatch(mac.strip()) is None:
        raise invalid("mac", "has to be a MAC address, such as 00:1a:2b:3c:4d:5e")
    digits = re.sub(r"[^0-9a-f]", "", mac.lower())
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def clean_circuit_id(circuit_id: str, *, field: str = "circuit_id") -> str:
    """The Agent-Circuit-Id or Agent-Remote-Id that the access node inserts (RFC 4679), compared as it comes."""
    if not 1 <= len(circuit_id) <= CIRCUIT_ID_LENGTH or _CIRCUIT_ID.fullmatch(circuit_id) is None:
        raise invalid(field, f"1 to {CIRCUIT_ID_LENGTH} printable ASCII characters without quotes, = and \\")
    return circuit_id


def clean_session_limit(limit: int) -> int:
    """Sessions at a time from different devices; 0 is no limit."""
    if not 0 <= limit <= SESSIONS_MAX:
        raise invalid("session_limit", f"has to be 0 (no limit) to {SESSIONS_MAX}")
    return limit


def clean_nas_secret(secret: str) -> str:
    """The shared secret of RFC 2865: 8 to 128 printable ASCII characters without blanks."""
    if len(secret) not in NAS_SECRET_LENGTH or _NAS_SECRET.fullmatch(secret) is None:
        raise invalid("secret", "has to be 8 to 128 printable ASCII characters without blanks")
    return secret


def clean_source_ip(address: IPv4Address) -> IPv4Address:
    """The address that the NAS's packets come from."""
    if address.is_unspecified or address.is_multicast or address == IPv4Address("255.255.255.255"):
        raise invalid("source_ip", "has to be the unicast IPv4 address that the NAS sends from")
    return address


def clean_coa_port(port: int) -> int:
    if not 1 <= port <= PORT_MAX:
        raise invalid("coa_port", f"has to be 1 to {PORT_MAX}")
    return port


def clean_vendor(vendor: str) -> str:
    """Decides in which vendor's attributes speeds are sent; WISPr's are always there."""
    if vendor not in VENDORS:
        raise invalid("vendor", f"one of {', '.join(VENDORS)}")
    return vendor


def megabits(value: float, name: str) -> int:
    """Mbit/s to bit/s."""
    if not 0 < value <= MEGABITS_MAX:
        raise invalid(name, f"has to be more than 0 and at most {MEGABITS_MAX}")
    return round(value * BITS_PER_MEGABIT)


@dataclass(frozen=True, slots=True)
class NewNas:
    """A NAS of the tenant: it authenticates, accounts and takes orders for this tenant's subscribers only."""

    name: str
    source_ip: IPv4Address
    secret: str = field(repr=False)
    vendor: str = "generic"
    coa_port: int = 3799
    message_authenticator: MessageAuthenticatorMode = MessageAuthenticatorMode.AUTO

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", clean_name(self.name))
        clean_source_ip(self.source_ip)
        clean_nas_secret(self.secret)
        clean_vendor(self.vendor)
        clean_coa_port(self.coa_port)


@dataclass(frozen=True, slots=True)
class NewSubscriber:
    """Who logs on to the network for a service.

    `password` None has one generated. `pool_id` allocates a fixed address of that pool (`address`: this one). Speeds in
    bit/s go before those of the service. `mac`, `circuit_id` and `remote_id` let the line log on without a password (IPoE); with both ids, both
    have to match.
    """

    customer_id: int
    service_id: int
    username: str
    password: str | None = field(default=None, repr=False)
    status: SubscriberStatus = SubscriberStatus.ACTIVE
    download_bps: int | None = None
    upload_bps: int | None = None
    pool_id: int | None = None
    address: IPv4Address | None = None
    mac: str | None = None
    circuit_id: str | None = None
    remote_id: str | None = None
    session_limit: int = 1
    clear_text_enabled: bool = False
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        clean_username(self.username)
        clean_session_limit(self.session_limit)
        if self.password is not None:
            clean_password(self.password)
        if self.mac is not None:
            object.__setattr__(self, "mac", clean_mac(self.mac))
        if self.circuit_id is not None:
            clean_circuit_id(self.circuit_id)
        if self.remote_id is not None:
            clean_circuit_id(self.remote_id, field="remote_id")
        if self.status is SubscriberStatus.TERMINATED:
            raise invalid("status", "has to be active or suspended")


@dataclass(frozen=True, slots=True)
class NewPolicy:
    """Other speeds (bit/s), or with `blocks` no access, until `expires_at` (business time; None: until it is lifted).

    `subscriber_id` None: for every subscriber of the service.
    """

    service_id: int
    kind: PolicyKind
    subscriber_id: int | None = None
    download_bps: int | None = None
    upload_bps: int | None = None
    blocks: bool = False
    reason: str = ""
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        if not self.blocks and (self.download_bps is None or self.upload_bps is None):
            raise invalid("download_mbps", "a policy that does not block needs both speeds")

    def says_what(self, open_one: Any) -> bool:
        """Whether a stored policy says the same."""
        mine = (self.download_bps, self.upload_bps, self.blocks, self.expires_at)
        return mine == (open_one.download_bps, open_one.upload_bps, open_one.blocks, open_one.expires_at)


NAS_CLEANERS: dict[str, Callable[[Any], Any]] = {
    "name": clean_name,
    "secret": clean_nas_secret,
    "vendor": clean_vendor,
    "coa_port": clean_coa_port,
    "message_authenticator": lambda mode: MessageAuthenticatorMode(mode).value,
    "status": lambda status: NasStatus(status).value,
}


def clean_nas_changes(changes: dict[str, Any]) -> dict[str, Any]:
    """The fields of a patch, each cleaned; none of them may be emptied."""
    for name, value in changes.items():
        if value is None:
            raise invalid(name, "cannot be emptied")
    return {name: NAS_CLEANERS[name](value) for name, value in changes.items()}


SUBSCRIBER_CLEANERS: dict[str, Callable[[Any], Any]] = {
    "mac": clean_mac,
    "circuit_id": clean_circuit_id,
    "remote_id": lambda remote_id: clean_circuit_id(remote_id, field="remote_id"),
    "session_limit": clean_session_limit,
    "clear_text_enabled": bool,
}
_NEVER_EMPTY = frozenset({"session_limit", "clear_text_enabled"})


def clean_subscriber_changes(changes: dict[str, Any]) -> dict[str, Any]:
    """The fields of a patch, each cleaned; None empties a field that may be empty."""
    for name, value in changes.items():
        if value is None and name in _NEVER_EMPTY:
            raise invalid(name, "cannot be emptied")
    return {
        name: value if value is None or name not in SUBSCRIBER_CLEANERS else SUBSCRIBER_CLEANERS[name](value)
        for name, value in changes.items()
    }
