"""Pages. Every view names its permission, by its base class or in `get_required_permission`."""

from typing import Any

from circuits.models import Circuit, Provider
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _
from django.views.generic import View
from extras.ui.panels import CustomFieldsPanel, TagsPanel
from netbox.context import current_request
from netbox.object_actions import BulkDelete, BulkExport, DeleteObject
from netbox.ui import actions, layout
from netbox.ui.panels import CommentsPanel, ContextTablePanel, JSONPanel, ObjectsTablePanel
from netbox.views import generic
from netbox.views.generic.base import BaseObjectView
from utilities.views import ConditionalLoginRequiredMixin, GetReturnURLMixin, ViewTab, register_model_view

from . import filtersets, forms, geo, tables
from .connection import run_connection_test
from .jobs import enqueue_sync
from .models import (
    CarrierCharge,
    CircuitContract,
    CircuitCost,
    CircuitCostHistory,
    CircuitPath,
    CircuitTicket,
    ProviderAPIConfig,
    ProviderSyncRun,
)
from .ui import panels

_APP = "netbox_circuit_manager"
_OBJECT_PAGE = "generic/object.html"


#
# Costs
#


@register_model_view(CircuitCost, "list", path="", detail=False)
class CircuitCostListView(generic.ObjectListView):
    queryset = CircuitCost.objects.all()
    filterset = filtersets.CircuitCostFilterSet
    filterset_form = forms.CircuitCostFilterForm
    table = tables.CircuitCostTable


@register_model_view(CircuitCost)
class CircuitCostView(generic.ObjectView):
    queryset = CircuitCost.objects.all()
    template_name = _OBJECT_PAGE
    layout = layout.SimpleLayout(
        left_panels=[panels.CircuitCostPanel(), TagsPanel()],
        right_panels=[panels.CircuitBillingPanel(), CustomFieldsPanel()],
        bottom_panels=[ContextTablePanel("history", title=_("History"))],
    )

    def get_extra_context(self, request: HttpRequest, instance: CircuitCost) -> dict[str, Any]:
        return {"history": _history(request, instance.circuit_id)}


@register_model_view(CircuitCost, "add", detail=False)
@register_model_view(CircuitCost, "edit")
class CircuitCostEditView(generic.ObjectEditView):
    queryset = CircuitCost.objects.all()
    form = forms.CircuitCostForm


@register_model_view(CircuitCost, "delete")
class CircuitCostDeleteView(generic.ObjectDeleteView):
    queryset = CircuitCost.objects.all()


@register_model_view(CircuitCost, "bulk_import", path="import", detail=False)
class CircuitCostBulkImportView(generic.BulkImportView):
    queryset = CircuitCost.objects.all()
    model_form = forms.CircuitCostImportForm


@register_model_view(CircuitCost, "bulk_edit", path="edit", detail=False)
class CircuitCostBulkEditView(generic.BulkEditView):
    queryset = CircuitCost.objects.all()
    filterset = filtersets.CircuitCostFilterSet
    table = tables.CircuitCostTable
    form = forms.CircuitCostBulkEditForm


@register_model_view(CircuitCost, "bulk_delete", path="delete", detail=False)
class CircuitCostBulkDeleteView(generic.BulkDeleteView):
    queryset = CircuitCost.objects.all()
    filterset = filtersets.CircuitCostFilterSet
    table = tables.CircuitCostTable


#
# Contracts
#


@register_model_view(CircuitContract, "list", path="", detail=False)
class CircuitContractListView(generic.ObjectListView):
    queryset = CircuitContract.objects.all()
    filterset = filtersets.CircuitContractFilterSet
    filterset_form = forms.CircuitContractFilterForm
    table = tables.CircuitContractTable


@register_model_view(CircuitContract)
class CircuitContractView(generic.ObjectView):
    queryset = CircuitContract.objects.all()
    template_name = _OBJECT_PAGE
    layout = layout.SimpleLayout(
        left_panels=[panels.CircuitContractPanel(), TagsPanel(), CommentsPanel("notes", title=_("Notes"))],
        right_panels=[panels.ContractTermPanel(), CustomFieldsPanel()],
    )


