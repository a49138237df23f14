"""The documented portal classes: a browser session with log-in, kept between runs, and Openserve's coverage search."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import logging
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Dict  # noqa: UP035 - the documented signatures say Dict
from urllib.parse import urljoin
from uuid import uuid4

from fno_portal.base import require_https
from fno_portal.errors import (
    FNOAmbiguousAddressError,
    FNOAuthError,
    FNOConfigError,
    FNOCoverageError,
    FNOError,
    FNOHumanNeededError,
    FNOLayoutError,
    FNOTimeoutError,
    FNOUnavailableError,
    FNOValidationError,
)
from fno_portal.models import Address
from fno_portal.portal.browser import SharedBrowser
from fno_portal.portal.engine import PlaywrightError, PlaywrightTimeout
from fno_portal.portal.evidence import EvidenceRoom
from fno_portal.portal.selectors import SelectorSet, load_selectors
from fno_portal.portal.totp import TotpSeed

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

_LOG = logging.getLogger("fno_portal.portal")
_CLOSE_S = 5
_LOCK_EVERY_S = 0.1
# The end of Playwright's call log where the page that should come has not come.
_NO_ANSWER = re.compile(r"navigations? to finish\W*$")
CAPTCHA = ".captcha, .g-recaptcha, .h-captcha, iframe[src*='captcha']"
HumanHook = Callable[["Page", str], Awaitable[None]]


class FNOPortalAutomation:
    """Base class for FNO portal automation.

    `start`, `login` and `close` work as documented. Beside them: the session's cookies are kept in `state_dir` and used
    again, one log-in runs at a time, a second factor is answered, and failures leave evidence.
    """

    name: str = "portal"

    def __init__(
        self,
        username: str,
        password: str,
        headless: bool = True,
        *,
        totp_seed: str | None = None,
        state_dir: Path | None = None,
        evidence_dir: Path | None = None,
        evidence_keep: int = 200,
        evidence_days: float = 30,
        browser: SharedBrowser | None = None,
        human: HumanHook | None = None,
        wait_s: float = 10,
        name: str | None = None,
        selectors: SelectorSet | None = None,
    ) -> None:
        """Prepare; no browser is started.

        Args:
            username: of the portal.
            password: of the portal.
            headless: without a window.
            totp_seed: base32, where the portal asks for a second factor.
            state_dir: where the session is kept between runs (0600); None forgets it.
            evidence_dir: where screenshots and HTML of failures go; None keeps none.
            evidence_keep: how many failures are kept there, the latest; each is two files.
            evidence_days: and for how long.
            browser: one shared with other portals; its own when missing.
            human: called with the page and what to do at a CAPTCHA; returns when the person is done.
            wait_s: how long a page may take to show what is expected.
            name: the operator's name where it is not the class's own.
            selectors: what is where; the newest shipped for the operator when missing.

        Raises:
            FNOConfigError: the TOTP seed is malformed, or evidence is to be kept for no time.
        """
        self.name = name or type(self).name
        self.username = username
        self.password = password
        self.headless = headless
        self.browser: Browser | None = None
        self.page: Page | None = None
        self.context: BrowserContext | None = None
        self.selectors = selectors or load_selectors(self.name if self.name != "portal" else "generic")
        self._totp = TotpSeed(totp_seed, fno=self.name) if totp_seed is not None else None
        self._state_dir = state_dir
        if evidence_keep < 1 or evidence_days <= 0:
            raise FNOConfigError(
                "evidence_keep and evidence_days must be above zero",
                fno=self.name,
                hint="Leave evidence_dir out to keep none",
            )
        self._evidence = EvidenceRoom(evidence_dir, keep=evidence_keep, max_age=timedelta(days=evidence_days))
        self._shared = browser or SharedBrowser(headless=headless)
        self._human = human
        self._wait_ms = wait_s * 1000
        self._login_lock = asyncio.Lock()
        self._start_lock = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._logins = 0
        self._known_state = b""

    @property
    def logins(self) -> int:
        """How often the log-in form was sent."""
        return self._logins

    async def start(self) -> None:
        """Start the browser session, with the cookies of the last one where they are kept, and a page in it."""
        context = await self._session()
        if self.page is None or self.page.is_closed():
            self.page = await context.new_page()

    async def _session(self) -> BrowserContext:
        async with self._start_lock:
            if self.context is not None and self.browser is not None and self.browser.is_connected():
                return self.context
            browser = await self._shared.acquire()
            try:
                self.context, self.page = await self._open_context(browser), None
            except BaseException:
                # Also when the caller's deadline passes: each acquire has its release, and nothing is waited for.
                self._shared.leave()
                raise
            self.browser = browser
            return self.context

    async def _open_context(self, browser: Browser) -> BrowserContext:
        context = await self._with_kept_state(browser) or await browser.new_context()
        context.set_default_timeout(self._wait_ms)
        return context

    async def _with_kept_state(self, browser: Browser) -> BrowserContext | None:
        """A context in the kept session; None where none is kept, or what is kept is damaged: then we log in anew."""
        self._known_state = self._read_state()
        if not self._known_state:
            return None
        try:
            return await browser.new_context(storage_state=json.loads(self._known_state))
        except (ValueError, TypeError, AttributeError, PlaywrightError) as error:
            if not browser.is_connected():
                raise
            _LOG.warning("the kept session of %s is damaged (%s)", self.name, type(error).__name__)
            return None

    async def close(self) -> None:
        """Close the session, and the browser where nobody else uses it."""
        async with self._start_lock:
            context, self.context = self.context, None
            browser, self.browser, self.page = self.browser, None, None
            if self._closing:
                await asyncio.wait(self._closing, timeout=_CLOSE_S)
            if context is not None:
                await _closed(context)
            if browser is not None:
                await self._shared.release()

    async def login(self, portal_url: str, login_selector: Dict[str, str]) -> None:  # noqa: UP006
        """Log in to the portal on the page of this session.

        Args:
            portal_url: where the form is.
            login_selector: `username`, `password`, `submit`, and where there are such: `totp`, `totp_submit`, `error`,
                `inside` (something that only shows when logged in).

        Raises:
            FNOAuthError, FNOHumanNeededError, FNOLayoutError, FNOUnavailableError.
        """
        await self.start()
        assert self.page is not None
        require_https(portal_url, fno=self.name, what="portal_url")
        async with self._login_lock:
            await self.goto(self.page, portal_url, "login")
            await self._log_in_on(self.page, login_selector)

    async def ensure_logged_in(self, page: Page, portal_url: str, seen: int) -> None:
        """Log in, unless somebody has since the caller saw `seen` log-ins (see `logins`), in whatever process.

        Where another process has, its session is taken over, which need not be better: ask the portal again.
        """
        form = self.selectors.page("login")
        async with self._login_lock, self._alone():
            if self._logins > seen or await self._take_over(page.context):
                return
            await self.goto(page, urljoin(portal_url, form["path"]), "login")
            await self._log_in_on(page, form)

    async def _log_in_on(self, page: Page, form: Mapping[str, str]) -> None:
        inside = form.get("inside")
        if inside and await page.locator(inside).first.is_visible():
            return
        await self._past_captcha(page, "login")
        await self.expect(page, [form["username"]], "login")
        await page.fill(form["username"], self.username)
        await page.fill(form["password"], self.password)
        await page.click(form["submit"])
        self._logins += 1
        await self._after_submit(page, form)
        await self._past_captcha(page, "login")
        await self._second_factor(page, form)
        await self._check_inside(page, form)
        await self._save_state()

    async def _second_factor(self, page: Page, form: Mapping[str, str]) -> None:
        field = form.get("totp")
        if not field or not await page.locator(field).first.is_visible():
            return
        if self._totp is None:
            raise FNOAuthError(
                "the portal asks for a one-time code",
                fno=self.name,
                hint="Configure totp_seed for this operator",
            )
        await page.fill(field, self._totp.now())
        await page.click(form.get("totp_submit", form["submit"]))
        await self._after_submit(page, form)

    async def _after_submit(self, page: Page, form: Mapping[str, str]) -> None:
        """Wait for what a log-in leads to; where the selectors do not tell what that is, until the page is quiet."""
        if not form.get("inside") or not form.get("error"):
            await page.wait_for_load_state("networkidle")
            return
        await page.wait_for_load_state()
        ends = [form["inside"], form["error"], *([form["totp"]] if form.get("totp") else [])]
        await self.expect(page, ends, "login")

    async def _check_inside(self, page: Page, form: Mapping[str, str]) -> None:
        error = form.get("error")
        refused = bool(error) and await page.locator(str(error)).first.is_visible()
        still_there = await page.locator(form["password"]).first.is_visible()
        inside = form.get("inside")
        if refused or still_there:
            await self.keep_evidence(page, "login", "log-in refused")
            raise FNOAuthError(
                "the portal refused the log-in",
                fno=self.name,
                hint="Check username, password and totp_seed; repeated attempts may lock the account",
            )
        if inside:
            await self.expect(page, [inside], "login")

    async def _past_captcha(self, page: Page, action: str) -> None:
        if not await page.locator(CAPTCHA).first.is_visible():
            return
        if self._human is not None:
            await self._human(page, f"{self.name}: solve the CAPTCHA, then go on")
            if not await page.locator(CAPTCHA).first.is_visible():
                return
        evidence = await self.keep_evidence(page, action, "captcha")
        raise FNOHumanNeededError(
            "the portal asks for a CAPTCHA",
            fno=self.name,
            hint=f"Run `fno login {self.name}` and solve it in the window; the session is kept",
            evidence=evidence,
        )

    async def goto(self, page: Page, url: str, action: str) -> None:
        """Open a page.

        Raises:
            FNOTimeoutError, FNOUnavailableError: it does not come.
        """
        try:
            response = await page.goto(url)
        except PlaywrightTimeout as error:
            raise FNOTimeoutError(
                f"the page for {action} does not come", fno=self.name, hint="Try again later"
            ) from error
        except PlaywrightError as error:
            raise FNOUnavailableError(
                f"the portal cannot be reached ({_first_line(error)})",
                fno=self.name,
                hint="Check portal_url and the network",
                sent=False,
            ) from error
        if response is not None and response.status >= 500:  # noqa: PLR2004 - HTTP
            raise FNOUnavailableError(
                f"the portal failed (HTTP {response.status})", fno=self.name, hint="Try later"
            )

    async def expect(self, page: Page, wanted: list[str], action: str) -> str:
        """Wait until one of the selectors is visible and answer which.

        Raises:
            FNOHumanNeededError: a CAPTCHA shows instead. FNOLayoutError: none of them, with evidence.
            FNOTimeoutError: the portal does not answer.
        """
        try:
            await page.wait_for_selector(", ".join([*wanted, CAPTCHA]), state="visible")
        except PlaywrightTimeout as error:
            self._check_answered(error, action)
            await self._raise_layout(page, wanted, action, error)
        for selector in wanted:
            if await page.locator(selector).first.is_visible():
                return selector
        await self._past_captcha(page, action)
        return await self.expect(page, wanted, action)

    def _check_answered(self, error: PlaywrightTimeout, action: str) -> None:
        # A portal that does not answer shows nothing, which is no changed layout.
        if _NO_ANSWER.search(error.message):
            raise FNOTimeoutError(
                f"the portal does not answer to {action}", fno=self.name, hint="Try again later"
            ) from error

    async def _raise_layout(self, page: Page, wanted: list[str], action: str, cause: Exception) -> None:
        evidence = await self.keep_evidence(page, action, f"expected {' or '.join(wanted)}")
        raise FNOLayoutError(
            f"the page for {action} does not show {' or '.join(wanted)} (selectors v{self.selectors.version})",
            fno=self.name,
            hint=f"Look at {evidence or 'the portal'} and write the next version of the selectors",
            evidence=evidence,
        ) from cause

    async def keep_evidence(self, page: Page, action: str, reason: str) -> str | None:
        """Keep screenshot and HTML; answers where, or None."""
        return await self._evidence.keep(
            page, fno=self.name, action=action, reason=reason, version=self.selectors.version
        )

    @asynccontextmanager
    async def new_page(self) -> AsyncIterator[Page]:
        """A page of its own in this session, so that operations do not meet on one page.

        Failures of Playwright become errors of the tree.
        """
        page = await (await self._session()).new_page()
        try:
            yield page
        except FNOError:
            raise
        except PlaywrightTimeout as error:
            self._check_answered(error, "this step")
            await self._raise_layout(page, ["what its selectors name"], "step", error)
        except PlaywrightError as error:
            raise FNOUnavailableError(
                f"the portal session broke ({_first_line(error)})", fno=self.name, hint="Try again"
            ) from error
        finally:
            # Not awaited: a page that does not close must not hold its caller beyond the deadline.
            task = asyncio.create_task(_closed(page))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One log-in of an account at a time, over all processes that keep its session in the same place.

        A portal may end one session with the next, or take a one-time code once only.
        """
        state = self._state_file()
        if state is None:
            yield
            return
        state.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not _locked(lock):  # noqa: ASYNC110 - the other process cannot set an event of ours
                await asyncio.sleep(_LOCK_EVERY_S)
            yield
        finally:
            os.close(lock)

    async def _take_over(self, context: BrowserContext) -> bool:
        """Whether the kept session is not the one that we know, and its cookies are in place now."""
        kept = self._read_state()
        if kept in (b"", self._known_state):
            return False
        self._known_state = kept
        try:
            cookies = json.loads(kept)["cookies"]
            await context.clear_cookies()
            await context.add_cookies(cookies)
        except (ValueError, TypeError, KeyError, AttributeError, PlaywrightError):
            return False
        return True

    def _read_state(self) -> bytes:
        """The kept session, or nothing."""
        file = self._state_file()
        try:
            return file.read_bytes() if file is not None else b""
        except OSError:
            return b""

    def _state_file(self) -> Path | None:
        if self._state_dir is None:
            return None
        account = hashlib.sha256(self.username.encode()).hexdigest()[:12]
        return self._state_dir / f"{self.name}-{account}.json"

    async def _save_state(self) -> None:
        file = self._state_file()
        if file is None or self.context is None:
            return
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made with its mode first: Playwright would write the cookies into a world-readable file.
        fresh = file.with_suffix(f".{uuid4().hex[:8]}")
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            await self.context.storage_state(path=fresh)
            self._known_state = fresh.read_bytes()
            fresh.replace(file)
        finally:
            fresh.unlink(missing_ok=True)


