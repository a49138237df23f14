"""Keeps one event subscription alive, and fetches what was not posted.

A subscription ends with the token that made it (an hour), is lost when a PBX restarts, and can fall silent while it
looks alive. The keeper looks at it every minute: renews it before its end, makes it again when it is gone, and
reads the PBX's history whenever events may have been missed, and every quarter of an hour in any case: that shows
a PBX that stopped posting. Events therefore arrive at least once; within one keeper's memory exactly once.

History exists for the models cdr and message. For the others `on_gap` tells from when to when nothing is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, Self

from netsapiens_asyncio.auth import NetsapiensAPI
from netsapiens_asyncio.cdrs import CdrsAPI
from netsapiens_asyncio.clock import parse_time, spell_time
from netsapiens_asyncio.errors import Conflict, NetsapiensError, NotFound
from netsapiens_asyncio.events import Event, parse_events
from netsapiens_asyncio.messages import MessageAPI
from netsapiens_asyncio.subscribe import SubscriptionAPI, check_model

log = logging.getLogger("netsapiens_asyncio")

LONG_RENEWAL = 86_400.0  # seconds; with an API key there is no token to end with
REMEMBERED = 200_000  # identities


@dataclass(frozen=True, slots=True)
class Gap:
    """A span, in seconds since the epoch, in which events may not have been posted. `filled`: read from history."""

    model: str
    start: float
    end: float
    reason: str
    filled: bool


@dataclass(frozen=True, slots=True)
class KeeperTiming:
    """All in seconds.

    Attributes:
        check_every: between looks at the subscription.
        retry_every: after a failure; twice as long after each further one, up to `check_every`.
        renew_before: its end, a subscription is renewed.
        audit_every: history is compared with what was posted.
        silence_after: without an event, a model without history reports a gap.
        overlap: read again on both sides of a gap; events on their way take a moment.
        longest_call: how long before a gap a call may have begun that ended in it.
    """

    check_every: float = 60.0
    retry_every: float = 5.0
    renew_before: float = 600.0
    audit_every: float = 900.0
    silence_after: float = 3600.0
    overlap: float = 120.0
    longest_call: float = 4 * 3600.0


class History(Protocol):
    """Where missed records can be read."""

    def between(self, start: float, end: float) -> AsyncIterator[Mapping[str, Any]]: ...


class CdrHistory:
    """CDRs of calls that ended in a span."""

    def __init__(self, client: NetsapiensAPI, domain: str, longest_call: float) -> None:
        self._cdrs = CdrsAPI(client)
        self._domain = None if domain == "*" else domain
        self._longest_call = longest_call

    async def between(self, start: float, end: float) -> AsyncIterator[Mapping[str, Any]]:
        """The query goes by the beginning of calls: a long call that ended in the span began before it."""
        since = datetime.fromtimestamp(int(start - self._longest_call), UTC)
        until = datetime.fromtimestamp(int(end) + 1, UTC)
        async for record in self._cdrs.iterate(since, until, domain=self._domain):
            ended_at = parse_time(record.get("call-disconnect-datetime"))
            if ended_at is None or ended_at >= start:
                yield record


class MessageHistory:
    """Messages of a span, from the sessions that changed since."""

    def __init__(self, client: NetsapiensAPI, domain: str) -> None:
        self._messages = MessageAPI(client)
        self._domain = domain

    async def between(self, start: float, end: float) -> AsyncIterator[Mapping[str, Any]]:
        async for session in self._messages.iter_sessions(domain=self._domain):
            last = parse_time(session.get("messagesession-last-datetime"))
            if last is not None and last < start:
                continue
            owner = session.get("user", "~")
            domain = session.get("domain", self._domain)
            async for message in self._messages.iter_messages(
                session["messagesession-id"], domain=domain, user=owner
            ):
                at = parse_time(message.get("timestamp"))
                if at is None or start <= at <= end + 1:
                    yield message


class SubscriptionKeeper:
    """One subscription that stays.

        keeper = SubscriptionKeeper(client, "cdr", "https://me.example.com/events/cdr", on_event=store)
        async with keeper:            # checks in the background
            ...                       # your receiver calls: await keeper.receive(body)

    Args:
        client: the account.
        model, post_url, domain, user, reseller, preferred_server: as in `create_subscription`.
        on_event: gets every event. What it raises reaches `receive`: answer the post with an error then. What it
            raises over an event from history is noted as trouble, and the event comes again.
        on_gap: is told of every span in which events may not have been posted.
        since: events from then on are fetched at the start: where the last run ended.
        timing: see `KeeperTiming`.
        history: another source of missed records.
    """

    def __init__(
        self,
        client: NetsapiensAPI,
        model: str,
        post_url: str,
        *,
        on_event: Callable[[Event], Awaitable[None]],
        on_gap: Callable[[Gap], None] | None = None,
        domain: str = "*",
        user: str = "*",
        reseller: str = "*",
        preferred_server: str | None = None,
        since: datetime | None = None,
        timing: KeeperTiming | None = None,
        history: History | None = None,
    ) -> None:
        self.model = check_model(model)
        self.subscription_id: str | None = None
        self.subscriptions_made = 0
        self.renewals = 0
        self._client = client
        self._api = SubscriptionAPI(client)
        self._wanted = {
            "model": model,
            "post_url": post_url,
            "domain": domain,
            "user": user,
            "reseller": reseller,
            "preferred_server": preferred_server,
        }
        self._on_event = on_event
        self._on_gap = on_gap
        self._timing = timing or KeeperTiming()
        self._history = history or self._own_history(domain)
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._delivering = asyncio.Lock()
        self._proven_until: float | None = None if since is None else since.timestamp()
        self._heard_at = 0.0  # the last post
        self._errors = 0
        self._posts = 0
        self._trouble: str | None = None if since is None else "start"
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    def _own_history(self, domain: str) -> History | None:
        if self.model == "cdr":
            return CdrHistory(self._client, domain, self._timing.longest_call)
        return MessageHistory(self._client, domain) if self.model == "message" else None

    async def receive(self, body: bytes | str | Mapping[str, Any] | list[Any]) -> int:
        """Takes one post of the PBX. Returns how many of its events were new.

        Raises:
            InvalidResponse: not JSON. What `on_event` raises.
        """
        events = parse_events(body, self.model)
        self._heard_at = self._now()
        return await self._deliver(events)

    async def _deliver(self, events: list[Event]) -> int:
        new = 0
        async with self._delivering:  # a post and history may bring the same event at once
            for event in events:
                if event.identity is not None and event.identity in self._seen:
                    continue
                await self._on_event(event)
                self._remember(event.identity)
                new += 1
        return new

    def _remember(self, identity: str | None) -> None:
        if identity is None:
            return
        self._seen[identity] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _now(self) -> float:
        return self._client.clock.time()

    async def run(self) -> None:
        """Checks for ever."""
        while True:
            await self.check()
            await self._client.clock.sleep(self._pause())

    def _pause(self) -> float:
        """Longer with every failure in a row: a refused login repeated quickly could lock the account."""
        patience = self._timing.retry_every * 2 ** min(self._failures - 1, 10)
        return min(self._timing.check_every, patience) if self._failures else self._timing.check_every

    @property
    def trouble(self) -> str | None:
        """Why the keeper cannot vouch for the events at present; None when all is well."""
        return self._trouble

    async def check(self) -> None:
        """One look: the subscription is there, sound and renewed, and nothing was missed; or the trouble is noted."""
        now = self._now()
        if self._proven_until is None:
            self._proven_until = self._heard_at = now
        try:
            reason = await self._look(now)
            await self._prove(self._proven_until, now, self._trouble or reason)
        except Exception as error:  # noqa: BLE001 - on_event may raise anything, and the keeper has to outlive it
            if self._failures == 0:
                log.warning("subscription for %s: %s; trying again", self.model, type(error).__name__)
            ours = isinstance(error, NetsapiensError)
            self._trouble = self._trouble or ("unreachable" if ours else "handler failed")
            self._failures += 1
            return
        self._trouble = None
        self._failures = 0

    async def _prove(self, since: float, now: float, reason: str | None) -> None:
        """Makes sure of the time since the last proof. Without history a sound subscription is all the proof there is."""
        if self._history is None:
            silent = now - self._heard_at >= self._timing.silence_after
            if reason is not None or silent:
                self._tell(min(since, self._heard_at) if silent else since, now, reason or "silence")
            self._heard_at = now if silent else self._heard_at
            self._proven_until = now
            return
        if reason is None and now - since < self._timing.audit_every:
            return
        missed = await self._catch_up(self._history, since - self._timing.overlap, now)
        self._proven_until = now
        if reason is not None or missed:
            self._tell(since - self._timing.overlap, now, reason or "not posted")
        if reason is None and missed:
            log.warning("subscription for %s: %d events were not posted; it is made anew", self.model, missed)
            await self._remake()

    def _tell(self, start: float, end: float, reason: str) -> None:
        if self._on_gap is not None:
            self._on_gap(Gap(self.model, start, end, reason, filled=self._history is not None))

    async def _look(self, now: float) -> str | None:
        """Makes the subscription be there. Answers why events may be missing, None when there is no sign of it."""
        if self.subscription_id is None:
            await self._make()
            return None
        try:
            subscription = await self._api.get_subscription(self.subscription_id)
        except NotFound:
            await self._make()
            return "gone"
        expires_at = parse_time(subscription.get("subscription-expires-datetime"))
        if expires_at is not None and expires_at <= now:
            await self._remake()
            return "expired"
        ending = expires_at is not None and expires_at - now <= self._timing.renew_before
        if expires_at is not None and ending and not await self._renew(expires_at):
            await self._remake()
            return "not renewed"
        return self._read_counters(subscription)

    def _read_counters(self, subscription: Mapping[str, Any]) -> str | None:
        failed = int(subscription.get("error-count") or 0)
        posted = int(subscription.get("posts-count") or 0)
        before_failed, before_posted = self._errors, self._posts
        self._errors, self._posts = failed, posted
        if failed > before_failed or subscription.get("status") == "error":
            return "posts failed"
        return "counters fell" if posted < before_posted else None

    async def _make(self) -> None:
        """Creates the subscription, or takes over the equal one that exists."""
        try:
            made = await self._api.create_subscription(**self._wanted)  # type: ignore[arg-type]
        except Conflict:
            made = await self._find_equal()
        if "id" not in made:  # accepted, and not answered with the record
            made = await self._find_equal()
        self.subscription_id = str(made["id"])
        self.subscriptions_made += 1
        self._errors = int(made.get("error-count") or 0)
        self._posts = int(made.get("posts-count") or 0)

    async def _find_equal(self) -> dict[str, Any]:
        wanted = {"model": self.model, "post-url": self._wanted["post_url"]}
        wanted |= {key: self._wanted[key] for key in ("domain", "user")}
        for each in await self._api.list_subscriptions():
            if all(each.get(key) in {value, None} for key, value in wanted.items()):
                return each
        raise NotFound(
            status=404,
            code=404,
            message="the PBX says that the subscription exists, and does not list it",
            method="GET",
            path="/subscriptions",
            body="",
            request_id="",
        )

    async def _remake(self) -> None:
        if self.subscription_id is not None:
            with contextlib.suppress(NotFound):
                await self._api.delete_subscription(self.subscription_id)
        self.subscription_id = None
        await self._make()

    async def _renew(self, expires_at: float) -> bool:
        """Moves the end on, and looks whether it moved: "Accepted" alone means little."""
        wanted = await self._next_end()
        if wanted <= expires_at or self.subscription_id is None:
            return True
        await self._api.update_subscription(
            self.subscription_id, subscription_expires_datetime=spell_time(wanted)
        )
        found = await self._api.get_subscription(self.subscription_id)
        moved = (parse_time(found.get("subscription-expires-datetime")) or 0.0) > expires_at
        self.renewals += moved
        return moved

    async def _next_end(self) -> float:
        """When the account's token ends, after a new one when the present one is about to."""
        token = await self._client.check_token_expiry()
        end = parse_time(token.get("expires_at"))
        if end is None:
            return self._now() + LONG_RENEWAL
        if end - self._now() <= 2 * self._timing.renew_before:
            end = parse_time((await self._client.refresh_access_token()).get("expires_at"))
        return end or self._now() + LONG_RENEWAL

    async def _catch_up(self, history: History, start: float, end: float) -> int:
        """Reads history. Returns how many of its events should have been posted by now, and were not."""
        missed = 0
        async for record in history.between(start, end):
            events = parse_events(record, self.model)
            new = await self._deliver(events)
            # What is a moment old may still be on its way.
            missed += new and (events[0].at or 0.0) < end - self._timing.overlap
        return missed

    async def __aenter__(self) -> Self:
        await self.check()
        self._task = asyncio.create_task(self.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
