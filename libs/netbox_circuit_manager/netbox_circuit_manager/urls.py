"""Addresses of the pages, below /plugins/circuit-manager/."""

from django.urls import include, path
from utilities.urls import get_model_urls

from . import views

_APP = "netbox_circuit_manager"


def _pages(prefix: str, model: str) -> list:
    return [
        path(f"{prefix}/", include(get_model_urls(_APP, model, detail=False))),
        path(f"{prefix}/<int:pk>/", include(get_model_urls(_APP, model))),
    ]


urlpatterns = [
    *_pages("circuit-costs", "circuitcost"),
    *_pages("circuit-contracts", "circuitcontract"),
    *_pages("circuit-tickets", "circuitticket"),
    *_pages("circuit-paths", "circuitpath"),
    *_pages("carrier-charges", "carriercharge"),
    *_pages("provider-api-configs", "providerapiconfig"),
    *_pages("sync-runs", "providersyncrun"),
    path("files/<path:path>", views.FileView.as_view(), name="file"),
]
