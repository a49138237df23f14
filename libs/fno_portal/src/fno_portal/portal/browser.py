"""One Chromium for all portals of a process."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fno_portal.errors import FNOConfigError, FNOError, FNOUnavailableError
from fno_portal.portal.engine import PlaywrightError, async_playwright, require_playwright

if TYPE_CHECKING:
    from playwright.async_api import Browser, Playwright

_START_S, _STOP_S = 60, 5

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


@dataclass(frozen=True, slots=True)
class _Running:
    playwright: Playwright
    browser: Browser


class SharedBrowser:
    """Starts Chromium at the first use and stops it, with Playwright's own process, when the last user is gone.

    Starting and stopping are tasks of their own: a caller whose deadline passes leaves at once, and neither breaks the
    start that others wait for nor waits for a Chromium that does not end.
    """

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
        self._start: asyncio.Task[_Running] | None = None
        self._stops: set[asyncio.Task[None]] = set()
        self._users = 0

    async def acquire(self) -> Browser:
        """The running browser; each acquire needs one release.

        Raises:
            FNOConfigError: Chromium cannot be started. FNOUnavailableError: it does not come up in time.
        """
        self._users += 1
        try:
            return (await asyncio.shield(self._running())).browser
        except BaseException:
            self.leave()
            raise

    def _running(self) -> asyncio.Task[_Running]:
        if self._start is None or _is_gone(self._start):
            self._stop()
            self._start = asyncio.create_task(self._launch())
        return self._start

    async def _launch(self) -> _Running:
        playwright: Playwright | None = None
        require_playwright()
        if not self._headless and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise FNOConfigError(
                "there is no display for Chromium's window",
                hint="Run it on a desktop, or over `ssh -X`, with the same FNO_HOME",
            )
        # The sandbox of Chromium refuses to run for root.
        sandbox: dict[str, Any] = {"chromium_sandbox": os.geteuid() != 0}
        try:
            async with asyncio.timeout(_START_S):
                playwright = await async_playwright().start()
                browser = await playwright.chromium.launch(
                    headless=self._headless, executable_path=self._executable, args=self._arguments, **sandbox
                )
        except (PlaywrightError, TimeoutError) as error:
            await _ended(playwright)
            raise _not_started(error) from error
        return _Running(playwright, browser)

    def leave(self) -> None:
        """Let go without waiting; the last one stops it."""
        self._users = max(0, self._users - 1)
        if self._users == 0:
            self._stop()

    async def release(self) -> None:
        """Let go; the last one stops it, and waits until it has stopped, but not for ever."""
        self.leave()
        if self._stops:
            await asyncio.wait(self._stops, timeout=2 * _STOP_S)

    def _stop(self) -> None:
        start, self._start = self._start, None
        if start is not None:
            task = asyncio.create_task(_stopped(start))
            self._stops.add(task)
            task.add_done_callback(self._stops.discard)


def _is_gone(start: asyncio.Task[_Running]) -> bool:
    if not start.done():
        return False
    return start.cancelled() or start.exception() is not None or not start.result().browser.is_connected()


async def _stopped(start: asyncio.Task[_Running]) -> None:
    try:
        running = await start
    except (FNOError, PlaywrightError):
        return
    with suppress(PlaywrightError, TimeoutError):
        async with asyncio.timeout(_STOP_S):
            await running.browser.close()
    await _ended(running.playwright)


async def _ended(playwright: Playwright | None) -> None:
    if playwright is not None:
        with suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await playwright.stop()


def _not_started(error: Exception) -> FNOError:
    if isinstance(error, TimeoutError):
        return FNOUnavailableError(
            f"Chromium does not start within {_START_S} s", hint="Give the machine some rest", sent=False
        )
    return FNOConfigError(
        f"Chromium does not start: {str(error).splitlines()[0]}",
        hint="Install Debian's chromium, or name one by FNO_CHROMIUM",
    )
