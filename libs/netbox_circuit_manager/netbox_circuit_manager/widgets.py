"""Widgets for NetBox's dashboard; each counts only what the viewer may see."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db.models import Count, Sum
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from extras.dashboard.utils import register_widget
from extras.dashboard.widgets import DashboardWidget

from .choices import FINISHED_TICKETS, SyncStatusChoices, TicketPriorityChoices
from .models import CircuitContract, CircuitCost, CircuitTicket, ProviderAPIConfig

_APP = "netbox_circuit_manager"


class _PermittedWidget(DashboardWidget):
    """A widget that says so when its viewer may not see what it shows."""

    template_name = f"{_APP}/widgets/rows.html"
    model: type = CircuitCost
    width = 4
    height = 3

    def render(self, request: HttpRequest) -> str:
        permitted = request.user.has_perm(f"{_APP}.view_{self.model._meta.model_name}")
        rows = list(self.rows(request)) if permitted else []
        return render_to_string(self.template_name, {"permitted": permitted, "rows": rows})

    def rows(self, request: HttpRequest) -> Iterable[dict[str, Any]]:
        """`{label, value, url}` from the top."""
        raise NotImplementedError

    def visible(self, request: HttpRequest) -> Any:
        return self.model.objects.restrict(request.user, "view")


def _list(model: type, query: str) -> str:
    return f"{reverse(f'plugins:{_APP}:{model._meta.model_name}_list')}?{query}"


@register_widget
class MonthlyCostWidget(_PermittedWidget):
    default_title = _("Monthly circuit cost")
    description = _("What circuits cost every month, by provider and currency.")
    model = CircuitCost

    def rows(self, request: HttpRequest) -> Iterable[dict[str, Any]]:
        totals = (
            self.visible(request)
            .exclude(mrc=None)
            # Amounts in different currencies are never added up.
            .values("circuit__provider", "circuit__provider__name", "currency")
            .annotate(total=Sum("mrc"))
            .order_by("circuit__provider__name", "currency")
        )
        for total in totals:
            query = f"provider_id={total['circuit__provider']}&currency={total['currency']}"
            yield {
                "label": total["circuit__provider__name"],
                "value": f"{total['total']:,.2f} {total['currency']}",
                "url": _list(CircuitCost, query),
            }


@register_widget
class ContractRenewalsWidget(_PermittedWidget):
    default_title = _("Contracts to renew")
    description = _("Contracts whose last day for notice comes within 30, 60 and 90 days.")
    model = CircuitContract

    def rows(self, request: HttpRequest) -> Iterable[dict[str, Any]]:
        today = timezone.localdate()
        for days in (30, 60, 90):
            within = self.visible(request).filter(notice_date__range=(today, today + timedelta(days=days)))
            yield {
                "label": _("Within %(days)d days") % {"days": days},
                "value": within.count(),
                "url": _list(CircuitContract, f"notice_within_days={days}"),
            }


@register_widget
class OpenTicketsWidget(_PermittedWidget):
    default_title = _("Open carrier tickets")
    description = _("Tickets that are not resolved or closed, by priority.")
    model = CircuitTicket

    def rows(self, request: HttpRequest) -> Iterable[dict[str, Any]]:
        counted = (
            self.visible(request)
            .exclude(status__in=FINISHED_TICKETS)
            .values("priority")
            .annotate(n=Count("pk"))
        )
        numbers = {row["priority"]: row["n"] for row in counted}
        for priority, label in reversed([(choice[0], choice[1]) for choice in TicketPriorityChoices.CHOICES]):
            yield {
                "label": label,
                "value": numbers.get(priority, 0),
                "url": _list(CircuitTicket, f"is_open=true&priority={priority}"),
            }


@register_widget
class SyncHealthWidget(_PermittedWidget):
    default_title = _("Provider sync health")
    description = _("How the last run of each enabled provider API config ended.")
    model = ProviderAPIConfig

    def rows(self, request: HttpRequest) -> Iterable[dict[str, Any]]:
        for config in self.visible(request).filter(sync_enabled=True).select_related("provider"):
            status = config.get_sync_status_display() or _("Never run")
            overdue = (
                config.sync_status == SyncStatusChoices.SUCCESS
                and config.next_sync < timezone.now() - timedelta(hours=config.sync_interval_hours)
            )
            yield {
                "label": str(config),
                "value": _("Overdue") if overdue else status,
                "color": "orange" if overdue else config.get_sync_status_color() or "gray",
                "url": config.get_absolute_url(),
            }
