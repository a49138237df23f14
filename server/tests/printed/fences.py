"""The code blocks of a Markdown document, in its order, each with the headings it stands under."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\s*$")
_HEADING = re.compile(r"^(#{1,6}) (.+?)\s*$")


@dataclass(frozen=True)
class Example:
    """One fenced block as it stands in the document."""

    language: str
    code: str
    headings: tuple[str, ...]
    line: int

    @property
    def title(self) -> str:
        """Its nearest heading."""
        return self.headings[-1] if self.headings else ""

    @property
    def name(self) -> str:
        """Where it stands, for the ids of tests and for messages."""
        return f"{self.line}: {' / '.join(self.headings)}"


def read_examples(document: Path | str, *languages: str) -> list[Example]:
    """Every fenced block of a file or a text; only of these languages, if any is named."""
    text = document.read_text() if isinstance(document, Path) else document
    return [one for one in _walk(text) if not languages or one.language in languages]


def _walk(text: str) -> Iterator[Example]:
    headings: list[tuple[int, str]] = []
    language, begun, lines = "", 0, None
    for number, line in enumerate(text.splitlines(), start=1):
        fence = _FENCE.match(line)
        if lines is not None:
            if line.rstrip() == "```":
                yield Example(language, "".join(lines), tuple(title for _, title in headings), begun)
                lines = None
            else:
                lines.append(f"{line}\n")
        elif fence:
            language, begun, lines = fence[1], number, []
        elif heading := _HEADING.match(line):
            headings = [one for one in headings if one[0] < len(heading[1])]
            headings.append((len(heading[1]), heading[2]))
    if lines is not None:
        raise ValueError(f"the block of line {begun} has no end")
