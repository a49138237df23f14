"""What a portal showed when something went wrong: a screenshot and the HTML, without identity numbers and inputs."""

from __future__ import annotations

import json
import logging
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from fno_portal.redaction import ID_NUMBER_MARK, redact_text

_LOG = logging.getLogger("fno_portal.portal")

# The same pattern as redaction.py, applied to what is on the page before it is photographed.
_BLANK = """
(mark) => {
    const number = /(?<!\\d)\\d{2}[ -]?(?:0[1-9]|1[0-2])[ -]?(?:0[1-9]|[12]\\d|3[01])[ -]?\\d{4}[ -]?\\d[ -]?\\d[ -]?\\d(?!\\d)/g;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        walker.currentNode.nodeValue = walker.currentNode.nodeValue.replace(number, mark);
    }
    for (const field of document.querySelectorAll('input, textarea')) { field.value = ''; field.removeAttribute('value'); }
}
"""
_UNSAFE = re.compile(r"[^\w.-]+")


class EvidenceRoom:
    """A folder with the pictures and an index (`index.jsonl`) of what, when and why. Readable by its owner alone."""

    def __init__(self, directory: Path | None) -> None:
        """Keep evidence in `directory`; None keeps none."""
        self._directory = directory
        if directory is not None:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def keep(
        self, page: Page, *, fno: str, action: str, reason: str, version: int | None
    ) -> str | None:
        """Keep the page as it is, and answer the screenshot's path; never raises over a page that is gone."""
        if self._directory is None:
            return None
        stem = _UNSAFE.sub("-", f"{fno}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{action}-{uuid4().hex[:6]}")
        picture = self._directory / f"{stem}.png"
        try:
            await page.evaluate(_BLANK, ID_NUMBER_MARK)
            self._write(picture, await page.screenshot(full_page=True))
            self._write(self._directory / f"{stem}.html", redact_text(await page.content()).encode())
        except PlaywrightError as error:
            _LOG.warning("no evidence of %s at %s: %s", action, fno, error.message.splitlines()[0])
            return None
        entry = {
            "at": datetime.now(UTC).isoformat(),
            "fno": fno,
            "action": action,
            "reason": redact_text(reason),
            "selectors": version,
            "page": redact_text(page.url.split("?")[0]),
            "screenshot": picture.name,
        }
        with (self._directory / "index.jsonl").open("a", encoding="utf-8") as index:
            index.write(json.dumps(entry) + "\n")
        return str(picture)

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
