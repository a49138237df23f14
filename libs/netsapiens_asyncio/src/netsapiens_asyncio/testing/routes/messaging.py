"""Who one is, event subscriptions, messages and their sessions."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from netsapiens_asyncio.clock import parse_time
from netsapiens_asyncio.subscribe import VALID_MODELS
from netsapiens_asyncio.testing.routing import Visit, known, page_of, require, route
from netsapiens_asyncio.testing.state import rfc3339
from netsapiens_asyncio.testing.wire import Refused, Reply, accepted

if TYPE_CHECKING:
    from netsapiens_asyncio.testing.pbx import FakePbx

SESSION = re.compile(r"[A-Za-z0-9_]{32,}")


@route("GET", "/version")
def version(pbx: FakePbx, _: Visit) -> Reply:
    now = rfc3339(pbx.clock.time())
    return Reply(200, {"apiversion": "44.1.2", "hostname": "core1.example.com", "current-time": now})


@route("GET", "/apikeys/~")
def my_key(_: FakePbx, visit: Visit) -> Reply:
    account = visit.account
    key = {"description": "Key of the fake PBX", "key-id": "nsd-123dsa23", "user-scope": account.scope}
    return Reply(200, {**key, "reseller": "MainReseller", "domain": account.domain, "user": account.user})


@route("GET", "/subscriptions")
def list_subscriptions(pbx: FakePbx, _: Visit) -> Reply:
    return Reply(200, pbx.state.live_subscriptions())


@route("POST", "/subscriptions")
def create_subscription(pbx: FakePbx, visit: Visit) -> Reply:
    body = visit.asked.body
    require(body, "model", "post-url")
    if body["model"] not in VALID_MODELS:
        raise Refused(400, "Invalid model")
    for each in pbx.state.live_subscriptions():
        if all(
            each[key] == body.get(key, "*") for key in ("model", "post-url", "domain", "user", "reseller")
        ):
            raise Refused(409, "Subscription ID already Exists or matching set of parameters already exists")
    wanted = parse_time(body.get("subscription-expires-datetime")) or visit.token.expires_at
    return Reply(200, pbx.state.subscribe(body, min(wanted, visit.token.expires_at)))


def _subscription(pbx: FakePbx, visit: Visit) -> dict[str, Any]:
    pbx.state.live_subscriptions()
    return known(pbx.state.subscriptions.get(visit.groups["id"]), "Subscription")


@route("GET", "/subscriptions/{id}")
def read_subscription(pbx: FakePbx, visit: Visit) -> Reply:
    return Reply(200, _subscription(pbx, visit))


@route("PUT", "/subscriptions/{id}")
def update_subscription(pbx: FakePbx, visit: Visit) -> Reply:
    record, changes = _subscription(pbx, visit), visit.asked.body
    for name in ("error-count", "posts-count"):
        if changes.get(name, 0) != 0:
            raise Refused(400, f"{name} can only be reset to 0")
    if "subscription-expires-datetime" in changes:
        wanted = parse_time(changes["subscription-expires-datetime"])
        if wanted is None:
            raise Refused(400, "Invalid subscription-expires-datetime")
        changes["subscription-expires-datetime"] = rfc3339(min(wanted, visit.token.expires_at))
    record.update({name: value for name, value in changes.items() if name in record and name != "id"})
    return accepted()


@route("DELETE", "/subscriptions/{id}")
def delete_subscription(pbx: FakePbx, visit: Visit) -> Reply:
    del pbx.state.subscriptions[_subscription(pbx, visit)["id"]]
    return accepted()


def _check_message(body: dict[str, Any]) -> None:
    require(body, "type", "destination")
    if "message" not in body:
        raise Refused(400, "message is required")
    if body["type"] in {"sms", "mms"}:
        require(body, "from-number")


@route("POST", "/domains/{domain}/users/{user}/messages")
def start_session(pbx: FakePbx, visit: Visit) -> Reply:
    body = visit.asked.body
    _check_message(body)
    message = pbx.state.add_message(visit.domain, visit.user, secrets.token_hex(16), body)
    pbx.soon("message", pbx.state.show_message(message))
    return Reply(200, pbx.state.show_message(message))


@route("POST", "/domains/{domain}/users/{user}/messagesessions/{session}/messages")
def send_message(pbx: FakePbx, visit: Visit) -> Reply:
    body = visit.asked.body
    _check_message(body)
    if not SESSION.fullmatch(visit.groups["session"]):
        raise Refused(400, "Invalid messagesession")
    message = pbx.state.add_message(visit.domain, visit.user, visit.groups["session"], body)
    pbx.soon("message", pbx.state.show_message(message))
    return accepted()


@route("GET", "/domains/{domain}/users/{user}/messagesessions/{session}/messages")
def list_messages(pbx: FakePbx, visit: Visit) -> Reply:
    if not SESSION.fullmatch(visit.groups["session"]):
        raise Refused(400, "Invalid messagesession")
    if (visit.domain, visit.user, visit.groups["session"]) not in pbx.state.sessions:
        raise Refused(404, "Messagesession not found")
    page = page_of(visit, pbx.state.messages[visit.groups["session"]])
    return Reply(200, [pbx.state.show_message(message) for message in page.body])


@route("GET", "/domains/{domain}/messagesessions")
def list_domain_sessions(pbx: FakePbx, visit: Visit) -> Reply:
    return page_of(visit, _sessions(pbx, visit.domain, None))


@route("GET", "/domains/{domain}/users/{user}/messagesessions")
def list_user_sessions(pbx: FakePbx, visit: Visit) -> Reply:
    return page_of(visit, _sessions(pbx, visit.domain, visit.user))


def _sessions(pbx: FakePbx, domain: str, user: str | None) -> list[dict[str, Any]]:
    found = [
        record
        for (of, owner, _), record in pbx.state.sessions.items()
        if domain in {"*", of} and user in {None, owner}
    ]
    return sorted(found, key=lambda each: str(each["messagesession-last-datetime"]), reverse=True)


@route("GET", "/domains/{domain}/users/{user}/messagesessions/{session}")
def read_session(pbx: FakePbx, visit: Visit) -> Reply:
    found = pbx.state.sessions.get((visit.domain, visit.user, visit.groups["session"]))
    return Reply(200, [known(found, "Messagesession")])
