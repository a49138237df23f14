"""Active calls: reading, counting, making."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from netsapiens_asyncio._address import join
from netsapiens_asyncio.auth import NetsapiensAPI, as_client
from netsapiens_asyncio.errors import InvalidInput
from netsapiens_asyncio.records import ActiveCall, Count, as_list, as_object, as_one, put_right


class CallsAPI:
    """Calls that are going on.

    Args:
        auth_client: a `NetsapiensAPI`, or the dictionary its `get_token()` returned.
    """

    def __init__(self, auth_client: NetsapiensAPI | Mapping[str, Any]) -> None:
        self._client = as_client(auth_client)

    async def read_calls(
        self,
        domain: str = "~",
        count: bool = False,
        user: str | None = None,
        callid: str | None = None,
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """The active calls of a domain, or of one of its users.

        Args:
            domain: `~` is the account's own.
            count: only how many: `{"total": n}`.
            user: only this user's calls.
            callid: only this call, as one dictionary; the user's when `user` is given.

        Raises:
            NotFound: with `callid`, there is no such call (any more).
            ApiError, AuthenticationError, Unreachable, NoAnswer
        """
        if callid is not None:
            return dict(await self._read_one(domain, user, callid))
        if count and user is None:
            answer = await self._client.request("GET", join("domains", domain, "calls", "count"))
            return dict(put_right(answer, Count))
        calls = await self._read_all(domain, user)
        return {"total": len(calls)} if count else [dict(call) for call in calls]

    async def _read_all(self, domain: str, user: str | None) -> list[ActiveCall]:
        owner = ("domains", domain) if user is None else ("domains", domain, "users", user)
        return as_list(await self._client.request("GET", join(*owner, "calls")), ActiveCall)

    async def _read_one(self, domain: str, user: str | None, callid: str) -> ActiveCall:
        # The route for one call wants a user; `~` is the one the token belongs to.
        path = join("domains", domain, "users", user or "~", "calls", callid)
        return as_one(await self._client.request("GET", path), ActiveCall)

    async def new_call(
        self,
        destination: str,
        origination: str | None = None,
        *,
        domain: str = "~",
        user: str = "~",
        call_id: str | None = None,
        synchronous: bool = False,
        auto_answer: bool = False,
        caller_id_number: str | None = None,
        callback_caller_id_number: str | None = None,
        application: str = "call",
    ) -> dict[str, Any]:
        """Rings the user (or `origination`), and connects to `destination` when that is answered.

        Args:
            destination: number or user to be called.
            domain: of the user; `~` is the account's own.
            user: who calls; `~` is the account itself.
            application: the dial rule application of the PBX.
            origination: device, user or number of the first leg; the user's own without it.
            call_id: made up when not given; find the call by it with `read_calls`.
            synchronous: wait until the PBX has placed the call.
            auto_answer: ask the first leg to answer by itself.
            caller_id_number: shown to the destination.
            callback_caller_id_number: shown to the first leg.

        Returns:
            The PBX's answer with the `call-id` in it.

        Raises:
            OutcomeUnknown: the answer was lost; a call is never placed twice.
            InvalidInput, ApiError, AuthenticationError, Unreachable
        """
        if not destination:
            raise InvalidInput("destination", "is missing")
        chosen = call_id or uuid4().hex
        body: dict[str, Any] = {
            "synchronous": "yes" if synchronous else "no",
            "call-id": chosen,
            "dial-rule-application": application,
            "call-term-user": destination,
            "call-orig-user": origination,
            "auto-answer-enabled": "yes" if auto_answer else "no",
            "caller-id-number": caller_id_number,
            "callback-caller-id-number": callback_caller_id_number,
        }
        answer = await self._client.request(
            "POST",
            join("domains", domain, "users", user, "calls"),
            json={name: value for name, value in body.items() if value is not None},
        )
        return {"call-id": chosen, **as_object(answer)}

    async def end_call(self, call_id: str, *, domain: str = "~", user: str = "~") -> dict[str, Any]:
        """Hangs up."""
        path = join("domains", domain, "users", user, "calls", call_id)
        return as_object(await self._client.request("DELETE", path))
