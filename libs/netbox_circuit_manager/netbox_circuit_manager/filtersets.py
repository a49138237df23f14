"""What the lists, the REST API and saved filters can be narrowed by."""

from datetime import timedelta
from typing import Any

import django_filters
from circuits.models import Circuit, Provider, ProviderAccount
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from netbox.filtersets import BaseFilterSet, NetBoxModelFilterSet
from utilities.filtersets import register_filterset

from . import choices
from .models import (
    CarrierCharge,
    CarrierCircuit,
    CircuitContract,
    CircuitCost,
    CircuitCostHistory,
    CircuitPath,
    CircuitTicket,
    ProviderAPIConfig,
    ProviderSyncRun,
    provider_type_choices,
)

__all__ = (
    "CarrierChargeFilterSet",
    "CarrierCircuitFilterSet",
    "CircuitContractFilterSet",
    "CircuitCostFilterSet",
    "CircuitCostHistoryFilterSet",
    "CircuitPathFilterSet",
    "CircuitTicketFilterSet",
    "ProviderAPIConfigFilterSet",
    "ProviderSyncRunFilterSet",
)


class CircuitFiltersMixin(django_filters.FilterSet):
    """Filters of what belongs to a circuit."""

    circuit_id = django_filters.ModelMultipleChoiceFilter(
        field_name="circuit", queryset=Circuit.objects.all(), distinct=False, label=_("Circuit (ID)")
    )
    circuit = django_filters.ModelMultipleChoiceFilter(
        field_name="circuit__cid",
        queryset=Circuit.objects.all(),
        to_field_name="cid",
        distinct=False,
        label=_("Circuit (circuit ID)"),
    )
    provider_id = django_filters.ModelMultipleChoiceFilter(
        field_name="circuit__provider",
        queryset=Provider.objects.all(),
        distinct=False,
        label=_("Provider (ID)"),
    )
    provider = django_filters.ModelMultipleChoiceFilter(
        field_name="circuit__provider__slug",
        queryset=Provider.objects.all(),
        to_field_name="slug",
        distinct=False,
        label=_("Provider (slug)"),
    )


def _config() -> django_filters.ModelMultipleChoiceFilter:
    return django_filters.ModelMultipleChoiceFilter(
        field_name="config",
        queryset=ProviderAPIConfig.objects.all(),
        distinct=False,
        label=_("API config (ID)"),
    )


def _choice(values: Any) -> django_filters.MultipleChoiceFilter:
    return django_filters.MultipleChoiceFilter(choices=values, distinct=False, null_value=None)


@register_filterset
class CircuitCostFilterSet(CircuitFiltersMixin, NetBoxModelFilterSet):
    class Meta:
        model = CircuitCost
        fields = ("id", "nrc", "mrc", "currency", "billing_account", "last_updated_date")

    def search(self, queryset: QuerySet, _name: str, value: str) -> QuerySet:
        if not value.strip():
            return queryset
        return queryset.filter(Q(circuit__cid__icontains=value) | Q(billing_account__icontains=value))


@register_filterset
class CircuitContractFilterSet(CircuitFiltersMixin, NetBoxModelFilterSet):
    notice_within_days = django_filters.NumberFilter(method="due_within", label=_("Notice due within days"))
    renews_within_days = django_filters.NumberFilter(method="due_within", label=_("Renews within days"))
    has_file = django_filters.BooleanFilter(method="filter_has_file", label=_("Has a file"))

    class Meta:
        model = CircuitContract
        fields = (
            "id", "contract_number", "start_date", "end_date", "term_months", "auto_renew", "renewal_notice_days",
            "early_termination_fee", "currency", "renewal_date", "notice_date",
        )  # fmt: skip

    def search(self, queryset: QuerySet, _name: str, value: str) -> QuerySet:
        if not value.strip():
            return queryset
        return queryset.filter(
            Q(circuit__cid__icontains=value) | Q(contract_number__icontains=value) | Q(notes__icontains=value)
        )

    def due_within(self, queryset: QuerySet, name: str, value: Any) -> QuerySet:
        """From today up to that many days ahead."""
        field = "notice_date" if name == "notice_within_days" else "renewal_date"
        today = timezone.localdate()
        # Beyond a century there is nothing more to find, and dates end.
        last = today + timedelta(days=min(int(value), 36500))
        return queryset.filter(**{f"{field}__range": (today, last)})

    def filter_has_file(self, queryset: QuerySet, _name: str, value: bool) -> QuerySet:
        return queryset.exclude(contract_file="") if value else queryset.filter(contract_file="")


@register_filterset
class CircuitTicketFilterSet(CircuitFiltersMixin, NetBoxModelFilterSet):
    status = _choice(choices.TicketStatusChoices)
    priority = _choice(choices.TicketPriorityChoices)
    is_open = django_filters.BooleanFilter(method="filter_is_open", label=_("Open"))

    class Meta:
        model = CircuitTicket
        fields = (
            "id", "ticket_number", "subject", "status", "priority", "opened_date", "closed_date", "description",
            "resolution", "external_url",
        )  # fmt: skip

    def search(self, queryset: QuerySet, _name: str, value: str) -> QuerySet:
        if not value.strip():
            return queryset
        return queryset.filter(
            Q(circuit__cid__icontains=value)
            | Q(ticket_number__icontains=value)
            | Q(subject__icontains=value)
            | Q(description__icontains=value)
        )

    def filter_is_open(self, queryset: QuerySet, _name: str, value: bool) -> QuerySet:
        finished = Q(status__in=choices.FINISHED_TICKETS)
        return queryset.filter(~finished if value else finished)


