"""A person who may see circuits, and nothing of this plugin, sees no cost, contract, ticket or secret anywhere.

The reference is the last class: with the permissions, each of these places does show what is looked for here.
"""

from unittest import mock

from circuits.models import Circuit, Provider
from django.core.files.base import ContentFile
from django.urls import get_resolver, reverse
from extras.dashboard.utils import get_widget_class
from netbox.search.backends import search_backend
from utilities.testing import APITestCase, TestCase

from netbox_circuit_manager.models import (
    CarrierCharge,
    CircuitContract,
    CircuitCost,
    CircuitPath,
    CircuitTicket,
    ProviderAPIConfig,
    ProviderSyncRun,
    SyncChange,
)
from netbox_circuit_manager.tests.fixtures import GEOJSON, circuits, config

_APP = "netbox_circuit_manager"
# Words that nothing else on a page has.
_HIDDEN = (
    "4711.13",
    "4,711.13",
    "CONTRACT-77",
    "TICKET-88",
    "BILL-99",
    "unseen.example",
    "in-clear",
    "Way-66",
)
_MODELS = (
    CircuitCost,
    CircuitContract,
    CircuitTicket,
    CircuitPath,
    CarrierCharge,
    ProviderAPIConfig,
    ProviderSyncRun,
)
_CORE = (
    "circuits.view_circuit",
    "circuits.delete_circuit",
    "circuits.view_provider",
    "circuits.view_circuittype",
    "core.view_job",
)
_WIDGETS = ("MonthlyCostWidget", "ContractRenewalsWidget", "OpenTicketsWidget", "SyncHealthWidget")


class Filled:
    """One circuit with everything the plugin knows of it."""

    @classmethod
    def setUpTestData(cls):
        cls.circuit = circuits(1)[0]
        cls.config = config(
            provider=cls.circuit.provider,
            api_endpoint="https://unseen.example",
            sync_enabled=True,
            sync_status="success",
        )
        cls.cost = CircuitCost.objects.create(circuit=cls.circuit, mrc="4711.13", currency="USD")
        cls.contract = CircuitContract.objects.create(
            circuit=cls.circuit,
            contract_number="CONTRACT-77",
            end_date="2999-01-01",
            contract_file=ContentFile(b"CONTRACT-77", "contract.pdf"),
        )
        cls.addClassCleanup(cls.contract.contract_file.storage.delete, cls.contract.contract_file.name)
        cls.ticket = CircuitTicket.objects.create(
            circuit=cls.circuit, ticket_number="TICKET-88", subject="Down"
        )
        cls.path = CircuitPath.objects.create(circuit=cls.circuit, geojson_data=GEOJSON, path_notes="Way-66")
        cls.charge = CarrierCharge.objects.create(
            circuit=cls.circuit,
            bill_number="BILL-99",
            line_reference="1",
            billed="4711.13",
            config=cls.config,
        )
        cls.report = ProviderSyncRun.objects.create(config=cls.config, status="success")
        SyncChange.objects.create(
            run=cls.report,
            circuit=cls.circuit,
            model="circuitcost",
            object_repr="x",
            field="mrc",
            after="4711.13",
        )
        for row in (cls.cost, cls.contract, cls.ticket, cls.path, cls.charge, cls.config, cls.circuit):
            search_backend.cache([row])

    def shown(self, response):
        text = b"".join(response.streaming_content) if response.streaming else response.content
        return [word for word in _HIDDEN if word in text.decode(errors="replace")]

    def circuit_pages(self):
        yield self.circuit.get_absolute_url()
        yield reverse("circuits:circuit_costs_contracts", args=[self.circuit.pk])
        yield reverse("circuits:circuit_carrier_tickets", args=[self.circuit.pk])
        yield reverse("circuits:circuit_delete", args=[self.circuit.pk])
        yield reverse("circuits:circuit_list")
        yield reverse("circuits:circuit_list") + "?export"
        yield self.circuit.provider.get_absolute_url()
        yield reverse("circuits:provider_costs_contracts", args=[self.circuit.provider.pk])

    def plugin_pages(self):
        for row in (self.cost, self.contract, self.ticket, self.path, self.charge, self.config, self.report):
            name = f"plugins:{_APP}:{row._meta.model_name}"
            yield reverse(f"{name}_list")
            yield reverse(f"{name}_list") + "?export"
            yield row.get_absolute_url()
            yield reverse(f"{name}_delete", args=[row.pk])
        yield reverse(f"plugins:{_APP}:circuitpath_export", args=[self.path.pk])
        yield self.contract.contract_file.url

    def searches(self):
        for words in ("CONTRACT-77", "TICKET-88", "BILL-99", "unseen", "Way"):
            yield reverse("search") + f"?q={words}"


