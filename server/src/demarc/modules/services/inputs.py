"""What a service may be made from; an instance that exists is valid."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from demarc.kernel.errors import Invalid, invalid
from demarc.modules.catalog.inputs import bits_per_second
from demarc.modules.services.states import BulkOperation, LockKind, OnError

NAME_LENGTH = 100
ADDRESS_LENGTH = 500
REASON_LENGTH = 500
NOTES_LENGTH = 4000
IDENTIFIERS_MAX = 32
IDENTIFIER_LENGTH = 200
BULK_MAX = 1000
CONFIG_BYTES = 16_384
VLAN_IDS = range(1, 4095)  # IEEE 802.1Q: 0 and 4095 are reserved
_NUL = re.compile(
    rb"(?<!\\)(?:\\\\)*\\u0000"
)  # PostgreSQL's text has no NUL; a written-out backslash is fine
_IDENTIFIER_NAME = re.compile(r"[a-z0-9_]{1,40}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def clean_text(text: str, *, field: str, longest: int) -> str:
    """Trimmed, not empty, without control characters."""
    trimmed = text.strip()
    if not 1 <= len(trimmed) <= longest or _CONTROL.search(trimmed):
        raise invalid(field, f"has to be 1 to {longest} characters, none of them a control character")
    return trimmed


def clean_reason(reason: str) -> str:
    return clean_text(reason, field="reason", longest=REASON_LENGTH)


def clean_config(config: dict[str, Any]) -> dict[str, Any]:
    """Free JSON of at most 16 KB; the keys that the platform acts on are checked.

    Raises:
        Invalid: too large, or `bandwidth_down_mbps`, `bandwidth_up_mbps` or `vlan_id` is not acceptable.
    """
    try:
        encoded = json.dumps(config, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        raise invalid("service_config", "holds a number or character that JSON does not know") from None
    if len(encoded) > CONFIG_BYTES:
        raise invalid("service_config", f"has to be at most {CONFIG_BYTES} bytes of JSON")
    if _NUL.search(encoded):
        raise invalid("service_config", "has a NUL character in it, which cannot be stored")
    for key in ("bandwidth_down_mbps", "bandwidth_up_mbps"):
        if config.get(key) is not None:
            bits_per_second(config[key], field=f"service_config.{key}")
    vlan = config.get("vlan_id")
    if vlan is not None and (not isinstance(vlan, int) or isinstance(vlan, bool) or vlan not in VLAN_IDS):
        raise invalid("service_config.vlan_id", f"has to be {VLAN_IDS.start} to {VLAN_IDS.stop - 1}")
    return config


def clean_notes(notes: str) -> str:
    """Free text of at most 4,000 characters; may be empty."""
    trimmed = notes.strip()
    if len(trimmed) > NOTES_LENGTH or _CONTROL.search(trimmed):
        raise invalid(
            "notes", f"has to be at most {NOTES_LENGTH} characters, none of them a control character"
        )
    return trimmed


def clean_identifiers(identifiers: dict[str, str]) -> dict[str, str]:
    """What others know the line by: at most 32 of them, as in `{"ont_serial": "HWTC1A2B3C4D"}`."""
    if len(identifiers) > IDENTIFIERS_MAX:
        raise invalid("identifiers", f"has to be {IDENTIFIERS_MAX} at most")
    cleaned = {}
    for name, value in identifiers.items():
        if _IDENTIFIER_NAME.fullmatch(name) is None:
            raise invalid("identifiers", f"{name[:60]!r} is no name: 1 to 40 of a-z, 0-9 and _")
        cleaned[name] = clean_text(value, field=f"identifiers.{name}", longest=IDENTIFIER_LENGTH)
    return cleaned


def merged_config(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The settings after a change: what is named is replaced, null takes it out, the rest stays."""
    merged = {**config, **changes}
    return clean_config({key: value for key, value in merged.items() if value is not None})


@dataclass(frozen=True, slots=True)
class ServiceChanges:
    """What to change of a service; None leaves a field as it is. `config` and `identifiers` are merged by key."""

    name: str | None = None
    notes: str | None = None
    identifiers: dict[str, str | None] | None = None
    config: dict[str, Any] | None = None
    installation_address: str | None = None
    installation_scheduled_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            object.__setattr__(self, "name", clean_text(self.name, field="service_name", longest=NAME_LENGTH))
        if self.notes is not None:
            object.__setattr__(self, "notes", clean_notes(self.notes))
        if self.installation_address is not None:
            address = clean_text(
                self.installation_address, field="installation_address", longest=ADDRESS_LENGTH
            )
            object.__setattr__(self, "installation_address", address)


class BulkAction(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to do with each of them, as the table keeps it.

    `at`: when a suspension ends, a termination or a plan change holds. `changes`: fields of `ServiceChanges`.
    """

    operation: BulkOperation
    reason: str = ""
    lock: LockKind | None = None
    at: datetime | None = None
    plan_ref: str | None = None
    changes: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class BulkOrder:
    """One operation on 1 to 1,000 services, each named once."""

    action: BulkAction
    service_uids: tuple[UUID, ...]
    on_error: OnError = OnError.FAIL

    def __post_init__(self) -> None:
        if not 1 <= len(self.service_uids) <= BULK_MAX:
            raise invalid("service_ids", f"has to be 1 to {BULK_MAX} services")
        if len(set(self.service_uids)) != len(self.service_uids):
            raise invalid("service_ids", "names a service twice")


@dataclass(frozen=True, slots=True)
class NewService:
    """An instance of a plan. Speeds in bit/s, as sold: the config's over the plan's."""

    customer_id: int
    subscription_id: int
    plan_id: int
    service_type: str
    name: str
    download_bps: int
    upload_bps: int
    config: dict[str, Any] = field(default_factory=dict)
    installation_address: str | None = None
    installation_scheduled_at: datetime | None = None
    activates_at: datetime | None = None
    notes: str = ""
    identifiers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", clean_text(self.name, field="service_name", longest=NAME_LENGTH))
        object.__setattr__(self, "notes", clean_notes(self.notes))
        object.__setattr__(self, "identifiers", clean_identifiers(self.identifiers))
        clean_config(self.config)
        if min(self.download_bps, self.upload_bps) <= 0:
            raise Invalid("a service needs a speed in both directions")
        if self.installation_address is not None:
            address = clean_text(
                self.installation_address, field="installation_address", longest=ADDRESS_LENGTH
            )
            object.__setattr__(self, "installation_address", address)
