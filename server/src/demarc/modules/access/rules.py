"""Who may be on line, at what speed, and how a secret is kept for FreeRADIUS: decisions without I/O."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_network

from Crypto.Hash import MD4

from demarc.kernel.errors import Conflict
from demarc.modules.access.states import LoginDecision, SubscriberStatus
from demarc.modules.addressing.queries import Holding
from demarc.modules.addressing.states import PoolKind
from demarc.modules.services.queries import Service
from demarc.modules.services.states import CARRYING, LockKind, ServiceStatus

GARDEN_POLICY = "garden"
WIDEST_RATE = 4_294_967_295
"""WISPr-Bandwidth-Max-* are 32-bit integers; faster lines are as good as unlimited."""

SPEED_REPLIES: dict[str, tuple[str, ...]] = {
    "generic": (),
    "mikrotik": ("Mikrotik-Rate-Limit={upload_bps}/{download_bps}",),
    "cisco": (
        "Cisco-AVPair=qos-policy-in=add-class(sub,(class-default),police({upload_bps}))",
        "Cisco-AVPair=qos-policy-out=add-class(sub,(class-default),shape({download_bps}))",
    ),
    "juniper": ("ERX-CoS-Shaping-Pmt-Type=T01 {download_bps}", "ERX-CoS-Shaping-Pmt-Type=T02 {upload_bps}"),
    "huawei": ("Huawei-Input-Average-Rate={upload_bps}", "Huawei-Output-Average-Rate={download_bps}"),
    "nokia": (
        "Alc-Subscriber-QoS-Override=i:q:1:pir={upload_kbps}",
        "Alc-Subscriber-QoS-Override=e:r:rate={download_kbps}",
    ),
    "ubiquiti": (),
}
"""By vendor of the NAS, what it takes a subscriber's speeds from (`aaa_nas.speed_replies`), in an Access-Accept and in a CoA.

WISPr's attributes are sent to every NAS; who lives on them has no others here. Router's views: MikroTik's rx/tx, input and ingress are the
subscriber's upload. What has to stand on the router: Cisco ISG, a QoS policy with class-default on the session; Juniper, a dynamic
profile whose shaping rates are the variables of attribute 108 with the tags 1 (down) and 2 (up); Nokia, ingress queue 1.
"""

_FINAL = frozenset({ServiceStatus.TERMINATING, ServiceStatus.TERMINATED})
_GIVEN_UP = frozenset({ServiceStatus.FAILED, ServiceStatus.PROVISIONING_FAILED})
LOCK_REASONS: dict[LockKind, str] = {
    LockKind.FRAUD: "fraud",
    LockKind.NON_PAYMENT: "non-payment",
    LockKind.OTHER: "service suspended",
}
"""Why a log-in is refused while a lock is on the service, the gravest first."""

# Without the letters and digits that look alike.
_READABLE = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_GENERATED_LENGTH = 16
_LONGEST_CLEAR_TEXT = 253


@dataclass(frozen=True, slots=True)
class Verdict:
    """What FreeRADIUS is to answer; `reason` is for support and for the log, not for the subscriber."""

    decision: LoginDecision
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Garden:
    """Where a subscriber who has not paid may go: a pool that routes to the payment page only, at these speeds."""

    pool: str
    download_bps: int | None = None
    upload_bps: int | None = None


def garden_of(settings: Mapping[str, object]) -> Garden | None:
    """The tenant's walled garden, when `suspended_policy` is `garden` and `garden` names a pool; else None."""
    described = settings.get("garden")
    if settings.get("suspended_policy") != GARDEN_POLICY or not isinstance(described, dict):
        return None
    pool = described.get("pool")
    if not isinstance(pool, str) or not pool:
        return None
    return Garden(pool, _speed(described.get("download_bps")), _speed(described.get("upload_bps")))


