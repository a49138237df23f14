"""Encryption of carriers' credentials at rest: Fernet (AES-128-CBC with HMAC-SHA256), several keys for rotation."""

import base64
import fnmatch
import hmac
import os
from typing import Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from netbox.plugins import get_plugin_config

MASK = "********"
_STORED = "fernet:"
_REFERENCE = "env:"


class SecretUnreadable(Exception):
    """A stored secret cannot be had: no key of the settings opens it, or its environment variable is not usable."""


def new_key() -> str:
    """A fresh key for the setting `encryption_keys`."""
    return Fernet.generate_key().decode()


def _derived_key() -> str:
    """The key for systems that set none: from NetBox's SECRET_KEY, so that a dump alone opens nothing."""
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"netbox_circuit_manager secrets")
    return base64.urlsafe_b64encode(kdf.derive(settings.SECRET_KEY.encode())).decode()


def _fernet() -> MultiFernet:
    # The derived key stays last, so that secrets stored before a key was set still open.
    keys = [*get_plugin_config("netbox_circuit_manager", "encryption_keys"), _derived_key()]
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise ImproperlyConfigured(
            "A key in encryption_keys of netbox_circuit_manager is no Fernet key (32 bytes, url-safe base64). "
            "Make one with netbox_circuit_manager.crypto.new_key()."
        ) from error


def encrypt(plain: str) -> str:
    """The text for the database column; an empty string and a reference to the environment stay readable."""
    if not plain or plain.startswith(_REFERENCE):
        return plain
    return _STORED + _fernet().encrypt(plain.encode()).decode()


def decrypt(stored: str) -> str:
    """The plain text behind a column's value. Raises `SecretUnreadable`, whose message holds no secret."""
    if stored.startswith(_REFERENCE):
        return _from_environment(stored.removeprefix(_REFERENCE))
    if not stored:
        return ""
    try:
        return _fernet().decrypt(stored.removeprefix(_STORED).encode()).decode()
    except InvalidToken:
        raise SecretUnreadable(
            "No key in encryption_keys opens this secret. Put the old key back behind the new one, or enter the "
            "secret again."
        ) from None


def _from_environment(name: str) -> str:
    if not reference_allowed(name):
        raise SecretUnreadable(
            f"The environment variable {name} is not among the plugin's environment_variables."
        )
    value = os.environ.get(name)
    if not value:
        raise SecretUnreadable(f"The environment variable {name} is not set for this process.")
    return value


def reference_allowed(name: str) -> bool:
    """Only named variables may be read: whoever may edit a config must not read the rest of the environment."""
    patterns = get_plugin_config("netbox_circuit_manager", "environment_variables")
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


class Secret(str):
    """What a model's secret attribute holds: to all that formats, slices or joins it, eight stars.

    It equals its plain text, is empty when nothing is stored, and `reveal()` gives the plain text to code that means
    it. Templates (export templates, custom links) can only see the stars: the sandbox refuses to call `reveal`.
    """

    __slots__ = ("_stored",)
    _stored: str

    def __new__(cls, stored: str) -> Self:
        secret = super().__new__(cls, MASK if stored else "")
        secret._stored = stored
        return secret

    @classmethod
    def of(cls, plain: str) -> "Secret":
        return cls(encrypt(plain))

    @property
    def reference(self) -> str:
        """The name of the environment variable that holds the secret; empty when it is stored here."""
        return self._stored.removeprefix(_REFERENCE) if self._stored.startswith(_REFERENCE) else ""

    def reveal(self) -> str:
        """The plain text. Raises `SecretUnreadable`."""
        return decrypt(self._stored)

    reveal.alters_data = True  # type: ignore[attr-defined]  # Django's and Jinja's sandboxes do not call it

    def same_stored(self, other: object) -> bool:
        """Whether the other is this very stored value, not merely an equal text."""
        return isinstance(other, Secret) and other.for_column() == self._stored

    def for_column(self) -> str:
        """The text that the database column holds."""
        return self._stored

    for_column.alters_data = True  # type: ignore[attr-defined]

    def rotated(self) -> "Secret":
        """The same secret under the settings' first key. Raises `SecretUnreadable`."""
        return Secret(encrypt(self.reveal())) if self._stored.startswith(_STORED) else self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str):
            return False
        if not other or not self._stored:
            return not other and not self._stored
        if self.same_stored(other):
            return True
        try:
            plain = other.reveal() if isinstance(other, Secret) else other
            return hmac.compare_digest(self.reveal().encode(), plain.encode())
        except SecretUnreadable:
            # What cannot be read equals nothing; only reveal() says why.
            return False

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]  # a hash would have to be the plain text's

    def __repr__(self) -> str:
        return repr(str(self))

    def __str__(self) -> str:
        return MASK if self._stored else ""

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        return Secret, (self._stored,)