@register_model_view(CircuitContract, "add", detail=False)
@register_model_view(CircuitContract, "edit")
class CircuitContractEditView(generic.ObjectEditView):
    queryset = CircuitContract.objects.all()
    form = forms.CircuitContractForm


@register_model_view(CircuitContract, "delete")
class CircuitContractDeleteView(generic.ObjectDeleteView):
    queryset = CircuitContract.objects.all()


@register_model_view(CircuitContract, "bulk_import", path="import", detail=False)
class CircuitContractBulkImportView(generic.BulkImportView):
    queryset = CircuitContract.objects.all()
    model_form = forms.CircuitContractImportForm


@register_model_view(CircuitContract, "bulk_edit", path="edit", detail=False)
class CircuitContractBulkEditView(generic.BulkEditView):
    queryset = CircuitContract.objects.all()
    filterset = filtersets.CircuitContractFilterSet
    table = tables.CircuitContractTable
    form = forms.CircuitContractBulkEditForm


@register_model_view(CircuitContract, "bulk_delete", path="delete", detail=False)
class CircuitContractBulkDeleteView(generic.BulkDeleteView):
    queryset = CircuitContract.objects.all()
    filterset = filtersets.CircuitContractFilterSet
    table = tables.CircuitContractTable


#
# Tickets
#


@register_model_view(CircuitTicket, "list", path="", detail=False)
class CircuitTicketListView(generic.ObjectListView):
    queryset = CircuitTicket.objects.all()
    filterset = filtersets.CircuitTicketFilterSet
    filterset_form = forms.CircuitTicketFilterForm
    table = tables.CircuitTicketTable


@register_model_view(CircuitTicket)
class CircuitTicketView(generic.ObjectView):
    queryset = CircuitTicket.objects.all()
    template_name = _OBJECT_PAGE
    layout = layout.SimpleLayout(
        left_panels=[panels.CircuitTicketPanel(), TagsPanel()],
        right_panels=[
            CommentsPanel("description", title=_("Description")),
            CommentsPanel("resolution", title=_("Resolution")),
            CustomFieldsPanel(),
        ],
    )


@register_model_view(CircuitTicket, "add", detail=False)
@register_model_view(CircuitTicket, "edit")
class CircuitTicketEditView(generic.ObjectEditView):
    queryset = CircuitTicket.objects.all()
    form = forms.CircuitTicketForm


@register_model_view(CircuitTicket, "delete")
class CircuitTicketDeleteView(generic.ObjectDeleteView):
    queryset = CircuitTicket.objects.all()


@register_model_view(CircuitTicket, "bulk_import", path="import", detail=False)
class CircuitTicketBulkImportView(generic.BulkImportView):
    queryset = CircuitTicket.objects.all()
    model_form = forms.CircuitTicketImportForm


@register_model_view(CircuitTicket, "bulk_edit", path="edit", detail=False)
class CircuitTicketBulkEditView(generic.BulkEditView):
    queryset = CircuitTicket.objects.all()
    filterset = filtersets.CircuitTicketFilterSet
    table = tables.CircuitTicketTable
    form = forms.CircuitTicketBulkEditForm


@register_model_view(CircuitTicket, "bulk_delete", path="delete", detail=False)
class CircuitTicketBulkDeleteView(generic.BulkDeleteView):
    queryset = CircuitTicket.objects.all()
    filterset = filtersets.CircuitTicketFilterSet
    table = tables.CircuitTicketTable


#
# Paths
#


@register_model_view(CircuitPath, "list", path="", detail=False)
class CircuitPathListView(generic.ObjectListView):
    queryset = CircuitPath.objects.all()
    filterset = filtersets.CircuitPathFilterSet
    filterset_form = forms.CircuitPathFilterForm
    table = tables.CircuitPathTable


