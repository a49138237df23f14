"""Filters: NetBox's own test case for completeness, and each filter that has code of ours."""

from datetime import UTC, date, datetime, timedelta

from circuits.models import Provider, ProviderAccount
from django.test import TestCase
from django.utils import timezone
from utilities.testing import ChangeLoggedFilterSetTestMixin
from utilities.testing.filtersets import BaseFilterSetTestMixin

from netbox_circuit_manager import filtersets
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


class _Counts:
    """Asks a filter set how many rows are left."""

    def assert_left(self, count: int, **params) -> None:
        filterset = self.filterset(params, self.queryset)
        self.assertTrue(filterset.is_valid(), filterset.errors)
        self.assertEqual(filterset.qs.count(), count, params)


class OfCircuits(_Counts):
    """Filters that everything of a circuit has; rows stand at C1, C2, C3 of `carrier` and D1 of `other`."""

    @classmethod
    def make_circuits(cls):
        other = Provider.objects.create(name="Other", slug="other")
        return [*circuits(3), *circuits(1, other, prefix="D")]

    def test_circuit_and_provider(self):
        other = Provider.objects.get(slug="other")
        self.assert_left(1, circuit=["C1"])
        self.assert_left(1, circuit_id=[self.queryset.order_by("pk")[0].circuit_id])
        self.assert_left(1, provider=["other"])
        self.assert_left(1, provider_id=[other.pk])


class CircuitCostFilterTest(OfCircuits, TestCase, ChangeLoggedFilterSetTestMixin):
    queryset = CircuitCost.objects.all()
    filterset = filtersets.CircuitCostFilterSet

    @classmethod
    def setUpTestData(cls):
        for number, circuit in enumerate(cls.make_circuits(), start=1):
            CircuitCost.objects.create(
                circuit=circuit,
                mrc=100 * number,
                nrc=number,
                currency="EUR" if number == 1 else "USD",
                billing_account=f"BAN-{number}",
                last_updated_date=date(2026, 1, number),
            )

    def test_amounts(self):
        self.assert_left(1, mrc=[200])
        self.assert_left(2, mrc__gte=[300])
        self.assert_left(1, nrc=[4])
        self.assert_left(1, currency=["EUR"])
        self.assert_left(2, last_updated_date__lte=[date(2026, 1, 2)])

    def test_search(self):
        self.assert_left(1, q="BAN-2")
        self.assert_left(1, q="d1")
        self.assert_left(4, q=" ")
        self.assert_left(1, billing_account=["BAN-3"])


class CircuitContractFilterTest(OfCircuits, TestCase, ChangeLoggedFilterSetTestMixin):
    queryset = CircuitContract.objects.all()
    filterset = filtersets.CircuitContractFilterSet
    ignore_fields = ("contract_file", "notes", "reminded_for")

    @classmethod
    def setUpTestData(cls):
        today = timezone.localdate()
        for number, circuit in enumerate(cls.make_circuits(), start=1):
            CircuitContract.objects.create(
                circuit=circuit,
                contract_number=f"K-{number}",
                end_date=today + timedelta(days=40 * number),
                renewal_notice_days=30,
                notes="Fibre" if number == 1 else "",
                contract_file="circuit_manager/contracts/x/y.pdf" if number == 2 else "",
            )

    def test_due(self):
        self.assert_left(1, notice_within_days=10)
        self.assert_left(2, notice_within_days=50)
        self.assert_left(1, renews_within_days=40)
        self.assert_left(4, renews_within_days=10**9)

    def test_file_and_search(self):
        self.assert_left(1, has_file=True)
        self.assert_left(3, has_file=False)
        self.assert_left(1, q="fibre")
        self.assert_left(1, q="K-3")
        self.assert_left(1, q="D1")


class CircuitTicketFilterTest(OfCircuits, TestCase, ChangeLoggedFilterSetTestMixin):
    queryset = CircuitTicket.objects.all()
    filterset = filtersets.CircuitTicketFilterSet

    @classmethod
    def setUpTestData(cls):
        statuses = ("open", "in_progress", "resolved", "closed")
        for number, (circuit, status) in enumerate(zip(cls.make_circuits(), statuses, strict=True), start=1):
            CircuitTicket.objects.create(
                circuit=circuit,
                ticket_number=f"T-{number}",
                subject="Down" if number == 1 else "Slow",
                status=status,
                priority="critical" if number == 1 else "low",
                opened_date=datetime(2026, 1, number, tzinfo=UTC),
            )

    def test_state(self):
        self.assert_left(2, is_open=True)
        self.assert_left(2, is_open=False)
        self.assert_left(2, status=["open", "closed"])
        self.assert_left(1, priority=["critical"])
        self.assert_left(1, q="down")
        self.assert_left(1, ticket_number=["T-2"])


