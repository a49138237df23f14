"""Addresses of the REST endpoints, below /api/plugins/circuit-manager/."""

from netbox.api.routers import NetBoxRouter

from . import views

router = NetBoxRouter()
router.APIRootView = views.CircuitManagerRootView
router.register("circuit-costs", views.CircuitCostViewSet)
router.register("circuit-contracts", views.CircuitContractViewSet)
router.register("circuit-tickets", views.CircuitTicketViewSet)
router.register("circuit-paths", views.CircuitPathViewSet)
router.register("provider-api-configs", views.ProviderAPIConfigViewSet)
router.register("carrier-charges", views.CarrierChargeViewSet)
router.register("carrier-circuits", views.CarrierCircuitViewSet)
router.register("circuit-cost-history", views.CircuitCostHistoryViewSet)
router.register("provider-sync-runs", views.ProviderSyncRunViewSet)

app_name = "netbox_circuit_manager-api"
urlpatterns = router.urls
