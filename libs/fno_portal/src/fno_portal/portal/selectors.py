"""Where things are on an operator's portal: data with a version, so that a changed layout is a new file and no code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from fno_portal.errors import FNOConfigError

_FILE = re.compile(r"^(?P<operator>[\w-]+)\.v(?P<version>\d+)\.json$")


class _Page(dict[str, Any]):
    """The names on one page; one that is missing is a mistake in the file."""

    def __init__(self, operator: str, where: str, names: Mapping[str, Any]) -> None:
        super().__init__(names)
        self._operator, self._where = operator, where

    def __missing__(self, name: str) -> Any:
        raise FNOConfigError(
            f"{self._where} do not name {name!r}", fno=self._operator, hint="Add it to the file"
        )


@dataclass(frozen=True, slots=True)
class SelectorSet:
    """One version of one portal: a page per key, each a mapping of names to CSS selectors or paths."""

    operator: str
    version: int
    pages: Mapping[str, Mapping[str, Any]]

    def page(self, name: str) -> Mapping[str, Any]:
        """The selectors of one page.

        Raises:
            FNOConfigError: this set does not have the page.
        """
        if name not in self.pages:
            raise FNOConfigError(
                f"selectors v{self.version} have no page {name!r}",
                fno=self.operator,
                hint="Add it to the file",
            )
        where = f"the selectors v{self.version} of the page {name!r}"
        return _Page(self.operator, where, self.pages[name])


def load_selectors(operator: str, version: int | None = None, directory: Path | None = None) -> SelectorSet:
    """The newest version, or the one asked for; files in `directory` go before those shipped.

    Raises:
        FNOConfigError: no such file, or it is not readable.
    """
    files = _shipped() | (_in_directory(directory) if directory else {})
    versions = sorted(number for name, number in files if name == operator)
    wanted = version or (versions[-1] if versions else None)
    if wanted is None or (operator, wanted) not in files:
        raise FNOConfigError(
            f"there are no selectors v{wanted or '?'}",
            fno=operator,
            hint=f"Write {operator}.v1.json into selectors_dir",
        )
    return SelectorSet(operator, wanted, _pages(files, operator, wanted))


def _pages(
    files: dict[tuple[str, int], str], operator: str, version: int, above: tuple[str, ...] = ()
) -> dict[str, Any]:
    data = _read(files, operator, version)
    base = data.pop("extends", None)
    if not all(isinstance(page, dict) for page in data.values()):
        raise _wrong(operator, version, "have a page that is no object")
    if base is None:
        return data
    found = _FILE.match(f"{base}.json")
    key = (found["operator"], int(found["version"])) if found else None
    if key not in files or base in above:
        raise _wrong(operator, version, f"extend {base!r}, which is not there or extends them")
    pages = _pages(files, *key, (*above, base))
    return {key: {**pages.get(key, {}), **data.get(key, {})} for key in pages | data}


def _read(files: dict[tuple[str, int], str], operator: str, version: int) -> dict[str, Any]:
    try:
        data = json.loads(files[operator, version])
    except ValueError:
        raise _wrong(operator, version, "are not JSON") from None
    if not isinstance(data, dict):
        raise _wrong(operator, version, "are no JSON object")
    return data


def _wrong(operator: str, version: int, what: str) -> FNOConfigError:
    return FNOConfigError(f"selectors v{version} {what}", fno=operator, hint="Mend the file")


def _shipped() -> dict[tuple[str, int], str]:
    folder = resources.files("fno_portal.portal") / "selectors"
    return {key: one.read_text() for one in folder.iterdir() if (key := _key(one.name))}


def _in_directory(directory: Path) -> dict[tuple[str, int], str]:
    return {key: one.read_text() for one in directory.glob("*.json") if (key := _key(one.name))}


def _key(name: str) -> tuple[str, int] | None:
    found = _FILE.match(name)
    return (found["operator"], int(found["version"])) if found else None
