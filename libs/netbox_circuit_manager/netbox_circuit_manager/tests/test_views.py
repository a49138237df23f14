"""NetBox's own test cases for pages, inherited for every model."""

from datetime import UTC, date, datetime
from decimal import Decimal

from circuits.models import Provider
from utilities.testing import ViewTestCases, create_tags

from netbox_circuit_manager import choices
from netbox_circuit_manager.models import (
    CarrierCharge,
    CircuitContract,
    CircuitCost,
    CircuitPath,
    CircuitTicket,
    ProviderAPIConfig,
    ProviderSyncRun,
)
from netbox_circuit_manager.tests.fixtures import GEOJSON, circuits, config


class _PluginURLs:
    def _get_base_url(self):
        return f"plugins:netbox_circuit_manager:{self.model._meta.model_name}_{{}}"


class Inherited:
    """Holds the base class: pytest would run it by itself if it stood in the module."""

    class AllViews(
        _PluginURLs,
        ViewTestCases.GetObjectViewTestCase,
        ViewTestCases.GetObjectChangelogViewTestCase,
        ViewTestCases.CreateObjectViewTestCase,
        ViewTestCases.EditObjectViewTestCase,
        ViewTestCases.DeleteObjectViewTestCase,
        ViewTestCases.ListObjectsViewTestCase,
        ViewTestCases.BulkImportObjectsViewTestCase,
        ViewTestCases.BulkEditObjectsViewTestCase,
        ViewTestCases.BulkDeleteObjectsViewTestCase,
    ):
        pass


class CircuitCostTestCase(Inherited.AllViews):
    model = CircuitCost

    @classmethod
    def setUpTestData(cls):
        made = circuits(8)
        for circuit in made[:3]:
            CircuitCost.objects.create(circuit=circuit, mrc=100, nrc=50, currency="USD")
        cls.form_data = {
            "circuit": made[3].pk,
            "nrc": Decimal("500.00"),
            "mrc": Decimal("150.00"),
            "currency": "EUR",
            "billing_account": "BAN-1",
            "last_updated_date": date(2026, 1, 2),
            "tags": [tag.pk for tag in create_tags("Alpha")],
        }
        cls.csv_data = (
            "circuit,mrc,nrc,currency",
            f"{made[4].cid},10.00,1.00,USD",
            f"{made[5].cid},20.00,2.00,eur",
            f"{made[6].cid},30.00,,",
        )
        rows = list(CircuitCost.objects.order_by("pk"))
        cls.csv_update_data = (
            "id,mrc",
            f"{rows[0].pk},11.00",
            f"{rows[1].pk},12.00",
            f"{rows[2].pk},13.00",
        )
        cls.bulk_edit_data = {"currency": "GBP", "mrc": Decimal("77.00"), "billing_account": "BAN-9"}


class CircuitContractTestCase(Inherited.AllViews):
    model = CircuitContract

    @classmethod
    def setUpTestData(cls):
        made = circuits(3)
        for number, circuit in enumerate(made, start=1):
            CircuitContract.objects.create(circuit=circuit, contract_number=f"K-{number}")
        cls.form_data = {
            "circuit": made[0].pk,
            "contract_number": "K-100",
            "start_date": date(2026, 1, 1),
            "end_date": date(2026, 12, 31),
            "term_months": 12,
            "auto_renew": True,
            "renewal_notice_days": 60,
            "early_termination_fee": Decimal("1000.00"),
            "currency": "USD",
            "notes": "Some *notes*",
            "tags": [tag.pk for tag in create_tags("Alpha")],
        }
        cls.csv_data = (
            "circuit,contract_number,start_date,term_months,auto_renew",
            "C1,K-10,2026-01-01,12,true",
            "C2,K-11,2026-02-01,24,false",
            "C3,K-12,2026-03-01,36,false",
        )
        rows = list(CircuitContract.objects.order_by("pk"))
        cls.csv_update_data = ("id,notes", *(f"{row.pk},changed" for row in rows))
        cls.bulk_edit_data = {
            "renewal_notice_days": 90,
            "early_termination_fee": Decimal("5.00"),
            "term_months": 24,
        }


class CircuitTicketTestCase(Inherited.AllViews):
    model = CircuitTicket

    @classmethod
    def setUpTestData(cls):
        made = circuits(3)
        for number, circuit in enumerate(made, start=1):
            CircuitTicket.objects.create(circuit=circuit, ticket_number=f"T-{number}", subject="Down")
        cls.form_data = {
            "circuit": made[0].pk,
            "ticket_number": "T-100",
            "subject": "Light is gone",
            "status": choices.TicketStatusChoices.RESOLVED,
            "priority": choices.TicketPriorityChoices.CRITICAL,
            "opened_date": datetime(2026, 1, 1, 8, 0, tzinfo=UTC),
            "closed_date": datetime(2026, 1, 1, 9, 0, tzinfo=UTC),
            "description": "Both fibres",
            "resolution": "Spliced",
            "external_url": "https://carrier.example/tickets/100",
            "tags": [tag.pk for tag in create_tags("Alpha")],
        }
        cls.csv_data = (
            "circuit,ticket_number,subject,status,priority",
            "C1,T-10,One,open,high",
            "C2,T-11,Two,in_progress,low",
            "C3,T-12,Three,closed,",
        )
        rows = list(CircuitTicket.objects.order_by("pk"))
        cls.csv_update_data = ("id,subject", *(f"{row.pk},changed" for row in rows))
        cls.bulk_edit_data = {"priority": choices.TicketPriorityChoices.LOW, "status": "pending"}


