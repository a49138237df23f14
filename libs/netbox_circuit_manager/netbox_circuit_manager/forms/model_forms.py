"""Forms that add and edit one object."""

from typing import Any

from circuits.models import Circuit, Provider, ProviderAccount
from django import forms
from django.utils.translation import gettext_lazy as _
from netbox.forms import NetBoxModelForm
from utilities.forms.fields import CommentField, DynamicModelChoiceField, JSONField
from utilities.forms.rendering import FieldSet
from utilities.forms.widgets import DatePicker, DateTimePicker

from ..models import (
    CarrierCharge,
    CircuitContract,
    CircuitCost,
    CircuitPath,
    CircuitTicket,
    ProviderAPIConfig,
    provider_type_choices,
)
from ..validators import currency_choices, default_currency

__all__ = (
    "CarrierChargeForm",
    "CircuitContractForm",
    "CircuitCostForm",
    "CircuitPathForm",
    "CircuitTicketForm",
    "ProviderAPIConfigForm",
)


class CurrencyField(forms.ChoiceField):
    """One of the setting's currencies; the default when left out."""

    def __init__(self, **kwargs: Any) -> None:
        options = {"choices": currency_choices, "initial": default_currency, "label": _("Currency"), **kwargs}
        super().__init__(**options)


class DefaultsMixin:
    """Fields that may be left out: what the object has stays, and a new one gets the model's default."""

    with_defaults: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.with_defaults:
            self.fields[name].required = False

    def clean(self) -> Any:
        cleaned = super().clean()
        for name in self.with_defaults:
            if self.cleaned_data.get(name) in (None, "") and name not in self.errors:
                self.cleaned_data[name] = getattr(self.instance, name)
        return cleaned


def _circuit(**kwargs: Any) -> DynamicModelChoiceField:
    return DynamicModelChoiceField(
        queryset=Circuit.objects.all(), label=_("Circuit"), selector=True, **kwargs
    )


class CircuitCostForm(DefaultsMixin, NetBoxModelForm):
    with_defaults = ("currency",)
    circuit = _circuit()
    currency = CurrencyField()

    fieldsets = (
        FieldSet("circuit", "nrc", "mrc", "currency", name=_("Cost")),
        FieldSet("billing_account", "last_updated_date", "tags", name=_("Billing")),
    )

    class Meta:
        model = CircuitCost
        fields = ("circuit", "nrc", "mrc", "currency", "billing_account", "last_updated_date", "tags")
        widgets = {"last_updated_date": DatePicker()}


class CircuitContractForm(DefaultsMixin, NetBoxModelForm):
    with_defaults = ("renewal_notice_days", "currency")
    circuit = _circuit()
    currency = CurrencyField()
    notes = CommentField(label=_("Notes"))

    fieldsets = (
        FieldSet("circuit", "contract_number", "contract_file", "tags", name=_("Contract")),
        FieldSet(
            "start_date",
            "end_date",
            "term_months",
            "auto_renew",
            "renewal_notice_days",
            name=_("Term and renewal"),
        ),
        FieldSet("early_termination_fee", "currency", name=_("Early termination")),
    )

    class Meta:
        model = CircuitContract
        fields = (
            "circuit", "contract_number", "start_date", "end_date", "term_months", "auto_renew",
            "renewal_notice_days", "early_termination_fee", "currency", "contract_file", "notes", "tags",
        )  # fmt: skip
        widgets = {"start_date": DatePicker(), "end_date": DatePicker()}


class CircuitTicketForm(DefaultsMixin, NetBoxModelForm):
    with_defaults = ("status", "priority", "opened_date")
    circuit = _circuit()
    description = CommentField(label=_("Description"))
    resolution = CommentField(label=_("Resolution"))

    fieldsets = (
        FieldSet("circuit", "ticket_number", "subject", "external_url", "tags", name=_("Ticket")),
        FieldSet("status", "priority", "opened_date", "closed_date", name=_("State")),
        FieldSet("description", "resolution", name=_("Text")),
    )

    class Meta:
        model = CircuitTicket
        fields = (
            "circuit", "ticket_number", "subject", "status", "priority", "opened_date", "closed_date",
            "description", "resolution", "external_url", "tags",
        )  # fmt: skip
        widgets = {"opened_date": DateTimePicker(), "closed_date": DateTimePicker()}


