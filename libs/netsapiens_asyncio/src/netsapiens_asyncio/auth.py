"""The client itself: one PBX, one account, one connection pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx

from netsapiens_asyncio._address import check_base_url
from netsapiens_asyncio._tokens import WANTED, FixedToken, Grant, JwtGrant, PasswordGrant, TokenKeeper
from netsapiens_asyncio._wire import Call, Params, RetryPolicy, Wire
from netsapiens_asyncio.clock import Clock, SystemClock
from netsapiens_asyncio.errors import InvalidInput
from netsapiens_asyncio.tracing import Hooks

TIMEOUT = httpx.Timeout(30.0, connect=10.0)
LIMITS = httpx.Limits(max_connections=50, max_keepalive_connections=20, keepalive_expiry=30.0)


class NetsapiensAPI:
    """An account on a PBX.

    Use it as `async with NetsapiensAPI(config) as client:`, or call `close()` in the end.

    Args:
        auth_config: `base_url` (a bare host) and one of: `client_id`, `client_secret`, `username`, `password`
            (add `"token_type": "jwt"` for JWTs); `api_key`; `access_token`.
        timeout: seconds for each phase of a request, or an `httpx.Timeout`.
        retries: see `RetryPolicy`.
        hooks: called around each exchange; see `tracing`.
        new_request_id: makes the `X-Request-ID` of a call; give yours to join traces.
        transport: another httpx transport (a proxy, a fake).
        clock: another clock, for tests.

    Raises:
        InvalidInput: (a ValueError) when the configuration is incomplete or `base_url` is no bare host.
    """

    def __init__(
        self,
        auth_config: Mapping[str, str],
        *,
        timeout: float | httpx.Timeout = TIMEOUT,
        retries: RetryPolicy | None = None,
        hooks: Hooks | None = None,
        new_request_id: Callable[[], str] = lambda: uuid4().hex,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        client = httpx.AsyncClient(
            timeout=timeout, limits=LIMITS, transport=transport, follow_redirects=False, trust_env=False
        )
        self._wire = Wire(
            origin=check_base_url(auth_config.get("base_url")),
            client=client,
            clock=self.clock,
            retries=retries or RetryPolicy(),
            hooks=hooks or Hooks(),
            new_request_id=new_request_id,
        )
        self.token_data: dict[str, Any] = {}
        self._tokens = TokenKeeper(self._wire, self._choose_grant(auth_config), self.token_data)

    @classmethod
    def from_token(cls, token: Mapping[str, Any], **options: Any) -> Self:
        """A client for a token that `get_token()` returned, perhaps in another process. It is not renewed."""
        origin = str(token.get("api_url", ""))
        return cls(
            {"base_url": origin.removeprefix("https://"), "access_token": str(token.get("access_token", ""))},
            **options,
        )

    def _choose_grant(self, config: Mapping[str, str]) -> Grant:
        for name in ("api_key", "access_token"):
            if config.get(name):
                return FixedToken({"access_token": config[name], "token_type": "Bearer"})
        for name in WANTED:
            if not config.get(name) or not isinstance(config[name], str):
                raise InvalidInput(
                    name, f"is missing: the configuration needs {', '.join(WANTED)} or api_key"
                )
        return (
            JwtGrant(self._wire, config)
            if config.get("token_type") == "jwt"
            else PasswordGrant(self._wire, config)
        )

    async def get_token(self, *, fresh: bool = False, passcode: str | None = None) -> dict[str, Any]:
        """The token with all the PBX says of the account.

        Args:
            fresh: log in again although there is a sound token.
            passcode: of the authenticator, for accounts that ask for one.

        Returns:
            The PBX's answer with `expires_at` (UTC, `YYYY-MM-DD HH:MM:SS`) and `api_url`.

        Raises:
            AuthenticationError: the credentials were refused; MfaRequired: a passcode is missing.
            Unreachable, NoAnswer, ServerError
        """
        await self._tokens.obtain(fresh=fresh, passcode=passcode)
        return dict(self.token_data)

    async def refresh_access_token(self) -> dict[str, Any]:
        """A new token by the refresh token; by the password when the PBX no longer takes that."""
        await self._tokens.renew()
        return dict(self.token_data)

    async def check_token_expiry(self) -> dict[str, Any]:
        """Renews the token when it has expired or is about to. Calls do this themselves."""
        await self._tokens.bearer()
        return dict(self.token_data)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        json: dict[str, Any] | None = None,
    ) -> Any:
        """Any route of the API that has no method here: path below `/ns-api/v2`, decoded answer.

        GET, PUT and DELETE are repeated after a lost answer; POST and PATCH never are.
        """
        return await self._wire.send(Call(method.upper(), path, params, json), self._tokens)

    @property
    def clock_offset(self) -> float | None:
        """The PBX's clock minus ours in seconds, as its last answer told; None before the first."""
        return self._wire.clock_offset

    @property
    def renewals(self) -> int:
        """How many tokens were obtained."""
        return self._tokens.renewals

    async def close(self) -> None:
        """Closes the connections."""
        await self._wire.client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"NetsapiensAPI({self._wire.origin!r})"


def as_client(auth_client: NetsapiensAPI | Mapping[str, Any]) -> NetsapiensAPI:
    """The client itself, or one made of the dictionary that `get_token()` returned."""
    return auth_client if isinstance(auth_client, NetsapiensAPI) else NetsapiensAPI.from_token(auth_client)
