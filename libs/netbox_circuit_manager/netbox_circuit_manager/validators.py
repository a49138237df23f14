"""What values the plugin's fields take, with messages that say what to do."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from netbox.plugins import get_plugin_config

PLUGIN = "netbox_circuit_manager"
_LOOPBACK = ("localhost", "::1")


def default_currency() -> str:
    return get_plugin_config(PLUGIN, "default_currency")


def supported_currencies() -> list[str]:
    """The setting's codes in order, with the default currency among them."""
    return sorted({*get_plugin_config(PLUGIN, "supported_currencies"), default_currency()})


def currency_choices() -> Iterator[tuple[str, str]]:
    return ((code, code) for code in supported_currencies())


def validate_currency(code: str) -> None:
    """Raises `ValidationError` for a code that the setting `supported_currencies` does not list."""
    if code not in supported_currencies():
        raise ValidationError(
            _("“%(code)s” is not among the supported currencies (%(known)s)."),
            params={"code": code, "known": ", ".join(supported_currencies())},
        )


def is_loopback(host: str | None) -> bool:
    return host is not None and (host in _LOOPBACK or host.startswith("127."))


def validate_endpoint(url: str) -> None:
    """Raises `ValidationError` unless the address is https, or http to this machine where the settings allow that."""
    try:
        parts = urlsplit(url)
        _port = parts.port
    except ValueError as error:
        raise ValidationError(_("This is not an address: %(error)s"), params={"error": str(error)}) from error
    if not parts.hostname:
        raise ValidationError(_("Enter a full address, such as https://api.carrier.example/v1."))
    if parts.username or parts.password:
        raise ValidationError(_("Put credentials into the key and the secret, not into the address."))
    if parts.scheme == "https":
        return
    if (
        parts.scheme == "http"
        and is_loopback(parts.hostname)
        and get_plugin_config(PLUGIN, "allow_loopback_http")
    ):
        return
    raise ValidationError(
        _("Carriers' APIs must be reached by https. (Plain http is for 127.0.0.1 with allow_loopback_http.)")
    )


def origin(url: str) -> tuple[Any, ...]:
    """Scheme, host and port: what decides who receives the credentials."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def validate_latitude(value: Any) -> None:
    if not -90 <= value <= 90:  # noqa: PLR2004
        raise ValidationError(_("A latitude lies between -90 and 90 degrees."))


def validate_longitude(value: Any) -> None:
    if not -180 <= value <= 180:  # noqa: PLR2004
        raise ValidationError(_("A longitude lies between -180 and 180 degrees."))
