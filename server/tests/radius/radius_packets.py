"""RADIUS packets made and read by hand: the tests need bytes that no client library would send."""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import struct
from dataclasses import dataclass, field, replace

from Crypto.Cipher import DES
from Crypto.Hash import MD4, SHA1

ACCESS_REQUEST, ACCESS_ACCEPT, ACCESS_REJECT = 1, 2, 3
ACCOUNTING_REQUEST, ACCOUNTING_RESPONSE, STATUS_SERVER = 4, 5, 12

USER_NAME, USER_PASSWORD, CHAP_PASSWORD, FRAMED_PROTOCOL, FRAMED_IP = 1, 2, 3, 7, 8
FILTER_ID, REPLY_MESSAGE, CLASS, SESSION_TIMEOUT = 11, 18, 25, 27
CALLED_STATION_ID, CALLING_STATION_ID, NAS_IDENTIFIER = 30, 31, 32
ACCT_STATUS_TYPE, ACCT_DELAY, ACCT_INPUT, ACCT_OUTPUT, ACCT_SESSION_ID, ACCT_SESSION_TIME = (
    40,
    41,
    42,
    43,
    44,
    46,
)
ACCT_CAUSE, ACCT_IN_GIGAWORDS, ACCT_OUT_GIGAWORDS, EVENT_TIMESTAMP = 49, 52, 53, 55
FRAMED_ROUTE = 22
CHAP_CHALLENGE, MESSAGE_AUTHENTICATOR, INTERIM_INTERVAL, FRAMED_POOL = 60, 80, 85, 88
NAS_IP, NAS_PORT_ID, FRAMED_IPV6_PREFIX, DELEGATED_PREFIX = 4, 87, 97, 123
MICROSOFT, MIKROTIK, ADSL_FORUM, WISPR, CISCO = 311, 14988, 3561, 14122, 9


def attribute(number: int, value: bytes) -> bytes:
    return bytes((number, len(value) + 2)) + value


def vendor(vendor_id: int, number: int, value: bytes) -> bytes:
    return attribute(26, struct.pack("!I", vendor_id) + attribute(number, value))


def integer(value: int) -> bytes:
    return struct.pack("!I", value)


def nt_hash(password: str) -> bytes:
    return MD4.new(password.encode("utf-16le")).digest()


@dataclass(slots=True)
class Reply:
    code: int
    attributes: list[tuple[object, bytes]] = field(default_factory=list)

    def get(self, key: object) -> bytes | None:
        return next((value for name, value in self.attributes if name == key), None)

    def number(self, key: object) -> int | None:
        value = self.get(key)
        return None if value is None else int.from_bytes(value)

    @property
    def names(self) -> list[object]:
        return [name for name, _ in self.attributes]


@dataclass(slots=True)
class Nas:
    """A NAS at one loopback address; `ask` sends one packet and waits for the answer.

    The answer has all the time that a busy machine takes. A packet that is to get none is sent by the `hasty` twin,
    whose `ask` soon returns None.
    """

    port_auth: int
    port_acct: int
    address: str = "127.0.0.1"
    secret: bytes = b"nas-secret"
    timeout: float = 30.0

    @property
    def hasty(self) -> Nas:
        return replace(self, timeout=0.5)

    def ask(self, code: int, body: bytes, authenticator: bytes, port: int) -> Reply | None:
        identifier = os.urandom(1)[0]
        packet = struct.pack("!BBH", code, identifier, 20 + len(body)) + authenticator + body
        if code == ACCOUNTING_REQUEST:
            authenticator = hashlib.md5(packet + self.secret).digest()
            packet = packet[:4] + authenticator + body
        elif (at := body.find(attribute(MESSAGE_AUTHENTICATOR, bytes(16)))) >= 0:
            signature = hmac.digest(self.secret, packet, "md5")
            packet = packet[: 22 + at] + signature + packet[38 + at :]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((self.address, 0))
            sock.settimeout(self.timeout)
            sock.sendto(packet, ("127.0.0.1", port))
            try:
                answer = sock.recv(4096)
            except TimeoutError:
                return None
        return self._read(answer, identifier, authenticator)

    def _read(self, answer: bytes, identifier: int, authenticator: bytes) -> Reply:
        assert answer[1] == identifier
        signed = answer[:4] + authenticator + answer[20:]
        assert hashlib.md5(signed + self.secret).digest() == answer[4:20], "response authenticator"
        attributes, at = [], 20
        while at < len(answer):
            number, length = answer[at], answer[at + 1]
            value = answer[at + 2 : at + length]
            if number == MESSAGE_AUTHENTICATOR:
                blank = signed[: at + 2] + bytes(16) + signed[at + 18 :]
                assert hmac.digest(self.secret, blank, "md5") == value, "message authenticator"
            if number == 26:
                attributes.append(((int.from_bytes(value[:4]), value[4]), value[6 : 4 + value[5]]))
            else:
                attributes.append((number, value))
            at += length
        return Reply(answer[0], attributes)

    def pap(
        self, user: str | bytes, password: str | bytes, *extra: bytes, signed: bool = True
    ) -> Reply | None:
        authenticator = os.urandom(16)
        plain = password.encode() if isinstance(password, str) else password
        plain = plain.ljust(max(16, -(-len(plain) // 16) * 16), b"\0")
        hidden, last = b"", authenticator
        for i in range(0, len(plain), 16):
            mask = hashlib.md5(self.secret + last).digest()
            last = bytes(a ^ b for a, b in zip(plain[i : i + 16], mask, strict=True))
            hidden += last
        return self._log_in(user, (attribute(USER_PASSWORD, hidden), *extra), authenticator, signed)

    def chap(self, user: str, password: str, *extra: bytes) -> Reply | None:
        authenticator = os.urandom(16)
        answer = hashlib.md5(b"\x07" + password.encode() + authenticator).digest()
        return self._log_in(user, (attribute(CHAP_PASSWORD, b"\x07" + answer), *extra), authenticator, True)

    def mschap2(self, user: str, password: str, *extra: bytes) -> Reply | None:
        challenge, peer = os.urandom(16), os.urandom(16)
        digest = SHA1.new(peer + challenge + user.encode()).digest()[:8]
        key = nt_hash(password).ljust(21, b"\0")
        answer = b"".join(DES.new(_des_key(key[i : i + 7]), DES.MODE_ECB).encrypt(digest) for i in (0, 7, 14))
        response = b"\x01\x00" + peer + bytes(8) + answer
        body = (vendor(MICROSOFT, 11, challenge), vendor(MICROSOFT, 25, response), *extra)
        return self._log_in(user, body, os.urandom(16), True)

    def bare(self, user: str, *extra: bytes) -> Reply | None:
        """An Access-Request without any password, as IPoE sends it."""
        return self._log_in(user, extra, os.urandom(16), True)

    def _log_in(
        self, user: str | bytes, extra: tuple[bytes, ...], authenticator: bytes, signed: bool
    ) -> Reply | None:
        name = user.encode() if isinstance(user, str) else user
        body = (attribute(USER_NAME, name) if name else b"") + b"".join(extra)
        if signed:
            body = attribute(MESSAGE_AUTHENTICATOR, bytes(16)) + body
        return self.ask(ACCESS_REQUEST, body, authenticator, self.port_auth)

    def account(self, *attributes: bytes) -> Reply | None:
        return self.ask(ACCOUNTING_REQUEST, b"".join(attributes), bytes(16), self.port_acct)


def _des_key(seven: bytes) -> bytes:
    bits = int.from_bytes(seven)
    return bytes(((bits >> (49 - 7 * i)) & 0x7F) << 1 for i in range(8))
