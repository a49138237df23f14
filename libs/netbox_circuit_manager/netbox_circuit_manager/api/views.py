"""REST endpoints; querysets are restricted to what the requester may see by the base classes."""

from drf_spectacular.utils import extend_schema
from netbox.api.authentication import TokenPermissions
from netbox.api.viewsets import NetBoxModelViewSet, NetBoxReadOnlyModelViewSet
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import APIRootView

from .. import filtersets, models
from ..connection import run_connection_test
from ..jobs import enqueue_sync
from . import serializers


class CircuitManagerRootView(APIRootView):
    """Root of the Circuit Manager's endpoints."""

    def get_view_name(self) -> str:
        return "Circuit Manager"


class CircuitCostViewSet(NetBoxModelViewSet):
    queryset = models.CircuitCost.objects.all()
    serializer_class = serializers.CircuitCostSerializer
    filterset_class = filtersets.CircuitCostFilterSet


class CircuitContractViewSet(NetBoxModelViewSet):
    queryset = models.CircuitContract.objects.all()
    serializer_class = serializers.CircuitContractSerializer
    filterset_class = filtersets.CircuitContractFilterSet


class CircuitTicketViewSet(NetBoxModelViewSet):
    queryset = models.CircuitTicket.objects.all()
    serializer_class = serializers.CircuitTicketSerializer
    filterset_class = filtersets.CircuitTicketFilterSet


class CircuitPathViewSet(NetBoxModelViewSet):
    queryset = models.CircuitPath.objects.all()
    serializer_class = serializers.CircuitPathSerializer
    filterset_class = filtersets.CircuitPathFilterSet


class CarrierChargeViewSet(NetBoxModelViewSet):
    queryset = models.CarrierCharge.objects.all()
    serializer_class = serializers.CarrierChargeSerializer
    filterset_class = filtersets.CarrierChargeFilterSet


class SyncPermissions(TokenPermissions):
    """For actions that talk to the carrier: the permission to sync, and a token that may write."""

    perms_map = {**TokenPermissions.perms_map, "POST": ["%(app_label)s.sync_%(model_name)s"]}


class ProviderAPIConfigViewSet(NetBoxModelViewSet):
    queryset = models.ProviderAPIConfig.objects.all()
    serializer_class = serializers.ProviderAPIConfigSerializer
    filterset_class = filtersets.ProviderAPIConfigFilterSet

    def _config_to_sync(self, request: Request) -> models.ProviderAPIConfig:
        # Object permissions may allow some configs only.
        self.queryset = models.ProviderAPIConfig.objects.restrict(request.user, "sync")
        return self.get_object()

    @extend_schema(
        request=serializers.SyncRequestSerializer,
        responses={202: serializers.SyncJobSerializer},
        filters=False,
    )
    @action(detail=True, methods=["post"], permission_classes=[SyncPermissions])
    def sync(self, request: Request, pk: int) -> Response:
        """Queues a run: `{"dry_run": false, "full": false, "release": false}`; answers 202 with the job."""
        config = self._config_to_sync(request)
        wanted = serializers.SyncRequestSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        job = enqueue_sync(config, user=request.user, **wanted.validated_data)
        return Response({"job": job.pk, "name": job.name, "status": job.status}, status=202)

    @extend_schema(request=None, responses=serializers.ConnectionTestSerializer, filters=False)
    @action(detail=True, methods=["post"], url_path="test-connection", permission_classes=[SyncPermissions])
    def test_connection(self, request: Request, pk: int) -> Response:
        """Asks the carrier now: `{"success": …, "message": …, "response_time": …}`."""
        return Response(run_connection_test(self._config_to_sync(request)))


class ProviderSyncRunViewSet(NetBoxReadOnlyModelViewSet):
    # A run is named after its config and that config's provider, in the brief form too.
    queryset = models.ProviderSyncRun.objects.select_related("config__provider")
    serializer_class = serializers.ProviderSyncRunSerializer
    filterset_class = filtersets.ProviderSyncRunFilterSet


class CircuitCostHistoryViewSet(NetBoxReadOnlyModelViewSet):
    queryset = models.CircuitCostHistory.objects.all()
    serializer_class = serializers.CircuitCostHistorySerializer
    filterset_class = filtersets.CircuitCostHistoryFilterSet


class CarrierCircuitViewSet(NetBoxReadOnlyModelViewSet):
    queryset = models.CarrierCircuit.objects.all()
    serializer_class = serializers.CarrierCircuitSerializer
    filterset_class = filtersets.CarrierCircuitFilterSet
