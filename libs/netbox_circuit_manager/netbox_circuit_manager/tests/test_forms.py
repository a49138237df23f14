"""Forms under the names and with the fields that users of such a plugin know; everything else has a default."""

from circuits.models import Provider
from django.test import TestCase

from netbox_circuit_manager import forms
from netbox_circuit_manager.tests.fixtures import circuits


class KnownFieldsTest(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.circuit = circuits(1)[0]

    def saved(self, form_class, **data):
        form = form_class(data={"circuit": self.circuit.pk, **data})
        self.assertTrue(form.is_valid(), form.errors)
        row = form.save()
        row.refresh_from_db()
        return row

    def refused(self, form_class, field, **data):
        form = form_class(data={"circuit": self.circuit.pk, **data})
        self.assertFalse(form.is_valid())
        self.assertIn(field, form.errors)

    def test_cost(self):
        cost = self.saved(forms.CircuitCostForm, mrc="150.00")
        self.assertIn("MRC: 150.00 USD", str(cost))
        self.refused(forms.CircuitCostForm, "mrc", mrc="-1")
        self.refused(forms.CircuitCostForm, "currency", mrc="1", currency="XXX")

    def test_contract(self):
        contract = self.saved(
            forms.CircuitContractForm, contract_number="K", start_date="2026-01-01", term_months=12
        )
        self.assertEqual((contract.renewal_notice_days, contract.currency), (30, "USD"))
        self.refused(
            forms.CircuitContractForm,
            "end_date",
            contract_number="L",
            start_date="2026-02-01",
            end_date="2026-01-01",
        )

    def test_ticket(self):
        ticket = self.saved(forms.CircuitTicketForm, ticket_number="T", subject="Down")
        self.assertEqual((ticket.status, ticket.priority), ("open", "medium"))
        self.assertIsNotNone(ticket.opened_date)
        self.refused(forms.CircuitTicketForm, "status", ticket_number="T", subject="Down", status="gone")

    def test_path(self):
        self.assertEqual(self.saved(forms.CircuitPathForm).map_zoom, 10)
        self.refused(forms.CircuitPathForm, "map_center_lat", map_center_lat="91")

    def test_config(self):
        provider = Provider.objects.get()
        data = {
            "provider": provider.pk,
            "provider_type": "lumen",
            "api_endpoint": "https://api.lumen.example",
            "api_key": "k",
            "api_secret": "s",
            "sync_enabled": True,
        }
        made = self.saved(forms.ProviderAPIConfigForm, **data)
        self.assertEqual((made.sync_interval_hours, made.vanished_circuits, made.api_key), (24, "keep", "k"))
        self.refused(
            forms.ProviderAPIConfigForm, "api_endpoint", **{**data, "api_endpoint": "http://lumen.example"}
        )
        self.refused(forms.ProviderAPIConfigForm, "provider_type", **{**data, "provider_type": "nobody"})
