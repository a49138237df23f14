"""How a subscriber proves the password to the NAS: PAP, CHAP (RFC 1994) and MS-CHAPv2 (RFC 2759)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from Crypto.Cipher import DES
from Crypto.Hash import MD4

_new_des: Any = DES.new
_DES_ECB: int = DES.MODE_ECB
_SIGNING = b"Magic server to client signing constant"  # RFC 2759 section 8.7
_PADDING = b"Pad to make it do more than one iteration"


class Method(StrEnum):
    PAP = "pap"
    CHAP = "chap"
    MSCHAPV2 = "mschapv2"


CheckAccept = Callable[[Any], bool]
"""Whether an Access-Accept proves that the server knows the password too."""


def add_proof(packet: Any, username: str, password: str, method: Method) -> CheckAccept:
    """Add what proves `password` to an Access-Request whose authenticator is set."""
    if method is Method.CHAP:
        return _add_chap(packet, password)
    if method is Method.MSCHAPV2:
        return _add_mschapv2(packet, username, password)
    packet["User-Password"] = packet.PwCrypt(password)
    return _proves_nothing


def _proves_nothing(_accept: Any) -> bool:
    return True


def _add_chap(packet: Any, password: str) -> CheckAccept:
    identifier, challenge = secrets.token_bytes(1), secrets.token_bytes(16)
    packet["CHAP-Challenge"] = challenge
    digest = hashlib.md5(identifier + password.encode() + challenge).digest()  # noqa: S324 - the protocol
    packet["CHAP-Password"] = identifier + digest
    return _proves_nothing


def _add_mschapv2(packet: Any, username: str, password: str) -> CheckAccept:
    server_challenge, peer_challenge = secrets.token_bytes(16), secrets.token_bytes(16)
    challenge = challenge_hash(peer_challenge, server_challenge, username)
    response = nt_response(challenge, password)
    packet["MS-CHAP-Challenge"] = server_challenge
    packet["MS-CHAP2-Response"] = b"\x01\x00" + peer_challenge + bytes(8) + response
    expected = authenticator_response(password, response, challenge)

    def check(accept: Any) -> bool:
        success = accept.get("MS-CHAP2-Success", [b""])[0]
        return hmac.compare_digest(success[1:], expected)

    return check


def challenge_hash(peer_challenge: bytes, server_challenge: bytes, username: str) -> bytes:
    """RFC 2759 section 8.2."""
    text = peer_challenge + server_challenge + username.encode()
    return hashlib.sha1(text).digest()[:8]  # noqa: S324 - the protocol


def nt_response(challenge: bytes, password: str) -> bytes:
    """RFC 2759 section 8.5: 24 octets."""
    key = _md4(password.encode("utf-16-le")).ljust(21, b"\0")
    return b"".join(_des(key[at : at + 7], challenge) for at in (0, 7, 14))


def authenticator_response(password: str, response: bytes, challenge: bytes) -> bytes:
    """RFC 2759 section 8.7: `S=` and 40 hexadecimal digits."""
    hash_of_hash = _md4(_md4(password.encode("utf-16-le")))
    digest = hashlib.sha1(hash_of_hash + response + _SIGNING).digest()  # noqa: S324 - the protocol
    return b"S=" + hashlib.sha1(digest + challenge + _PADDING).hexdigest().upper().encode()  # noqa: S324


def _md4(data: bytes) -> bytes:
    return MD4.new(data).digest()  # noqa: S303 - the protocol


def _des(seven: bytes, block: bytes) -> bytes:
    bits = int.from_bytes(seven, "big")
    key = bytes((bits >> (49 - 7 * at) & 0x7F) << 1 for at in range(8))
    encrypted: bytes = _new_des(key, _DES_ECB).encrypt(block)
    return encrypted
