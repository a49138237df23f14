"""What the PBX answers, key by key. Every key may be missing: cores of different versions send different sets.

At run time these are plain dictionaries with all the keys that the PBX sent. Text and whole numbers are put right
on arrival, because the PBX sends digits now as text and now as JSON numbers.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, TypedDict, TypeVar, cast, get_args, get_type_hints

from netsapiens_asyncio.errors import InvalidResponse

YesNo = Literal["yes", "no"]


class Accepted(TypedDict):
    code: int
    message: str


class Count(TypedDict, total=False):
    total: int
    minutes: int
    seconds: int


Message = TypedDict(
    "Message",
    {
        "id": str,
        "timestamp": str,
        "type": str,
        "domain": str,
        "direction": str | None,
        "from-number": str | None,
        "from-user-id": str | None,
        "dialed": str | None,
        "text": str | None,
        "terminating-user-id": str | None,
        "terminating-number": str | None,
        "status": str,
        "media-type": str | None,
        "media-size": int | None,
        "messagesession-id": str,
        "messagesession-participants": str | None,
        "messagesession-reciever-hostname": str,
    },
    total=False,
)
MessageSession = TypedDict(
    "MessageSession",
    {
        "user": str,
        "domain": str,
        "messagesession-id": str,
        "messagesession-remote": str | None,
        "messagesession-sms-number": str | None,
        "messagesession-last-datetime": str | None,
        "messagesession-start-datetime": str | None,
        "messagesession-last-message": str | None,
        "messagesession-last-sender": str | None,
        "messagesession-last-status": str | None,
        "messagesession-last-type": str | None,
        "messagesession-muted": str,
        "messagesession-type": str,
        "messagesession-name": str | None,
        "messagesession-participants": str | None,
    },
    total=False,
)
Subscription = TypedDict(
    "Subscription",
    {
        "id": str,
        "model": str,
        "post-url": str,
        "subscription-geo-support": YesNo,
        "user-scope": str,
        "reseller": str,
        "domain": str,
        "user": str,
        "preferred-server": str,
        "current-active-server": str,
        "status": str,
        "error-count": int,
        "posts-count": int,
        "subscription-creation-datetime": str,
        "subscription-expires-datetime": str,
    },
    total=False,
)
Cdr = TypedDict(
    "Cdr",
    {
        "id": str,
        "domain": str,
        "reseller": str,
        "call-direction": int,
        "call-leg-ordinal-index": int,
        "call-start-datetime": str,
        "call-answer-datetime": str | None,
        "call-disconnect-datetime": str | None,
        "call-disconnect-reason-text": str | None,
        "call-talking-duration-seconds": int,
        "call-total-duration-seconds": int,
        "call-on-hold-duration-seconds": int,
        "call-orig-call-id": str,
        "call-orig-caller-id": str | None,
        "call-orig-domain": str | None,
        "call-orig-from-user": str | None,
        "call-orig-to-user": str | None,
        "call-orig-user": str | None,
        "call-term-call-id": str | None,
        "call-term-caller-id": str | None,
        "call-term-domain": str | None,
        "call-term-user": str | None,
        "call-term-to-uri": str | None,
        "call-through-action": str | None,
        "call-through-user": str | None,
        "call-parent-cdr-id": str | None,
        "call-account-code": str | None,
        "hide-from-results": int,
    },
    total=False,
)


class UserCdr(TypedDict, total=False):
    """What `GET /domains/{domain}/users/{user}/cdrs` answers: another, shorter record."""

    uid: str
    domain: str
    cdr_id: str
    type: int
    time_start: int
    time_answer: int
    time_release: int
    duration: int
    orig_to_uri: str
    number: str | None
    name: str | None
    onnet: int
    hide: int
    tag: str


ActiveCall = TypedDict(
    "ActiveCall",
    {
        "core-server": str,
        "call-session-id": str,
        "call-orig-call-id": str,
        "call-orig-user": str | None,
        "call-orig-domain": str | None,
        "call-term-call-id": str | None,
        "call-term-user": str | None,
        "call-term-domain": str | None,
        "caller-id-number": str | None,
        "call-dialed-number": str | None,
        "call-by-action": str | None,
        "call-by-user": str | None,
        "call-start-datetime": str,
        "call-answer-datetime": str | None,
        "call-orig-info": str | None,
        "call-audio-codec": str | None,
    },
    total=False,
)
User = TypedDict(
    "User",
    {
        "domain": str,
        "user": str,
        "name-first-name": str,
        "name-last-name": str,
        "login-username": str,
        "email-address": str,
        "user-scope": str,
        "department": str,
        "site": str,
        "time-zone": str,
        "caller-id-number": str,
        "caller-id-number-emergency": str,
        "area-code": str,
        "emergency-address-id": str | None,
        "voicemail-enabled": YesNo,
    },
    total=False,
)
Device = TypedDict(
    "Device",
    {
        "device": str,
        "user": str,
        "domain": str,
        "device-sip-registration-uri": str,
        "device-sip-registration-state": str,
        "device-sip-registration-contact": str,
        "device-sip-registration-datetime": str | None,
        "device-sip-registration-expires-datetime": str | None,
        "device-sip-registration-user-agent": str,
        "device-provisioning-mac-address": str,
        "device-models-model": str,
        "caller-id-number-emergency": str,
        "emergency-address-id": str | None,
    },
    total=False,
)
Domain = TypedDict(
    "Domain",
    {
        "domain": str,
        "reseller": str,
        "description": str,
        "domain-type": str,
        "time-zone": str,
        "dial-plan": str,
        "dial-policy": str,
        "area-code": str,
        "caller-id-name": str,
        "caller-id-number": str,
        "caller-id-number-emergency": str,
        "email-send-from-address": str,
    },
    total=False,
)
PhoneNumber = TypedDict(
    "PhoneNumber",
    {
        "phonenumber": str,
        "domain": str,
        "enabled": YesNo,
        "dial-rule-application": str,
        "dial-rule-parameter": str,
        "dial-rule-translation-destination-user": str,
        "dial-rule-translation-destination-host": str,
        "dial-rule-translation-source-name": str,
        "dial-rule-description": str,
    },
    total=False,
)
SmsNumber = TypedDict(
    "SmsNumber",
    {
        "number": str,
        "domain": str,
        "application": str,
        "dest": str,
        "carrier": str,
        "mms-capable": bool,
        "group-mms-capable": bool,
    },
    total=False,
)
T = TypeVar("T")


@cache
def _digits_as(kind: type) -> tuple[frozenset[str], frozenset[str]]:
    """The keys of a record that are text, and those that are whole numbers."""
    hints = {key: {hint, *get_args(hint)} for key, hint in get_type_hints(kind).items()}
    text = frozenset(key for key, hint in hints.items() if str in hint)
    return text, frozenset(key for key, hint in hints.items() if int in hint)


def put_right(value: Any, kind: type[T]) -> T:
    """One record of the PBX, its digits as the record type says. Changes `value` itself.

    Raises:
        InvalidResponse: `value` is no object.
    """
    if not isinstance(value, dict):
        raise InvalidResponse(f"expected one {kind.__name__}, the PBX answered {type(value).__name__}")
    text, whole = _digits_as(cast("Any", kind))
    for key, content in value.items():
        if (type(content) is int or type(content) is float) and key in text:
            value[key] = str(content)
        elif type(content) is str and key in whole and content.lstrip("-").isdigit():
            value[key] = int(content)
    return cast("T", value)


def as_object(answer: Any) -> dict[str, Any]:
    """An answer that is a record or an acknowledgement, as it came."""
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        raise InvalidResponse(f"expected an object, the PBX answered {type(answer).__name__}")
    return answer


def as_list(answer: Any, kind: type[T]) -> list[T]:
    """The records of a list route, which answers a bare object when there is only one, and null when there is none."""
    if answer is None or answer == {}:
        return []
    if isinstance(answer, dict):
        if set(answer) <= {"code", "message"}:  # "no records found", said with a 200
            return []
        answer = [answer]
    if not isinstance(answer, list):
        raise InvalidResponse(f"expected a list of {kind.__name__}, the PBX answered {type(answer).__name__}")
    return [put_right(item, kind) for item in answer]


def as_one(answer: Any, kind: type[T]) -> T:
    """The record of a route for one, which may answer a list of one."""
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    return put_right(answer, kind)