class CircuitPathTestCase(Inherited.AllViews):
    model = CircuitPath

    @classmethod
    def setUpTestData(cls):
        made = circuits(8)
        for circuit in made[:3]:
            CircuitPath.objects.create(circuit=circuit, geojson_data=GEOJSON, path_distance_km="12.500")
        cls.form_data = {
            "circuit": made[3].pk,
            "map_center_lat": Decimal("37.770000"),
            "map_center_lon": Decimal("-122.420000"),
            "map_zoom": 12,
            "path_distance_km": Decimal("10.500"),
            "path_notes": "Along the bay",
            "tags": [tag.pk for tag in create_tags("Alpha")],
        }
        cls.csv_data = (
            "circuit,path_distance_km,path_notes",
            f"{made[4].cid},1.5,One",
            f"{made[5].cid},2.5,Two",
            f"{made[6].cid},,Three",
        )
        rows = list(CircuitPath.objects.order_by("pk"))
        cls.csv_update_data = ("id,path_notes", *(f"{row.pk},changed" for row in rows))
        cls.bulk_edit_data = {"map_zoom": 7, "path_notes": "All of them"}


class CarrierChargeTestCase(Inherited.AllViews):
    model = CarrierCharge

    @classmethod
    def setUpTestData(cls):
        made = circuits(3)
        for number, circuit in enumerate(made, start=1):
            CarrierCharge.objects.create(
                circuit=circuit, bill_number="B-1", line_reference=str(number), billed=100, currency="USD"
            )
        cls.form_data = {
            "circuit": made[0].pk,
            "config": config().pk,
            "bill_number": "B-2",
            "line_reference": "1",
            "kind": choices.ChargeKindChoices.RECURRING,
            "period_start": date(2026, 1, 1),
            "period_end": date(2026, 1, 31),
            "billed": Decimal("110.00"),
            "expected": Decimal("100.00"),
            "currency": "USD",
            "dispute_status": choices.DisputeStatusChoices.OPEN,
            "notes": "Ten too many",
            "tags": [tag.pk for tag in create_tags("Alpha")],
        }
        cls.csv_data = (
            "circuit,bill_number,line_reference,kind,billed,currency",
            "C1,B-3,1,recurring,10.00,USD",
            "C2,B-3,2,usage,20.00,USD",
            "C3,B-3,3,credit,-5.00,USD",
        )
        rows = list(CarrierCharge.objects.order_by("pk"))
        cls.csv_update_data = ("id,expected", *(f"{row.pk},99.00" for row in rows))
        cls.bulk_edit_data = {
            "dispute_status": choices.DisputeStatusChoices.ACCEPTED,
            "expected": Decimal("98.00"),
        }


class ProviderAPIConfigTestCase(Inherited.AllViews):
    model = ProviderAPIConfig
    # They go in and never come out: the page's object is not equal to what was typed.
    validation_excluded_fields = ("api_key", "api_secret")

    @classmethod
    def setUpTestData(cls):
        providers = [Provider.objects.create(name=f"Provider {n}", slug=f"provider-{n}") for n in (1, 2, 3)]
        for provider in providers:
            config(provider=provider)
        cls.form_data = {
            "provider": providers[0].pk,
            "provider_type": "lumen",
            "api_endpoint": "https://api.lumen.example/v1",
            "api_key": "a-key",
            "api_secret": "a-secret",
            "parameters": "{}",
            "sync_enabled": True,
            "sync_interval_hours": 12,
            "full_sync_interval_hours": 48,
            "vanished_circuits": "flag",
            "vanished_tickets": "close",
            "tags": [tag.pk for tag in create_tags("Alpha")],
        }
        cls.csv_data = (
            "provider,provider_type,api_endpoint,api_key,sync_enabled",
            "Provider 1,att,https://api.att.example,k1,true",
            "Provider 2,zayo,https://api.zayo.example,k2,false",
            "Provider 3,verizon,https://api.verizon.example,,false",
        )
        rows = list(ProviderAPIConfig.objects.order_by("pk"))
        cls.csv_update_data = ("id,sync_interval_hours", *(f"{row.pk},6" for row in rows))
        cls.bulk_edit_data = {"sync_interval_hours": 8, "vanished_tickets": "keep"}


class ProviderSyncRunTestCase(
    _PluginURLs,
    ViewTestCases.GetObjectViewTestCase,
    ViewTestCases.DeleteObjectViewTestCase,
    ViewTestCases.ListObjectsViewTestCase,
    ViewTestCases.BulkDeleteObjectsViewTestCase,
):
    model = ProviderSyncRun

    @classmethod
    def setUpTestData(cls):
        made = config()
        for _number in range(3):
            ProviderSyncRun.objects.create(config=made, status="success", counts={"total": 3, "success": 3})
