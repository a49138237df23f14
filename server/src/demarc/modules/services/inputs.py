"""What a service may be made from; an instance that exists is valid."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from demarc.kernel.errors import Invalid, invalid
from demarc.modules.catalog.inputs import bits_per_second

NAME_LENGTH = 100
ADDRESS_LENGTH = 500
REASON_LENGTH = 500
CONFIG_BYTES = 16_384
VLAN_IDS = range(1, 4095)  # IEEE 802.1Q: 0 and 4095 are reserved
_NUL = re.compile(
    rb"(?<!\\)(?:\\\\)*\\u0000"
)  # PostgreSQL's text has no NUL; a written-out backslash is fine
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def clean_text(text: str, *, field: str, longest: int) -> str:
    """Trimmed, not empty, without control characters."""
    trimmed = text.strip()
    if not 1 <= len(trimmed) <= longest or _CONTROL.search(trimmed):
        raise invalid(field, f"has to be 1 to {longest} characters")
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", clean_text(self.name, field="service_name", longest=NAME_LENGTH))
        clean_config(self.config)
        if min(self.download_bps, self.upload_bps) <= 0:
            raise Invalid("a service needs a speed in both directions")
        if self.installation_address is not None:
            address = clean_text(
                self.installation_address, field="installation_address", longest=ADDRESS_LENGTH
            )
            object.__setattr__(self, "installation_address", address)