@register_filterset
class CircuitPathFilterSet(CircuitFiltersMixin, NetBoxModelFilterSet):
    has_geojson = django_filters.BooleanFilter(
        field_name="geojson_data", lookup_expr="isnull", exclude=True, label=_("Has a drawn path")
    )

    class Meta:
        model = CircuitPath
        fields = ("id", "map_center_lat", "map_center_lon", "map_zoom", "path_distance_km", "path_notes")

    def search(self, queryset: QuerySet, _name: str, value: str) -> QuerySet:
        if not value.strip():
            return queryset
        return queryset.filter(Q(circuit__cid__icontains=value) | Q(path_notes__icontains=value))


@register_filterset
class CarrierChargeFilterSet(CircuitFiltersMixin, NetBoxModelFilterSet):
    config_id = _config()
    kind = _choice(choices.ChargeKindChoices)
    dispute_status = _choice(choices.DisputeStatusChoices)
    differs = django_filters.BooleanFilter(method="filter_differs", label=_("Billed differs from expected"))

    class Meta:
        model = CarrierCharge
        fields = (
            "id", "bill_number", "line_reference", "kind", "period_start", "period_end", "billed", "expected",
            "currency", "dispute_status",
        )  # fmt: skip

    def search(self, queryset: QuerySet, _name: str, value: str) -> QuerySet:
        if not value.strip():
            return queryset
        return queryset.filter(
            Q(circuit__cid__icontains=value)
            | Q(bill_number__icontains=value)
            | Q(line_reference__icontains=value)
        )

    def filter_differs(self, queryset: QuerySet, _name: str, value: bool) -> QuerySet:
        differs = Q(expected__isnull=False) & ~Q(billed=F("expected"))
        return queryset.filter(differs if value else ~differs)


@register_filterset
class ProviderAPIConfigFilterSet(NetBoxModelFilterSet):
    provider_id = django_filters.ModelMultipleChoiceFilter(
        queryset=Provider.objects.all(), distinct=False, label=_("Provider (ID)")
    )
    provider = django_filters.ModelMultipleChoiceFilter(
        field_name="provider__slug",
        queryset=Provider.objects.all(),
        to_field_name="slug",
        distinct=False,
        label=_("Provider (slug)"),
    )
    provider_account_id = django_filters.ModelMultipleChoiceFilter(
        field_name="provider_account",
        queryset=ProviderAccount.objects.all(),
        distinct=False,
        label=_("Provider account (ID)"),
    )
    provider_type = _choice(provider_type_choices)
    sync_status = _choice(choices.SyncStatusChoices)
    vanished_circuits = _choice(choices.VanishedCircuitChoices)
    vanished_tickets = _choice(choices.VanishedTicketChoices)

    class Meta:
        model = ProviderAPIConfig
        # No filter on the secrets: one that answers yes or no would be a way to guess them.
        fields = (
            "id", "api_endpoint", "sync_enabled", "sync_interval_hours", "full_sync_interval_hours", "last_sync",
            "last_full_sync", "sync_status", "sync_message",
        )  # fmt: skip

    def search(self, queryset: QuerySet, _name: str, value: str) -> QuerySet:
        if not value.strip():
            return queryset
        return queryset.filter(
            Q(provider__name__icontains=value)
            | Q(provider_type__icontains=value)
            | Q(api_endpoint__icontains=value)
        )


@register_filterset
class ProviderSyncRunFilterSet(BaseFilterSet):
    q = django_filters.CharFilter(method="search", label=_("Search"))
    config_id = _config()
    job_id = django_filters.NumberFilter(field_name="job", label=_("Job (ID)"))
    status = _choice(choices.SyncStatusChoices)
    mode = _choice(choices.SyncModeChoices)

    class Meta:
        model = ProviderSyncRun
        fields = ("id", "started_at", "finished_at", "mode", "dry_run", "status", "error")

    def search(self, queryset: QuerySet, _name: str, value: str) -> QuerySet:
        if not value.strip():
            return queryset
        return queryset.filter(Q(config__provider__name__icontains=value) | Q(error__icontains=value))


@register_filterset
class CarrierCircuitFilterSet(CircuitFiltersMixin, BaseFilterSet):
    config_id = _config()

    class Meta:
        model = CarrierCircuit
        fields = (
            "id",
            "carrier_id",
            "customer_id",
            "account",
            "first_seen_at",
            "last_seen_at",
            "vanished_at",
        )


@register_filterset
class CircuitCostHistoryFilterSet(CircuitFiltersMixin, BaseFilterSet):
    class Meta:
        model = CircuitCostHistory
        fields = ("id", "effective_on", "nrc", "mrc", "currency")