class OpenservePortalAutomation(FNOPortalAutomation):
    """Openserve Portal Automation."""

    name = "openserve"
    PORTAL_URL = "https://partner.openserve.co.za"
    LOGIN_SELECTORS: ClassVar[dict[str, str]] = {
        "username": "#username",
        "password": "#password",
        "submit": "button[type='submit']",
    }

    async def check_coverage(self, address: str) -> Dict[str, Any]:  # noqa: UP006
        """Check coverage on Openserve portal, on this session's page, which is logged in.

        Answers `available`, `is_covered` and `packages` (`name`, `speed`, and `monthly_cost` where shown).
        """
        if self.page is None:
            raise FNOAuthError("the session is not started", fno=self.name, hint="Call start and login first")
        if not str(Address.of(address)):
            raise FNOValidationError(
                "the portal searches by text", fno=self.name, hint="Give the address as text"
            )
        where = self.selectors.page("coverage")
        await self.goto(self.page, urljoin(self.PORTAL_URL, where["path"]), "coverage")
        await self.expect(self.page, [where["address"]], "coverage")
        await self.page.fill(where["address"], address)
        await self.page.click(where["submit"])
        await self.expect(self.page, [where["results"]], "coverage")
        return await read_results(self, self.page, where)


_RESULTS = """
(where) => {
    const results = document.querySelector(where.results);
    const text = (parent, selector) => selector ? (parent.querySelector(selector)?.textContent ?? '').trim() : '';
    return {
        available: results.classList.contains(where.covered),
        unavailable: results.classList.contains(where.not_covered),
        candidates: Array.from(results.querySelectorAll(where.candidate)).map(c => c.textContent.trim()),
        packages: Array.from(results.querySelectorAll(where.package)).map(p => ({
            name: text(p, where.name), speed: text(p, where.speed), price: text(p, where.price),
        })),
    };
}
"""