class PagesTest(Filled, TestCase):
    user_permissions = _CORE

    def test_circuits_and_providers(self):
        for url in self.circuit_pages():
            with self.subTest(url):
                response = self.client.get(url)
                self.assertIn(response.status_code, (200, 403))
                self.assertEqual(self.shown(response), [])

    def test_tabs_are_closed(self):
        page = self.client.get(self.circuit.get_absolute_url()).content.decode()
        for tab in ("costs-contracts", "carrier-tickets"):
            self.assertNotIn(tab, page)
        self.assertHttpStatus(self.client.get(f"{self.circuit.get_absolute_url()}costs-contracts/"), 403)
        self.assertHttpStatus(self.client.get(f"{self.circuit.get_absolute_url()}carrier-tickets/"), 403)

    def test_pages_of_the_plugin(self):
        for url in self.plugin_pages():
            with self.subTest(url):
                response = self.client.get(url)
                self.assertIn(response.status_code, (403, 404))
                self.assertEqual(self.shown(response), [])

    def test_every_address_asks_for_a_permission(self):
        """Whatever view is added later: no address of the plugin answers a person without its permissions."""
        resolver = get_resolver("netbox_circuit_manager.urls")
        names = {name for name in resolver.reverse_dict if isinstance(name, str)}
        self.assertGreater(len(names), 50)
        for name in names:
            for kwargs in ({}, {"pk": 1}, {"path": self.contract.contract_file.name}):
                try:
                    url = reverse(f"plugins:{_APP}:{name}", kwargs=kwargs)
                except Exception:  # noqa: BLE001  # not this one's parameters
                    continue
                for method in (self.client.get, self.client.post):
                    with self.subTest(f"{method.__name__} {url}"):
                        self.assertIn(method(url).status_code, (403, 404, 405))

    def test_files(self):
        self.assertHttpStatus(self.client.get(self.contract.contract_file.url), 404)
        for path in (self.contract.contract_file.name, f"x/../{self.contract.contract_file.name}"):
            self.assertHttpStatus(self.client.get(f"/media/{path}"), 404)

    def test_search(self):
        for url in self.searches():
            response = self.client.get(url)
            self.assertHttpStatus(response, 200)
            # The page repeats what was searched for; a hit would link to a page of the plugin.
            self.assertNotIn("/plugins/circuit-manager/", response.content.decode())

    def test_menu_and_dashboard(self):
        page = self.client.get(reverse("home"))
        self.assertNotIn("/plugins/circuit-manager/", page.content.decode())
        for name in _WIDGETS:
            html = get_widget_class(f"{_APP}.{name}")().render(mock.Mock(user=self.user))
            self.assertIn("no permission", html)
            self.assertFalse([word for word in _HIDDEN if word in html])

    def test_nobody_syncs_without_the_permission(self):
        self.add_permissions(*(f"{_APP}.{action}_providerapiconfig" for action in ("view", "add", "change")))
        page = self.client.get(self.config.get_absolute_url()).content.decode()
        self.assertNotIn("sync-now", page)
        for action in ("sync", "test_connection"):
            url = reverse(f"plugins:{_APP}:providerapiconfig_{action}", args=[self.config.pk])
            self.assertHttpStatus(self.client.post(url), 403)


class ConstrainedTest(Filled, TestCase):
    """With a permission on other rows only."""

    user_permissions = _CORE

    def setUp(self):
        super().setUp()
        from core.models import ObjectType
        from users.models import ObjectPermission

        permission = ObjectPermission.objects.create(
            name="Other rows", actions=["view"], constraints={"pk": 0}
        )
        permission.users.add(self.user)
        permission.object_types.set(ObjectType.objects.get_for_model(model) for model in _MODELS)

    def test_shows_none(self):
        for url in [*self.circuit_pages(), *self.plugin_pages()]:
            with self.subTest(url):
                self.assertEqual(self.shown(self.client.get(url)), [])
        for name in _WIDGETS:
            html = get_widget_class(f"{_APP}.{name}")().render(mock.Mock(user=self.user))
            self.assertFalse([word for word in _HIDDEN if word in html])


class ApisTest(Filled, APITestCase):
    model = Circuit
    user_permissions = _CORE

    def test_rest(self):
        root = reverse(f"plugins-api:{_APP}-api:api-root")
        for name, url in self.client.get(root, **self.header).json().items():
            with self.subTest(name):
                self.assertHttpStatus(self.client.get(url, **self.header), 403)
                self.assertHttpStatus(self.client.post(url, {}, format="json", **self.header), 403)
        for model in (Circuit, Provider):
            url = reverse(f"circuits-api:{model._meta.model_name}-list")
            self.assertEqual(self.shown(self.client.get(url, **self.header)), [])
        for action in ("sync", "test-connection"):
            url = reverse(f"plugins-api:{_APP}-api:providerapiconfig-{action}", args=[self.config.pk])
            self.assertHttpStatus(self.client.post(url, {}, format="json", **self.header), 403)

    def graphql(self, query):
        response = self.client.post(reverse("graphql"), {"query": query}, format="json", **self.header)
        self.assertHttpStatus(response, 200)
        return response

    def test_graphql(self):
        lists = (
            "circuit_cost_list { mrc }",
            "circuit_contract_list { contract_number }",
            "circuit_ticket_list { ticket_number }",
            "circuit_path_list { path_notes }",
            "carrier_charge_list { bill_number }",
            "provider_api_config_list { api_endpoint }",
            "circuit_cost_history_list { mrc }",
            "circuit_list { cid contracts { contract_number } tickets { ticket_number } }",
        )
        for query in lists:
            with self.subTest(query):
                response = self.graphql(f"{{ {query} }}")
                self.assertNotIn("errors", response.json())
                self.assertEqual(self.shown(response), [])


