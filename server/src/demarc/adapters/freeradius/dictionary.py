"""The attributes that the installed FreeRADIUS knows: one unknown name in a reply would lock a subscriber out.

Reads the dictionary files of FreeRADIUS 3 (dictionary(5)) as far as names, types and values go; structures inside an
attribute (TLVs, extended attributes) are known by name and taken as octets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, NetmaskValueError
from pathlib import Path

from demarc.kernel.errors import Misconfigured, invalid

DICTIONARY_DIRECTORIES = (
    "/usr/share/freeradius",
    "/usr/local/share/freeradius",
    "/opt/homebrew/share/freeradius",
)

_STRING_OCTETS = 253
_INTERNAL = range(256, 1 << 32)
_HEXADECIMAL = re.compile(r"0x([0-9a-fA-F]{2})*")
_ETHERNET = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class RadiusAttribute:
    """One attribute: `type` is FreeRADIUS's word for it; `values` maps the names an integer may be given by."""

    name: str
    type: str
    vendor: str = ""
    internal: bool = False
    values: dict[str, int] = field(default_factory=dict)


class RadiusDictionary:
    """Every attribute by name; names are compared without regard to case, as FreeRADIUS does."""

    def __init__(self, attributes: dict[str, RadiusAttribute]) -> None:
        self._attributes = attributes

    @classmethod
    def load(cls, directory: Path | None = None) -> RadiusDictionary:
        """Read the dictionary of the installed server, or the one in a directory.

        Raises:
            Misconfigured: there is none.
        """
        places = [directory] if directory else [Path(place) for place in DICTIONARY_DIRECTORIES]
        for place in places:
            if (place / "dictionary").is_file():
                return cls(_Reader().read(place / "dictionary"))
        raise Misconfigured(
            "FreeRADIUS's dictionary is not installed: `apt-get install freeradius-common freeradius`"
        )

    def __len__(self) -> int:
        return len(self._attributes)

    def attribute(self, name: str) -> RadiusAttribute:
        """The attribute of that name.

        Raises:
            Invalid: there is none, or it is one that never travels in a packet.
        """
        known = self._attributes.get(name.lower())
        if known is None:
            raise invalid(name, "FreeRADIUS knows no attribute of this name", code="UNKNOWN_RADIUS_ATTRIBUTE")
        if known.internal:
            raise invalid(name, "this attribute is internal to FreeRADIUS and cannot be sent")
        return known

    def check(self, name: str, value: str) -> RadiusAttribute:
        """The attribute, when the value can be one of its kind.

        Raises:
            Invalid: naming the attribute, and what its value may be.
        """
        known = self.attribute(name)
        if "\0" in value:
            raise invalid(name, "the value holds a zero byte")
        if value not in known.values and (expected := _problem(known.type, value)) is not None:
            named = f", or one of {', '.join(list(known.values)[:8])}" if known.values else ""
            raise invalid(name, f"the value must be {expected}{named}")
        return known


class _Reader:
    """One reading of a tree of dictionary files."""

    def __init__(self) -> None:
        self._attributes: dict[str, RadiusAttribute] = {}
        self._late_values: list[tuple[str, str, str]] = []
        self._vendor = ""

    def read(self, path: Path) -> dict[str, RadiusAttribute]:
        self._read_file(path)
        for attribute, name, number in self._late_values:
            if (known := self._attributes.get(attribute.lower())) is not None:
                known.values[name] = int(number, 0)
        return self._attributes

    def _read_file(self, path: Path) -> None:
        for words in _lines(path):
            self._take(words, path)

    def _take(self, words: list[str], path: Path) -> None:
        match words:
            case ["$INCLUDE" | "$INCLUDE-", name]:
                included = path.parent / name
                if words[0] == "$INCLUDE" or included.is_file():
                    self._read_file(included)
            case ["BEGIN-VENDOR", vendor, *_]:
                self._vendor = vendor
            case ["END-VENDOR", *_]:
                self._vendor = ""
            case ["ATTRIBUTE", name, number, kind, *_]:
                self._add(name, number, kind)
            case ["VALUE", attribute, name, number, *_]:
                self._late_values.append((attribute, name, number))
            case _:
                pass

    def _add(self, name: str, number: str, kind: str) -> None:
        top = number.partition(".")[0]
        internal = not self._vendor and int(top, 0) in _INTERNAL
        self._attributes[name.lower()] = RadiusAttribute(
            name, kind.partition("[")[0].lower(), self._vendor, internal
        )


def _lines(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            text = line.split("#", 1)[0].strip()
            if text:
                yield _SPACE.split(text)


def _problem(kind: str, value: str) -> str | None:
    """What a value of this type must be, None when it is."""
    rule = _RULES.get(kind)
    if rule is None:
        return None if _HEXADECIMAL.fullmatch(value) else f"hexadecimal, 0x…, for the type {kind}"
    expected, accepts = rule
    return None if _accepts(accepts, value) else expected


def _accepts(test: Callable[[str], object], value: str) -> bool:
    try:
        return test(value) is not False
    except (ValueError, AddressValueError, NetmaskValueError):
        return False


def _integer(low: int, high: int) -> tuple[str, Callable[[str], object]]:
    return f"a whole number from {low} to {high}", lambda value: low <= int(value, 0) <= high


def _octets(value: str) -> bool:
    return len(value.encode()) <= _STRING_OCTETS or _HEXADECIMAL.fullmatch(value) is not None


_TEXT: tuple[str, Callable[[str], object]] = (
    f"text of 1 to {_STRING_OCTETS} bytes",
    lambda value: 0 < len(value.encode()) <= _STRING_OCTETS,
)
_RULES: dict[str, tuple[str, Callable[[str], object]]] = {
    "string": _TEXT,
    "octets": ("text or hexadecimal, 0x…", _octets),
    "ipaddr": ("an IPv4 address", IPv4Address),
    "ipv6addr": ("an IPv6 address", IPv6Address),
    "combo-ip": ("an IP address", lambda value: IPv6Address(value) if ":" in value else IPv4Address(value)),
    "ipv4prefix": ("an IPv4 prefix", IPv4Network),
    "ipv6prefix": ("an IPv6 prefix", IPv6Network),
    "integer": _integer(0, 2**32 - 1),
    "date": _integer(0, 2**32 - 1),
    "integer64": _integer(0, 2**64 - 1),
    "short": _integer(0, 2**16 - 1),
    "byte": _integer(0, 2**8 - 1),
    "signed": _integer(-(2**31), 2**31 - 1),
    "ether": ("a MAC address", lambda value: _ETHERNET.fullmatch(value) is not None),
}
