"""Messages and message sessions: sending exactly once, and reading."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any
from weakref import WeakValueDictionary

from netsapiens_asyncio import _inputs as inputs
from netsapiens_asyncio._address import join
from netsapiens_asyncio._paging import PAGE, check_limit, read_pages, take
from netsapiens_asyncio.auth import NetsapiensAPI, as_client
from netsapiens_asyncio.clock import parse_time
from netsapiens_asyncio.errors import NetsapiensError, NotApplied, NotFound, OutcomeUnknown, ServerError
from netsapiens_asyncio.records import Message, MessageSession, as_list, as_object, put_right

MAX_MEDIA = 5 * 1024 * 1024  # bytes
LOOKS = (0.2, 0.5, 1.0, 2.0)  # waits in seconds between looks for a message: the PBX writes asynchronously
SAME_CLOCK = 2.0  # seconds a Date header can be off: it has whole seconds, rounded down
OTHER_CLOCK = 120.0  # seconds allowed when the PBX told no time
REMEMBERED = 1_000  # sends


class MessageAPI:
    """Messages of the account.

    Args:
        auth_client: a `NetsapiensAPI`, or the dictionary its `get_token()` returned.
        max_media_bytes: larger media is refused before it is sent.
    """

    def __init__(
        self, auth_client: NetsapiensAPI | Mapping[str, Any], *, max_media_bytes: int = MAX_MEDIA
    ) -> None:
        self._client = as_client(auth_client)
        self._max_media = max_media_bytes
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._accepted: deque[tuple[str, float]] = deque(
            maxlen=REMEMBERED
        )  # sends whose message id we were not told
        self._claimed: deque[str] = deque(maxlen=REMEMBERED)  # ids of messages that belong to a send

    async def send_message(
        self,
        message_type: str,
        message: str,
        destination: str | list[str],
        from_number: str | None = None,
        messagesession: str | None = None,
        data: str | None = None,
        mime_type: str | None = None,
        size: int | None = None,
        *,
        confirm: bool = False,
    ) -> dict[str, Any]:
        """Sends one message, once.

        A send is never repeated unless the PBX refused it or was not reached at all. When the answer is lost, the
        message is looked for in its session: found, it is returned as if it had been the answer.

        Args:
            message_type: chat, sms, mms, chat-media or chat-video.
            message: the text.
            destination: a number (sms, mms) or user (chat), or several.
            from_number: one of the account's numbers; required for sms and mms.
            messagesession: the session to send in; a new one without it.
            data: the media in base64; passed on as it is.
            mime_type: of the media, such as image/jpeg.
            size: of the media in bytes.
            confirm: look for the message also after "Accepted", which says nothing of having been done.

        Returns:
            The message, or `{"code": 202, "message": "Accepted"}`, as the PBX answers.

        Raises:
            InvalidInput: (a ValueError) an argument is refused; nothing was sent.
            OutcomeUnknown: the answer was lost and the message is not (yet) to be seen.
            NotApplied: with `confirm`, accepted and not to be seen.
            ApiError, AuthenticationError, Unreachable
        """
        body = self._compose(message_type, message, destination, from_number, data, mime_type, size)
        session = None if messagesession is None else inputs.check_session(messagesession)
        key = _digest(body, session)
        # Two equal sends at a time could not be told apart if one of them were lost.
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            return await self._send(body, session, key, confirm=confirm)

    def _compose(
        self,
        message_type: str,
        message: str,
        destination: str | list[str],
        from_number: str | None,
        data: str | None,
        mime_type: str | None,
        size: int | None,
    ) -> dict[str, Any]:
        inputs.check_message_type(message_type)
        inputs.check_media(message_type, data, mime_type, size, self._max_media)
        body = {
            "type": message_type,
            "message": inputs.check_text(message),
            "destination": inputs.check_destinations(destination, message_type),
            "from-number": inputs.check_from_number(from_number, message_type),
            "data": data,
            "mime-type": mime_type,
            "size": size,
        }
        return {name: value for name, value in body.items() if value is not None}

    async def _send(
        self, body: dict[str, Any], session: str | None, key: str, *, confirm: bool
    ) -> dict[str, Any]:
        sent_at = self._pbx_time()
        path = join("domains", "~", "users", "~", "messages")
        if session is not None:
            path = join("domains", "~", "users", "~", "messagesessions", session, "messages")
        try:
            answer = as_object(await self._client.request("POST", path, json=body))
        except OutcomeUnknown as error:
            found = await self._look(body, session, key, sent_at)
            if found is None:
                raise
            del error
            return found
        except ServerError as error:
            found = await self._look(body, session, key, sent_at) if error.may_have_happened else None
            if found is None:
                raise
            return found
        return await self._keep(answer, body, session, key, sent_at, confirm=confirm)

    async def _keep(
        self,
        answer: dict[str, Any],
        body: dict[str, Any],
        session: str | None,
        key: str,
        sent_at: float,
        *,
        confirm: bool,
    ) -> dict[str, Any]:
        if "messagesession-id" in answer:
            answer = dict(put_right(answer, Message))
            self._claimed.append(str(answer.get("id")))
            return answer
        if not confirm:
            self._accepted.append((key, sent_at))
            return answer
        found = await self._look(body, session, key, sent_at)
        if found is None:
            raise NotApplied("the PBX accepted the message, and it cannot be seen in its session")
        return found

    def _pbx_time(self) -> float:
        return self._client.clock.time() + (self._client.clock_offset or 0.0)

    async def _look(
        self, body: dict[str, Any], session: str | None, key: str, sent_at: float
    ) -> dict[str, Any] | None:
        """The message that a send without a clear answer produced, None when it cannot be seen."""
        for wait in LOOKS:
            await self._client.clock.sleep(wait)
            try:
                found = await self._find(body, session, key, sent_at)
            except NetsapiensError:
                continue  # the PBX is still in trouble; the next look may succeed
            if found is not None:
                self._claimed.append(str(found.get("id")))
                return dict(found)
        return None

    async def _find(
        self, body: dict[str, Any], session: str | None, key: str, sent_at: float
    ) -> Message | None:
        since = sent_at - (OTHER_CLOCK if self._client.clock_offset is None else SAME_CLOCK)
        sessions = [session] if session is not None else await self._recent_sessions(body, since)
        matches = [
            message
            for each in sessions
            for message in await self._messages_of(each)
            if str(message.get("id")) not in self._claimed and _matches(message, body, since)
        ]
        others = sum(1 for other, at in self._accepted if other == key and at >= since)
        return matches[0] if len(matches) > others else None

    async def _recent_sessions(self, body: dict[str, Any], since: float) -> list[str]:
        path = join("domains", "~", "users", "~", "messagesessions")
        sessions = as_list(await self._client.request("GET", path, params={"limit": 100}), MessageSession)
        wanted = {_bare(each) for each in body["destination"]}
        return [
            each["messagesession-id"]
            for each in sessions
            if wanted <= {_bare(one) for one in str(each.get("messagesession-remote") or "").split(",")}
            and (parse_time(_last(each)) or since) >= since
        ]

    async def _messages_of(self, session: str) -> list[Message]:
        path = join("domains", "~", "users", "~", "messagesessions", session, "messages")
        try:
            return as_list(await self._client.request("GET", path, params={"limit": 100}), Message)
        except NotFound:
            return []

    async def get_messages(
        self,
        messagesession: str | None = None,
        domain: str = "~",
        user: str | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Message sessions; with `messagesession` the messages of that session.

        Args:
            messagesession: the session to read.
            domain: `~` is the account's own.
            user: only this user's sessions; with `messagesession`, whose session it is (`~`, oneself, by default).
            limit: at most so many; all of them without it, read by pages.

        Raises:
            InvalidInput: (a ValueError) the session id or the limit is refused.
            ApiError, AuthenticationError, Unreachable, NoAnswer
        """
        if messagesession is not None:
            records: AsyncIterator[Any] = self.iter_messages(
                messagesession, domain=domain, user=user or "~", page=_page(limit)
            )
        else:
            records = self.iter_sessions(domain=domain, user=user, page=_page(limit))
        return await take(records, limit)

    def iter_sessions(
        self, *, domain: str = "~", user: str | None = None, page: int = PAGE
    ) -> AsyncIterator[MessageSession]:
        """Every message session of a domain, or of one of its users, page by page."""
        owner = ("domains", domain) if user is None else ("domains", domain, "users", user)
        return self._pages(join(*owner, "messagesessions"), MessageSession, "messagesession-id", page)

    def iter_messages(
        self, messagesession: str, *, domain: str = "~", user: str = "~", page: int = PAGE
    ) -> AsyncIterator[Message]:
        """Every message of a session, page by page."""
        session = inputs.check_session(messagesession)
        path = join("domains", domain, "users", user, "messagesessions", session, "messages")
        return self._pages(path, Message, "id", page)

    def _pages(self, path: str, kind: type[Any], key: str, page: int) -> AsyncIterator[Any]:
        async def fetch(start: int, limit: int) -> list[Any]:
            params = {"limit": limit} if start == 0 else {"start": start, "limit": limit}
            return as_list(await self._client.request("GET", path, params=params), kind)

        return read_pages(fetch, lambda record: (record.get(key), record.get("user")), page=page)


def _page(limit: int | None) -> int:
    check_limit(limit)
    return PAGE if limit is None else min(limit, PAGE)


def _digest(body: dict[str, Any], session: str | None) -> str:
    """Tells equal sends from others without keeping their text."""
    return hashlib.sha256(repr((session, sorted(body.items()))).encode()).hexdigest()


def _bare(number: str) -> str:
    return number.strip().lstrip("+").partition("@")[0]


def _last(session: MessageSession) -> object:
    # Cores before 45 say -timestamp where later ones say -datetime.
    record: Mapping[str, object] = session
    return record.get("messagesession-last-datetime") or record.get("messagesession-last-timestamp")


def _matches(message: Message, body: dict[str, Any], since: float) -> bool:
    """Whether a message of a session can be the one that was sent as `body`, not before `since` on the PBX's clock."""
    at = parse_time(message.get("timestamp"))
    if at is None or at < since or message.get("type") != body["type"]:
        return False
    if (message.get("text") or "") != body["message"]:
        return False
    return "from-number" not in body or _bare(str(message.get("from-number"))) == _bare(body["from-number"])
