"""Requests and replies of the fake, apart from how they travel."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl


@dataclass(slots=True)
class Asked:
    """One request, decoded."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes = b""

    @property
    def token(self) -> str:
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token if kind.lower() == "bearer" else ""

    @property
    def body(self) -> dict[str, Any]:
        """The object in the body; a form counts as one.

        Raises:
            Refused: 400, no object.
        """
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return dict(parse_qsl(self.raw.decode()))
        try:
            body = json.loads(self.raw or b"{}")
        except ValueError:
            raise Refused(400, "Body is not valid JSON") from None
        if not isinstance(body, dict):
            raise Refused(400, "Body has to be a JSON object")
        return body

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number of the query.

        Raises:
            Refused: 400, none, or out of bounds.
        """
        value = self.query.get(name, str(default))
        if not value.isdigit() or not least <= int(value) <= most:
            raise Refused(400, f"{name} has to be {least} to {most}")
        return int(value)


@dataclass(slots=True)
class Reply:
    """`body` is JSON data, or bytes that are sent as they are."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """Becomes the PBX's error object."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        self.status = status
        self.message = message
        self.headers = headers
        super().__init__(message)

    def reply(self) -> Reply:
        headers = {name.replace("_", "-"): value for name, value in self.headers.items()}
        return Reply(self.status, {"code": self.status, "message": self.message}, headers)


class Cut(Exception):
    """The connection is to be closed without an answer."""


ACCEPTED = {"code": 202, "message": "Accepted"}


def accepted() -> Reply:
    return Reply(202, dict(ACCEPTED))