@register_model_view(CircuitPath)
class CircuitPathView(generic.ObjectView):
    queryset = CircuitPath.objects.all()
    template_name = _OBJECT_PAGE
    layout = layout.SimpleLayout(
        left_panels=[panels.CircuitPathPanel(), TagsPanel(), CommentsPanel("path_notes", title=_("Notes"))],
        right_panels=[panels.PathMapPanel(), CustomFieldsPanel()],
    )


@register_model_view(CircuitPath, "export", path="export")
class CircuitPathExportView(BaseObjectView):
    """The path as a GeoJSON or KML file."""

    queryset = CircuitPath.objects.all()

    def get_required_permission(self) -> str:
        return f"{_APP}.view_circuitpath"

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        path = get_object_or_404(self.queryset, pk=pk)
        if not path.geojson_data:
            raise Http404("No path has been drawn.")
        name = slugify(path.circuit.cid) or f"path-{path.pk}"
        if request.GET.get("format") == "kml":
            return _download(
                geo.to_kml(path.geojson_data, path.circuit.cid),
                "application/vnd.google-earth.kml+xml",
                f"{name}.kml",
            )
        return _download(geo.to_geojson_text(path.geojson_data), "application/geo+json", f"{name}.geojson")


@register_model_view(CircuitPath, "add", detail=False)
@register_model_view(CircuitPath, "edit")
class CircuitPathEditView(generic.ObjectEditView):
    queryset = CircuitPath.objects.all()
    form = forms.CircuitPathForm


@register_model_view(CircuitPath, "delete")
class CircuitPathDeleteView(generic.ObjectDeleteView):
    queryset = CircuitPath.objects.all()


@register_model_view(CircuitPath, "bulk_import", path="import", detail=False)
class CircuitPathBulkImportView(generic.BulkImportView):
    queryset = CircuitPath.objects.all()
    model_form = forms.CircuitPathImportForm


@register_model_view(CircuitPath, "bulk_edit", path="edit", detail=False)
class CircuitPathBulkEditView(generic.BulkEditView):
    queryset = CircuitPath.objects.all()
    filterset = filtersets.CircuitPathFilterSet
    table = tables.CircuitPathTable
    form = forms.CircuitPathBulkEditForm


@register_model_view(CircuitPath, "bulk_delete", path="delete", detail=False)
class CircuitPathBulkDeleteView(generic.BulkDeleteView):
    queryset = CircuitPath.objects.all()
    filterset = filtersets.CircuitPathFilterSet
    table = tables.CircuitPathTable


#
# Carrier charges
#


@register_model_view(CarrierCharge, "list", path="", detail=False)
class CarrierChargeListView(generic.ObjectListView):
    queryset = CarrierCharge.objects.all()
    filterset = filtersets.CarrierChargeFilterSet
    filterset_form = forms.CarrierChargeFilterForm
    table = tables.CarrierChargeTable


@register_model_view(CarrierCharge)
class CarrierChargeView(generic.ObjectView):
    queryset = CarrierCharge.objects.all()
    template_name = _OBJECT_PAGE
    layout = layout.SimpleLayout(
        left_panels=[panels.CarrierChargePanel(), TagsPanel(), CommentsPanel("notes", title=_("Notes"))],
        right_panels=[panels.ChargeAmountsPanel(), CustomFieldsPanel()],
    )


@register_model_view(CarrierCharge, "add", detail=False)
@register_model_view(CarrierCharge, "edit")
class CarrierChargeEditView(generic.ObjectEditView):
    queryset = CarrierCharge.objects.all()
    form = forms.CarrierChargeForm


@register_model_view(CarrierCharge, "delete")
class CarrierChargeDeleteView(generic.ObjectDeleteView):
    queryset = CarrierCharge.objects.all()


@register_model_view(CarrierCharge, "bulk_import", path="import", detail=False)
class CarrierChargeBulkImportView(generic.BulkImportView):
    queryset = CarrierCharge.objects.all()
    model_form = forms.CarrierChargeImportForm


