"""Which driver an operator gets: by its settings, by name, or a third party's own class."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fno_portal.base import FNOClient, FNOClientBase
from fno_portal.channel import Channel
from fno_portal.drivers.aex import AExClient
from fno_portal.drivers.document import DocumentClient, FrogfootClient, VumatelClient
from fno_portal.drivers.openserve import OpenserveClient
from fno_portal.drivers.paired import PairedClient
from fno_portal.drivers.tmf import TMFClient
from fno_portal.errors import FNOConfigError

if TYPE_CHECKING:
    from fno_portal.portal.automation import HumanHook
    from fno_portal.portal.browser import SharedBrowser

DRIVERS: dict[str, type[FNOClientBase]] = {
    "document": DocumentClient,
    "vumatel": VumatelClient,
    "frogfoot": FrogfootClient,
    "openserve": OpenserveClient,
    "aex": AExClient,
    "evotel": AExClient,
    "tmf": TMFClient,
}
_PORTAL_KEYS = ("totp_seed", "selectors_version", "wait_s", "evidence_keep", "evidence_days")
_PATH_KEYS = ("state_dir", "evidence_dir", "selectors_dir")
_OPENSERVE_KEYS = ("tag", "sender_id", "from_location", "reply_to")


def register_driver(name: str, driver: type[FNOClientBase]) -> None:
    """Make a driver known under a name, for `driver` in the configuration or for the operator of that name."""
    DRIVERS[name] = driver


@dataclass(frozen=True, slots=True)
class Workshop:
    """What drivers of one portal share."""

    browser: SharedBrowser | None = None
    headless: bool = True
    human: HumanHook | None = None


def with_browser(workshop: Workshop) -> Workshop:
    """The workshop with one browser for all portals; nothing is started."""
    if workshop.browser is not None:
        return workshop
    from fno_portal.portal.browser import SharedBrowser  # noqa: PLC0415 - loaded where there is a portal

    return replace(workshop, browser=SharedBrowser(headless=workshop.headless))


def build_client(name: str, settings: Mapping[str, Any], channel: Channel, workshop: Workshop) -> FNOClient:
    """The driver for one operator: an API's, a portal's, or both as a pair.

    Raises:
        FNOConfigError: settings are missing, unknown or cannot work.
    """
    api = _api(name, settings, channel) if settings.get("base_url") else None
    portal = _portal(name, settings, channel, workshop) if settings.get("portal_url") else None
    if api is not None and portal is not None:
        return PairedClient(api, portal)
    client = api or portal
    if client is None:
        raise FNOConfigError(
            "neither base_url nor portal_url is configured",
            fno=name,
            hint="Configure one with its credentials",
        )
    return client


def _api(name: str, settings: Mapping[str, Any], channel: Channel) -> FNOClientBase:
    driver = _driver(name, settings.get("driver"))
    if not settings.get("api_key"):
        raise FNOConfigError(
            "api_key is missing", fno=name, hint=f"Set FNO_{name.upper()}_API_KEY or the secret"
        )
    more = {
        key: settings[key]
        for key in _OPENSERVE_KEYS
        if key in settings and issubclass(driver, OpenserveClient)
    }
    return driver(
        settings["base_url"],
        settings["api_key"],
        int(settings.get("timeout", 30)),
        name=name,
        channel=channel,
        **more,
    )


def _driver(name: str, wanted: Any) -> type[FNOClientBase]:
    if isinstance(wanted, type) and issubclass(wanted, FNOClientBase):
        return wanted
    label = str(wanted or name)
    if label in DRIVERS:
        return DRIVERS[label]
    module, colon, attribute = label.partition(":")
    if not colon:
        raise FNOConfigError(
            f"there is no API driver {label!r}",
            fno=name,
            hint=f"Set driver to one of {', '.join(sorted(DRIVERS))} or to module:Class, or use portal_url",
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise FNOConfigError(
            f"the driver {label!r} cannot be imported", fno=name, hint="Install it"
        ) from error
    if not (isinstance(found, type) and issubclass(found, FNOClientBase)):
        raise FNOConfigError(
            f"{label!r} is not an FNOClientBase", fno=name, hint="Derive it from FNOClientBase"
        )
    return found


def _portal(name: str, settings: Mapping[str, Any], channel: Channel, workshop: Workshop) -> FNOClient:
    from fno_portal.portal.driver import PortalClient  # noqa: PLC0415 - loaded where there is a portal
    from fno_portal.portal.engine import require_playwright  # noqa: PLC0415

    require_playwright(name)
    more: dict[str, Any] = {key: settings[key] for key in _PORTAL_KEYS if settings.get(key) is not None}
    paths: dict[str, Any] = {key: Path(settings[key]) for key in _PATH_KEYS if settings.get(key)}
    return PortalClient(
        settings["portal_url"],
        settings.get("username", ""),
        settings.get("password", ""),
        name=name,
        channel=channel,
        browser=workshop.browser,
        headless=workshop.headless,
        human=workshop.human,
        **more,
        **paths,
    )
