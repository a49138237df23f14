"""REST representations; secrets go in and never come out."""

from typing import Any

from circuits.api.serializers import CircuitSerializer, ProviderAccountSerializer, ProviderSerializer
from django.utils.translation import gettext_lazy as _
from netbox.api.fields import ChoiceField
from netbox.api.serializers import BaseModelSerializer, NetBoxModelSerializer
from rest_framework import serializers
from rest_framework.utils import html

from .. import choices
from ..models import (
    CarrierCharge,
    CarrierCircuit,
    CircuitContract,
    CircuitCost,
    CircuitCostHistory,
    CircuitPath,
    CircuitTicket,
    ProviderAPIConfig,
    ProviderSyncRun,
    SyncChange,
    SyncIssue,
    provider_type_choices,
)

__all__ = (
    "CarrierChargeSerializer",
    "CarrierCircuitSerializer",
    "CircuitContractSerializer",
    "CircuitCostHistorySerializer",
    "CircuitCostSerializer",
    "CircuitPathSerializer",
    "CircuitTicketSerializer",
    "ConnectionTestSerializer",
    "ProviderAPIConfigSerializer",
    "ProviderSyncRunSerializer",
    "SyncJobSerializer",
    "SyncRequestSerializer",
)

_HEAD = ("id", "url", "display_url", "display")
_TAIL = ("tags", "custom_fields", "created", "last_updated")


class UploadCircuitSerializer(CircuitSerializer):
    """A circuit named by its ID in a multipart form too, in which files are sent."""

    def get_value(self, dictionary: Any) -> Any:
        if html.is_html_input(dictionary) and self.field_name in dictionary:
            return dictionary[self.field_name]
        return super().get_value(dictionary)


class OnePerCircuitSerializer(NetBoxModelSerializer):
    """Of models that a circuit has one row of: REST Framework does not look where a field is a nested serializer."""

    def validate(self, data: Any) -> Any:
        circuit = None if self.nested else data.get("circuit")
        if circuit is not None:
            model = self.Meta.model
            others = model.objects.filter(circuit=circuit).exclude(pk=getattr(self.instance, "pk", None))
            if others.exists():
                text = _("This circuit has a {model} already: change that one.")
                raise serializers.ValidationError({"circuit": text.format(model=model._meta.verbose_name)})
        return super().validate(data)


class CircuitCostSerializer(OnePerCircuitSerializer):
    circuit = CircuitSerializer(nested=True)
    annual_cost = serializers.DecimalField(max_digits=14, decimal_places=2, read_only=True)

    class Meta:
        model = CircuitCost
        fields = (
            *_HEAD, "circuit", "nrc", "mrc", "annual_cost", "currency", "billing_account", "last_updated_date", *_TAIL,
        )  # fmt: skip
        brief_fields = ("id", "url", "display", "circuit", "mrc", "currency")


class CircuitContractSerializer(NetBoxModelSerializer):
    circuit = UploadCircuitSerializer(nested=True)
    contract_file = serializers.FileField(required=False, allow_null=True)

    class Meta:
        model = CircuitContract
        fields = (
            *_HEAD, "circuit", "contract_number", "start_date", "end_date", "term_months", "auto_renew",
            "renewal_notice_days", "renewal_date", "notice_date", "early_termination_fee", "currency",
            "contract_file", "notes", *_TAIL,
        )  # fmt: skip
        read_only_fields = ("renewal_date", "notice_date")
        brief_fields = ("id", "url", "display", "circuit", "contract_number", "end_date")


class CircuitTicketSerializer(NetBoxModelSerializer):
    circuit = CircuitSerializer(nested=True)
    status = ChoiceField(choices=choices.TicketStatusChoices, required=False)
    priority = ChoiceField(choices=choices.TicketPriorityChoices, required=False)

    class Meta:
        model = CircuitTicket
        fields = (
            *_HEAD, "circuit", "ticket_number", "subject", "status", "priority", "opened_date", "closed_date",
            "description", "resolution", "external_url", *_TAIL,
        )  # fmt: skip
        brief_fields = ("id", "url", "display", "circuit", "ticket_number", "subject", "status")


class CircuitPathSerializer(OnePerCircuitSerializer):
    circuit = UploadCircuitSerializer(nested=True)
    kmz_file = serializers.FileField(required=False, allow_null=True)

    class Meta:
        model = CircuitPath
        fields = (
            *_HEAD, "circuit", "kmz_file", "geojson_data", "map_center_lat", "map_center_lon", "map_zoom",
            "path_distance_km", "path_notes", *_TAIL,
        )  # fmt: skip
        brief_fields = ("id", "url", "display", "circuit", "path_distance_km")