@register_model_view(CarrierCharge, "bulk_edit", path="edit", detail=False)
class CarrierChargeBulkEditView(generic.BulkEditView):
    queryset = CarrierCharge.objects.all()
    filterset = filtersets.CarrierChargeFilterSet
    table = tables.CarrierChargeTable
    form = forms.CarrierChargeBulkEditForm


@register_model_view(CarrierCharge, "bulk_delete", path="delete", detail=False)
class CarrierChargeBulkDeleteView(generic.BulkDeleteView):
    queryset = CarrierCharge.objects.all()
    filterset = filtersets.CarrierChargeFilterSet
    table = tables.CarrierChargeTable


#
# Provider API configs
#


@register_model_view(ProviderAPIConfig, "list", path="", detail=False)
class ProviderAPIConfigListView(generic.ObjectListView):
    queryset = ProviderAPIConfig.objects.all()
    filterset = filtersets.ProviderAPIConfigFilterSet
    filterset_form = forms.ProviderAPIConfigFilterForm
    table = tables.ProviderAPIConfigTable


@register_model_view(ProviderAPIConfig)
class ProviderAPIConfigView(generic.ObjectView):
    queryset = ProviderAPIConfig.objects.all()
    layout = layout.SimpleLayout(
        left_panels=[
            panels.ProviderAPIConfigPanel(),
            JSONPanel("parameters", title=_("Parameters")),
            TagsPanel(),
        ],
        right_panels=[panels.SyncStatePanel(), CustomFieldsPanel()],
        bottom_panels=[
            ObjectsTablePanel(
                f"{_APP}.ProviderSyncRun",
                filters={"config_id": lambda context: context["object"].pk},
                exclude_columns=["config"],
            )
        ],
    )


@register_model_view(ProviderAPIConfig, "add", detail=False)
@register_model_view(ProviderAPIConfig, "edit")
class ProviderAPIConfigEditView(generic.ObjectEditView):
    queryset = ProviderAPIConfig.objects.all()
    form = forms.ProviderAPIConfigForm


@register_model_view(ProviderAPIConfig, "delete")
class ProviderAPIConfigDeleteView(generic.ObjectDeleteView):
    queryset = ProviderAPIConfig.objects.all()


@register_model_view(ProviderAPIConfig, "bulk_import", path="import", detail=False)
class ProviderAPIConfigBulkImportView(generic.BulkImportView):
    queryset = ProviderAPIConfig.objects.all()
    model_form = forms.ProviderAPIConfigImportForm


@register_model_view(ProviderAPIConfig, "bulk_edit", path="edit", detail=False)
class ProviderAPIConfigBulkEditView(generic.BulkEditView):
    queryset = ProviderAPIConfig.objects.all()
    filterset = filtersets.ProviderAPIConfigFilterSet
    table = tables.ProviderAPIConfigTable
    form = forms.ProviderAPIConfigBulkEditForm


@register_model_view(ProviderAPIConfig, "bulk_delete", path="delete", detail=False)
class ProviderAPIConfigBulkDeleteView(generic.BulkDeleteView):
    queryset = ProviderAPIConfig.objects.all()
    filterset = filtersets.ProviderAPIConfigFilterSet
    table = tables.ProviderAPIConfigTable


class _ConfigActionView(GetReturnURLMixin, BaseObjectView):
    """A button on a config's page: it acts on POST only, and takes people who follow the address back."""

    queryset = ProviderAPIConfig.objects.all()

    def get_required_permission(self) -> str:
        return f"{_APP}.sync_providerapiconfig"

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return redirect(get_object_or_404(self.queryset, pk=pk).get_absolute_url())

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        config = get_object_or_404(self.queryset, pk=pk)
        self.act(request, config)
        return redirect(self.get_return_url(request, config))

    def act(self, request: HttpRequest, config: ProviderAPIConfig) -> None:
        raise NotImplementedError


@register_model_view(ProviderAPIConfig, "test_connection", path="test-connection")
class ProviderAPIConfigTestView(_ConfigActionView):
    def act(self, request: HttpRequest, config: ProviderAPIConfig) -> None:
        result = run_connection_test(config)
        if result["success"]:
            messages.success(
                request, _("Connection successful ({time:.2f} s)").format(time=result["response_time"])
            )
        else:
            messages.error(request, _("Connection failed: {message}").format(message=result["message"]))


