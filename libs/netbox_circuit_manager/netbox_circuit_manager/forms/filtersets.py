"""Forms beside the lists."""

from circuits.models import Circuit, Provider, ProviderAccount
from django import forms
from django.utils.translation import gettext_lazy as _
from netbox.forms import NetBoxModelFilterSetForm
from utilities.forms import BOOLEAN_WITH_BLANK_CHOICES
from utilities.forms.fields import DynamicModelMultipleChoiceField, TagFilterField
from utilities.forms.rendering import FieldSet
from utilities.forms.widgets import DatePicker, DateTimePicker

from .. import choices
from ..models import (
    CarrierCharge,
    CircuitContract,
    CircuitCost,
    CircuitPath,
    CircuitTicket,
    ProviderAPIConfig,
    ProviderSyncRun,
    provider_type_choices,
)
from ..validators import currency_choices

__all__ = (
    "CarrierChargeFilterForm",
    "CircuitContractFilterForm",
    "CircuitCostFilterForm",
    "CircuitPathFilterForm",
    "CircuitTicketFilterForm",
    "ProviderAPIConfigFilterForm",
    "ProviderSyncRunFilterForm",
)


def _yes_no(label: str) -> forms.NullBooleanField:
    return forms.NullBooleanField(
        label=label, required=False, widget=forms.Select(choices=BOOLEAN_WITH_BLANK_CHOICES)
    )


class CircuitFieldsForm(NetBoxModelFilterSetForm):
    """What every list of things that belong to circuits can be narrowed by."""

    provider_id = DynamicModelMultipleChoiceField(
        queryset=Provider.objects.all(), required=False, label=_("Provider")
    )
    circuit_id = DynamicModelMultipleChoiceField(
        queryset=Circuit.objects.all(),
        required=False,
        query_params={"provider_id": "$provider_id"},
        label=_("Circuit"),
    )


class CircuitCostFilterForm(CircuitFieldsForm):
    model = CircuitCost
    fieldsets = (
        FieldSet("q", "filter_id", "tag"),
        FieldSet("provider_id", "circuit_id", name=_("Circuit")),
        FieldSet("currency", "mrc", "nrc", "billing_account", "last_updated_date", name=_("Cost")),
    )
    currency = forms.MultipleChoiceField(choices=currency_choices, required=False, label=_("Currency"))
    mrc = forms.DecimalField(required=False, label=_("MRC"))
    nrc = forms.DecimalField(required=False, label=_("NRC"))
    billing_account = forms.CharField(required=False, label=_("Billing account"))
    last_updated_date = forms.DateField(required=False, label=_("As of"), widget=DatePicker())
    tag = TagFilterField(model)


class CircuitContractFilterForm(CircuitFieldsForm):
    model = CircuitContract
    fieldsets = (
        FieldSet("q", "filter_id", "tag"),
        FieldSet("provider_id", "circuit_id", name=_("Circuit")),
        FieldSet("contract_number", "auto_renew", "term_months", name=_("Contract")),
        FieldSet("notice_within_days", "renews_within_days", "start_date", "end_date", name=_("Dates")),
    )
    contract_number = forms.CharField(required=False, label=_("Contract number"))
    auto_renew = _yes_no(_("Renews automatically"))
    term_months = forms.IntegerField(required=False, label=_("Term (months)"))
    notice_within_days = forms.IntegerField(required=False, min_value=0, label=_("Notice due within days"))
    renews_within_days = forms.IntegerField(required=False, min_value=0, label=_("Renews within days"))
    start_date = forms.DateField(required=False, label=_("Start date"), widget=DatePicker())
    end_date = forms.DateField(required=False, label=_("End date"), widget=DatePicker())
    tag = TagFilterField(model)


