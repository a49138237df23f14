"""Which of our circuits a carrier means.

Only circuits of the configuration's provider, and of its account where one is set, are candidates: two carriers may
use the same circuit ID.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from circuits.models import Circuit
from django.db.models import QuerySet

from ..models import CarrierCircuit
from ..providers.errors import ConfigurationError, RowRefused
from ..providers.records import is_storable

if TYPE_CHECKING:
    from ..models import ProviderAPIConfig
    from ..providers.records import CircuitRecord

# Where providers written after the guide put the two identifiers
CID_KEYS = ("cid", "circuit_id", "circuitId", "circuit_number", "id")
CARRIER_ID_KEYS = ("id", "circuit_id", "circuitId", "cid")


@dataclass(frozen=True, slots=True)
class Keys:
    """The names by which a carrier calls a circuit."""

    carrier_id: str
    cid: str = ""
    customer_id: str = ""
    account: str = ""

    @classmethod
    def of_record(cls, record: "CircuitRecord") -> "Keys":
        """The names in a record."""
        return cls(record.carrier_id, record.cid, record.customer_id, record.account)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Keys":
        """The names in a row whose shape is unknown."""
        return cls(carrier_id=_first(row, CARRIER_ID_KEYS), cid=_first(row, CID_KEYS))

    @property
    def names(self) -> tuple[str, ...]:
        """What may be a circuit's cid, the surest first."""
        return tuple(name for name in (self.cid, self.customer_id, self.carrier_id) if name)


def candidates(config: "ProviderAPIConfig") -> QuerySet[Circuit]:
    """The circuits that this configuration may touch. Raises `ConfigurationError` when it names no provider."""
    if config.provider_id is None:
        raise ConfigurationError(
            "The configuration names no provider: without it, circuits cannot be told apart by carrier"
        )
    circuits = Circuit.objects.filter(provider_id=config.provider_id)
    if config.provider_account_id is not None:
        circuits = circuits.filter(provider_account_id=config.provider_account_id)
    return circuits


class UnknownCircuit(RowRefused):
    """NetBox has no such circuit of this provider."""

    code = "unknown_circuit"


class Matcher:
    """Finds the circuits of one batch with two queries."""

    def __init__(
        self, config: "ProviderAPIConfig", keys: Iterable[Keys], identified: Mapping[str, int] | None = None
    ) -> None:
        """`identified`: carrier's ids to circuits that this run has told apart, where they are not stored (a preview)."""
        wanted = list(keys)
        self.config = config
        self._identified = identified or {}
        self._account = config.provider_account.account if config.provider_account_id else ""
        names = {name for each in wanted for name in each.names if is_storable(name)}
        carrier_ids = [each.carrier_id for each in wanted if is_storable(each.carrier_id)]
        mappings = list(CarrierCircuit.objects.filter(config=config, carrier_id__in=carrier_ids))
        self.mappings = {mapping.carrier_id: mapping for mapping in mappings}
        allowed = candidates(config)
        circuits = [mapping.circuit_id for mapping in mappings]
        circuits += [self._identified[name] for name in carrier_ids if name in self._identified]
        found = list(allowed.filter(cid__in=names) | allowed.filter(pk__in=circuits))
        self._by_pk = {circuit.pk: circuit for circuit in found}
        self._by_cid = {circuit.cid: circuit for circuit in found}
        others = CarrierCircuit.objects.filter(
            config=config, circuit_id__in=self._by_pk, vanished_at__isnull=True
        )
        self._owners = {mapping.circuit_id: mapping.carrier_id for mapping in others}

    def find(self, keys: Keys) -> Circuit:
        """The circuit meant. Raises `RowRefused` when there is none, or more than one could be meant."""
        if self._account and keys.account and keys.account != self._account:
            raise RowRefused(
                f"belongs to account {keys.account}, the configuration is for {self._account}", "account"
            )
        circuit = self._known(keys) or self._named(keys)
        if circuit is None:
            raise UnknownCircuit(f"NetBox has no circuit {' / '.join(keys.names)} of this provider")
        owner = self._owners.get(circuit.pk, keys.carrier_id)
        if owner != keys.carrier_id:
            raise RowRefused(
                f"{circuit.cid} already is the carrier's {owner}; it cannot be {keys.carrier_id} as well",
                "id",
            )
        self._owners[circuit.pk] = keys.carrier_id
        return circuit

    def refer(self, name: str) -> Circuit | None:
        """The circuit that a ticket or bill names by any of its identifiers, None when there is none."""
        mapping = self.mappings.get(name)
        circuit = mapping.circuit_id if mapping else self._identified.get(name, 0)
        return self._by_pk.get(circuit) or self._by_cid.get(name)

    def _known(self, keys: Keys) -> Circuit | None:
        mapping = self.mappings.get(keys.carrier_id)
        circuit = self._by_pk.get(mapping.circuit_id) if mapping else None
        if circuit is None:
            return None
        named = self._by_cid.get(keys.cid) if keys.cid else None
        if named is not None and named.pk != circuit.pk:
            raise RowRefused(
                f"the carrier's {keys.carrier_id} was {circuit.cid} so far and is now called {named.cid}",
                "cid",
            )
        return circuit

    def _named(self, keys: Keys) -> Circuit | None:
        return next((self._by_cid[name] for name in keys.names if name in self._by_cid), None)


def match_row(config: "ProviderAPIConfig", row: Mapping[str, Any]) -> Circuit | None:
    """The circuit that a row of unknown shape means, None when there is none. Raises `RowRefused` when it is unclear."""
    keys = Keys.of_row(row)
    if not keys.names:
        raise RowRefused("a circuit without id", "id")
    try:
        return Matcher(config, [keys]).find(keys)
    except UnknownCircuit:
        return None


def _first(row: Mapping[str, Any], names: Iterable[str]) -> str:
    for name in names:
        value = row.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip() if is_storable(str(value)) else ""
    return ""