def _speed(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and value > 0 else None


def decide(
    subscriber: SubscriberStatus, service: Service, locks: frozenset[LockKind], *, has_garden: bool
) -> Verdict:
    """What to answer to a subscriber's log-in.

    Only non-payment by itself leads into the garden; fraud never does. A service in its notice period works on.
    """
    if subscriber is not SubscriberStatus.ACTIVE:
        return Verdict(LoginDecision.REJECT, f"subscriber {subscriber.value}")
    if service.standing.beneath not in CARRYING:
        return Verdict(LoginDecision.REJECT, f"service {service.status}")
    if locks:
        reason = next(word for kind, word in LOCK_REASONS.items() if kind in locks)
        in_garden = has_garden and locks == {LockKind.NON_PAYMENT}
        return Verdict(LoginDecision.GARDEN if in_garden else LoginDecision.REJECT, reason)
    return Verdict(LoginDecision.ACCEPT)


def check_takes_subscribers(service: Service) -> None:
    """Raises `Conflict`: a service that is suspended, ending or broken gets no new subscriber."""
    standing = service.standing
    usable = standing.beneath not in _GIVEN_UP and standing.shown not in _FINAL
    if usable and standing.held_by is None:
        return
    raise Conflict(
        f"the service {service.identifier} is {service.status}; a subscriber needs a service that is not suspended, "
        "ending or failed: resume it or provision another one",
        code="SERVICE_NOT_USABLE",
    )


def must_redial(before: LoginDecision, after: LoginDecision) -> bool:
    """Whether live sessions have to end for the new decision to take hold."""
    return before is not after and not (before is LoginDecision.REJECT and after is LoginDecision.ACCEPT)


def nt_hash(password: str) -> str:
    """MD4 of the UTF-16LE password, in hex (RFC 2759 section 8.3): enough for PAP and MS-CHAPv2."""
    return MD4.new(password.encode("utf-16-le")).hexdigest()  # noqa: S303 - MS-CHAPv2 knows no other


def clear_text_for_chap(password: str) -> str | None:
    """What CHAP needs; None for a password longer than a RADIUS attribute, with which CHAP is not possible."""
    return password if len(password.encode()) <= _LONGEST_CLEAR_TEXT else None


def generate_password() -> str:
    """16 characters that can be read out on the telephone; about 92 bits."""
    return "".join(secrets.choice(_READABLE) for _ in range(_GENERATED_LENGTH))


def framed_ip(held: Sequence[Holding]) -> IPv4Address | None:
    """The lowest IPv4 address of those held: Framed-IP-Address."""
    return next(
        (one.address for one in held if one.kind == PoolKind.IPV4 and isinstance(one.address, IPv4Address)),
        None,
    )


def address_replies(held: Sequence[Holding]) -> list[str]:
    """What FreeRADIUS tells the NAS of IPv6, prefixes and routed blocks: `aaa_login.replies`."""
    return [f"{name}={value}" for one in held for name, value in _address_reply(one)]


def _address_reply(one: Holding) -> Iterator[tuple[str, str]]:
    match one.kind:
        case PoolKind.IPV6:  # RFC 6911
            yield "Framed-IPv6-Address", str(one.address)
        case PoolKind.FRAMED_PREFIX:  # RFC 3162: for the line between NAS and CPE
            yield "Framed-IPv6-Prefix", str(one.address)
        case PoolKind.DELEGATED_PREFIX:  # RFC 4818: for what is behind the CPE
            yield "Delegated-IPv6-Prefix", str(one.address)
        case PoolKind.ROUTED:
            block = ip_network(one.address)
            if isinstance(block, IPv4Network):  # RFC 2865 section 5.22: gateway 0.0.0.0 is the subscriber
                yield "Framed-Route", f"{block} 0.0.0.0 1"
            else:  # RFC 3162 section 2.5
                yield "Framed-IPv6-Route", f"{block} :: 1"


Attribute = str | int | list[str]
"""A value, or several of one attribute."""


def rate_attributes(vendor: str, download_bps: int | None, upload_bps: int | None) -> dict[str, Attribute]:
    """Speeds as a CoA-Request carries them; Mikrotik's limit is rx/tx seen from the router: upload/download."""
    if download_bps is None or upload_bps is None:
        return {}
    rates: dict[str, Attribute] = {
        "WISPr-Bandwidth-Max-Down": min(download_bps, WIDEST_RATE),
        "WISPr-Bandwidth-Max-Up": min(upload_bps, WIDEST_RATE),
    }
    for reply in SPEED_REPLIES.get(vendor, ()):
        name, _, value = reply.partition("=")
        filled = value.format(
            download_bps=download_bps,
            upload_bps=upload_bps,
            download_kbps=download_bps // 1000,
            upload_kbps=upload_bps // 1000,
        )
        _append(rates, name, min(int(filled), WIDEST_RATE) if filled.isdecimal() else filled)
    return rates


def _append(attributes: dict[str, Attribute], name: str, value: str | int) -> None:
    """A second value of a name makes a list of it."""
    known = attributes.get(name)
    if known is None:
        attributes[name] = value
    elif isinstance(known, list):
        known.append(str(value))
    else:
        attributes[name] = [str(known), str(value)]