class CircuitTicketFilterForm(CircuitFieldsForm):
    model = CircuitTicket
    fieldsets = (
        FieldSet("q", "filter_id", "tag"),
        FieldSet("provider_id", "circuit_id", name=_("Circuit")),
        FieldSet(
            "status", "priority", "is_open", "ticket_number", "opened_date", "closed_date", name=_("Ticket")
        ),
    )
    status = forms.MultipleChoiceField(choices=choices.TicketStatusChoices, required=False, label=_("Status"))
    priority = forms.MultipleChoiceField(
        choices=choices.TicketPriorityChoices, required=False, label=_("Priority")
    )
    is_open = _yes_no(_("Open"))
    ticket_number = forms.CharField(required=False, label=_("Ticket number"))
    opened_date = forms.DateTimeField(required=False, label=_("Opened"), widget=DateTimePicker())
    closed_date = forms.DateTimeField(required=False, label=_("Closed"), widget=DateTimePicker())
    tag = TagFilterField(model)


class CircuitPathFilterForm(CircuitFieldsForm):
    model = CircuitPath
    fieldsets = (
        FieldSet("q", "filter_id", "tag"),
        FieldSet("provider_id", "circuit_id", name=_("Circuit")),
        FieldSet("has_geojson", "path_distance_km", name=_("Path")),
    )
    has_geojson = _yes_no(_("Has a drawn path"))
    path_distance_km = forms.DecimalField(required=False, label=_("Distance (km)"))
    tag = TagFilterField(model)


class CarrierChargeFilterForm(CircuitFieldsForm):
    model = CarrierCharge
    fieldsets = (
        FieldSet("q", "filter_id", "tag"),
        FieldSet("provider_id", "circuit_id", "config_id", name=_("Circuit")),
        FieldSet("bill_number", "kind", "currency", "dispute_status", "differs", name=_("Charge")),
        FieldSet("period_start", "period_end", name=_("Period")),
    )
    config_id = DynamicModelMultipleChoiceField(
        queryset=ProviderAPIConfig.objects.all(), required=False, label=_("API config")
    )
    bill_number = forms.CharField(required=False, label=_("Bill number"))
    kind = forms.MultipleChoiceField(choices=choices.ChargeKindChoices, required=False, label=_("Kind"))
    currency = forms.MultipleChoiceField(choices=currency_choices, required=False, label=_("Currency"))
    dispute_status = forms.MultipleChoiceField(
        choices=choices.DisputeStatusChoices, required=False, label=_("Dispute")
    )
    differs = _yes_no(_("Billed differs from expected"))
    period_start = forms.DateField(required=False, label=_("Period start"), widget=DatePicker())
    period_end = forms.DateField(required=False, label=_("Period end"), widget=DatePicker())
    tag = TagFilterField(model)


class ProviderAPIConfigFilterForm(NetBoxModelFilterSetForm):
    model = ProviderAPIConfig
    fieldsets = (
        FieldSet("q", "filter_id", "tag"),
        FieldSet("provider_id", "provider_account_id", "provider_type", name=_("Provider")),
        FieldSet("sync_enabled", "sync_status", name=_("Sync")),
    )
    provider_id = DynamicModelMultipleChoiceField(
        queryset=Provider.objects.all(), required=False, label=_("Provider")
    )
    provider_account_id = DynamicModelMultipleChoiceField(
        queryset=ProviderAccount.objects.all(),
        required=False,
        query_params={"provider_id": "$provider_id"},
        label=_("Provider account"),
    )
    provider_type = forms.MultipleChoiceField(
        choices=provider_type_choices, required=False, label=_("Provider type")
    )
    sync_enabled = _yes_no(_("Sync enabled"))
    sync_status = forms.MultipleChoiceField(
        choices=choices.SyncStatusChoices, required=False, label=_("Sync status")
    )
    tag = TagFilterField(model)


class ProviderSyncRunFilterForm(forms.Form):
    model = ProviderSyncRun
    fieldsets = (FieldSet("q", "config_id", "status", "mode", "dry_run"),)
    q = forms.CharField(required=False, label=_("Search"))
    config_id = DynamicModelMultipleChoiceField(
        queryset=ProviderAPIConfig.objects.all(), required=False, label=_("API config")
    )
    status = forms.MultipleChoiceField(choices=choices.SyncStatusChoices, required=False, label=_("Status"))
    mode = forms.MultipleChoiceField(choices=choices.SyncModeChoices, required=False, label=_("Mode"))
    dry_run = _yes_no(_("Preview"))
