"""NetBox's own test cases for REST and GraphQL, inherited for every model."""

from decimal import Decimal

from circuits.models import Provider
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from utilities.testing import APITestCase, APIViewTestCases

from netbox_circuit_manager.models import (
    CarrierCharge,
    CarrierCircuit,
    CircuitContract,
    CircuitCost,
    CircuitCostHistory,
    CircuitPath,
    CircuitTicket,
    ProviderAPIConfig,
    ProviderSyncRun,
)
from netbox_circuit_manager.tests.fixtures import GEOJSON, circuits, config


class Inherited:
    """Holds the base classes: pytest would run them by themselves if they stood in the module."""

    class AllEndpoints(APIViewTestCases.APIViewTestCase):
        view_namespace = "plugins-api:netbox_circuit_manager"
        # GraphQL answers with the objects that a row points to, which the requester must be allowed to view.
        user_permissions = (
            "circuits.view_circuit",
            "circuits.view_provider",
            "netbox_circuit_manager.view_providerapiconfig",
        )

    class ReadEndpoints(
        APIViewTestCases.GetObjectViewTestCase,
        APIViewTestCases.ListObjectsViewTestCase,
        APIViewTestCases.GraphQLTestCase,
    ):
        view_namespace = "plugins-api:netbox_circuit_manager"
        # GraphQL answers with the objects that a row points to, which the requester must be allowed to view.
        user_permissions = (
            "circuits.view_circuit",
            "circuits.view_provider",
            "netbox_circuit_manager.view_providerapiconfig",
        )


class CircuitCostTest(Inherited.AllEndpoints):
    model = CircuitCost
    brief_fields = ["circuit", "currency", "display", "id", "mrc", "url"]
    bulk_update_data = {"mrc": Decimal("99.50"), "currency": "EUR"}

    @classmethod
    def setUpTestData(cls):
        made = circuits(6)
        for number, circuit in enumerate(made[:3], start=1):
            CircuitCost.objects.create(
                circuit=circuit, mrc=100 * number, nrc=50, currency="USD", billing_account=f"BAN-{number}"
            )
        cls.create_data = [
            {"circuit": made[3].pk, "mrc": Decimal("150.00"), "nrc": Decimal("500.00"), "currency": "USD"},
            {"circuit": made[4].pk, "mrc": Decimal("15.00"), "currency": "EUR"},
            {"circuit": made[5].pk, "nrc": Decimal("5.00")},
        ]


class CircuitContractTest(Inherited.AllEndpoints):
    model = CircuitContract
    brief_fields = ["circuit", "contract_number", "display", "end_date", "id", "url"]
    bulk_update_data = {"renewal_notice_days": 90, "notes": "changed"}

    @classmethod
    def setUpTestData(cls):
        made = circuits(3)
        for number, circuit in enumerate(made, start=1):
            CircuitContract.objects.create(
                circuit=circuit,
                contract_number=f"K-{number}",
                start_date="2026-01-01",
                end_date=f"2026-0{number + 3}-01",
                term_months=number,
                early_termination_fee=number,
            )
        cls.create_data = [
            {"circuit": circuit.pk, "contract_number": f"K-1{circuit.pk}", "term_months": 12}
            for circuit in made
        ]


class CircuitTicketTest(Inherited.AllEndpoints):
    model = CircuitTicket
    brief_fields = ["circuit", "display", "id", "status", "subject", "ticket_number", "url"]
    bulk_update_data = {"priority": "low"}

    @classmethod
    def setUpTestData(cls):
        made = circuits(3)
        for number, circuit in enumerate(made, start=1):
            CircuitTicket.objects.create(
                circuit=circuit, ticket_number=f"T-{number}", subject=f"Down {number}"
            )
        cls.create_data = [
            {
                "circuit": circuit.pk,
                "ticket_number": f"T-1{circuit.pk}",
                "subject": "Slow",
                "priority": "high",
            }
            for circuit in made
        ]


class CircuitPathTest(Inherited.AllEndpoints):
    model = CircuitPath
    brief_fields = ["circuit", "display", "id", "path_distance_km", "url"]
    bulk_update_data = {"map_zoom": 5, "path_notes": "changed"}

    @classmethod
    def setUpTestData(cls):
        made = circuits(6)
        for number, circuit in enumerate(made[:3], start=1):
            CircuitPath.objects.create(circuit=circuit, path_distance_km=number, path_notes=f"Way {number}")
        cls.create_data = [{"circuit": circuit.pk, "geojson_data": GEOJSON} for circuit in made[3:]]
        # What is sent is checked and brought into one shape.
        cls.validation_excluded_fields = ["geojson_data"]