class CircuitPathForm(DefaultsMixin, NetBoxModelForm):
    with_defaults = ("map_zoom",)
    circuit = _circuit()
    geojson_data = JSONField(
        label=_("GeoJSON"), required=False, help_text=_("Replaced by what an uploaded file holds")
    )
    path_notes = CommentField(label=_("Notes"))

    fieldsets = (
        FieldSet("circuit", "kmz_file", "geojson_data", "path_distance_km", "tags", name=_("Path")),
        FieldSet("map_center_lat", "map_center_lon", "map_zoom", name=_("Map")),
    )

    class Meta:
        model = CircuitPath
        fields = (
            "circuit", "kmz_file", "geojson_data", "path_distance_km", "map_center_lat", "map_center_lon",
            "map_zoom", "path_notes", "tags",
        )  # fmt: skip


class CarrierChargeForm(DefaultsMixin, NetBoxModelForm):
    with_defaults = ("kind", "currency", "dispute_status")
    circuit = _circuit()
    config = DynamicModelChoiceField(
        queryset=ProviderAPIConfig.objects.all(), label=_("API config"), required=False
    )
    currency = CurrencyField()
    notes = CommentField(label=_("Notes"))

    fieldsets = (
        FieldSet("circuit", "config", "bill_number", "line_reference", "kind", "tags", name=_("Line")),
        FieldSet(
            "period_start",
            "period_end",
            "billed",
            "expected",
            "currency",
            "dispute_status",
            name=_("Amounts"),
        ),
    )

    class Meta:
        model = CarrierCharge
        fields = (
            "circuit", "config", "bill_number", "line_reference", "kind", "period_start", "period_end", "billed",
            "expected", "currency", "dispute_status", "notes", "tags",
        )  # fmt: skip
        widgets = {"period_start": DatePicker(), "period_end": DatePicker()}


class ProviderAPIConfigForm(DefaultsMixin, NetBoxModelForm):
    with_defaults = (
        "sync_interval_hours",
        "full_sync_interval_hours",
        "vanished_circuits",
        "vanished_tickets",
    )
    provider = DynamicModelChoiceField(
        queryset=Provider.objects.all(), label=_("Provider"), selector=True, required=False
    )
    provider_account = DynamicModelChoiceField(
        queryset=ProviderAccount.objects.all(),
        label=_("Provider account"),
        query_params={"provider_id": "$provider"},
        required=False,
        help_text=_("Only circuits of this account are touched; empty: all circuits of the provider"),
    )
    provider_type = forms.ChoiceField(choices=provider_type_choices, label=_("Provider type"))
    parameters = JSONField(
        label=_("Parameters"),
        required=False,
        help_text=_(
            "Settings of the provider type, as JSON (a field mapping, a token address); never credentials"
        ),
    )
    clear_credentials = forms.BooleanField(
        label=_("Remove stored credentials"),
        required=False,
        help_text=_("Forgets the key and the secret, except where a new one is entered"),
    )

    fieldsets = (
        FieldSet("provider", "provider_account", "provider_type", "tags", name=_("Provider")),
        FieldSet("api_endpoint", "api_key", "api_secret", "clear_credentials", "parameters", name=_("API")),
        FieldSet("sync_enabled", "sync_interval_hours", "full_sync_interval_hours", name=_("Schedule")),
        FieldSet("vanished_circuits", "vanished_tickets", name=_("What the carrier no longer names")),
    )

    class Meta:
        model = ProviderAPIConfig
        fields = (
            "provider", "provider_account", "provider_type", "api_endpoint", "api_key", "api_secret", "parameters",
            "sync_enabled", "sync_interval_hours", "full_sync_interval_hours", "vanished_circuits",
            "vanished_tickets", "tags",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # These have defaults, so that callers who know only the documented fields may leave them out.
        for name in (
            "sync_interval_hours",
            "full_sync_interval_hours",
            "vanished_circuits",
            "vanished_tickets",
        ):
            self.fields[name].required = False
        if not self.instance.pk:
            del self.fields["clear_credentials"]

    def clean_parameters(self) -> Any:
        return self.cleaned_data["parameters"] or {}

    def clean(self) -> Any:
        cleaned = super().clean()
        for name in (
            "sync_interval_hours",
            "full_sync_interval_hours",
            "vanished_circuits",
            "vanished_tickets",
        ):
            if not self.cleaned_data.get(name) and name not in self.errors:
                self.cleaned_data[name] = getattr(self.instance, name)
        if self.cleaned_data.get("clear_credentials"):
            self.instance.api_key = self.instance.api_secret = ""
        for name in ("api_key", "api_secret"):
            if not self.cleaned_data.get(name):
                self.cleaned_data[name] = getattr(self.instance, name)
        return cleaned
