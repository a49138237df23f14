"""How the fake's routes are declared, and what they have in common."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netsapiens_asyncio.testing.state import Account, Token
from netsapiens_asyncio.testing.wire import Asked, Refused, Reply, accepted

if TYPE_CHECKING:
    from netsapiens_asyncio.testing.pbx import FakePbx

LIMIT, MOST = 100, 1000


@dataclass(slots=True)
class Visit:
    """One request of a known account."""

    asked: Asked
    token: Token
    groups: dict[str, str]

    @property
    def account(self) -> Account:
        return self.token.account

    @property
    def domain(self) -> str:
        name = self.groups.get("domain", "~")
        return self.account.domain if name == "~" else name

    @property
    def user(self) -> str:
        name = self.groups.get("user", "~")
        return self.account.user if name == "~" else name


Handler = Callable[["FakePbx", Visit], Reply]
ROUTES: list[tuple[str, re.Pattern[str], Handler]] = []


def route(method: str, path: str) -> Callable[[Handler], Handler]:
    """Registers a handler. `{name}` in the path matches one segment."""
    pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))

    def register(handler: Handler) -> Handler:
        ROUTES.append((method, pattern, handler))
        return handler

    return register


def page_of(visit: Visit, records: list[Any]) -> Reply:
    start = visit.asked.number("start", 0, 0, 1 << 40)
    limit = visit.asked.number("limit", LIMIT, 1, MOST)
    return Reply(200, records[start : start + limit])


def known(record: dict[str, Any] | None, what: str) -> dict[str, Any]:
    if record is None:
        raise Refused(404, f"{what} not found")
    return record


def require(body: dict[str, Any], *names: str) -> None:
    for name in names:
        if body.get(name) in (None, "", []):
            raise Refused(400, f"{name} is required")


def created(visit: Visit, record: dict[str, Any]) -> Reply:
    return Reply(200, record) if visit.asked.body.get("synchronous") == "yes" else accepted()


def fields_of(visit: Visit) -> dict[str, Any]:
    return {name: value for name, value in visit.asked.body.items() if name != "synchronous"}