class ReportsTest(Filled, APITestCase):
    """Whoever may see the reports of runs sees no costs in them, unless costs may be seen as well."""

    model = ProviderSyncRun
    user_permissions = (*_CORE, f"{_APP}.view_providersyncrun", f"{_APP}.view_providerapiconfig")

    def report_shows_cost(self):
        url = reverse(f"plugins-api:{_APP}-api:providersyncrun-detail", args=[self.report.pk])
        rest = self.client.get(url, **self.header)
        self.client.force_login(self.user)
        page = self.client.get(self.report.get_absolute_url())
        for answer in (rest, page):
            self.assertHttpStatus(answer, 200)
        shown = ["4711.13" in self.shown(answer) for answer in (rest, page)]
        self.assertEqual(shown[0], shown[1])
        return shown[0]

    def allow(self, **constraints):
        from core.models import ObjectType
        from users.models import ObjectPermission

        permission = ObjectPermission.objects.create(name="Costs", actions=["view"], constraints=constraints)
        permission.users.add(self.user)
        permission.object_types.set([ObjectType.objects.get_for_model(CircuitCost)])

    def test_none(self):
        self.assertFalse(self.report_shows_cost())

    def test_of_other_circuits(self):
        self.allow(circuit__cid="C2")
        self.assertFalse(self.report_shows_cost())

    def test_of_this_circuit(self):
        self.allow(circuit__cid="C1")
        self.assertTrue(self.report_shows_cost())


class WithPermissionsTest(Filled, TestCase):
    """The counterpart, without which the tests above would prove nothing."""

    user_permissions = (
        *_CORE,
        *(f"{_APP}.{action}_{m._meta.model_name}" for m in _MODELS for action in ("view", "delete")),
    )

    def test_pages_show_what_they_have(self):
        expected = {
            self.circuit.get_absolute_url(): "4711.13",
            reverse("circuits:circuit_costs_contracts", args=[self.circuit.pk]): "4711.13",
            reverse("circuits:circuit_delete", args=[self.circuit.pk]): "4711.13",
            self.circuit.provider.get_absolute_url(): "4711.13",
            self.cost.get_absolute_url(): "4711.13",
            self.contract.get_absolute_url(): "CONTRACT-77",
            reverse(f"plugins:{_APP}:circuitcontract_list") + "?export": "CONTRACT-77",
            self.ticket.get_absolute_url(): "TICKET-88",
            self.path.get_absolute_url(): "Way-66",
            self.charge.get_absolute_url(): "BILL-99",
            self.config.get_absolute_url(): "unseen.example",
            self.report.get_absolute_url(): "4711.13",
            self.contract.contract_file.url: "CONTRACT-77",
        }
        for url, word in expected.items():
            with self.subTest(url):
                response = self.client.get(url)
                self.assertHttpStatus(response, 200)
                self.assertIn(word, self.shown(response))

    def test_no_page_shows_secrets_or_foreign_markup(self):
        for url in [*self.circuit_pages(), *self.plugin_pages()]:
            with self.subTest(url):
                response = self.client.get(url)
                self.assertHttpStatus(response, 200)
                text = b"".join(response.streaming_content) if response.streaming else response.content
                self.assertNotIn(b"in-clear", text)
                # The name of the path holds markup.
                if "export" not in url:
                    self.assertNotIn(b"<b>of</b>", text)

    def test_tabs_and_search_and_widgets(self):
        page = self.client.get(self.circuit.get_absolute_url()).content.decode()
        self.assertIn("costs-contracts", page)
        self.assertIn("carrier-tickets", page)
        for url in self.searches():
            self.assertIn("/plugins/circuit-manager/", self.client.get(url).content.decode(), url)
        request = mock.Mock(user=self.user)
        html = [get_widget_class(f"{_APP}.{name}")().render(request) for name in _WIDGETS]
        self.assertIn("4,711.13 USD", html[0])
        self.assertIn("Within 90 days", html[1])
        self.assertIn("<strong>1</strong>", html[2])
        self.assertIn("Success", html[3])

    def test_media_stays_closed(self):
        self.assertHttpStatus(self.client.get(f"/media/{self.contract.contract_file.name}"), 404)
