"""The little markup that descriptions use: paragraphs, `code` and **strong words**."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

_CODE = re.compile(r"`([^`]+)`")
_STRONG = re.compile(r"\*\*([^*]+)\*\*")


def words(text: str) -> Markup:
    """One run of text; everything else in it is escaped."""
    marked = _STRONG.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", str(escape(text))))
    return Markup(marked)  # noqa: S704 - escaped on the line above


def paragraphs(text: str) -> Markup:
    """Blank lines part paragraphs."""
    parts = (part.strip() for part in text.split("\n\n"))
    return Markup("\n").join(Markup("<p>{}</p>").format(words(part)) for part in parts if part)


def breakable(path: str) -> Markup:
    """A path that may be broken after each slash."""
    return Markup("/<wbr>").join(path.split("/"))
