"""Lists; exports of lists hold the same columns."""

from typing import Any

import django_tables2 as tables
from django.apps import apps
from django.utils.translation import gettext_lazy as _
from netbox.tables import BaseTable, NetBoxTable, columns

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
    SyncChange,
    SyncIssue,
)

__all__ = (
    "CarrierChargeTable",
    "CarrierCircuitTable",
    "CircuitContractTable",
    "CircuitCostHistoryTable",
    "CircuitCostTable",
    "CircuitPathTable",
    "CircuitTicketTable",
    "ProviderAPIConfigTable",
    "ProviderSyncRunTable",
    "SyncChangeTable",
    "SyncIssueTable",
)

_RIGHT = {"td": {"class": "text-end"}, "th": {"class": "text-end"}}


class MoneyColumn(tables.Column):
    """An amount, right-aligned; its currency has a column of its own."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(attrs=_RIGHT, **kwargs)


class CircuitTable(NetBoxTable):
    """What belongs to a circuit: links to it and to its provider."""

    circuit = tables.Column(linkify=True, verbose_name=_("Circuit"))
    provider = tables.Column(accessor="circuit__provider", linkify=True, verbose_name=_("Provider"))
    tenant = tables.Column(accessor="circuit__tenant", linkify=True, verbose_name=_("Tenant"))
    circuit_status = columns.ChoiceFieldColumn(accessor="circuit__status", verbose_name=_("Circuit status"))


_CIRCUIT = ("circuit", "provider", "tenant", "circuit_status")
_STAMPS = ("tags", "created", "last_updated")


def _tags(model: str) -> columns.TagColumn:
    return columns.TagColumn(url_name=f"plugins:netbox_circuit_manager:{model}_list")


class CircuitCostTable(CircuitTable):
    # A cost has no name of its own: its ID leads to its page.
    id = tables.Column(linkify=True, verbose_name=_("ID"))
    nrc = MoneyColumn(verbose_name=_("NRC"))
    mrc = MoneyColumn(verbose_name=_("MRC"))
    annual_cost = MoneyColumn(verbose_name=_("Per year"), orderable=False)
    tags = _tags("circuitcost")

    class Meta(NetBoxTable.Meta):
        model = CircuitCost
        fields = (
            "pk", "id", *_CIRCUIT, "nrc", "mrc", "annual_cost", "currency", "billing_account", "last_updated_date",
            *_STAMPS,
        )  # fmt: skip
        default_columns = ("pk", "id", "circuit", "provider", "nrc", "mrc", "currency", "last_updated_date")


class CircuitContractTable(CircuitTable):
    contract_number = tables.Column(linkify=True, verbose_name=_("Contract number"))
    auto_renew = columns.BooleanColumn(verbose_name=_("Renews"))
    early_termination_fee = MoneyColumn(verbose_name=_("Early termination fee"))
    contract_file = tables.TemplateColumn(
        template_code='{% if record.contract_file %}<a href="{{ record.contract_file.url }}">{{ record.file_name }}'
        "</a>{% endif %}",
        verbose_name=_("File"),
        orderable=False,
    )
    notes = columns.MarkdownColumn(verbose_name=_("Notes"))
    tags = _tags("circuitcontract")

    def value_contract_file(self, record: CircuitContract) -> str:
        return record.file_name

    class Meta(NetBoxTable.Meta):
        model = CircuitContract
        fields = (
            "pk", "id", "contract_number", *_CIRCUIT, "start_date", "end_date", "term_months", "auto_renew",
            "renewal_notice_days", "renewal_date", "notice_date", "early_termination_fee", "currency",
            "contract_file", "notes", *_STAMPS,
        )  # fmt: skip
        default_columns = (
            "pk", "contract_number", "circuit", "provider", "end_date", "auto_renew", "renewal_date", "notice_date",
        )  # fmt: skip


class CircuitTicketTable(CircuitTable):
    ticket_number = tables.Column(linkify=True, verbose_name=_("Ticket number"))
    status = columns.ChoiceFieldColumn(verbose_name=_("Status"))
    priority = columns.ChoiceFieldColumn(verbose_name=_("Priority"))
    opened_date = columns.DateTimeColumn(verbose_name=_("Opened"))
    closed_date = columns.DateTimeColumn(verbose_name=_("Closed"))
    external_url = tables.URLColumn(verbose_name=_("External URL"))
    description = columns.MarkdownColumn(verbose_name=_("Description"))
    resolution = columns.MarkdownColumn(verbose_name=_("Resolution"))
    tags = _tags("circuitticket")

    class Meta(NetBoxTable.Meta):
        model = CircuitTicket
        fields = (
            "pk", "id", "ticket_number", "subject", *_CIRCUIT, "status", "priority", "opened_date", "closed_date",
            "external_url", "description", "resolution", *_STAMPS,
        )  # fmt: skip
        default_columns = (
            "pk", "ticket_number", "subject", "circuit", "provider", "status", "priority", "opened_date",
        )  # fmt: skip


class CircuitPathTable(CircuitTable):
    id = tables.Column(linkify=True, verbose_name=_("ID"))
    path_distance_km = tables.Column(verbose_name=_("Distance (km)"), attrs=_RIGHT)
    path_notes = columns.MarkdownColumn(verbose_name=_("Notes"))
    tags = _tags("circuitpath")

    class Meta(NetBoxTable.Meta):
        model = CircuitPath
        fields = (
            "pk", "id", *_CIRCUIT, "path_distance_km", "map_center_lat", "map_center_lon", "map_zoom", "path_notes",
            *_STAMPS,
        )  # fmt: skip
        default_columns = (
            "pk",
            "id",
            "circuit",
            "provider",
            "path_distance_km",
            "map_center_lat",
            "map_center_lon",
        )


class CarrierChargeTable(CircuitTable):
    bill_number = tables.Column(linkify=True, verbose_name=_("Bill number"))
    config = tables.Column(linkify=True, verbose_name=_("API config"))
    kind = columns.ChoiceFieldColumn(verbose_name=_("Kind"))
    billed = MoneyColumn(verbose_name=_("Billed"))
    expected = MoneyColumn(verbose_name=_("Expected"))
    difference = MoneyColumn(verbose_name=_("Difference"), orderable=False)
    dispute_status = columns.ChoiceFieldColumn(verbose_name=_("Dispute"))
    notes = columns.MarkdownColumn(verbose_name=_("Notes"))
    tags = _tags("carriercharge")

    class Meta(NetBoxTable.Meta):
        model = CarrierCharge
        fields = (
            "pk", "id", "bill_number", "line_reference", *_CIRCUIT, "config", "kind", "period_start", "period_end",
            "billed", "expected", "difference", "currency", "dispute_status", "notes", *_STAMPS,
        )  # fmt: skip
        default_columns = (
            "pk", "bill_number", "line_reference", "circuit", "kind", "period_start", "billed", "expected",
            "difference", "currency", "dispute_status",
        )  # fmt: skip


class ProviderAPIConfigTable(NetBoxTable):
    id = tables.Column(linkify=True, verbose_name=_("ID"))
    provider = tables.Column(linkify=True, verbose_name=_("Provider"))
    provider_account = tables.Column(linkify=True, verbose_name=_("Account"))
    provider_type = tables.Column(
        accessor="get_provider_type_display",
        order_by="provider_type",
        linkify=lambda record: record.get_absolute_url(),
        verbose_name=_("Provider type"),
    )
    sync_enabled = columns.BooleanColumn(verbose_name=_("Sync enabled"))
    sync_status = columns.ChoiceFieldColumn(verbose_name=_("Sync status"))
    last_sync = columns.DateTimeColumn(verbose_name=_("Last sync"))
    last_full_sync = columns.DateTimeColumn(verbose_name=_("Last full sync"))
    next_sync = columns.DateTimeColumn(verbose_name=_("Next sync"), orderable=False)
    tags = _tags("providerapiconfig")

    class Meta(NetBoxTable.Meta):
        model = ProviderAPIConfig
        fields = (
            "pk", "id", "provider", "provider_account", "provider_type", "api_endpoint", "sync_enabled",
            "sync_interval_hours", "full_sync_interval_hours", "vanished_circuits", "vanished_tickets",
            "sync_status", "last_sync", "last_full_sync", "next_sync", *_STAMPS,
        )  # fmt: skip
        default_columns = (
            "pk", "id", "provider", "provider_type", "api_endpoint", "sync_enabled", "sync_status", "last_sync",
        )  # fmt: skip


class ProviderSyncRunTable(NetBoxTable):
    started_at = columns.DateTimeColumn(linkify=True, verbose_name=_("Started"))
    config = tables.Column(linkify=True, verbose_name=_("API config"))
    finished_at = columns.DateTimeColumn(verbose_name=_("Finished"))
    mode = columns.ChoiceFieldColumn(verbose_name=_("Mode"))
    dry_run = columns.BooleanColumn(verbose_name=_("Preview"))
    status = columns.ChoiceFieldColumn(verbose_name=_("Status"))
    circuits = tables.TemplateColumn(
        template_code="{{ record.counts.success|default:0 }} / {{ record.counts.total|default:0 }}",
        orderable=False,
        verbose_name=_("Synced"),
    )
    job = tables.Column(linkify=True, verbose_name=_("Job"))
    actions = columns.ActionsColumn(actions=("delete",))

    class Meta(NetBoxTable.Meta):
        model = ProviderSyncRun
        fields = (
            "pk", "id", "started_at", "finished_at", "config", "mode", "dry_run", "status", "circuits", "error",
            "job",
        )  # fmt: skip
        default_columns = ("pk", "started_at", "config", "mode", "dry_run", "status", "circuits", "error")


class SyncChangeTable(BaseTable):
    circuit = tables.Column(linkify=True, verbose_name=_("Circuit"))
    before = tables.Column(verbose_name=_("From"), default="—")
    after = tables.Column(verbose_name=_("To"), default="—")

    def render_model(self, value: str) -> str:
        try:
            return apps.get_model("netbox_circuit_manager", value)._meta.verbose_name
        except LookupError:
            return value

    class Meta(BaseTable.Meta):
        model = SyncChange
        fields = ("circuit", "model", "object_repr", "field", "before", "after")
        default_columns = ("circuit", "model", "object_repr", "field", "before", "after")
        empty_text = _("Nothing changed")


class SyncIssueTable(BaseTable):
    circuit = tables.Column(linkify=True, verbose_name=_("Circuit"))

    class Meta(BaseTable.Meta):
        model = SyncIssue
        fields = ("subject", "circuit", "code", "reason")
        default_columns = ("subject", "circuit", "code", "reason")
        empty_text = _("Everything was synced")


class CircuitCostHistoryTable(BaseTable):
    circuit = tables.Column(linkify=True, verbose_name=_("Circuit"))
    nrc = MoneyColumn(verbose_name=_("NRC"))
    mrc = MoneyColumn(verbose_name=_("MRC"))

    class Meta(BaseTable.Meta):
        model = CircuitCostHistory
        fields = ("circuit", "effective_on", "nrc", "mrc", "currency")
        default_columns = ("effective_on", "nrc", "mrc", "currency")


class CarrierCircuitTable(BaseTable):
    circuit = tables.Column(linkify=True, verbose_name=_("Circuit"))
    config = tables.Column(linkify=True, verbose_name=_("API config"))

    class Meta(BaseTable.Meta):
        model = CarrierCircuit
        fields = (
            "carrier_id", "circuit", "config", "customer_id", "account", "first_seen_at", "last_seen_at",
            "vanished_at",
        )  # fmt: skip
        default_columns = ("carrier_id", "circuit", "config", "last_seen_at", "vanished_at")
