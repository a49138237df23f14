"""The fake PBX: an ASGI app after the vendor's description of API v2."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote

import httpx

from netsapiens_asyncio.clock import Clock, SystemClock
from netsapiens_asyncio.testing import routes as _routes  # noqa: F401 - registers them
from netsapiens_asyncio.testing.faults import Fault, Faults
from netsapiens_asyncio.testing.routing import ROUTES, Visit
from netsapiens_asyncio.testing.state import CLIENT, PASSCODE, Account, State, Token
from netsapiens_asyncio.testing.wire import Asked, Cut, Refused, Reply, accepted

API = "/ns-api/v2"
LEGACY = "/ns-api/oauth2/token/"
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
EXACT = 16  # digits that a JSON number carries exactly


class FakePbx:
    """A PBX in this process.

    Use `transport()` for clients in this process, or `serve()` it on a port.

    Args:
        clock: its time; a `MovedClock` in tests.
        token_seconds: how long tokens live, and with them subscriptions.
        deliver: the httpx transport that events are posted through; the network without it.

    Attributes:
        faults: what goes wrong.
        state: what it knows; change it freely.
        seen: method, path and status of the last requests.
        down: refuses every connection.
        posting: False: subscriptions look alive and nothing is posted.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        token_seconds: float = 3600.0,
        deliver: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.state = State(self.clock, token_seconds)
        self.faults = Faults()
        self.seen: deque[tuple[str, str, int]] = deque(maxlen=10_000)
        self.token_requests = 0
        self.down = False
        self.posting = True
        self._deliver = deliver
        self._tasks: set[asyncio.Task[None]] = set()
        self._poster: httpx.AsyncClient | None = None

    # How requests come in.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        reply = await self.answer(await _read(scope, receive))
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "date": format_datetime(datetime.fromtimestamp(self.clock.time(), UTC), usegmt=True),
            **reply.headers,
        }
        await send(
            {
                "type": "http.response.start",
                "status": reply.status,
                "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            }
        )
        await send({"type": "http.response.body", "body": body})

    def transport(self) -> httpx.AsyncBaseTransport:
        """For `NetsapiensAPI(..., transport=pbx.transport())`."""
        return _Direct(self)

    async def answer(self, asked: Asked) -> Reply:
        """The reply to one request.

        Raises:
            Cut: none is to be given.
        """
        status = 0
        try:
            reply = await self._with_faults(asked)
            status = reply.status
        except Refused as refused:
            status = refused.status
            return refused.reply()
        else:
            return self._disguise(reply)
        finally:
            self.seen.append((asked.method, asked.path, status))

    async def _with_faults(self, asked: Asked) -> Reply:
        after: Fault | None = None
        if not asked.path.startswith("/_fake/"):
            for fault in self.faults.hit(asked):
                if fault.kind in {"cut", "status_after"}:
                    after = fault
                elif (reply := await self._misbehave(fault, asked)) is not None:
                    return reply
        try:
            reply = self._route(asked)
        finally:
            if after is not None and after.kind == "cut":
                raise Cut
        if after is not None:
            raise Refused(after.status, after.message)
        return reply

    async def _misbehave(self, fault: Fault, asked: Asked) -> Reply | None:
        match fault.kind:
            case "slow":
                await self.clock.sleep(fault.seconds)
            case "expire_token":
                if asked.token in self.state.tokens:
                    self.state.tokens[asked.token].expires_at = 0
            case "no_effect":
                return accepted()
            case "html":
                return Reply(200, b"<html><body>Welcome</body></html>", {"content-type": "text/html"})
            case "cut_early":
                raise Cut
            case "rate_limit":
                raise Refused(429, "Too Many Requests", retry_after=f"{fault.seconds:g}")
            case "echo":
                raise Refused(500, f"failed at {asked.raw.decode()} with {asked.headers}")
            case _:
                raise Refused(fault.status, fault.message)
        return None

    def _route(self, asked: Asked) -> Reply:
        if asked.path.startswith("/_fake/"):
            return self._control(asked)
        if asked.path == LEGACY and asked.method == "POST":
            return self._tokens(asked)
        if not asked.path.startswith(API):
            raise Refused(404, "Not Found")
        path = asked.path.removeprefix(API)
        if (asked.method, path) == ("POST", "/tokens") and not self.faults.no_tokens_route:
            return self._tokens(asked)
        if (asked.method, path) == ("POST", "/jwt"):
            return self._jwt(asked)
        known = False
        for method, pattern, handler in ROUTES:
            match = pattern.fullmatch(path)
            known = known or match is not None
            if match is not None and method == asked.method:
                groups = {name: unquote(value) for name, value in match.groupdict().items()}
                return handler(self, Visit(asked, self._authenticate(asked), groups))
        raise Refused(405 if known else 404, "Method Not Allowed" if known else "Not Found")

    def _authenticate(self, asked: Asked) -> Token:
        if not asked.token:
            raise Refused(401, "Authorization header is missing")
        token = self.state.find_token(asked.token)
        if token is None:
            raise Refused(401, "Access token is invalid or has expired")
        return token

    def _disguise(self, reply: Reply) -> Reply:
        body = reply.body
        if self.faults.bare_single and isinstance(body, list) and len(body) == 1:
            body = body[0]
        if self.faults.numbers_as_integers and not isinstance(body, bytes):
            body = _numbers(body)
        return Reply(reply.status, body, reply.headers)

    # Tokens.

    def _tokens(self, asked: Asked) -> Reply:
        self.token_requests += 1
        body = asked.body
        if (body.get("client_id"), body.get("client_secret")) != CLIENT:
            raise Refused(400, "Invalid client credentials")
        match body.get("grant_type"):
            case "password":
                account = self._check_password(body)
                return self._token_reply(account, half=account.with_passcode)
            case "mfa":
                account = self._check_password(body)
                half = self.state.tokens.get(str(body.get("access_token")))
                if half is None or body.get("passcode") != PASSCODE:
                    raise Refused(403, "Invalid passcode")
                return self._token_reply(account)
            case "refresh_token":
                account_of = self.state.refreshes.pop(str(body.get("refresh_token")), None)
                if account_of is None:
                    raise Refused(400, "Invalid refresh token")
                return self._token_reply(account_of)
        raise Refused(400, "Unsupported grant type")

    def _check_password(self, body: dict[str, Any]) -> Account:
        account = self.state.accounts.get(str(body.get("username")))
        if account is None or account.password != body.get("password"):
            raise Refused(403, "Invalid username or password")
        return account

    def _token_reply(self, account: Account, *, half: bool = False) -> Reply:
        return Reply(200, self.state.spell(*self.state.issue(account, half=half)))

    def _jwt(self, asked: Asked) -> Reply:
        self.token_requests += 1
        body = asked.body
        if "refresh" in body:
            account = self.state.refreshes.pop(str(body["refresh"]), None)
            if account is None:
                raise Refused(400, "Invalid refresh token")
        else:
            if (body.get("client_id"), body.get("client_secret")) != CLIENT:
                raise Refused(400, "Invalid client credentials")
            account = self._check_password(body)
        name, token = self.state.issue(account)
        claims = {
            "aud": "ns",
            "iat": int(self.clock.time()),
            "exp": int(token.expires_at),
            "user": account.user,
            "domain": account.domain,
            "jti": name,
        }
        # Not signed: the fake knows its tokens by heart.
        jwt = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in _jwt_parts(claims))
        self.state.tokens[jwt] = self.state.tokens.pop(name)
        return Reply(200, {"token": jwt, "refresh": token.refresh})

    # Events.

    async def emit(self, model: str, record: dict[str, Any]) -> None:
        """Posts an event to every live subscription it concerns, and waits for the answers."""
        if self.down or not self.posting:
            return
        for subscription in self.state.live_subscriptions():
            if subscription["model"] == model and _concerns(subscription, record):
                await self._post(subscription, record)

    async def _post(self, subscription: dict[str, Any], record: dict[str, Any]) -> None:
        subscription["posts-count"] += 1
        if self._poster is None:
            self._poster = httpx.AsyncClient(transport=self._deliver, timeout=10, trust_env=False)
        try:
            response = await self._poster.post(subscription["post-url"], json=record)
            good = response.status_code <= 302  # noqa: PLR2004
        except httpx.HTTPError:
            good = False
        if good:
            subscription["status"] = "active"
        else:
            subscription["status"] = "error"
            subscription["error-count"] += 1

    def soon(self, model: str, record: dict[str, Any]) -> None:
        """The same in the background; `settle()` waits for it."""
        task = asyncio.get_running_loop().create_task(self.emit(model, record))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Waits until every event is posted."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def add_call(self, domain: str, seconds: int = 60, **fields: Any) -> dict[str, Any]:
        """A call that ends now: its CDR is stored and posted."""
        record = self.state.add_cdr(domain, self.clock.time() - seconds, seconds, **fields)
        await self.emit("cdr", record)
        return record

    def restart(self, *, lose_subscriptions: bool = True, lose_tokens: bool = False) -> None:
        """Comes up again; what was in memory is gone."""
        self.down = False
        if lose_subscriptions:
            self.state.subscriptions.clear()
        if lose_tokens:
            self.state.tokens.clear()

    async def close(self) -> None:
        """Ends what posts events."""
        await self.settle()
        if self._poster is not None:
            await self._poster.aclose()

    # From outside the process.

    def _control(self, asked: Asked) -> Reply:
        match asked.method, asked.path:
            case "POST", "/_fake/faults":
                try:
                    self.faults.add(**asked.body)
                except (TypeError, ValueError) as error:
                    raise Refused(400, str(error)) from None
                return Reply(200, {"armed": len(self.faults.armed)})
            case "DELETE", "/_fake/faults":
                self.faults.clear()
                return Reply(200, {"armed": 0})
            case "POST", "/_fake/events":
                self.soon(str(asked.body.get("model")), dict(asked.body.get("record") or {}))
                return accepted()
            case "POST", "/_fake/cdrs":
                return self._more_cdrs(asked.body)
        raise Refused(404, "Not Found")

    def _more_cdrs(self, body: dict[str, Any]) -> Reply:
        domain = str(body.get("domain", "testdomain.com"))
        for back in range(int(body.get("count", 1))):
            self.state.add_cdr(domain, self.clock.time() - 60 - back, 60)
        return Reply(200, {"cdrs": len(self.state.cdrs.records)})