@register_model_view(ProviderAPIConfig, "sync", path="sync")
class ProviderAPIConfigSyncView(_ConfigActionView):
    """Queues a run, a preview (`dry_run`), or a run that accepts an answer which was held (`release`)."""

    def act(self, request: HttpRequest, config: ProviderAPIConfig) -> None:
        dry_run = "dry_run" in request.POST
        job = enqueue_sync(config, user=request.user, dry_run=dry_run, release="release" in request.POST)
        queued = (
            _("Queued job #{id} to preview {config}") if dry_run else _("Queued job #{id} to sync {config}")
        )
        messages.success(request, queued.format(id=job.pk, config=config))


#
# Sync runs
#


@register_model_view(ProviderSyncRun, "list", path="", detail=False)
class ProviderSyncRunListView(generic.ObjectListView):
    queryset = ProviderSyncRun.objects.all()
    filterset = filtersets.ProviderSyncRunFilterSet
    filterset_form = forms.ProviderSyncRunFilterForm
    table = tables.ProviderSyncRunTable
    actions = (BulkExport, BulkDelete)


@register_model_view(ProviderSyncRun)
class ProviderSyncRunView(generic.ObjectView):
    queryset = ProviderSyncRun.objects.all()
    template_name = f"{_APP}/providersyncrun.html"
    actions = (DeleteObject,)
    layout = layout.SimpleLayout(
        left_panels=[panels.SyncRunPanel()],
        right_panels=[panels.SyncCountsPanel()],
        bottom_panels=[
            ContextTablePanel("not_synced", title=_("Not synced")),
            ContextTablePanel("changes", title=_("Changes")),
        ],
    )

    def get_extra_context(self, request: HttpRequest, instance: ProviderSyncRun) -> dict[str, Any]:
        # Both tables have their own pages: ten thousand changes are no page.
        visible = instance.changes_visible_to(request.user)
        changes = tables.SyncChangeTable(visible.select_related("circuit"), prefix="changes-")
        issues = tables.SyncIssueTable(instance.not_synced.select_related("circuit"), prefix="issues-")
        for table in (changes, issues):
            table.configure(request)
        return {"changes": changes, "not_synced": issues}


@register_model_view(ProviderSyncRun, "delete")
class ProviderSyncRunDeleteView(generic.ObjectDeleteView):
    queryset = ProviderSyncRun.objects.all()


@register_model_view(ProviderSyncRun, "bulk_delete", path="delete", detail=False)
class ProviderSyncRunBulkDeleteView(generic.BulkDeleteView):
    queryset = ProviderSyncRun.objects.all()
    filterset = filtersets.ProviderSyncRunFilterSet
    table = tables.ProviderSyncRunTable


#
# Tabs on NetBox's own pages
#


class _PermittedTab(ViewTab):
    """A tab for those who may view one of its parts at least; NetBox's own tabs name a single permission."""

    def __init__(self, label: str, models: tuple[type, ...], **kwargs: Any) -> None:
        super().__init__(label, visible=lambda _instance: self.permitted(_requester()), **kwargs)
        self.permissions = [f"{_APP}.view_{model._meta.model_name}" for model in models]

    def permitted(self, user: Any) -> bool:
        return user is not None and any(user.has_perm(permission) for permission in self.permissions)


def _requester() -> Any:
    return getattr(current_request.get(), "user", None)


class _PermittedTabView(generic.ObjectView):
    """The page behind such a tab: without any of its permissions there is none."""

    template_name = _OBJECT_PAGE

    def get_extra_context(self, request: HttpRequest, instance: Any) -> dict[str, Any]:
        if not self.tab.permitted(request.user):
            raise PermissionDenied
        return {}


