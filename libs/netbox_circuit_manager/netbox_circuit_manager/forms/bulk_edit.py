"""Forms that change many objects at once."""

from circuits.models import ProviderAccount
from django import forms
from django.utils.translation import gettext_lazy as _
from netbox.forms import NetBoxModelBulkEditForm
from utilities.forms import add_blank_choice
from utilities.forms.fields import CommentField, DynamicModelChoiceField
from utilities.forms.rendering import FieldSet
from utilities.forms.widgets import BulkEditNullBooleanSelect, DatePicker, DateTimePicker

from .. import choices
from ..models import (
    CarrierCharge,
    CircuitContract,
    CircuitCost,
    CircuitPath,
    CircuitTicket,
    ProviderAPIConfig,
)
from ..validators import currency_choices

__all__ = (
    "CarrierChargeBulkEditForm",
    "CircuitContractBulkEditForm",
    "CircuitCostBulkEditForm",
    "CircuitPathBulkEditForm",
    "CircuitTicketBulkEditForm",
    "ProviderAPIConfigBulkEditForm",
)


def _currencies() -> list[tuple[str, str]]:
    return add_blank_choice(list(currency_choices()))


def _money(label: str, minimum: int | None = 0) -> forms.DecimalField:
    return forms.DecimalField(label=label, required=False, min_value=minimum, max_digits=12, decimal_places=2)


class CircuitCostBulkEditForm(NetBoxModelBulkEditForm):
    nrc = _money(_("NRC"))
    mrc = _money(_("MRC"))
    currency = forms.ChoiceField(choices=_currencies, required=False, label=_("Currency"))
    billing_account = forms.CharField(max_length=100, required=False, label=_("Billing account"))
    last_updated_date = forms.DateField(required=False, label=_("As of"), widget=DatePicker())

    model = CircuitCost
    fieldsets = (FieldSet("nrc", "mrc", "currency", "billing_account", "last_updated_date"),)
    nullable_fields = ("nrc", "mrc", "billing_account", "last_updated_date")


class CircuitContractBulkEditForm(NetBoxModelBulkEditForm):
    start_date = forms.DateField(required=False, label=_("Start date"), widget=DatePicker())
    end_date = forms.DateField(required=False, label=_("End date"), widget=DatePicker())
    term_months = forms.IntegerField(required=False, min_value=1, label=_("Term (months)"))
    auto_renew = forms.NullBooleanField(
        required=False, label=_("Renews automatically"), widget=BulkEditNullBooleanSelect
    )
    renewal_notice_days = forms.IntegerField(required=False, min_value=0, label=_("Notice (days)"))
    early_termination_fee = _money(_("Early termination fee"))
    currency = forms.ChoiceField(choices=_currencies, required=False, label=_("Currency"))
    notes = CommentField(label=_("Notes"))

    model = CircuitContract
    fieldsets = (
        FieldSet(
            "start_date", "end_date", "term_months", "auto_renew", "renewal_notice_days", "early_termination_fee",
            "currency",
        ),
    )  # fmt: skip
    nullable_fields = ("start_date", "end_date", "term_months", "early_termination_fee", "notes")


class CircuitTicketBulkEditForm(NetBoxModelBulkEditForm):
    status = forms.ChoiceField(
        choices=add_blank_choice(choices.TicketStatusChoices), required=False, label=_("Status")
    )
    priority = forms.ChoiceField(
        choices=add_blank_choice(choices.TicketPriorityChoices), required=False, label=_("Priority")
    )
    closed_date = forms.DateTimeField(required=False, label=_("Closed"), widget=DateTimePicker())
    resolution = CommentField(label=_("Resolution"))

    model = CircuitTicket
    fieldsets = (FieldSet("status", "priority", "closed_date", "resolution"),)
    nullable_fields = ("closed_date", "resolution")


class CircuitPathBulkEditForm(NetBoxModelBulkEditForm):
    map_zoom = forms.IntegerField(required=False, min_value=1, max_value=22, label=_("Map zoom"))
    path_notes = CommentField(label=_("Notes"))

    model = CircuitPath
    fieldsets = (FieldSet("map_zoom", "path_notes"),)
    nullable_fields = ("path_notes",)


class CarrierChargeBulkEditForm(NetBoxModelBulkEditForm):
    kind = forms.ChoiceField(
        choices=add_blank_choice(choices.ChargeKindChoices), required=False, label=_("Kind")
    )
    expected = _money(_("Expected"), None)
    dispute_status = forms.ChoiceField(
        choices=add_blank_choice(choices.DisputeStatusChoices), required=False, label=_("Dispute")
    )
    notes = CommentField(label=_("Notes"))

    model = CarrierCharge
    fieldsets = (FieldSet("kind", "expected", "dispute_status", "notes"),)
    nullable_fields = ("expected", "notes")


class ProviderAPIConfigBulkEditForm(NetBoxModelBulkEditForm):
    provider_account = DynamicModelChoiceField(
        queryset=ProviderAccount.objects.all(), required=False, label=_("Provider account")
    )
    sync_enabled = forms.NullBooleanField(
        required=False, label=_("Sync enabled"), widget=BulkEditNullBooleanSelect
    )
    sync_interval_hours = forms.IntegerField(required=False, min_value=1, label=_("Sync interval (hours)"))
    full_sync_interval_hours = forms.IntegerField(
        required=False, min_value=1, label=_("Full sync interval (hours)")
    )
    vanished_circuits = forms.ChoiceField(
        choices=add_blank_choice(choices.VanishedCircuitChoices), required=False, label=_("Vanished circuits")
    )
    vanished_tickets = forms.ChoiceField(
        choices=add_blank_choice(choices.VanishedTicketChoices), required=False, label=_("Vanished tickets")
    )

    model = ProviderAPIConfig
    fieldsets = (
        FieldSet("provider_account", "sync_enabled", "sync_interval_hours", "full_sync_interval_hours"),
        FieldSet("vanished_circuits", "vanished_tickets", name=_("What the carrier no longer names")),
    )
    nullable_fields = ("provider_account",)
