"""Fields that the plugin adds to NetBox's own GraphQL types; nothing of NetBox's GraphQL is imported here."""

from typing import TYPE_CHECKING, Annotated

import strawberry
import strawberry_django
from utilities.querysets import RestrictedPrefetch

from .models import CircuitContract, CircuitTicket

if TYPE_CHECKING:
    from .graphql.types import CircuitContractType, CircuitTicketType

_TYPES = "netbox_circuit_manager.graphql.types"


def _visible(relation: str, model: type) -> object:
    """A prefetch of what the requester may view, so that a list of circuits costs one query more."""
    return lambda info: RestrictedPrefetch(
        relation,
        info.context.request.user,
        "view",
        queryset=model.objects.all(),
        to_attr=f"visible_{relation}",
    )


@strawberry.type
class CircuitTypeExtension:
    models = ["circuits.circuit"]  # NetBox wants it without an annotation

    @strawberry_django.field(prefetch_related=_visible("contracts", CircuitContract))
    def contracts(self) -> list[Annotated["CircuitContractType", strawberry.lazy(_TYPES)]]:
        return getattr(self, "visible_contracts", [])

    @strawberry_django.field(prefetch_related=_visible("tickets", CircuitTicket))
    def tickets(self) -> list[Annotated["CircuitTicketType", strawberry.lazy(_TYPES)]]:
        return getattr(self, "visible_tickets", [])


type_extensions = [CircuitTypeExtension]
