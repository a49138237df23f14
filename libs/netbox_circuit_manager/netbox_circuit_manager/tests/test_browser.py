"""A person with a browser: adds a config, tests the connection, previews, syncs, and sees the costs on the circuit.

Real Chromium, NetBox's own pages over HTTP, a simulated carrier on a port, and RQ's worker that takes the jobs from
Redis. SCREENSHOTS=folder keeps pictures of the pages; those of the documentation are in docs/images.
"""

import os
import shutil
import uuid
from pathlib import Path
from unittest import mock

import django_rq
import pytest
from circuits.models import Circuit, CircuitType, Provider
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from extras.models import Dashboard
from playwright.sync_api import Browser, Page, expect, sync_playwright
from users.models import User

from netbox_circuit_manager.models import CircuitContract, CircuitPath, ProviderAPIConfig
from netbox_circuit_manager.testing import CarrierSimulator, SimTicket, World
from netbox_circuit_manager.testing.shapes import KEY, SECRET
from netbox_circuit_manager.tests.fixtures import GEOJSON

_CHROMIUM = os.environ.get("CHROMIUM") or next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
_PASSWORD = "a-password-for-tests"
# A loaded machine may need long for a page; a test that waits less would fail for no fault of the plugin.
_PATIENCE = 30_000


class BrowserTest(StaticLiveServerTestCase):
    browser: Browser

    @classmethod
    def setUpClass(cls):
        if _CHROMIUM is None:
            pytest.fail("Chromium is not installed: make netbox-env installs it", pytrace=False)
        # Playwright's own loop runs in this thread; Django would take every query for one inside of a coroutine.
        cls.enterClassContext(mock.patch.dict(os.environ, {"DJANGO_ALLOW_ASYNC_UNSAFE": "true"}))
        super().setUpClass()
        playwright = cls.enterClassContext(sync_playwright())
        cls.browser = playwright.chromium.launch(
            executable_path=_CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
            ],
        )
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        django_rq.get_queue("default").empty()
        self.carrier = self.enterContext(CarrierSimulator("sonata", World.of(3)))
        provider = Provider.objects.create(name="Bay Carrier", slug="bay-carrier")
        wave = CircuitType.objects.create(name="Wave", slug="wave")
        for made in self.carrier.world.circuits:
            Circuit.objects.create(cid=made.cid, provider=provider, type=wave)
        self.circuit = Circuit.objects.get(cid="SIM/000001")
        CircuitPath.objects.create(circuit=self.circuit, geojson_data=GEOJSON)
        CircuitContract.objects.create(
            circuit=self.circuit,
            contract_number="K-2026",
            start_date="2026-01-01",
            term_months=36,
            auto_renew=True,
        )
        user = User.objects.create_superuser(username="ada", password=_PASSWORD)
        names = ("MonthlyCostWidget", "ContractRenewalsWidget", "OpenTicketsWidget", "SyncHealthWidget")
        widgets = {str(uuid.uuid4()): name for name in names}
        Dashboard.objects.create(
            user=user,
            layout=[{"id": key, "w": 3, "h": 3, "x": 3 * place, "y": 0} for place, key in enumerate(widgets)],
            config={key: {"class": f"netbox_circuit_manager.{name}"} for key, name in widgets.items()},
        )
        self.page = self.browser.new_page(viewport={"width": 1400, "height": 1000})
        self.addCleanup(self.page.close)
        self.page.set_default_timeout(_PATIENCE)
        expect.set_options(timeout=_PATIENCE)
        self.refused: list[str] = []
        self.page.on("requestfailed", lambda request: self.refused.append(request.url))

    def test_from_config_to_cost(self):
        page = self.page
        self.log_in(page)
        self.add_config(page)
        config = ProviderAPIConfig.objects.get()

        page.click("#test-connection")
        expect(page.get_by_text("Connection successful").first).to_be_visible()

        page.click("#preview")
        expect(page.get_by_text("to preview").first).to_be_visible()
        self.work()
        self.assertFalse(hasattr(Circuit.objects.get(pk=self.circuit.pk), "costs"))
        self.see_run(page, config, preview=True)
        self.picture(page, "preview")

        self.carrier.world.tickets.append(SimTicket("TT-1", self.carrier.world.circuits[0].id))
        page.goto(self.live_server_url + config.get_absolute_url())
        page.click("#sync-now")
        expect(page.get_by_text("to sync").first).to_be_visible()
        self.work()
        self.see_run(page, config, preview=False)

        page.goto(self.live_server_url + self.circuit.get_absolute_url())
        expect(page.locator("#circuit-manager-panel")).to_contain_text("101.50 USD")
        expect(page.locator("svg").filter(has_text="Lay <b>of</b> the land").first).to_be_attached()
        self.picture(page, "circuit", whole=True)
        page.get_by_role("link", name="Costs & contracts").click()
        expect(page.get_by_text("K-2026").first).to_be_visible()
        expect(page.get_by_text("101.50").first).to_be_visible()
        self.picture(page, "costs-and-contracts")
        page.goto(self.live_server_url + config.get_absolute_url())
        expect(page.get_by_text("Success").first).to_be_visible()
        self.assertNotIn(SECRET, page.content())
        self.picture(page, "config")
        page.goto(self.live_server_url + "/")
        expect(page.get_by_text("307.50 USD")).to_be_visible()
        self.picture(page, "dashboard")
        # Nothing was fetched from another machine: no tiles, no fonts, no scripts.
        self.assertEqual([url for url in self.refused if not url.startswith(self.live_server_url)], [])

    def test_a_wrong_secret_says_so(self):
        self.log_in(self.page)
        self.add_config(self.page, secret="wrong")
        self.page.click("#test-connection")
        expect(self.page.get_by_text("Connection failed").first).to_be_visible()
        self.assertNotIn("wrong", self.page.content())

    def log_in(self, page: Page) -> None:
        page.goto(f"{self.live_server_url}/login/")
        page.fill("#id_username", "ada")
        page.fill("#id_password", _PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_url(f"{self.live_server_url}/")

    def add_config(self, page: Page, secret: str = SECRET) -> None:
        """Fills the form as a person does; the provider is found by typing."""
        page.goto(f"{self.live_server_url}/plugins/circuit-manager/provider-api-configs/add/")
        page.locator("#id_provider-ts-control").click()
        page.locator("#id_provider-ts-dropdown").get_by_text("Bay Carrier").click()
        page.locator("#id_provider_type + .ts-wrapper .ts-control").click()
        page.locator("#id_provider_type-ts-dropdown").get_by_text("MEF LSO Sonata").click()
        page.fill("#id_api_endpoint", self.carrier.url)
        page.fill("#id_api_key", KEY)
        page.fill("#id_api_secret", secret)
        page.check("#id_sync_enabled")
        self.picture(page, "add-config")
        page.get_by_role("button", name="Create", exact=True).last.click()
        expect(page.locator("#sync-now")).to_be_visible()
        self.assertNotIn(secret, page.content())

    def work(self) -> None:
        """Takes the queued jobs from Redis and runs them."""
        django_rq.get_worker("default", worker_class="rq.worker.SimpleWorker").work(
            burst=True, with_scheduler=False
        )

    def see_run(self, page: Page, config: ProviderAPIConfig, *, preview: bool) -> None:
        run = config.runs.get(dry_run=preview)
        self.assertEqual((run.status, run.error), ("success", ""))
        page.goto(self.live_server_url + run.get_absolute_url())
        expect(page.get_by_text("101.50").first).to_be_visible()
        expect(page.get_by_text("Everything was synced")).to_be_visible()

    def picture(self, page: Page, name: str, *, whole: bool = False) -> None:
        if folder := os.environ.get("SCREENSHOTS"):
            page.wait_for_load_state("networkidle")
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)