def _of_circuit(model: str, **kwargs: Any) -> ObjectsTablePanel:
    """A table of what belongs to the circuit; it is not drawn for those who may not view its model."""
    return ObjectsTablePanel(
        f"{_APP}.{model}",
        filters={"circuit_id": lambda context: context["object"].pk},
        exclude_columns=["circuit", "provider"],
        actions=[
            actions.AddObject(f"{_APP}.{model}", url_params={"circuit": lambda context: context["object"].pk})
        ],
        **kwargs,
    )


@register_model_view(Circuit, "costs_contracts", path="costs-contracts")
class CircuitCostsContractsView(_PermittedTabView):
    queryset = Circuit.objects.all()
    tab = _PermittedTab(_("Costs & contracts"), (CircuitCost, CircuitContract, CarrierCharge), weight=550)
    layout = layout.Layout(
        layout.Row(
            layout.Column(panels.CostSummaryPanel(), width=5),
            layout.Column(ContextTablePanel("history", title=_("Cost history")), width=7),
        ),
        layout.Row(layout.Column(_of_circuit("CircuitContract"), _of_circuit("CarrierCharge"))),
    )

    def get_extra_context(self, request: HttpRequest, instance: Circuit) -> dict[str, Any]:
        return {
            **super().get_extra_context(request, instance),
            "cost": CircuitCost.objects.restrict(request.user, "view").filter(circuit=instance).first(),
            "may_view_cost": request.user.has_perm(f"{_APP}.view_circuitcost"),
            "history": _history(request, instance.pk),
        }


@register_model_view(Circuit, "carrier_tickets", path="carrier-tickets")
class CircuitTicketsView(_PermittedTabView):
    queryset = Circuit.objects.all()
    tab = _PermittedTab(
        _("Tickets"),
        (CircuitTicket,),
        weight=560,
        badge=lambda circuit: (
            CircuitTicket.objects.restrict(_requester(), "view").filter(circuit=circuit).count() or None
        ),
    )
    layout = layout.Layout(layout.Row(layout.Column(_of_circuit("CircuitTicket"))))


@register_model_view(Provider, "costs_contracts", path="costs-contracts")
class ProviderCostsContractsView(_PermittedTabView):
    queryset = Provider.objects.all()
    tab = _PermittedTab(_("Costs & contracts"), (CircuitCost, CircuitContract), weight=550)
    layout = layout.Layout(
        layout.Row(
            layout.Column(
                ObjectsTablePanel(
                    f"{_APP}.CircuitCost", filters={"provider_id": lambda context: context["object"].pk}
                ),
                ObjectsTablePanel(
                    f"{_APP}.CircuitContract", filters={"provider_id": lambda context: context["object"].pk}
                ),
            )
        )
    )


#
# Files
#


class FileView(ConditionalLoginRequiredMixin, View):
    """A contract's or path's file, to those who may view the contract or path; for all others it does not exist."""

    def get(self, request: HttpRequest, path: str) -> HttpResponse:
        for model, field in ((CircuitContract, "contract_file"), (CircuitPath, "kmz_file")):
            row = model.objects.restrict(request.user, "view").filter(**{field: path}).first()
            if row is not None:
                return _send(getattr(row, field), row.file_name)
        raise Http404("There is no such file.")


def _send(file: Any, name: str) -> HttpResponse:
    try:
        response = FileResponse(file.open("rb"), as_attachment=True, filename=name)
    except FileNotFoundError as error:
        raise Http404("The file is no longer in the storage.") from error
    # Whatever it holds, a browser is not to run it in NetBox's name.
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _download(text: str, content_type: str, name: str) -> HttpResponse:
    response = HttpResponse(text, content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _history(request: HttpRequest, circuit_id: int) -> Any:
    """The circuit's cost history as a table; None for those who may not view costs, and when there is none."""
    if not request.user.has_perm(f"{_APP}.view_circuitcost"):
        return None
    if not CircuitCost.objects.restrict(request.user, "view").filter(circuit=circuit_id).exists():
        return None
    rows = CircuitCostHistory.objects.filter(circuit=circuit_id)
    table = tables.CircuitCostHistoryTable(rows, orderable=False)
    table.configure(request)
    return table
