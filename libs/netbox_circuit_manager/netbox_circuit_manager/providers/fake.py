"""A carrier without a network, for demonstrations and tests: its circuits stand in the configuration.

Parameters: `circuits`, a list of objects with carrier_id, cid, mrc, nrc, currency, status; `failure`, one of the
error codes, makes every list fail the way a carrier does.
"""

from collections.abc import Iterator
from datetime import date
from typing import ClassVar

from ..validators import default_currency
from .carrier import CarrierProviderSync
from .errors import AuthenticationError, BadAnswer, ProviderError, ProviderUnavailable, RateLimited
from .paging import Row
from .records import CircuitRecord, CircuitState, read_currency, read_money, read_text
from .registry import provider_registry

FAILURES: dict[str, type[ProviderError]] = {
    error.code: error for error in (AuthenticationError, BadAnswer, ProviderUnavailable, RateLimited)
}
STATES: dict[str, CircuitState] = {"": "", "active": "active", "ended": "ended"}
PAGE = 100


class FakeProviderSync(CarrierProviderSync):
    """Answers what its configuration says."""

    provider_name = "fake"
    label = "Fake (for demonstrations)"
    announces_total: ClassVar[bool] = True

    def authenticate(self) -> bool:
        self._fail()
        return True

    def list_circuits(self, since: date | None) -> Iterator[list[Row]]:
        self._fail()
        circuits = self.parameters.get("circuits", [])
        if not isinstance(circuits, list):
            raise BadAnswer("the parameter circuits is not a list")
        for first in range(0, len(circuits), PAGE):
            yield circuits[first : first + PAGE]

    def identify(self, row: Row) -> str:
        return str(row.get("carrier_id") or row.get("cid") or "")

    def read_circuit(self, row: Row) -> CircuitRecord:
        mrc, nrc = read_money(row.get("mrc"), "mrc"), read_money(row.get("nrc"), "nrc")
        return CircuitRecord(
            carrier_id=read_text(row.get("carrier_id") or row.get("cid"), "carrier_id", 200),
            cid=read_text(row.get("cid"), "cid", 100),
            account=read_text(row.get("account"), "account", 100),
            state=STATES.get(str(row.get("status") or ""), ""),
            nrc=nrc,
            mrc=mrc,
            currency=read_currency(
                row.get("currency"), self.currencies, self.stated_currency or default_currency()
            ),
        )

    def _fail(self) -> None:
        failure = FAILURES.get(str(self.parameters.get("failure", "")))
        if failure is not None:
            raise failure("The fake carrier was told to fail")


provider_registry.register("fake", FakeProviderSync)