class ProviderAPIConfigSerializer(NetBoxModelSerializer):
    provider = ProviderSerializer(nested=True, required=False, allow_null=True)
    provider_account = ProviderAccountSerializer(nested=True, required=False, allow_null=True)
    provider_type = ChoiceField(choices=())
    api_key = serializers.CharField(
        write_only=True, required=False, allow_blank=True, style={"input_type": "password"}
    )
    api_secret = serializers.CharField(
        write_only=True, required=False, allow_blank=True, style={"input_type": "password"}
    )
    has_api_key = serializers.SerializerMethodField()
    has_api_secret = serializers.SerializerMethodField()
    sync_status = ChoiceField(choices=choices.SyncStatusChoices, read_only=True)
    vanished_circuits = ChoiceField(choices=choices.VanishedCircuitChoices, required=False)
    vanished_tickets = ChoiceField(choices=choices.VanishedTicketChoices, required=False)

    class Meta:
        model = ProviderAPIConfig
        fields = (
            *_HEAD, "provider", "provider_account", "provider_type", "api_endpoint", "api_key", "api_secret",
            "has_api_key", "has_api_secret", "parameters", "sync_enabled", "sync_interval_hours",
            "full_sync_interval_hours", "vanished_circuits", "vanished_tickets", "last_sync", "last_full_sync",
            "sync_status", "sync_message", *_TAIL,
        )  # fmt: skip
        read_only_fields = ("last_sync", "last_full_sync", "sync_message")
        brief_fields = ("id", "url", "display", "provider", "provider_type")

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        # Read anew: a provider type may be registered after this class was made.
        if "provider_type" in fields:
            fields["provider_type"] = ChoiceField(choices=list(provider_type_choices()))
        return fields

    def get_has_api_key(self, config: ProviderAPIConfig) -> bool:
        return bool(config.api_key)

    def get_has_api_secret(self, config: ProviderAPIConfig) -> bool:
        return bool(config.api_secret)


class SyncRequestSerializer(serializers.Serializer):
    """What a run is asked for."""

    dry_run = serializers.BooleanField(default=False)
    full = serializers.BooleanField(default=False)
    release = serializers.BooleanField(
        default=False, help_text="Accept an empty or much shorter list, as a person who has looked at it"
    )


class SyncJobSerializer(serializers.Serializer):
    """The job that a run was queued as."""

    job = serializers.IntegerField(help_text="Its ID under /api/core/jobs/")
    name = serializers.CharField()
    status = serializers.CharField()


class ConnectionTestSerializer(serializers.Serializer):
    """How a connection test went."""

    success = serializers.BooleanField()
    message = serializers.CharField()
    response_time = serializers.FloatField(help_text="Seconds")


class CarrierChargeSerializer(NetBoxModelSerializer):
    circuit = CircuitSerializer(nested=True)
    config = ProviderAPIConfigSerializer(nested=True, required=False, allow_null=True)
    kind = ChoiceField(choices=choices.ChargeKindChoices, required=False)
    dispute_status = ChoiceField(choices=choices.DisputeStatusChoices, required=False)
    difference = serializers.DecimalField(max_digits=14, decimal_places=2, read_only=True, allow_null=True)

    class Meta:
        model = CarrierCharge
        fields = (
            *_HEAD, "circuit", "config", "bill_number", "line_reference", "kind", "period_start", "period_end",
            "billed", "expected", "difference", "currency", "dispute_status", "notes", *_TAIL,
        )  # fmt: skip
        brief_fields = (
            "id",
            "url",
            "display",
            "circuit",
            "bill_number",
            "line_reference",
            "billed",
            "currency",
        )


class _SyncChangeSerializer(serializers.ModelSerializer):
    class Meta:
        model = SyncChange
        fields = ("circuit", "model", "object_repr", "field", "before", "after")


class _SyncIssueSerializer(serializers.ModelSerializer):
    class Meta:
        model = SyncIssue
        fields = ("subject", "circuit", "code", "reason")


class ProviderSyncRunSerializer(BaseModelSerializer):
    """A run's report; the first thousand changes and issues (the page of the run has them all)."""

    SHOWN = 1000

    config = ProviderAPIConfigSerializer(nested=True)
    mode = ChoiceField(choices=choices.SyncModeChoices, read_only=True)
    status = ChoiceField(choices=choices.SyncStatusChoices, read_only=True)
    changes = serializers.SerializerMethodField()
    not_synced = serializers.SerializerMethodField()

    class Meta:
        model = ProviderSyncRun
        fields = (
            "id", "url", "display", "config", "started_at", "finished_at", "mode", "dry_run", "status", "counts",
            "error", "changes", "not_synced",
        )  # fmt: skip
        brief_fields = ("id", "url", "display", "status", "started_at")

    def get_changes(self, run: ProviderSyncRun) -> list[dict[str, Any]]:
        if not self._detail:
            return []
        visible = run.changes_visible_to(self.context["request"].user)
        return _SyncChangeSerializer(visible[: self.SHOWN], many=True).data

    def get_not_synced(self, run: ProviderSyncRun) -> list[dict[str, Any]]:
        return (
            _SyncIssueSerializer(run.not_synced.all()[: self.SHOWN], many=True).data if self._detail else []
        )

    @property
    def _detail(self) -> bool:
        """Lists of runs leave the details out: they would ask for each run again."""
        return getattr(self.context.get("view"), "action", None) == "retrieve"


class CircuitCostHistorySerializer(BaseModelSerializer):
    circuit = CircuitSerializer(nested=True)

    class Meta:
        model = CircuitCostHistory
        fields = ("id", "url", "display", "circuit", "effective_on", "nrc", "mrc", "currency")
        brief_fields = ("id", "url", "display", "effective_on", "mrc", "currency")


class CarrierCircuitSerializer(BaseModelSerializer):
    circuit = CircuitSerializer(nested=True)
    config = ProviderAPIConfigSerializer(nested=True)

    class Meta:
        model = CarrierCircuit
        fields = (
            "id", "url", "display", "config", "circuit", "carrier_id", "customer_id", "account", "first_seen_at",
            "last_seen_at", "vanished_at",
        )  # fmt: skip
        brief_fields = ("id", "url", "display", "carrier_id")