class _Direct(httpx.AsyncBaseTransport):
    """Carries requests of this process to the fake, with the failures of a network."""

    def __init__(self, pbx: FakePbx) -> None:
        self._pbx = pbx
        self._inner = httpx.ASGITransport(pbx)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._pbx.down:
            raise httpx.ConnectError("the fake PBX is down", request=request)
        try:
            return await self._inner.handle_async_request(request)
        except Cut:
            raise httpx.RemoteProtocolError("the fake PBX cut the connection", request=request) from None


async def _read(scope: Scope, receive: Receive) -> Asked:
    raw = b""
    while True:
        message = await receive()
        raw += message.get("body", b"")
        if not message.get("more_body"):
            break
    query = httpx.QueryParams(scope.get("query_string", b"").decode())
    headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
    path = scope.get("raw_path", b"").decode().partition("?")[0] or scope["path"]
    return Asked(scope["method"], path, dict(query), headers, raw)


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    plain = isinstance(value, str) and value.isdigit() and len(value) < EXACT and not value.startswith("0")
    return int(value) if plain else value


def _jwt_parts(claims: dict[str, Any]) -> Iterable[bytes]:
    return json.dumps({"alg": "none"}).encode(), json.dumps(claims).encode(), secrets.token_bytes(16)


def _concerns(subscription: dict[str, Any], record: dict[str, Any]) -> bool:
    domain, user = subscription["domain"], subscription["user"]
    whose = str(record.get("user") or record.get("call-orig-user") or record.get("from-user-id") or "")
    return domain in {"*", record.get("domain", "*")} and user in {"*", whose.partition("@")[0]}
