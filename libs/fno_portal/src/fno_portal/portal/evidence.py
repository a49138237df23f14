"""What a portal showed when something went wrong: a screenshot and the HTML, without identity numbers and inputs."""

from __future__ import annotations

import json
import logging
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fno_portal.portal.engine import PlaywrightError
from fno_portal.redaction import ID_NUMBER_MARK, redact_text

if TYPE_CHECKING:
    from playwright.async_api import Page

_LOG = logging.getLogger("fno_portal.portal")
_INDEX = "index.jsonl"
_OURS = re.compile(r"^(?P<stem>[\w.-]+-\d{8}T\d{6}-[\w.-]+-[0-9a-f]{6})\.(?:png|html)$")

# The same pattern as redaction.py, applied to what is on the page before it is photographed.
_BLANK = """
(mark) => {
    const number = /(?<!\\d)\\d{2}[\\s-]?(?:0[1-9]|1[0-2])[\\s-]?(?:0[1-9]|[12]\\d|3[01])[\\s-]?\\d{4}[\\s-]?\\d[\\s-]?\\d[\\s-]?\\d(?!\\d)/g;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        walker.currentNode.nodeValue = walker.currentNode.nodeValue.replace(number, mark);
    }
    for (const field of document.querySelectorAll('input, textarea')) { field.value = ''; field.removeAttribute('value'); }
}
"""
_UNSAFE = re.compile(r"[^\w.-]+")


class EvidenceRoom:
    """A folder with the pictures and an index (`index.jsonl`) of what, when and why. Readable by its owner alone.

    The folder does not grow for ever: failures beyond the latest `keep`, and those older than `max_age`, are deleted when
    the next one comes.
    """

    def __init__(
        self, directory: Path | None, *, keep: int = 200, max_age: timedelta = timedelta(days=30)
    ) -> None:
        """Keep evidence in `directory` (mode 0700); None keeps none."""
        self._directory = directory
        self._keep, self._max_age = keep, max_age
        if directory is not None:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)

    async def keep(
        self, page: Page, *, fno: str, action: str, reason: str, version: int | None
    ) -> str | None:
        """Keep the page as it is, and answer the screenshot's path.

        Never raises over a page that is gone or a disk that is full: what went wrong at the portal is to be told.
        """
        if self._directory is None:
            return None
        at = datetime.now(UTC)
        stem = _UNSAFE.sub("-", f"{fno}-{at:%Y%m%dT%H%M%S}-{action}-{uuid4().hex[:6]}")
        picture = self._directory / f"{stem}.png"
        try:
            await page.evaluate(_BLANK, ID_NUMBER_MARK)
            _write(picture, await page.screenshot(full_page=True))
            _write(self._directory / f"{stem}.html", redact_text(await page.content()).encode())
        except (PlaywrightError, OSError) as error:
            _LOG.warning("no evidence of %s at %s: %s", action, fno, redact_text(str(error).split("\n")[0]))
            return None
        entry: dict[str, Any] = {
            "at": at.isoformat(),
            "fno": fno,
            "action": action,
            "reason": redact_text(reason),
            "selectors": version,
            "page": redact_text(page.url.split("?")[0]),
            "screenshot": picture.name,
        }
        try:
            self._index(self._directory, entry)
            self._clear(self._directory, at)
        except OSError as error:
            # Another process may clear the same folder at the same time.
            _LOG.warning("the index of evidence is not complete: %s", error)
        return str(picture)

    @staticmethod
    def _index(directory: Path, entry: dict[str, Any]) -> None:
        file = os.open(directory / _INDEX, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(file, "a", encoding="utf-8") as index:
            index.write(json.dumps(entry) + "\n")

    def _clear(self, directory: Path, now: datetime) -> None:
        """Delete what is too old or too much; files that we did not write stay."""
        written = {file: file.stat().st_mtime for file in directory.iterdir() if _OURS.match(file.name)}
        ages: dict[str, float] = {}
        for file, at in written.items():
            ages[file.stem] = max(at, ages.get(file.stem, 0))
        latest = sorted(ages, key=lambda stem: ages[stem], reverse=True)[: self._keep]
        oldest = (now - self._max_age).timestamp()
        kept = {stem for stem in latest if ages[stem] >= oldest}
        gone = [file for file in written if file.stem not in kept]
        for file in gone:
            file.unlink(missing_ok=True)
        if gone:
            _trim(directory / _INDEX, kept)


def _trim(index: Path, kept: set[str]) -> None:
    """Leave the lines of what is kept; in one step, so that a reader never sees half of it."""
    lines = index.read_text(encoding="utf-8").splitlines()
    left = [one for one in lines if json.loads(one)["screenshot"].removesuffix(".png") in kept]
    fresh = index.with_name(f"{index.name}.{uuid4().hex[:6]}")
    _write(fresh, "".join(f"{one}\n" for one in left).encode())
    fresh.replace(index)


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
