"""The wording that ships with Demarc: `templates/<channel>/<name>.<language>.txt`.

An e-mail's first line is `Subject: …`, an empty line follows.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from demarc.modules.notifications.rules import Wording
from demarc.modules.notifications.states import Channel

_TEMPLATES = files("demarc.modules.notifications") / "templates"


@lru_cache(maxsize=1)
def list_shipped() -> tuple[tuple[Channel, str, str], ...]:
    """(channel, name, language) of every shipped wording, in that order."""
    return tuple(
        (channel, *file.name.removesuffix(".txt").rsplit(".", 1))  # type: ignore[misc]
        for channel in Channel
        for file in sorted((_TEMPLATES / channel.value).iterdir(), key=lambda one: one.name)
        if file.name.endswith(".txt")
    )


@lru_cache(maxsize=256)
def find_shipped(channel: Channel, name: str, language: str) -> Wording | None:
    """The shipped wording, or None. `name` and `language` have to be clean: they become a file name."""
    file = _TEMPLATES / channel.value / f"{name}.{language}.txt"
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8")
    if channel is not Channel.EMAIL:
        return Wording("", text)
    subject, _, body = text.partition("\n")
    return Wording(subject.removeprefix("Subject:").strip(), body.lstrip("\n"))
