"""Panels on NetBox's own pages of circuits and providers; each part only for those who may view it."""

from typing import Any

from circuits.models import Circuit, Provider
from django.db.models import QuerySet, Sum
from django.utils import timezone
from netbox.plugins import PluginTemplateExtension

from .choices import FINISHED_TICKETS
from .drawing import path_drawing
from .models import CircuitContract, CircuitCost, CircuitPath, CircuitTicket, ProviderAPIConfig

_APP = "netbox_circuit_manager"


class _Panel(PluginTemplateExtension):
    """Helps a panel to look only at what the viewer may see."""

    def visible(self, model: type) -> QuerySet:
        return model.objects.restrict(self.context["request"].user, "view")

    def permissions(self, *models: type) -> dict[str, bool]:
        """`{"view_circuitcost": True, …}`, for the template to leave parts out."""
        user = self.context["request"].user
        names = [f"view_{model._meta.model_name}" for model in models]
        return {name: user.has_perm(f"{_APP}.{name}") for name in names}


class CircuitPanels(_Panel):
    models = ("circuits.circuit",)

    def right_page(self) -> str:
        circuit: Circuit = self.context["object"]
        may = self.permissions(CircuitCost, CircuitContract, CircuitTicket)
        if not any(may.values()):
            return ""
        contracts = self.visible(CircuitContract).filter(circuit=circuit)
        return self.render(
            f"{_APP}/inc/circuit_panel.html",
            extra_context={
                **may,
                "cost": self.visible(CircuitCost).filter(circuit=circuit).first(),
                "next_contract": contracts.filter(renewal_date__gte=timezone.localdate())
                .order_by("renewal_date")
                .first(),
                "contract_count": contracts.count(),
                "open_tickets": self.visible(CircuitTicket)
                .filter(circuit=circuit)
                .exclude(status__in=FINISHED_TICKETS)
                .count(),
            },
        )

    def full_width_page(self) -> str:
        path = self.visible(CircuitPath).filter(circuit=self.context["object"]).first()
        drawing = path_drawing(path)
        if drawing is None:
            return ""
        return self.render(f"{_APP}/inc/path_panel.html", extra_context={"path": path, "drawing": drawing})


class ProviderPanels(_Panel):
    models = ("circuits.provider",)

    def right_page(self) -> str:
        provider: Provider = self.context["object"]
        may = self.permissions(CircuitCost, CircuitTicket, ProviderAPIConfig)
        if not any(may.values()):
            return ""
        costs: Any = (
            self.visible(CircuitCost)
            .filter(circuit__provider=provider)
            .exclude(mrc=None)
            .values("currency")
            .annotate(total=Sum("mrc"))
            .order_by("currency")
        )
        return self.render(
            f"{_APP}/inc/provider_panel.html",
            extra_context={
                **may,
                "totals": costs,
                "open_tickets": self.visible(CircuitTicket)
                .filter(circuit__provider=provider)
                .exclude(status__in=FINISHED_TICKETS)
                .count(),
                "configs": self.visible(ProviderAPIConfig).filter(provider=provider),
            },
        )


template_extensions = [CircuitPanels, ProviderPanels]
