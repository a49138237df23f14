"""Tokens: how they are obtained, when they are too old, and one refresh at a time."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from netsapiens_asyncio import errors
from netsapiens_asyncio._wire import Call, Wire
from netsapiens_asyncio.clock import spell_time

LEGACY = "/ns-api/oauth2/token/"
REFUSED = (errors.BadRequest, errors.Unauthorized, errors.Forbidden)
FALLBACK_SECONDS = 3600
MARGIN = 60.0  # seconds before its expiry that a token is no longer used
WANTED = ("client_id", "client_secret", "username", "password")


class Grant(Protocol):
    """One way to a token. Both answer the PBX's own JSON with at least `access_token`."""

    async def first(self, passcode: str | None) -> dict[str, Any]: ...

    async def renew(self, token: Mapping[str, Any]) -> dict[str, Any]: ...

    def secrets(self) -> Iterator[str]: ...


class PasswordGrant:
    """`POST /tokens` with password, refresh_token or mfa; on older cores `POST /ns-api/oauth2/token/`."""

    def __init__(self, wire: Wire, config: Mapping[str, str]) -> None:
        self._wire = wire
        self._client = {key: config[key] for key in ("client_id", "client_secret")}
        self._account = {key: config[key] for key in ("username", "password")}
        self._legacy = False

    async def first(self, passcode: str | None) -> dict[str, Any]:
        answer = await self._ask({"grant_type": "password", **self._client, **self._account})
        if not wants_passcode(answer):
            return answer
        if passcode is None:
            raise errors.MfaRequired("the account asks for a passcode: get_token(passcode=...)")
        return await self._ask(
            {
                "grant_type": "mfa",
                **self._client,
                **self._account,
                "mfa_type": str(answer.get("mfa_type", "authenticator")),
                "mfa_vendor": str(answer.get("mfa_vendor", "google")),
                "ns_id_type": "subscriber",
                "passcode": passcode,
                "access_token": str(answer["access_token"]),
            }
        )

    async def renew(self, token: Mapping[str, Any]) -> dict[str, Any]:
        return await self._ask(
            {
                "grant_type": "refresh_token",
                **self._client,
                "refresh_token": str(token.get("refresh_token") or ""),
            }
        )

    async def _ask(self, body: dict[str, str]) -> dict[str, Any]:
        if not self._legacy:
            try:
                return record(
                    await self._wire.send(Call("POST", "/tokens", body=dict(body), repeatable=True))
                )
            except errors.NotFound:
                self._legacy = True
        return record(await self._wire.send(Call("POST", LEGACY, form=body, repeatable=True)))

    def secrets(self) -> Iterator[str]:
        yield self._client["client_secret"]
        yield self._account["password"]


class JwtGrant(PasswordGrant):
    """`POST /jwt`; its expiry is read from the token's own `exp`, which only the PBX can verify."""

    async def renew(self, token: Mapping[str, Any]) -> dict[str, Any]:
        return await self._ask({"refresh": str(token.get("refresh_token") or "")})

    async def _ask(self, body: dict[str, str]) -> dict[str, Any]:
        answer = record(await self._wire.send(Call("POST", "/jwt", body=dict(body), repeatable=True)))
        if "token" not in answer:
            return answer
        claims = read_claims(str(answer["token"]))
        token = {**claims, "access_token": answer["token"], "refresh_token": answer.get("refresh")}
        if isinstance(claims.get("exp"), int):
            issued = claims.get("iat")
            token["expires_in"] = claims["exp"] - (
                issued if isinstance(issued, int) else self._wire.clock.time()
            )
        return {**token, "token_type": "Bearer"}


