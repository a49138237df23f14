"""What the plugin's pages are made of."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from netbox.ui import attrs, panels

from ..drawing import path_drawing

_OWN = "netbox_circuit_manager"


class CircuitCostPanel(panels.ObjectAttributesPanel):
    title = _("Cost")
    circuit = attrs.RelatedObjectAttr("circuit", linkify=True)
    provider = attrs.RelatedObjectAttr("circuit.provider", linkify=True)
    nrc = attrs.TextAttr("nrc", label=_("NRC"))
    mrc = attrs.TextAttr("mrc", label=_("MRC"))
    annual_cost = attrs.TextAttr("annual_cost", label=_("Per year"))
    currency = attrs.TextAttr("currency")


class CircuitBillingPanel(panels.ObjectAttributesPanel):
    title = _("Billing")
    billing_account = attrs.TextAttr("billing_account", style="font-monospace", copy_button=True)
    last_updated_date = attrs.DateTimeAttr("last_updated_date", spec="date", label=_("As of"))


class CircuitContractPanel(panels.ObjectAttributesPanel):
    title = _("Contract")
    circuit = attrs.RelatedObjectAttr("circuit", linkify=True)
    provider = attrs.RelatedObjectAttr("circuit.provider", linkify=True)
    contract_number = attrs.TextAttr("contract_number", style="font-monospace", copy_button=True)
    contract_file = attrs.TemplatedAttr(
        "pk", template_name=f"{_OWN}/attrs/file.html", context={"field": "contract_file"}, label=_("File")
    )
    early_termination_fee = attrs.TextAttr("early_termination_fee")
    currency = attrs.TextAttr("currency")


class ContractTermPanel(panels.ObjectAttributesPanel):
    title = _("Term and renewal")
    start_date = attrs.DateTimeAttr("start_date", spec="date")
    end_date = attrs.DateTimeAttr("end_date", spec="date")
    term_months = attrs.TextAttr("term_months", label=_("Term (months)"))
    auto_renew = attrs.BooleanAttr("auto_renew", label=_("Renews automatically"))
    renewal_date = attrs.DateTimeAttr("renewal_date", spec="date", label=_("Ends or renews on"))
    renewal_notice_days = attrs.TextAttr("renewal_notice_days", label=_("Notice (days)"))
    notice_date = attrs.DateTimeAttr("notice_date", spec="date", label=_("Last day for notice"))


class CircuitTicketPanel(panels.ObjectAttributesPanel):
    title = _("Ticket")
    circuit = attrs.RelatedObjectAttr("circuit", linkify=True)
    provider = attrs.RelatedObjectAttr("circuit.provider", linkify=True)
    ticket_number = attrs.TextAttr("ticket_number", style="font-monospace", copy_button=True)
    subject = attrs.TextAttr("subject")
    status = attrs.ChoiceAttr("status")
    priority = attrs.ChoiceAttr("priority")
    opened_date = attrs.DateTimeAttr("opened_date", label=_("Opened"))
    closed_date = attrs.DateTimeAttr("closed_date", label=_("Closed"))
    external_url = attrs.TemplatedAttr(
        "external_url", template_name=f"{_OWN}/attrs/link.html", label=_("External URL")
    )


class CircuitPathPanel(panels.ObjectAttributesPanel):
    title = _("Path")
    circuit = attrs.RelatedObjectAttr("circuit", linkify=True)
    path_distance_km = attrs.TextAttr("path_distance_km", label=_("Distance (km)"))
    map_center_lat = attrs.TextAttr("map_center_lat", label=_("Center latitude"))
    map_center_lon = attrs.TextAttr("map_center_lon", label=_("Center longitude"))
    map_zoom = attrs.TextAttr("map_zoom", label=_("Zoom"))
    kmz_file = attrs.TemplatedAttr(
        "pk", template_name=f"{_OWN}/attrs/file.html", context={"field": "kmz_file"}, label=_("File")
    )


class PathMapPanel(panels.ObjectPanel):
    """The path drawn as SVG; nothing is fetched from elsewhere."""

    template_name = f"{_OWN}/panels/map.html"
    title = _("Map")

    def get_context(self, context: Any) -> dict[str, Any]:
        own = super().get_context(context)
        return {**own, "drawing": path_drawing(own["object"])}


class CarrierChargePanel(panels.ObjectAttributesPanel):
    title = _("Charge")
    circuit = attrs.RelatedObjectAttr("circuit", linkify=True)
    config = attrs.RelatedObjectAttr("config", linkify=True, label=_("API config"))
    bill_number = attrs.TextAttr("bill_number", style="font-monospace")
    line_reference = attrs.TextAttr("line_reference", style="font-monospace")
    kind = attrs.ChoiceAttr("kind")
    period_start = attrs.DateTimeAttr("period_start", spec="date")
    period_end = attrs.DateTimeAttr("period_end", spec="date")


class ChargeAmountsPanel(panels.ObjectAttributesPanel):
    title = _("Billed against expected")
    billed = attrs.TextAttr("billed")
    expected = attrs.TextAttr("expected")
    difference = attrs.TextAttr("difference")
    currency = attrs.TextAttr("currency")
    dispute_status = attrs.ChoiceAttr("dispute_status", label=_("Dispute"))


class ProviderAPIConfigPanel(panels.ObjectAttributesPanel):
    title = _("Provider API")
    provider = attrs.RelatedObjectAttr("provider", linkify=True)
    provider_account = attrs.RelatedObjectAttr("provider_account", linkify=True)
    provider_type = attrs.ChoiceAttr("provider_type")
    api_endpoint = attrs.TextAttr("api_endpoint", label=_("API endpoint"), style="font-monospace")
    api_key = attrs.TemplatedAttr(
        "pk", template_name=f"{_OWN}/attrs/secret.html", context={"field": "api_key"}, label=_("API key")
    )
    api_secret = attrs.TemplatedAttr(
        "pk",
        template_name=f"{_OWN}/attrs/secret.html",
        context={"field": "api_secret"},
        label=_("API secret"),
    )


class SyncStatePanel(panels.ObjectAttributesPanel):
    title = _("Synchronization")
    sync_enabled = attrs.BooleanAttr("sync_enabled")
    sync_interval_hours = attrs.TextAttr("sync_interval_hours", label=_("Interval (hours)"))
    full_sync_interval_hours = attrs.TextAttr("full_sync_interval_hours", label=_("Full interval (hours)"))
    vanished_circuits = attrs.ChoiceAttr("vanished_circuits")
    vanished_tickets = attrs.ChoiceAttr("vanished_tickets")
    sync_status = attrs.ChoiceAttr("sync_status")
    sync_message = attrs.TextAttr("sync_message")
    last_sync = attrs.DateTimeAttr("last_sync")
    last_full_sync = attrs.DateTimeAttr("last_full_sync")
    next_sync = attrs.DateTimeAttr("next_sync")


class SyncRunPanel(panels.ObjectAttributesPanel):
    title = _("Run")
    config = attrs.RelatedObjectAttr("config", linkify=True, label=_("API config"))
    status = attrs.ChoiceAttr("status")
    mode = attrs.ChoiceAttr("mode")
    dry_run = attrs.BooleanAttr("dry_run", label=_("Preview"))
    started_at = attrs.DateTimeAttr("started_at", label=_("Started"))
    finished_at = attrs.DateTimeAttr("finished_at", label=_("Finished"))
    error = attrs.TextAttr("error")
    job = attrs.RelatedObjectAttr("job", linkify=True)


class SyncCountsPanel(panels.JSONPanel):
    """The run's numbers."""

    title = _("Counts")

    def __init__(self) -> None:
        super().__init__("counts", copy_button=False)


class CostSummaryPanel(panels.Panel):
    """On the tab of a circuit: what it costs, from the view's context."""

    template_name = f"{_OWN}/panels/cost_summary.html"
    title = _("Cost")

    def get_context(self, context: Any) -> dict[str, Any]:
        return {
            **super().get_context(context),
            "cost": context.get("cost"),
            "may_view": context.get("may_view_cost"),
        }

    def should_render(self, context: Any) -> bool:
        return bool(context["may_view"])
