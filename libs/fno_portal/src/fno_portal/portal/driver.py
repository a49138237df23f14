"""A driver over a portal: the same verbs as an API's, done on pages. What is where comes from the selectors alone.

No operator documents its portal for machines: every selector set is assumed and held by the simulator's pages until
somebody with an account writes the next version.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Dict  # noqa: UP035 - the documented signatures say Dict
from urllib.parse import quote, urljoin

from fno_portal.base import C, Capability, DriverBase, require_https, require_rica
from fno_portal.channel import Channel
from fno_portal.errors import (
    FNOAuthError,
    FNOConfigError,
    FNOFaultError,
    FNONotFoundError,
    FNOOrderError,
    FNOPackageError,
    FNOProtocolError,
    FNOUnsupportedError,
)
from fno_portal.models import Address
from fno_portal.portal.automation import FNOPortalAutomation, HumanHook, read_results
from fno_portal.portal.browser import SharedBrowser
from fno_portal.portal.selectors import load_selectors

if TYPE_CHECKING:
    from playwright.async_api import Page


class PortalClient(DriverBase):
    """Any operator whose portal has selectors; `name` says which."""

    channel_kind: ClassVar[str] = "portal"
    source: ClassVar[str] = "assumed pages; the selectors of the FNO integration guide where it prints them"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {C.COVERAGE, C.ORDER, C.ORDER_STATUS, C.FIND_ORDER, C.CANCEL, C.FAULT}
    )

    def __init__(
        self,
        portal_url: str,
        username: str,
        password: str,
        *,
        name: str,
        totp_seed: str | None = None,
        headless: bool = True,
        channel: Channel | None = None,
        browser: SharedBrowser | None = None,
        state_dir: Path | None = None,
        evidence_dir: Path | None = None,
        evidence_keep: int = 200,
        evidence_days: float = 30,
        selectors_dir: Path | None = None,
        selectors_version: int | None = None,
        human: HumanHook | None = None,
        wait_s: float = 10,
    ) -> None:
        """Prepare; no browser is started.

        Raises:
            FNOConfigError: no HTTPS, no credentials, a malformed TOTP seed, no selectors.
        """
        self.name = name
        require_https(portal_url, fno=name, what="portal_url")
        if not username or not password:
            raise FNOConfigError("username or password is empty", fno=name, hint="Configure both")
        self.portal_url = portal_url
        self.channel = channel or Channel(name)
        self.portal = FNOPortalAutomation(
            username,
            password,
            headless,
            totp_seed=totp_seed,
            state_dir=state_dir,
            evidence_dir=evidence_dir,
            evidence_keep=evidence_keep,
            evidence_days=evidence_days,
            browser=browser,
            human=human,
            wait_s=wait_s,
            name=name,
            selectors=load_selectors(name, selectors_version, selectors_dir),
        )

    async def aclose(self) -> None:
        """Close the browser session."""
        await self.portal.close()

    async def log_in(self) -> None:
        """Log in now and keep the session; a person at the window may solve what is asked."""
        async with self.portal.new_page() as page:
            await self.portal.ensure_logged_in(page, self.portal_url, self.portal.logins)

    async def check_coverage(self, address: str) -> Dict[str, Any]:  # noqa: UP006
        """Search the address on the coverage page; logs in again where the session ended, also in mid-flow."""
        place = Address.of(address)
        if not str(place):
            raise FNOUnsupportedError(
                "the portal searches by text only", fno=self.name, hint="Give the address"
            )
        where = self._page("coverage")
        async with self.portal.new_page() as page:
            for _ in range(2):
                seen = self.portal.logins
                await self._open(page, where["path"], where["address"], "coverage")
                await page.fill(where["address"], str(place))
                await page.click(where["submit"])
                if await self._shows(page, [where["results"]], "coverage"):
                    return await read_results(self.portal, page, where)
                await self.portal.ensure_logged_in(page, self.portal_url, seen)
        raise self._session_error("coverage")

    async def create_order(self, order_data: Dict[str, Any]) -> Dict[str, Any]:  # noqa: UP006
        """Fill in the order form and send it once. A session that ends on sending leaves the outcome unknown."""
        require_rica(order_data, self.name)
        form = self._page("order")
        async with self.portal.new_page() as page:
            await self._open(page, form["path"], form["submit"], "order")
            await self._fill(page, form["fields"], order_data)
            await self._choose(page, form["package"], str(order_data.get("package", "")))
            number = await self._submit(page, form, "order")
        return {"fno_reference": number, "status": "submitted"}

    async def _choose(self, page: Page, selector: str, package: str) -> None:
        offered = [text.strip() for text in await page.locator(f"{selector} option").all_inner_texts()]
        if package and package not in offered:
            raise FNOPackageError(
                f"{package!r} is not on offer",
                fno=self.name,
                hint=f"On offer: {', '.join(filter(None, offered))}",
            )
        if package:
            await page.select_option(selector, label=package)

    async def _submit(self, page: Page, form: Mapping[str, Any], action: str) -> str:
        await self.channel.spend()
        await page.click(form["submit"])
        failure: type[FNOOrderError | FNOFaultError] = FNOFaultError if action == "fault" else FNOOrderError
        if not await self._shows(page, [form["confirmation"], form["error"]], action):
            raise FNOProtocolError(
                f"the session ended while the {action} was sent",
                fno=self.name,
                hint="Whether it was taken is looked up; it is not sent again",
            )
        if await page.locator(form["error"]).first.is_visible():
            reason = (await page.locator(form["error"]).first.inner_text()).strip()
            raise failure(f"refused: {reason}", fno=self.name, hint="Mend what the portal names")
        return (await page.locator(form["confirmation"]).first.inner_text()).strip()

    async def get_order_status(self, order_id: str) -> Dict[str, Any]:  # noqa: UP006
        """Read the order's page."""
        where = self._page("order_page")
        async with self.portal.new_page() as page:
            path = where["path"].format(order_id=quote(order_id, safe=""))
            found = await self._open(page, path, where["status"], "order status", where["missing"])
            if found == where["missing"]:
                raise FNONotFoundError(
                    f"the portal has no order {order_id}", fno=self.name, hint="Check the number"
                )
            return await self._read_order(page.locator("body"), where)

    async def find_order(self, reference: str) -> dict[str, Any] | None:
        """Search the list of orders for our reference."""
        where = self._page("orders")
        async with self.portal.new_page() as page:
            path = where["path"].format(reference=quote(reference, safe=""))
            found = await self._open(page, path, where["row"], "order look-up", where["none"])
            if found == where["none"]:
                return None
            for row in await page.locator(where["row"]).all():
                if (await row.locator(where["reference"]).inner_text()).strip() == reference:
                    return await self._read_order(row, where)
        raise FNOProtocolError(
            "the look-up shows others' orders alone",
            fno=self.name,
            hint="Ask the operator for the order, or mend the selectors of `orders`",
        )

    async def _read_order(self, box: Any, where: Mapping[str, Any]) -> dict[str, Any]:
        word = (await box.locator(where["status"]).first.inner_text()).strip()
        status = self._page("states").get(word.lower())
        if status is None:
            raise FNOProtocolError(
                f"the state {word!r} is not known", fno=self.name, hint="Add it to the selectors"
            )
        scheduled = box.locator(where["scheduled"])
        return {
            "fno_reference": (await box.locator(where["number"]).first.inner_text()).strip(),
            "status": status,
            "scheduled_date": (await scheduled.first.inner_text()).strip() or None
            if await scheduled.count()
            else None,
        }

    async def cancel_order(self, order_id: str, reason: str) -> dict[str, Any]:
        """Send the cancellation form of the order's page."""
        form = self._page("cancel")
        async with self.portal.new_page() as page:
            path = form["path"].format(order_id=quote(order_id, safe=""))
            await self._open(page, path, form["submit"], "cancellation")
            await self._fill(page, form["fields"], {"reason": reason})
            word = await self._submit(page, form, "cancellation")
        return {"cancellation": form["words"].get(word.lower(), "requested")}

    async def submit_fault(self, fault_data: Dict[str, Any]) -> Dict[str, Any]:  # noqa: UP006
        """Send the fault form."""
        form = self._page("fault")
        async with self.portal.new_page() as page:
            await self._open(page, form["path"], form["submit"], "fault")
            await self._fill(page, form["fields"], fault_data)
            number = await self._submit(page, form, "fault")
        return {"fault_id": number, "status": "open"}

    def _page(self, name: str) -> Mapping[str, Any]:
        return self.portal.selectors.page(name)

    async def _open(self, page: Page, path: str, wanted: str, action: str, other: str | None = None) -> str:
        """Open a page and answer which of the two selectors it shows; logs in where the portal asks for it."""
        await self.channel.spend()
        form = self._page("login")
        choices = [wanted, *([other] if other else [])]
        # Our session, that of another process, one of our own again.
        for _ in range(3):
            seen = self.portal.logins
            await self.portal.goto(page, urljoin(self.portal_url, path), action)
            shown = await self.portal.expect(page, [*choices, form["password"]], action)
            if shown != form["password"]:
                return shown
            await self.portal.ensure_logged_in(page, self.portal_url, seen)
        raise self._session_error(action)

    async def _shows(self, page: Page, wanted: list[str], action: str) -> bool:
        """Whether what is wanted shows; False where the portal asks for the log-in instead."""
        form = self._page("login")
        login: str = form["password"]
        return await self.portal.expect(page, [*wanted, login], action) != login

    def _session_error(self, action: str) -> FNOAuthError:
        return FNOAuthError(
            f"the portal asks for the log-in again and again ({action})",
            fno=self.name,
            hint="Somebody may use the same account; give this client one of its own",
        )

    async def _fill(self, page: Page, fields: Mapping[str, str], values: Mapping[str, Any]) -> None:
        for field, selector in fields.items():
            if values.get(field) is not None:
                await page.fill(selector, str(values[field]))
