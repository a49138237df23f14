"""What a tenant's own wording may look like; an instance that exists is valid."""

from __future__ import annotations

import re
from dataclasses import dataclass

from demarc.kernel.errors import invalid
from demarc.modules.notifications.states import Channel

_NAME = re.compile(r"[a-z0-9_]{1,60}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?")
_BODY_LENGTH = 20_000
_SUBJECT_LENGTH = 200


def clean_template_name(name: str) -> str:
    """1 to 60 small letters, digits and underscores: it becomes a file name."""
    if not _NAME.fullmatch(name):
        raise invalid("template", "has to be 1 to 60 small letters, digits and underscores")
    return name


@dataclass(frozen=True, slots=True)
class NewTemplate:
    """Jinja2 text; a name that the context does not have is an error when it is rendered, not an empty string."""

    channel: Channel
    name: str
    body: str
    subject: str = ""
    language: str = "en"

    def __post_init__(self) -> None:
        clean_template_name(self.name)
        if not _LANGUAGE.fullmatch(self.language):
            raise invalid("language", "has to be a language tag like en or pt-BR")
        if not 1 <= len(self.body) <= _BODY_LENGTH:
            raise invalid("body", f"has to be 1 to {_BODY_LENGTH} characters")
        if len(self.subject) > _SUBJECT_LENGTH or (
            self.channel is Channel.EMAIL and not self.subject.strip()
        ):
            raise invalid("subject", f"an e-mail needs one of 1 to {_SUBJECT_LENGTH} characters")
