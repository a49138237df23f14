"""Playwright, where the extra `fno-portal[portal]` is installed. Without it the portal classes import and say so at `start`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from fno_portal.errors import FNOConfigError

if TYPE_CHECKING or find_spec("playwright") is not None:
    from playwright.async_api import Error as PlaywrightError
    from playwright.async_api import TimeoutError as PlaywrightTimeout
    from playwright.async_api import async_playwright
else:

    class PlaywrightError(Exception):
        """Stands in for Playwright's; nothing raises it."""

        message = ""

    class PlaywrightTimeout(PlaywrightError):
        """Stands in for Playwright's; nothing raises it."""

    def async_playwright() -> None:
        """There is nothing to start."""
        require_playwright()


def require_playwright(fno: str | None = None) -> None:
    """See that portals can be driven.

    Raises:
        FNOConfigError: the extra is not installed.
    """
    if find_spec("playwright") is None:
        raise FNOConfigError(
            "Playwright is not installed", fno=fno, hint="Install fno-portal[portal] and Debian's chromium"
        )


__all__ = ["PlaywrightError", "PlaywrightTimeout", "async_playwright", "require_playwright"]