async def read_results(portal: FNOPortalAutomation, page: Page, where: Mapping[str, Any]) -> dict[str, Any]:
    """The result box of a coverage search. It must say one or the other: silence is no "not covered".

    Raises:
        FNOAmbiguousAddressError, FNOLayoutError.
    """
    found = await page.evaluate(_RESULTS, dict(where))
    if found["candidates"]:
        raise FNOAmbiguousAddressError(
            f"{len(found['candidates'])} places go by that address",
            fno=portal.name,
            hint="Ask again with one of the candidates",
            candidates=[{"address": one, "keys": {}} for one in found["candidates"]],
        )
    if found["available"] == found["unavailable"]:
        evidence = await portal.keep_evidence(page, "coverage", "no verdict")
        raise FNOLayoutError(
            "the result says neither covered nor not covered",
            fno=portal.name,
            hint=f"Look at {evidence or 'the portal'} and write the next version of the selectors",
            evidence=evidence,
        )
    packages = [
        {
            "name": one["name"],
            "speed": one["speed"],
            **({"monthly_cost": one["price"]} if one["price"] else {}),
        }
        for one in found["packages"]
    ]
    if found["available"] and any(not one["name"] for one in packages):
        raise FNOCoverageError(
            "a package has no name", fno=portal.name, hint="Check the selectors of packages"
        )
    return {"available": found["available"], "is_covered": found["available"], "packages": packages}


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _closed(thing: Page | BrowserContext) -> None:
    """Close, but never wait for ever for a browser that has lost its way."""
    with suppress(PlaywrightError, TimeoutError):
        await asyncio.wait_for(thing.close(), _CLOSE_S)


def _first_line(error: PlaywrightError) -> str:
    """Chromium's own word, without the address, which may carry what was searched."""
    return error.message.splitlines()[0].split(" at http")[0]