class DerivedFieldsTest(APITestCase):
    """What is computed is computed for the REST API too, which validates a copy of the object."""

    model = CircuitPath
    view_namespace = "plugins-api:netbox_circuit_manager"
    user_permissions = (
        "circuits.view_circuit",
        *(
            f"netbox_circuit_manager.{action}_{model}"
            for action in ("view", "add", "change")
            for model in ("circuitpath", "circuitticket", "circuitcost")
        ),
    )
    KML = (
        b'<kml xmlns="http://www.opengis.net/kml/2.2"><Placemark><name>Way</name><LineString><coordinates>'
        b"-122.42,37.77 -122.27,37.80</coordinates></LineString></Placemark></kml>"
    )

    @classmethod
    def setUpTestData(cls):
        cls.circuit, cls.other = circuits(2)

    def post(self, url, data, **kwargs):
        response = self.client.post(url, {"circuit": self.circuit.pk, **data}, **kwargs, **self.header)
        self.assertHttpStatus(response, 201)
        return response.json()

    def test_length_of_geojson(self):
        made = self.post(self._get_list_url(), {"geojson_data": GEOJSON}, format="json")
        self.assertAlmostEqual(made["path_distance_km"], float(CircuitPath.objects.get().path_distance_km))
        self.assertGreater(made["path_distance_km"], 70)

    def test_upload(self):
        file = SimpleUploadedFile("way.kml", self.KML)
        made = self.post(self._get_list_url(), {"kmz_file": file}, format="multipart")
        path = CircuitPath.objects.get()
        self.addCleanup(path.kmz_file.storage.delete, path.kmz_file.name)
        self.assertEqual(path.geojson_data["features"][0]["geometry"]["coordinates"][0], [-122.42, 37.77])
        self.assertAlmostEqual(float(path.path_distance_km), 13.6, delta=0.1)
        self.assertIn("/plugins/circuit-manager/files/circuit_manager/paths/", made["kmz_file"])

    def test_a_closed_ticket_has_its_date(self):
        url = reverse("plugins-api:netbox_circuit_manager-api:circuitticket-list")
        made = self.post(url, {"ticket_number": "T", "subject": "Down", "status": "closed"}, format="json")
        self.assertIsNotNone(made["closed_date"])
        url = reverse("plugins-api:netbox_circuit_manager-api:circuitticket-detail", args=[made["id"]])
        answer = self.client.patch(url, {"status": "open"}, format="json", **self.header)
        self.assertEqual((answer.status_code, answer.json()["closed_date"]), (200, None))

    def test_one_cost_and_one_path_a_circuit(self):
        for name in ("circuitcost", "circuitpath"):
            url = reverse(f"plugins-api:netbox_circuit_manager-api:{name}-list")
            row = {"circuit": self.circuit.pk}
            self.assertHttpStatus(self.client.post(url, row, format="json", **self.header), 201)
            again = self.client.post(url, row, format="json", **self.header)
            self.assertEqual((again.status_code, list(again.json())), (400, ["circuit"]))


class ProviderAPIConfigTest(Inherited.AllEndpoints):
    user_permissions = ("circuits.view_provider",)
    model = ProviderAPIConfig
    brief_fields = ["display", "id", "provider", "provider_type", "url"]
    bulk_update_data = {"sync_interval_hours": 6}
    validation_excluded_fields = ["api_key", "api_secret"]

    @classmethod
    def setUpTestData(cls):
        providers = [Provider.objects.create(name=f"Provider {n}", slug=f"provider-{n}") for n in (1, 2, 3)]
        for number, provider in enumerate(providers):
            config(
                provider=provider, api_endpoint=f"https://api{number}.carrier.example", sync_status="success"
            )
        cls.create_data = [
            {
                "provider": provider.pk,
                "provider_type": "sonata",
                "api_endpoint": "https://api.carrier.example",
                "api_key": "k",
                "api_secret": "s",
            }
            for provider in providers
        ]


class CarrierChargeTest(Inherited.AllEndpoints):
    model = CarrierCharge
    brief_fields = ["billed", "bill_number", "circuit", "currency", "display", "id", "line_reference", "url"]
    brief_fields.sort()
    bulk_update_data = {"dispute_status": "open"}

    @classmethod
    def setUpTestData(cls):
        made = circuits(3)
        for number, circuit in enumerate(made, start=1):
            CarrierCharge.objects.create(
                circuit=circuit,
                bill_number=f"B-{number}",
                line_reference=f"L-{number}",
                billed=number,
                expected=1,
            )
        cls.create_data = [
            {"circuit": circuit.pk, "bill_number": "B-9", "line_reference": "1", "billed": Decimal("10.00")}
            for circuit in made
        ]


class NamesTest(APITestCase):
    """Brief lists name objects by their parents, and ask for these once."""

    model = ProviderSyncRun
    user_permissions = ("netbox_circuit_manager.view_providersyncrun",)

    def test_brief_runs(self):
        made = config(provider=circuits(1)[0].provider)
        url = reverse("plugins-api:netbox_circuit_manager-api:providersyncrun-list") + "?brief=true"
        counted = []
        for _round in range(2):
            ProviderSyncRun.objects.bulk_create(ProviderSyncRun(config=made) for _number in range(5))
            with CaptureQueriesContext(connection) as captured:
                self.assertHttpStatus(self.client.get(url, **self.header), 200)
            counted.append(len(captured))
        self.assertLessEqual(counted[1], counted[0])


class ProviderSyncRunTest(Inherited.ReadEndpoints):
    model = ProviderSyncRun
    brief_fields = ["display", "id", "started_at", "status", "url"]
    graphql_base_name = "provider_sync_run"

    @classmethod
    def setUpTestData(cls):
        made = config()
        for status in ("success", "failed", "held"):
            ProviderSyncRun.objects.create(config=made, status=status)


class CircuitCostHistoryTest(Inherited.ReadEndpoints):
    model = CircuitCostHistory
    brief_fields = ["currency", "display", "effective_on", "id", "mrc", "url"]
    graphql_base_name = "circuit_cost_history"

    @classmethod
    def setUpTestData(cls):
        for number, circuit in enumerate(circuits(3), start=1):
            CircuitCostHistory.objects.create(
                circuit=circuit, effective_on=f"2026-01-0{number}", mrc=number, nrc=number, currency="USD"
            )


class CarrierCircuitTest(Inherited.ReadEndpoints):
    model = CarrierCircuit
    brief_fields = ["carrier_id", "display", "id", "url"]

    @classmethod
    def setUpTestData(cls):
        made = config()
        for number, circuit in enumerate(circuits(3), start=1):
            CarrierCircuit.objects.create(
                config=made, circuit=circuit, carrier_id=f"X-{number}", account=f"A-{number}"
            )
