"""One Chromium for all portals of a process."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from typing import Any

from playwright.async_api import Browser, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from fno_portal.errors import FNOConfigError

# Chromium talks to its maker of itself unless told not to.
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--disable-translate",
    "--disable-client-side-phishing-detection",
    "--disable-features=OptimizationHints,MediaRouter,AutofillServerCommunication,CertificateTransparencyComponentUpdater",
    "--metrics-recording-only",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pings",
    "--disable-dev-shm-usage",
)


def find_chromium() -> str | None:
    """FNO_CHROMIUM, or the system's Chromium or Chrome; None leaves the choice to Playwright."""
    if named := os.environ.get("FNO_CHROMIUM"):
        return named
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def only_hosts(hosts: Sequence[str]) -> str:
    """A Chromium flag that lets names of these hosts alone be resolved."""
    excluded = "".join(f", EXCLUDE {host}" for host in hosts)
    return f"--host-resolver-rules=MAP * ~NOTFOUND{excluded}"


class SharedBrowser:
    """Starts Chromium at the first use and stops it, with Playwright's own process, when the last user is gone."""

    def __init__(
        self,
        *,
        headless: bool = True,
        executable_path: str | None = None,
        hosts: Sequence[str] | None = None,
    ) -> None:
        """Prepare; nothing is started.

        Args:
            headless: without a window.
            executable_path: which Chromium; see `find_chromium`.
            hosts: when given, the only hosts that Chromium may resolve.
        """
        self._headless = headless
        self._executable = executable_path or find_chromium()
        self._arguments = [*QUIET, *([only_hosts(hosts)] if hosts is not None else [])]
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._users = 0
        self._lock = asyncio.Lock()

    async def acquire(self) -> Browser:
        """The running browser; each acquire needs one release.

        Raises:
            FNOConfigError: Chromium cannot be started.
        """
        async with self._lock:
            if self._browser is None or not self._browser.is_connected():
                await self._stop()
                self._browser = await self._launch()
            self._users += 1
            return self._browser

    async def _launch(self) -> Browser:
        self._playwright = await async_playwright().start()
        # The sandbox of Chromium refuses to run for root.
        sandbox: dict[str, Any] = {"chromium_sandbox": os.geteuid() != 0}
        try:
            return await self._playwright.chromium.launch(
                headless=self._headless, executable_path=self._executable, args=self._arguments, **sandbox
            )
        except PlaywrightError as error:
            await self._stop()
            raise FNOConfigError(
                f"Chromium does not start: {error.message.splitlines()[0]}",
                hint="Install Debian's chromium, or name one by FNO_CHROMIUM",
            ) from error

    async def release(self) -> None:
        """Let go; the last one stops it."""
        async with self._lock:
            self._users -= 1
            if self._users <= 0:
                self._users = 0
                await self._stop()

    async def _stop(self) -> None:
        browser, self._browser = self._browser, None
        playwright, self._playwright = self._playwright, None
        if browser is not None and browser.is_connected():
            await browser.close()
        if playwright is not None:
            await playwright.stop()