class FixedToken:
    """An API key, or a token obtained elsewhere: used as it is, never renewed."""

    def __init__(self, token: Mapping[str, Any]) -> None:
        self._token = dict(token)

    async def first(self, passcode: str | None) -> dict[str, Any]:  # noqa: ARG002
        return dict(self._token)

    async def renew(self, token: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        raise errors.AuthenticationError("this key or token cannot be renewed; obtain a new one", status=401)

    def secrets(self) -> Iterator[str]:
        yield str(self._token["access_token"])


class TokenKeeper:
    """Holds the token of one client. One lock: however many calls need a new one, one is fetched."""

    def __init__(self, wire: Wire, grant: Grant, data: dict[str, Any]) -> None:
        self.data = data
        self._wire = wire
        self._grant = grant
        self._lock = asyncio.Lock()
        self._expires_at: float | None = None
        self.renewals = 0

    async def bearer(self) -> str:
        """A token that is good for the coming seconds."""
        if not self._sound():
            async with self._lock:
                if not self._sound():
                    await self._renew()
        return str(self.data["access_token"])

    async def replace(self, stale: str) -> str:
        """Another token than the one that was refused. A token replaced meanwhile counts."""
        async with self._lock:
            if self.data.get("access_token") == stale:
                try:
                    await self._renew()
                except errors.AuthenticationError:
                    if isinstance(self._grant, FixedToken):
                        return stale
                    raise
        return str(self.data["access_token"])

    async def obtain(self, *, fresh: bool, passcode: str | None) -> None:
        async with self._lock:
            if fresh or passcode is not None or not self._sound():
                await self._first(passcode)

    async def renew(self) -> None:
        stale = self.data.get("access_token")
        async with self._lock:
            if (
                self.data.get("access_token") == stale
            ):  # a second caller that waited gets the first one's token
                await self._renew()

    def secrets(self) -> Iterator[str]:
        yield from self._grant.secrets()
        for key in ("access_token", "refresh_token"):
            if self.data.get(key):
                yield str(self.data[key])

    def _sound(self) -> bool:
        if "access_token" not in self.data:
            return False
        return self._expires_at is None or self._wire.clock.time() < self._expires_at

    async def _renew(self) -> None:
        """By the refresh token; by the password when that is dead or missing."""
        if not self.data.get("refresh_token") and not isinstance(self._grant, FixedToken):
            await self._first(None)
            return
        if "access_token" not in self.data:
            await self._first(None)
            return
        try:
            answer = await self._grant.renew(self.data)
        except REFUSED:
            await self._first(None)
        else:
            self._keep(answer)

    async def _first(self, passcode: str | None) -> None:
        try:
            answer = await self._grant.first(passcode)
        except REFUSED as error:
            if isinstance(error, errors.Unauthorized):
                raise
            raise errors.AuthenticationError(
                f"the PBX refused the credentials: {error}", status=error.status
            ) from error
        self._keep(answer)

    def _keep(self, answer: dict[str, Any]) -> None:
        if not answer.get("access_token"):
            raise errors.InvalidResponse("the token answer has no access_token")
        if wants_passcode(answer):
            raise errors.MfaRequired("the account asks for a passcode: get_token(passcode=...)")
        now = self._wire.clock.time()
        self._expires_at = None
        expires_at = answer.get("expires_at")
        if not isinstance(self._grant, FixedToken):
            seconds = read_seconds(answer.get("expires_in"))
            self._expires_at = now + seconds - min(MARGIN, seconds / 10)
            expires_at = spell_time(now + seconds)
        # The dictionary stays the same one: callers hold it.
        self.data.clear()
        self.data.update(answer, api_url=self._wire.origin)
        if expires_at is not None:
            self.data["expires_at"] = expires_at
        self.renewals += 1


def wants_passcode(answer: Mapping[str, Any]) -> bool:
    """A token of this scope opens nothing but the second step."""
    return answer.get("scope") == "mfa_required"


def record(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise errors.InvalidResponse("the token answer is no object")
    return answer


def read_seconds(value: object) -> float:
    """`expires_in`, which may come as text; an hour when it is missing."""
    try:
        seconds = float(str(value))
    except ValueError:
        return FALLBACK_SECONDS
    return seconds if seconds > 0 else FALLBACK_SECONDS


def read_claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, unverified: only for its expiry and names."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, binascii.Error):
        return {}
    return claims if isinstance(claims, dict) else {}
