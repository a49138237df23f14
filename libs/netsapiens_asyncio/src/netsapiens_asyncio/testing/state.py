"""What the fake PBX knows: accounts, tokens, directory, messages, subscriptions, CDRs."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from netsapiens_asyncio.clock import Clock, parse_time, spell_time

TWENTY_YEARS = 20 * 365 * 86_400.0
CLIENT = ("your_client_id", "your_client_secret")
API_KEY = "nsd_your_api_key"
PASSCODE = "110124"
DOCUMENTED_SUBSCRIPTION = "603559d421797c7b09b904ea9b6e6079"
SENDING, SENT = 1.0, 3.0  # seconds of age at which a message is sent, and delivered
UNDELIVERABLE = "0000"  # numbers that end so never get their message


@dataclass(frozen=True, slots=True)
class Account:
    """Who logs on."""

    login: str
    password: str
    user: str
    domain: str
    scope: str = "Super User"
    with_passcode: bool = False


@dataclass(slots=True)
class Token:
    """A live token. `expires_at` in seconds since the epoch."""

    account: Account
    expires_at: float
    refresh: str = ""
    half: bool = False  # opens only the passcode step


@dataclass(slots=True)
class Cdrs:
    """CDRs in the order of their beginning, each with its JSON ready."""

    keys: list[tuple[float, int]] = field(default_factory=list)
    records: list[tuple[dict[str, Any], bytes]] = field(default_factory=list)
    order: Iterator[int] = field(default_factory=itertools.count)

    def add(self, record: dict[str, Any], started_at: float) -> None:
        key = (started_at, next(self.order))
        at = bisect.bisect(self.keys, key)
        self.keys.insert(at, key)
        self.records.insert(at, (record, json.dumps(record).encode()))

    def between(self, start: float, end: float) -> list[tuple[dict[str, Any], bytes]]:
        """Newest first."""
        low = bisect.bisect_left(self.keys, (start, -1))
        high = bisect.bisect_right(self.keys, (end, 1 << 62))
        return self.records[low:high][::-1]


class State:
    """All of it, with the documented accounts and sessions in it."""

    def __init__(self, clock: Clock, token_seconds: float) -> None:
        self.clock = clock
        self.token_seconds = token_seconds
        self.accounts: dict[str, Account] = {}
        self.tokens: dict[str, Token] = {}
        self.refreshes: dict[str, Account] = {}
        self.api_keys: dict[str, Account] = {}
        self.domains: dict[str, dict[str, Any]] = {}
        self.users: dict[tuple[str, str], dict[str, Any]] = {}
        self.devices: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.numbers: dict[str, dict[str, Any]] = {}
        self.sms_numbers: dict[str, dict[str, Any]] = {}
        self.sessions: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.messages: dict[str, list[dict[str, Any]]] = {}
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.calls: dict[str, dict[str, Any]] = {}
        self.cdrs = Cdrs()
        self.ids = itertools.count(20_202_178_326)
        self._seed()

    # What the documents name.

    def _seed(self) -> None:
        self.add_account(Account("your_username", "your_password", "123", "testdomain.com"))
        self.add_account(
            Account("your_username_mfa", "your_password", "124", "testdomain.com", with_passcode=True)
        )
        self.api_keys[API_KEY] = self.accounts["your_username"]
        for domain, user in (("testdomain.com", "123"), ("company.com", "101"), ("2132560400.com", "103")):
            self.add_domain(domain)
            self.add_user(domain, user)
        self.add_number("testdomain.com", "1987654321")
        for number in ("1987654321", "1234567899"):
            self.add_sms_number("testdomain.com", number, "123")
        for domain, user, session in (
            ("testdomain.com", "123", "2d51df1810812ace8d138a2558d0bd79"),
            ("2132560400.com", "103", "173ff396f3580f30dfef32be9838e836"),
        ):
            self.open_session(domain, user, session, "sms", ["12135550100"], "1987654321")
            self.add_message(
                domain, user, session, {"type": "sms", "message": "Hello", "destination": ["12135550100"]}
            )

    def add_account(self, account: Account) -> None:
        self.accounts[account.login] = account

    def add_domain(self, domain: str, **fields: Any) -> dict[str, Any]:
        record = {
            "domain": domain,
            "reseller": "MainReseller",
            "description": domain,
            "time-zone": "US/Pacific",
        }
        self.domains[domain] = {**record, **fields}
        return self.domains[domain]

    def add_user(self, domain: str, user: str, **fields: Any) -> dict[str, Any]:
        record = {
            "domain": domain,
            "user": user,
            "name-first-name": "Hu",
            "name-last-name": "Man",
            "login-username": f"{user}@{domain}",
            "email-address": f"{user}@example.com",
            "user-scope": "Basic User",
            "caller-id-number": "18585550100",
        }
        self.users[domain, user] = {**record, **fields}
        return self.users[domain, user]

    def add_device(self, domain: str, user: str, device: str, **fields: Any) -> dict[str, Any]:
        record = {
            "device": device,
            "user": user,
            "domain": domain,
            "device-sip-registration-uri": f"sip:{device}@{domain}",
            "device-sip-registration-state": "unregistered",
        }
        self.devices[domain, user, device] = {**record, **fields}
        return self.devices[domain, user, device]

    def add_number(self, domain: str, number: str, **fields: Any) -> dict[str, Any]:
        record = {
            "phonenumber": number,
            "domain": domain,
            "enabled": "yes",
            "dial-rule-application": "available-number",
            "dial-rule-translation-destination-user": "[*]",
        }
        self.numbers[number] = {**record, **fields}
        return self.numbers[number]

    def add_sms_number(self, domain: str, number: str, dest: str) -> None:
        self.sms_numbers[number] = {
            "number": number,
            "domain": domain,
            "application": "user" if dest else "available",
            "dest": dest,
            "carrier": "bandwidth",
            "mms-capable": True,
            "group-mms-capable": False,
        }

    # Tokens.

    def issue(self, account: Account, *, half: bool = False) -> tuple[str, Token]:
        """A new token; the one before stays good until it expires."""
        name = secrets.token_hex(16)
        refresh = secrets.token_hex(16)
        token = Token(account, self.clock.time() + self.token_seconds, refresh, half)
        self.tokens[name] = token
        self.refreshes[refresh] = account
        return name, token

    def spell(self, name: str, token: Token) -> dict[str, Any]:
        """The token answer."""
        account = token.account
        uid = f"{account.user}@{account.domain}"
        return {
            "username": uid,
            "user": account.user,
            "territory": "MainReseller",
            "domain": account.domain,
            "department": "n/a",
            "uid": uid,
            "login": uid,
            "scope": "mfa_required" if token.half else account.scope,
            "user_email": "Hu.Man@DefinitlyNormal.com",
            "displayName": "Hu Man",
            "access_token": name,
            "expires_in": int(self.token_seconds),
            "token_type": "Bearer",
            "refresh_token": token.refresh,
            "client_id": CLIENT[0],
            "apiversion": "Version: 44.1.2",
        }

    def find_token(self, name: str) -> Token | None:
        """A token or API key that is good now."""
        if name in self.api_keys:
            return Token(self.api_keys[name], self.clock.time() + TWENTY_YEARS)
        token = self.tokens.get(name)
        return token if token and token.expires_at > self.clock.time() and not token.half else None

    # Messages.

    def open_session(
        self, domain: str, user: str, session: str, kind: str, remote: list[str], number: str
    ) -> dict[str, Any]:
        now = self.stamp()
        record = {
            "user": user,
            "domain": domain,
            "messagesession-id": session,
            "messagesession-remote": ",".join(remote),
            "messagesession-sms-number": number,
            "messagesession-last-datetime": now,
            "messagesession-start-datetime": now,
            "messagesession-last-message": None,
            "messagesession-last-sender": None,
            "messagesession-last-status": None,
            "messagesession-muted": "no",
            "messagesession-last-email-reminder-datetime": None,
            "messagesession-reciever-hostname": "core1.example.com",
            "messagesession-queue-termination": None,
            "messagesession-queue-status": None,
            "messagesession-queue-session-id": None,
            "messagesession-agent-start-datetime": None,
            "messagesession-last-type": kind,
            "messagesession-last-media-type": None,
            "messagesession-last-media-size": None,
            "messagesession-type": "group-chat" if len(remote) > 1 else "",
            "messagesession-name": "",
            "messagesession-participants": ",".join(remote),
        }
        self.sessions[domain, user, session] = record
        self.messages.setdefault(session, [])
        return record

    def add_message(self, domain: str, user: str, session: str, body: dict[str, Any]) -> dict[str, Any]:
        """One message out, newest first in its session."""
        destination = body["destination"]
        wanted = destination if isinstance(destination, list) else [str(destination)]
        number = str(body.get("from-number") or "")
        if (domain, user, session) not in self.sessions:
            self.open_session(domain, user, session, body["type"], wanted, number)
        message = {
            "id": str(next(self.ids)),
            "timestamp": self.stamp(),
            "type": body["type"],
            "domain": domain,
            "direction": "term",
            "from-number": number,
            "from-user-id": f"{user}@{domain}",
            "from-video-attendee-id": None,
            "from-user-agent": None,
            "dialed": ",".join(wanted),
            "text": body["message"],
            "terminating-user-id": "",
            "terminating-number": ",".join(wanted),
            "status": "sending",
            "video-instance-id": None,
            "media-type": body.get("mime-type"),
            "media-size": body.get("size"),
            "deleted-datetime": None,
            "messagesession-reciever-hostname": "core1.example.com",
            "messagesession-id": session,
            "messagesession-participants": ",".join(wanted),
            "_at": self.clock.time(),
        }
        self.messages[session].insert(0, message)
        self.sessions[domain, user, session] |= {
            "messagesession-last-datetime": message["timestamp"],
            "messagesession-last-message": message["text"],
            "messagesession-last-sender": message["from-user-id"],
            "messagesession-last-type": message["type"],
            "messagesession-last-status": "read",
        }
        return message

    def show_message(self, message: dict[str, Any]) -> dict[str, Any]:
        """A message with the delivery state of its age."""
        age = self.clock.time() - message["_at"]
        status = "sending" if age < SENDING else "sent" if age < SENT else "delivered"
        if age >= SENT and str(message["terminating-number"]).endswith(UNDELIVERABLE):
            status = "failed"
        return {**{key: value for key, value in message.items() if key != "_at"}, "status": status}

    # Subscriptions.

    def subscribe(self, wanted: dict[str, Any], expires_at: float) -> dict[str, Any]:
        now = self.clock.time()
        record = {
            "id": self._subscription_id(wanted),
            "model": wanted["model"],
            "post-url": wanted["post-url"],
            "subscription-geo-support": wanted.get("subscription-geo-support", "yes"),
            "user-scope": "Super User",
            "reseller": wanted.get("reseller", "*"),
            "domain": wanted.get("domain", "*"),
            "user": wanted.get("user", "*"),
            "preferred-server": wanted.get("preferred-server", ""),
            "current-active-server": "",
            "status": "pending",
            "error-count": 0,
            "posts-count": 0,
            "subscription-creation-datetime": rfc3339(now),
            "subscription-expires-datetime": rfc3339(expires_at),
        }
        self.subscriptions[record["id"]] = record
        return record

    def _subscription_id(self, wanted: dict[str, Any]) -> str:
        """Random, but the documented example gets the documented id."""
        known = {"model": "message", "domain": "company.com", "user": "101"}
        example = all(wanted.get(key) == value for key, value in known.items())
        if example and DOCUMENTED_SUBSCRIPTION not in self.subscriptions:
            return DOCUMENTED_SUBSCRIPTION
        return secrets.token_hex(16)

    def live_subscriptions(self) -> list[dict[str, Any]]:
        """The expired ones are removed."""
        now = self.clock.time()
        for name in list(self.subscriptions):
            if (parse_time(self.subscriptions[name]["subscription-expires-datetime"]) or 0) <= now:
                del self.subscriptions[name]
        return list(self.subscriptions.values())

    # CDRs.

    def add_cdr(self, domain: str, started_at: float, seconds: int, **fields: Any) -> dict[str, Any]:
        record = new_cdr(domain, started_at, seconds, **fields)
        self.cdrs.add(record, started_at)
        return record

    def stamp(self) -> str:
        return rfc3339(self.clock.time())


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TEXTS = _words(
    "call-audio-codec call-audio-relay-side-a-remote-ip call-audio-relay-side-b-remote-ip call-batch-sequence-marker "
    "call-intelligence-job-id call-intelligence-percent-negative call-intelligence-percent-neutral "
    "call-intelligence-percent-positive call-intelligence-topics-top call-orig-department call-orig-from-host "
    "call-orig-from-name call-orig-from-uri call-orig-ip-address call-orig-match-uri call-orig-pre-routing-uri "
    "call-orig-request-host call-orig-request-uri call-orig-request-user call-orig-reseller call-orig-site "
    "call-orig-to-host call-orig-to-uri call-parent-call-id call-parent-cdr-id call-routing-match-uri call-tag "
    "call-term-call-id call-term-domain call-term-ip-address call-term-match-uri call-term-pre-reouting-uri "
    "call-term-to-uri call-through-action call-server-mac-address core-server prefilled-trace-api "
    "prefilled-transcription-api"
)
WHOLES = _words(
    "call-audio-relay-side-a-local-port call-audio-relay-side-a-packet-count call-audio-relay-side-b-packet-count "
    "call-batch-on-hold-duration-seconds call-leg-ordinal-index call-on-hold-duration-seconds hide-from-results"
)
NOTHING = _words(
    "call-account-code call-disposition call-disposition-notes call-disposition-reason "
    "call-disposition-submitted-datetime call-disposition-type call-fax-codec call-fax-relay-side-a-local-port "
    "call-fax-relay-side-a-packet-count call-fax-relay-side-a-remote-ip call-fax-relay-side-b-packet-count "
    "call-fax-relay-side-b-remote-ip call-record-creation-datetime call-ringing-datetime call-term-department "
    "call-term-reseller call-term-site call-term-user call-through-call-id call-through-caller-id "
    "call-through-department call-through-domain call-through-reseller call-through-site call-through-uri "
    "call-through-user call-video-codec call-video-relay-side-a-local-port call-video-relay-side-a-packet-count "
    "call-video-relay-side-a-remote-ip call-video-relay-side-b-packet-count call-video-relay-side-b-remote-ip"
)


def new_cdr(domain: str, started_at: float, seconds: int, **fields: Any) -> dict[str, Any]:
    """A CDR with every key that the vendor describes. `fields` use underscores for hyphens."""
    identity = secrets.token_hex(12)
    end = rfc3339(started_at + seconds)
    record: dict[str, Any] = {
        "id": identity,
        "domain": domain,
        "reseller": "MainReseller",
        **dict.fromkeys(TEXTS, ""),
        **dict.fromkeys(WHOLES, 0),
        **dict.fromkeys(NOTHING),
        "call-start-datetime": rfc3339(started_at),
        "call-batch-start-datetime": rfc3339(started_at),
        "call-answer-datetime": rfc3339(started_at + 3),
        "call-batch-answer-datetime": rfc3339(started_at + 3),
        "call-disconnect-datetime": end,
        "call-disconnect-reason-text": "Orig: Bye",
        "call-direction": 1,
        "call-routing-class": 0,
        "call-talking-duration-seconds": max(0, seconds - 3),
        "call-total-duration-seconds": seconds,
        "call-batch-total-duration-seconds": seconds,
        "call-orig-call-id": hashlib.md5(identity.encode(), usedforsecurity=False).hexdigest(),
        "call-orig-caller-id": 18585550100,
        "call-orig-domain": domain,
        "call-orig-from-user": "18585550100",
        "call-orig-to-user": "18585551234",
        "call-orig-user": 123,
        "call-term-caller-id": "18585551234",
        "core-server": "core1.example.com",
        "is-trace-expected": True,
    }
    return record | {key.replace("_", "-"): value for key, value in fields.items()}


__all__ = ["Account", "Cdrs", "State", "Token", "new_cdr", "rfc3339", "spell_time"]
