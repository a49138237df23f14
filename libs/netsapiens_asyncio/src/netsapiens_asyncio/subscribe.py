"""Event subscriptions: the PBX posts what happens to a URL of yours, for as long as its token lives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netsapiens_asyncio import _inputs as inputs
from netsapiens_asyncio._address import join
from netsapiens_asyncio.auth import NetsapiensAPI, as_client
from netsapiens_asyncio.errors import InvalidInput
from netsapiens_asyncio.records import Accepted, Subscription, as_list, as_one, put_right

VALID_MODELS = (
    "agent",
    "auditlog",
    "auditlog_lite",
    "call",
    "call_origid",
    "cdr",
    "message",
    "messagesession",
    "subscriber",
    "presence",
    "voicemail",
)


class SubscriptionAPI:
    """Subscriptions of the account.

    Args:
        auth_client: a `NetsapiensAPI`, or the dictionary its `get_token()` returned.
    """

    VALID_MODELS = VALID_MODELS

    def __init__(self, auth_client: NetsapiensAPI | Mapping[str, Any]) -> None:
        self._client = as_client(auth_client)

    async def create_subscription(
        self,
        model: str,
        post_url: str,
        subscription_geo_support: str | None = "yes",
        reseller: str | None = "*",
        domain: str | None = "*",
        user: str | None = "*",
        preferred_server: str | None = None,
        *,
        subscription_expires_datetime: str | None = None,
    ) -> dict[str, Any]:
        """Asks for the events of one model.

        Args:
            model: one of `VALID_MODELS`.
            post_url: where the PBX posts to.
            subscription_geo_support: "yes" or "no": whether another server takes over.
            reseller: whose events; "*" for all that the account may see.
            domain: whose events.
            user: whose events.
            preferred_server: the host that should post.
            subscription_expires_datetime: `YYYY-MM-DD HH:MM:SS`; the token's own expiry without it.

        Raises:
            InvalidInput: (a ValueError) unknown model, unusable URL.
            Conflict: an equal one exists.
            ApiError, AuthenticationError, Unreachable, OutcomeUnknown
        """
        body = {
            "model": check_model(model),
            "post-url": inputs.check_post_url(post_url),
            "subscription-geo-support": inputs.check_yes_no(
                "subscription_geo_support", subscription_geo_support
            ),
            "reseller": reseller,
            "domain": domain,
            "user": user,
            "preferred-server": preferred_server,
            "subscription-expires-datetime": subscription_expires_datetime,
        }
        answer = await self._client.request("POST", join("subscriptions"), json=_given(body))
        return dict(as_one(answer, Subscription))

    async def read_subscription(
        self, subscription_id: str | None = None
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """One subscription by its id; all of the account without an id.

        Raises:
            NotFound: there is none of that id (any more).
            ApiError, AuthenticationError, Unreachable, NoAnswer
        """
        if subscription_id is None:
            return await self.list_subscriptions()
        return await self.get_subscription(subscription_id)

    async def get_subscription(self, subscription_id: str) -> dict[str, Any]:
        """One subscription by its id."""
        return dict(
            as_one(await self._client.request("GET", join("subscriptions", subscription_id)), Subscription)
        )

    async def list_subscriptions(self) -> list[dict[str, Any]]:
        """Every subscription of the account."""
        answer = await self._client.request("GET", join("subscriptions"))
        return [dict(each) for each in as_list(answer, Subscription)]

    async def update_subscription(
        self,
        subscription_id: str,
        model: str | None = None,
        post_url: str | None = None,
        subscription_geo_support: str | None = None,
        subscription_expires_datetime: str | None = None,
        preferred_server: str | None = None,
        error_count: int | None = None,
        posts_count: int | None = None,
    ) -> dict[str, Any]:
        """Changes what is given and nothing else. The counters can only be reset: to 0.

        Raises:
            InvalidInput: (a ValueError) an argument is refused, or none is given.
            NotFound, ApiError, AuthenticationError, Unreachable, NoAnswer
        """
        body = _given(
            {
                "model": None if model is None else check_model(model),
                "post-url": None if post_url is None else inputs.check_post_url(post_url),
                "subscription-geo-support": inputs.check_yes_no(
                    "subscription_geo_support", subscription_geo_support
                ),
                "subscription-expires-datetime": subscription_expires_datetime,
                "preferred-server": preferred_server,
                "error-count": inputs.check_counter("error_count", error_count),
                "posts-count": inputs.check_counter("posts_count", posts_count),
            }
        )
        if not body:
            raise InvalidInput("update", "give at least one field to change")
        answer = await self._client.request("PUT", join("subscriptions", subscription_id), json=body)
        return dict(put_right(answer, Accepted))

    async def delete_subscription(self, subscription_id: str) -> dict[str, Any]:
        """Ends a subscription.

        Raises:
            NotFound, ApiError, AuthenticationError, Unreachable, NoAnswer
        """
        answer = await self._client.request("DELETE", join("subscriptions", subscription_id))
        return dict(put_right(answer, Accepted))


def check_model(value: str) -> str:
    """One of `VALID_MODELS`.

    Raises:
        InvalidInput
    """
    if value not in VALID_MODELS:
        raise InvalidInput("model", f"{value!r} is unknown; known are {', '.join(VALID_MODELS)}")
    return value


def _given(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
