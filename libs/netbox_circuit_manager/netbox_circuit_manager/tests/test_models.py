"""What the models compute, check and keep."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from circuits.models import Provider, ProviderAccount
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.db import IntegrityError, transaction
from django.test import SimpleTestCase, TestCase, override_settings

from netbox_circuit_manager.models import (
    CarrierCharge,
    CircuitContract,
    CircuitCost,
    CircuitCostHistory,
    CircuitPath,
    CircuitTicket,
    ProviderAPIConfig,
    add_months,
)
from netbox_circuit_manager.providers.registry import provider_registry
from netbox_circuit_manager.tests.fixtures import GEOJSON, circuits, config


class CostTest(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.circuit = circuits(1)[0]

    def cost(self, **values):
        return CircuitCost(circuit=self.circuit, **values)

    def test_says_what_it_costs(self):
        self.assertIn("MRC: 150.00 USD", str(self.cost(mrc=Decimal(150), currency="USD")))
        self.assertEqual(self.cost(mrc=Decimal("10.50")).annual_cost, Decimal("126.00"))
        self.assertIsNone(self.cost().annual_cost)

    def test_refuses_amounts_and_currencies(self):
        for values, field in (
            ({"mrc": -1}, "mrc"),
            ({"nrc": "ten"}, "nrc"),
            ({"mrc": "0.001"}, "mrc"),
            ({"mrc": 1, "currency": "XXX"}, "currency"),
        ):
            with self.subTest(values), self.assertRaises(ValidationError) as caught:
                self.cost(**values).full_clean()
            self.assertIn(field, caught.exception.message_dict)

    def test_currency_is_upper_case(self):
        cost = self.cost(mrc=1, currency="eur")
        cost.full_clean()
        self.assertEqual(cost.currency, "EUR")

    def test_the_database_refuses_too(self):
        with self.assertRaises(IntegrityError), transaction.atomic():
            self.cost(mrc=-1).save()
        self.cost(mrc=1).save()
        with self.assertRaises(IntegrityError), transaction.atomic():
            self.cost(mrc=2).save()

    def test_history_holds_each_change_once(self):
        cost = self.cost(mrc=100)
        cost.save()
        cost.save()
        self.assertEqual(self.circuit.cost_history.count(), 1)
        CircuitCostHistory.objects.update(effective_on=date(2026, 1, 1))
        cost.mrc = "120.00"
        cost.save()
        cost.mrc = 130
        cost.save()
        rows = [(row.effective_on > date(2026, 1, 1), row.mrc) for row in self.circuit.cost_history.all()]
        self.assertEqual(rows, [(True, Decimal(130)), (False, Decimal(100))])


class CostHistoryQueriesTest(TestCase):
    def test_two_queries_for_any_number(self):
        costs = [CircuitCost(circuit=circuit, mrc=1, currency="USD") for circuit in circuits(50)]
        with self.assertNumQueries(2):
            self.assertEqual(CircuitCostHistory.record(costs), 50)
        with self.assertNumQueries(1):
            self.assertEqual(CircuitCostHistory.record(costs), 0)


class ContractDatesTest(SimpleTestCase):
    def renewal(self, today, **values):
        return CircuitContract(**{"auto_renew": True, **values}).next_renewal(today)

    def test_months_keep_the_day_where_there_is_one(self):
        self.assertEqual(add_months(date(2026, 1, 31), 1), date(2026, 2, 28))
        self.assertEqual(add_months(date(2027, 12, 31), 2), date(2028, 2, 29))
        self.assertEqual(add_months(date(2026, 11, 15), 14), date(2028, 1, 15))

    def test_ends_on_its_date_or_after_its_term(self):
        today = date(2026, 6, 1)
        self.assertEqual(self.renewal(today, end_date=date(2026, 9, 1)), date(2026, 9, 1))
        self.assertEqual(self.renewal(today, start_date=date(2026, 1, 1), term_months=12), date(2027, 1, 1))
        self.assertIsNone(self.renewal(today, start_date=date(2026, 1, 1)))

    def test_renews_term_after_term(self):
        terms = {"end_date": date(2024, 1, 31), "term_months": 1}
        self.assertEqual(self.renewal(date(2026, 2, 1), **terms), date(2026, 2, 28))
        self.assertEqual(self.renewal(date(2026, 3, 1), **terms), date(2026, 3, 31))
        self.assertEqual(self.renewal(date(2026, 3, 31), **terms), date(2026, 3, 31))
        self.assertEqual(self.renewal(date(2026, 2, 1), **terms, auto_renew=False), date(2024, 1, 31))


class ContractTest(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.circuit = circuits(1)[0]

    def test_dates_are_stored(self):
        contract = CircuitContract.objects.create(
            circuit=self.circuit, contract_number="K", end_date="2999-12-31", renewal_notice_days=60
        )
        contract.refresh_from_db()
        self.assertEqual(
            (contract.renewal_date, contract.notice_date), (date(2999, 12, 31), date(2999, 11, 1))
        )

    def test_refuses(self):
        for values, field in (
            ({"start_date": date(2026, 2, 1), "end_date": date(2026, 1, 1)}, "end_date"),
            ({"auto_renew": True}, "term_months"),
            ({"early_termination_fee": -1}, "early_termination_fee"),
            ({"term_months": 0}, "term_months"),
        ):
            with self.subTest(values), self.assertRaises(ValidationError) as caught:
                CircuitContract(circuit=self.circuit, contract_number="K", **values).full_clean()
            self.assertIn(field, caught.exception.message_dict)

    def test_a_number_is_used_once_a_circuit(self):
        CircuitContract.objects.create(circuit=self.circuit, contract_number="K")
        with self.assertRaises(ValidationError):
            CircuitContract(circuit=self.circuit, contract_number="K").full_clean()


class TicketTest(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.circuit = circuits(1)[0]

    def ticket(self, **values):
        return CircuitTicket(circuit=self.circuit, ticket_number="T", subject="Down", **values)

    def test_closes_when_it_is_resolved(self):
        ticket = self.ticket(status="resolved")
        ticket.full_clean()
        self.assertIsNotNone(ticket.closed_date)

    def test_opening_again_takes_the_date_away(self):
        ticket = self.ticket(status="closed")
        ticket.save()
        ticket.status, ticket.closed_date = "open", ticket.closed_date.replace(microsecond=0)
        ticket.full_clean()
        ticket.save()
        ticket.refresh_from_db()
        self.assertIsNone(ticket.closed_date)

    def test_refuses(self):
        opened = datetime(2026, 1, 2, tzinfo=UTC)
        for values in (
            {"opened_date": opened, "closed_date": opened - timedelta(days=1), "status": "closed"},
            {"closed_date": opened + timedelta(days=9999), "status": "open"},
        ):
            with self.subTest(values), self.assertRaises(ValidationError) as caught:
                self.ticket(**values).full_clean()
            self.assertIn("closed_date", caught.exception.message_dict)


class PathTest(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.circuit = circuits(1)[0]

    def test_length_and_middle_follow_from_the_drawing(self):
        path = CircuitPath(circuit=self.circuit, geojson_data=GEOJSON)
        path.full_clean()
        # Geodesic on WGS 84: 13.6 km and 61.9 km; a flat projection would say a quarter more.
        self.assertAlmostEqual(float(path.path_distance_km), 75.5, delta=1)
        self.assertEqual(path.map_center_lon, Decimal("-122.155000"))

    def test_a_given_length_stays(self):
        path = CircuitPath(circuit=self.circuit, geojson_data=GEOJSON, path_distance_km=99)
        path.full_clean()
        self.assertEqual(path.path_distance_km, 99)

    def test_refuses_what_is_no_path(self):
        for values, field in (
            ({"geojson_data": {"type": "Nonsense"}}, "geojson_data"),
            ({"kmz_file": ContentFile(b"PK not a zip", "x.kmz")}, "kmz_file"),
            ({"map_center_lat": 91}, "map_center_lat"),
        ):
            with self.subTest(field), self.assertRaises(ValidationError) as caught:
                CircuitPath(circuit=self.circuit, **values).full_clean()
            self.assertIn(field, caught.exception.message_dict)


class ChargeTest(TestCase):
    def test_difference(self):
        self.assertEqual(CarrierCharge(billed=Decimal(110), expected=Decimal(100)).difference, 10)
        self.assertIsNone(CarrierCharge(billed=Decimal(110)).difference)


class ConfigTest(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.provider = Provider.objects.create(name="Carrier", slug="carrier")

    def check(self, **values):
        made = ProviderAPIConfig(
            **{"provider_type": "custom", "api_endpoint": "https://api.carrier.example", **values}
        )
        made.full_clean()
        return made

    def test_endpoints(self):
        self.check(api_endpoint="https://api.carrier.example:8443/v1")
        self.check(api_endpoint="http://127.0.0.1:8080")
        for endpoint in (
            "http://api.carrier.example",
            "ftp://api.carrier.example",
            "https://user:password@api.carrier.example",
            "http://10.0.0.1",
        ):
            with self.subTest(endpoint), self.assertRaises(ValidationError) as caught:
                self.check(api_endpoint=endpoint)
            self.assertIn("api_endpoint", caught.exception.message_dict)

    def test_loopback_needs_the_setting(self):
        plain = {"netbox_circuit_manager": {"allow_loopback_http": False, "encryption_keys": []}}
        with override_settings(PLUGINS_CONFIG=plain), self.assertRaises(ValidationError):
            self.check(api_endpoint="http://127.0.0.1:8080")

    def test_provider_types_follow_the_registry(self):
        with self.assertRaises(ValidationError):
            self.check(provider_type="mycarrier")
        provider_registry.register("mycarrier", type("MyCarrier", (), {}))
        try:
            self.assertEqual(self.check(provider_type="mycarrier").get_provider_type_display(), "Mycarrier")
        finally:
            provider_registry.unregister("mycarrier")

    def test_an_account_belongs_to_the_provider(self):
        other = Provider.objects.create(name="Other", slug="other")
        account = ProviderAccount.objects.create(provider=other, account="1")
        with self.assertRaises(ValidationError) as caught:
            self.check(provider=self.provider, provider_account=account)
        self.assertIn("provider_account", caught.exception.message_dict)

    def test_is_due(self):
        now = datetime(2026, 1, 2, tzinfo=UTC)
        made = config(provider=self.provider)
        self.assertFalse(made.is_due(now))
        made.sync_enabled = True
        made.created = now
        self.assertTrue(made.is_due(now))
        made.last_sync = now - timedelta(hours=23)
        self.assertFalse(made.is_due(now))
        made.last_sync = now - timedelta(hours=24)
        self.assertTrue(made.is_due(now))