class CircuitPathFilterTest(OfCircuits, TestCase, ChangeLoggedFilterSetTestMixin):
    queryset = CircuitPath.objects.all()
    filterset = filtersets.CircuitPathFilterSet
    ignore_fields = ("kmz_file", "geojson_data")

    @classmethod
    def setUpTestData(cls):
        for number, circuit in enumerate(cls.make_circuits(), start=1):
            CircuitPath.objects.create(
                circuit=circuit,
                path_distance_km=number,
                geojson_data=GEOJSON if number == 1 else None,
                path_notes="Bay",
            )

    def test_drawn(self):
        self.assert_left(1, has_geojson=True)
        self.assert_left(3, has_geojson=False)
        self.assert_left(2, path_distance_km__gt=[2])
        self.assert_left(4, q="bay")


class CarrierChargeFilterTest(OfCircuits, TestCase, ChangeLoggedFilterSetTestMixin):
    queryset = CarrierCharge.objects.all()
    filterset = filtersets.CarrierChargeFilterSet
    ignore_fields = ("notes",)

    @classmethod
    def setUpTestData(cls):
        made = config()
        for number, circuit in enumerate(cls.make_circuits(), start=1):
            CarrierCharge.objects.create(
                circuit=circuit,
                config=made if number == 1 else None,
                bill_number="B-1",
                line_reference=f"L-{number}",
                billed=100,
                expected={1: 100, 2: 90, 3: None, 4: 100}[number],
                kind="usage" if number == 3 else "recurring",
                dispute_status="open" if number == 2 else "none",
            )

    def test_money(self):
        self.assert_left(1, differs=True)
        self.assert_left(3, differs=False)
        self.assert_left(1, kind=["usage"])
        self.assert_left(1, dispute_status=["open"])
        self.assert_left(1, config_id=[ProviderAPIConfig.objects.get().pk])
        self.assert_left(1, q="L-4")


class ProviderAPIConfigFilterTest(_Counts, TestCase, ChangeLoggedFilterSetTestMixin):
    queryset = ProviderAPIConfig.objects.all()
    filterset = filtersets.ProviderAPIConfigFilterSet
    ignore_fields = ("api_key", "api_secret", "parameters")

    @classmethod
    def setUpTestData(cls):
        provider = Provider.objects.create(name="Carrier", slug="carrier")
        account = ProviderAccount.objects.create(provider=provider, account="1")
        config(provider=provider, provider_account=account, sync_enabled=True, sync_status="failed")
        config(provider_type="zayo", api_endpoint="https://zayo.example")
        config(vanished_circuits="flag")

    def test_state(self):
        self.assert_left(1, provider=["carrier"])
        self.assert_left(1, provider_id=[Provider.objects.get().pk])
        self.assert_left(1, provider_account_id=[ProviderAccount.objects.get().pk])
        self.assert_left(1, provider_type=["zayo"])
        self.assert_left(1, sync_status=["failed"])
        self.assert_left(1, sync_enabled=True)
        self.assert_left(1, vanished_circuits=["flag"])
        self.assert_left(1, q="zayo")

    def test_secrets_cannot_be_guessed(self):
        self.assertFalse({name for name in self.filterset.get_filters() if "key" in name or "secret" in name})


class ProviderSyncRunFilterTest(_Counts, TestCase, BaseFilterSetTestMixin):
    queryset = ProviderSyncRun.objects.all()
    filterset = filtersets.ProviderSyncRunFilterSet
    ignore_fields = ("counts", "job")

    @classmethod
    def setUpTestData(cls):
        made = config()
        ProviderSyncRun.objects.create(config=made, status="failed", error="HTTP 500")
        ProviderSyncRun.objects.create(config=made, status="success", mode="delta")
        ProviderSyncRun.objects.create(config=config(), status="success", dry_run=True)

    def test_state(self):
        self.assert_left(1, status=["failed"])
        self.assert_left(1, mode=["delta"])
        self.assert_left(1, dry_run=True)
        self.assert_left(1, q="500")


class CarrierCircuitFilterTest(_Counts, TestCase, BaseFilterSetTestMixin):
    queryset = CarrierCircuit.objects.all()
    filterset = filtersets.CarrierCircuitFilterSet

    @classmethod
    def setUpTestData(cls):
        made = config()
        for circuit in circuits(3):
            CarrierCircuit.objects.create(config=made, circuit=circuit, carrier_id=f"X-{circuit.cid}")

    def test_ids(self):
        self.assert_left(1, carrier_id=["X-C2"])
        self.assert_left(1, circuit=["C2"])


class CircuitCostHistoryFilterTest(_Counts, TestCase, BaseFilterSetTestMixin):
    queryset = CircuitCostHistory.objects.all()
    filterset = filtersets.CircuitCostHistoryFilterSet

    @classmethod
    def setUpTestData(cls):
        for number, circuit in enumerate(circuits(3), start=1):
            CircuitCostHistory.objects.create(
                circuit=circuit, effective_on=date(2026, number, 1), currency="USD"
            )

    def test_days(self):
        self.assert_left(2, effective_on__gte=[date(2026, 2, 1)])
