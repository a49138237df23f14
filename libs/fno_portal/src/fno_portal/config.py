"""Which operators, with which credentials: from the environment and a secrets provider."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from fno_portal.channel import Limits
from fno_portal.errors import FNOConfigError
from fno_portal.operators import FNO

SECRET_KEYS = ("api_key", "password", "totp_seed", "webhook_secret")
_NUMBERS = {
    "rate": float, "period_s": float, "deadline_s": float, "order_deadline_s": float, "failures": int,
    "open_s": float, "auth_pause_s": float, "timeout": int, "selectors_version": int, "wait_s": float, "port": int,
    "evidence_keep": int, "evidence_days": float,
}  # fmt: skip
_TEXTS = (
    "driver", "base_url", "portal_url", "username", "tag", "sender_id", "from_location", "reply_to",
    "state_dir", "evidence_dir", "selectors_dir", "server", "authserv_ids", "mailbox", "ca_file",
)  # fmt: skip
_LIMITS = ("rate", "period_s", "deadline_s", "order_deadline_s", "failures", "open_s", "auth_pause_s")


class SecretsProvider(Protocol):
    """A vault. Names are `{operator}/{key}`, as `vumatel/api_key`."""

    def get(self, name: str) -> str | None:
        """The secret, or None where there is none of that name."""


class FileSecrets:
    """One file per secret, as Docker, Kubernetes and systemd credentials lay them out: `{operator}_{key}`."""

    def __init__(self, directory: Path) -> None:
        """Read from `directory`."""
        self._directory = directory

    def get(self, name: str) -> str | None:
        """See SecretsProvider."""
        file = self._directory / name.replace("/", "_")
        return file.read_text(encoding="utf-8").strip() if file.is_file() else None


def read_environment(
    environment: Mapping[str, str] | None = None, secrets: SecretsProvider | None = None
) -> dict[str, dict[str, Any]]:
    """The configuration out of `FNO_{OPERATOR}_{KEY}`, as `FNO_VUMATEL_BASE_URL`.

    `FNO_OPERATORS` names operators beyond the document's six, with commas. `FNO_MAIL_SERVER`, `…_USERNAME`,
    `…_PASSWORD`, `…_AUTHSERV_IDS` make the section `mail`. Secrets that are not in the environment are asked of
    `secrets`.

    Raises:
        FNOConfigError: a number is none; the message does not repeat the value.
    """
    env = os.environ if environment is None else environment
    more = [name.strip().lower() for name in env.get("FNO_OPERATORS", "").split(",") if name.strip()]
    names = [one.value for one in FNO] + more + ["mail"]
    return {name: settings for name in names if (settings := _section(name, env, secrets))}


def _section(name: str, env: Mapping[str, str], secrets: SecretsProvider | None) -> dict[str, Any]:
    prefix = f"FNO_{name.upper().replace('-', '_')}_"
    settings: dict[str, Any] = {}
    for key in (*_TEXTS, *SECRET_KEYS, *_NUMBERS):
        value = env.get(prefix + key.upper())
        if value:
            settings[key] = _typed(name, key, value)
    if settings and secrets is not None:
        fill_secrets(name, settings, secrets)
    return settings


def fill_secrets(name: str, settings: dict[str, Any], secrets: SecretsProvider) -> None:
    """Add the secrets that are missing, where the provider has them."""
    for key in SECRET_KEYS:
        if key not in settings and (value := secrets.get(f"{name}/{key}")):
            settings[key] = value


def _typed(name: str, key: str, value: str) -> Any:
    kind = _NUMBERS.get(key)
    if kind is None:
        return value
    try:
        return kind(value)
    except ValueError:
        raise FNOConfigError(
            f"{key} is not a number", fno=name, hint="Correct it in the configuration"
        ) from None


def check_settings(name: str, settings: Any) -> None:
    """See that each setting is of its kind, before a driver stumbles over it.

    Raises:
        FNOConfigError: no mapping, a text that is none, a number that is none or not above zero.
    """
    if not isinstance(settings, Mapping):
        raise FNOConfigError("the settings are no mapping", fno=name, hint="Give {key: value}")
    for key in (*_TEXTS, *SECRET_KEYS):
        # A driver may be a class, a folder a Path.
        if isinstance(settings.get(key), bool | int | float | list | dict | bytes):
            raise FNOConfigError(f"{key} is no text", fno=name, hint="Correct it in the configuration")
    for key in _NUMBERS:
        value = settings.get(key)
        if value is not None and not (isinstance(value, int | float) and value > 0):
            raise FNOConfigError(
                f"{key} must be a number above zero", fno=name, hint="Correct it in the configuration"
            )


def limits_of(settings: Mapping[str, Any]) -> Limits:
    """The operator's limits, with defaults for those not set."""
    return Limits(**{key: settings[key] for key in _LIMITS if settings.get(key) is not None})
