"""Arguments, checked before anything is sent. Each refusal names the field."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from netsapiens_asyncio.errors import InvalidInput

SESSION = re.compile(r"[A-Za-z0-9_]{32,}")
NUMBER = re.compile(r"\+?[0-9]{7,15}")
ADDRESSEE = re.compile(r"[A-Za-z0-9._+-]{1,64}(?:@[A-Za-z0-9.-]{1,64})?")
MIME_TYPE = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]*")
MESSAGE_TYPES = ("chat", "sms", "mms", "chat-media", "chat-video")
TO_NUMBERS = ("sms", "mms")
WITH_MEDIA = ("mms", "chat-media")
MEDIA_FAMILIES = ("image/", "audio/", "video/", "text/", "application/pdf")
MAX_TEXT = 10_000  # characters


def check_session(value: object) -> str:
    """A session id as the PBX takes it: 32 or more letters, digits and underscores, nothing round them."""
    if not isinstance(value, str) or not SESSION.fullmatch(value):
        raise InvalidInput("messagesession", "must be at least 32 letters, digits and underscores (_)")
    return value


def check_message_type(value: str) -> str:
    if value not in MESSAGE_TYPES:
        raise InvalidInput("message_type", f"{value!r} is unknown; known are {', '.join(MESSAGE_TYPES)}")
    return value


def check_text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInput("message", "must be text")
    if len(value) > MAX_TEXT:
        raise InvalidInput("message", f"has {len(value)} characters, at most {MAX_TEXT} go out")
    return value


def check_number(field: str, value: object) -> str:
    """An optional + and 7 to 15 digits: dialled numbers, not only E.164."""
    if not isinstance(value, str) or not NUMBER.fullmatch(value):
        raise InvalidInput(field, "must be a number of 7 to 15 digits, with or without a leading +")
    return value


def check_destinations(value: str | Sequence[str], message_type: str) -> list[str]:
    """The addressees as a list: numbers for sms and mms, users for chat."""
    wanted: list[object] = [value] if isinstance(value, str) else list(value or ())
    if not wanted:
        raise InvalidInput("destination", "needs at least one addressee")
    if message_type in TO_NUMBERS:
        return [check_number("destination", each) for each in wanted]
    return [_check_addressee(each) for each in wanted]


def _check_addressee(value: object) -> str:
    if not isinstance(value, str) or not ADDRESSEE.fullmatch(value):
        raise InvalidInput("destination", "must be users such as 1001 or 1001@example.com")
    return value


def check_from_number(value: str | None, message_type: str) -> str | None:
    if message_type in TO_NUMBERS:
        if not value:
            raise InvalidInput("from_number", f"is required for {message_type}")
        return check_number("from_number", value)
    return value or None


def check_media(message_type: str, data: str | None, mime_type: str | None, size: object, most: int) -> None:
    """Media comes whole, of a plausible type, not above `most` bytes; only where the message type carries it."""
    if message_type not in WITH_MEDIA:
        _refuse_media(message_type, data, mime_type, size)
        return
    if mime_type is not None and not (
        MIME_TYPE.fullmatch(mime_type) and mime_type.startswith(MEDIA_FAMILIES)
    ):
        raise InvalidInput("mime_type", f"{mime_type!r} is no media type the PBX carries, such as image/jpeg")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        raise InvalidInput("size", "must be the number of bytes of the media")
    if data is not None and mime_type is None:
        raise InvalidInput("mime_type", "is required with data")
    if isinstance(size, int) and size > most:
        raise InvalidInput("size", f"{size} bytes are too many; at most {most} go out")
    if data is not None and len(data) * 3 // 4 > most:
        raise InvalidInput("data", f"is too large; at most {most} bytes go out")


def _refuse_media(message_type: str, data: str | None, mime_type: str | None, size: object) -> None:
    for field, value in (("data", data), ("mime_type", mime_type), ("size", size)):
        if value is not None:
            raise InvalidInput(
                field, f"a message of type {message_type} carries no media; use mms or chat-media"
            )


def check_post_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except (ValueError, AttributeError):
        good = False
    if not good or any(blank in value for blank in " \r\n\t"):
        raise InvalidInput("post_url", "must be a URL such as https://example.com/events")
    return value


def check_yes_no(field: str, value: str | None) -> str | None:
    if value not in {"yes", "no", None}:
        raise InvalidInput(field, "must be 'yes' or 'no'")
    return value


def check_counter(field: str, value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or value != 0):
        raise InvalidInput(field, "can only be reset to 0")
    return value


def spell_moment(field: str, value: datetime | str) -> str:
    """A moment as CDR queries take it: UTC with seconds. Text goes out as it is.

    Raises:
        InvalidInput: a datetime without a time zone, or text that is no time.
    """
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value.partition("[")[0])
        except ValueError:
            raise InvalidInput(field, f"{value!r} is no time such as 2024-12-09T21:00:00Z") from None
        return value
    if value.tzinfo is None:
        raise InvalidInput(field, "needs a time zone: datetime(..., tzinfo=UTC)")
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
