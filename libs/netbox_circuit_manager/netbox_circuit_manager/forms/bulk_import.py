"""Forms that read CSV, JSON and YAML."""

from typing import Any

from circuits.models import Circuit, Provider, ProviderAccount
from django import forms
from django.utils.translation import gettext_lazy as _
from netbox.forms import NetBoxModelImportForm
from utilities.forms.fields import CSVChoiceField, CSVModelChoiceField, JSONField

from .. import choices
from ..models import (
    CarrierCharge,
    CircuitContract,
    CircuitCost,
    CircuitPath,
    CircuitTicket,
    ProviderAPIConfig,
    provider_type_choices,
)
from ..validators import default_currency

__all__ = (
    "CarrierChargeImportForm",
    "CircuitContractImportForm",
    "CircuitCostImportForm",
    "CircuitPathImportForm",
    "CircuitTicketImportForm",
    "ProviderAPIConfigImportForm",
)


class CircuitImportForm(NetBoxModelImportForm):
    """Circuits by their ID; a provider tells apart two carriers that use the same ID."""

    provider = CSVModelChoiceField(
        queryset=Provider.objects.all(),
        to_field_name="name",
        required=False,
        label=_("Provider"),
        help_text=_("Needed where two providers use the same circuit ID"),
    )
    circuit = CSVModelChoiceField(
        queryset=Circuit.objects.all(), to_field_name="cid", label=_("Circuit"), help_text=_("Circuit ID")
    )

    def __init__(self, data: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(data, *args, **kwargs)
        if data and data.get("provider"):
            self.fields["circuit"].queryset = Circuit.objects.filter(provider__name=data["provider"])


class _CurrencyImportMixin(forms.Form):
    """Without a currency an object keeps its own, and a new one gets the default."""

    currency = forms.CharField(max_length=3, required=False, label=_("Currency"), help_text=_("ISO 4217"))

    def clean_currency(self) -> str:
        entered = self.cleaned_data["currency"]
        return entered.upper() or self.instance.currency or default_currency()


class CircuitCostImportForm(_CurrencyImportMixin, CircuitImportForm):
    class Meta:
        model = CircuitCost
        fields = (
            "provider", "circuit", "nrc", "mrc", "currency", "billing_account", "last_updated_date", "tags",
        )  # fmt: skip


class CircuitContractImportForm(_CurrencyImportMixin, CircuitImportForm):
    renewal_notice_days = forms.IntegerField(required=False, min_value=0, label=_("Notice (days)"))

    class Meta:
        model = CircuitContract
        fields = (
            "provider", "circuit", "contract_number", "start_date", "end_date", "term_months", "auto_renew",
            "renewal_notice_days", "early_termination_fee", "currency", "notes", "tags",
        )  # fmt: skip

    def clean_renewal_notice_days(self) -> int:
        entered = self.cleaned_data["renewal_notice_days"]
        return self.instance.renewal_notice_days if entered is None else entered


class CircuitTicketImportForm(CircuitImportForm):
    status = CSVChoiceField(choices=choices.TicketStatusChoices, label=_("Status"))
    priority = CSVChoiceField(choices=choices.TicketPriorityChoices, required=False, label=_("Priority"))

    class Meta:
        model = CircuitTicket
        fields = (
            "provider", "circuit", "ticket_number", "subject", "status", "priority", "opened_date", "closed_date",
            "description", "resolution", "external_url", "tags",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["opened_date"].required = False

    def clean_priority(self) -> str:
        return self.cleaned_data["priority"] or self.instance.priority

    def clean_opened_date(self) -> Any:
        return self.cleaned_data["opened_date"] or self.instance.opened_date


class CircuitPathImportForm(CircuitImportForm):
    geojson_data = JSONField(required=False, label=_("GeoJSON"))

    class Meta:
        model = CircuitPath
        fields = (
            "provider", "circuit", "geojson_data", "map_center_lat", "map_center_lon", "map_zoom",
            "path_distance_km", "path_notes", "tags",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "map_zoom" in self.fields:
            self.fields["map_zoom"].required = False

    def clean_map_zoom(self) -> int:
        return self.cleaned_data["map_zoom"] or self.instance.map_zoom


class CarrierChargeImportForm(_CurrencyImportMixin, CircuitImportForm):
    kind = CSVChoiceField(choices=choices.ChargeKindChoices, label=_("Kind"))
    dispute_status = CSVChoiceField(choices=choices.DisputeStatusChoices, required=False, label=_("Dispute"))

    class Meta:
        model = CarrierCharge
        fields = (
            "provider", "circuit", "bill_number", "line_reference", "kind", "period_start", "period_end", "billed",
            "expected", "currency", "dispute_status", "notes", "tags",
        )  # fmt: skip

    def clean_dispute_status(self) -> str:
        return self.cleaned_data["dispute_status"] or self.instance.dispute_status


class ProviderAPIConfigImportForm(NetBoxModelImportForm):
    provider = CSVModelChoiceField(
        queryset=Provider.objects.all(), to_field_name="name", required=False, label=_("Provider")
    )
    provider_account = CSVModelChoiceField(
        queryset=ProviderAccount.objects.all(),
        to_field_name="account",
        required=False,
        label=_("Provider account"),
    )
    provider_type = forms.ChoiceField(choices=provider_type_choices, label=_("Provider type"))
    parameters = JSONField(required=False, label=_("Parameters"))
    sync_interval_hours = forms.IntegerField(required=False, min_value=1, label=_("Sync interval (hours)"))

    class Meta:
        model = ProviderAPIConfig
        fields = (
            "provider", "provider_account", "provider_type", "api_endpoint", "api_key", "api_secret", "parameters",
            "sync_enabled", "sync_interval_hours", "tags",
        )  # fmt: skip

    def clean_parameters(self) -> Any:
        return self.cleaned_data["parameters"] or {}

    def clean_sync_interval_hours(self) -> int:
        return self.cleaned_data["sync_interval_hours"] or self.instance.sync_interval_hours

    def clean_api_key(self) -> Any:
        return self.cleaned_data["api_key"] or self.instance.api_key

    def clean_api_secret(self) -> Any:
        return self.cleaned_data["api_secret"] or self.instance.api_secret
