"""Coverage over many operators at once: each within its own deadline, unknown never taken for "not covered"."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Protocol

from pydantic import ValidationError

from fno_portal.errors import FNOError, FNOProtocolError
from fno_portal.guard import GuardedClient
from fno_portal.models import Address, CoverageAnswer, CoverageResult, CoverageState
from fno_portal.redaction import redact_text


class CoverageCache(Protocol):
    """Remembers answers, never unknown ones. The operators' keys of places are not here but in the OrderStore."""

    def get(self, fno: str, address: Address) -> CoverageResult | None:
        """An answer that is not too old."""

    def put(self, fno: str, address: Address, result: CoverageResult) -> None:
        """Remember an answer."""


class KeyKeeper(Protocol):
    """Where the operators' own keys of places are kept; an OrderStore is one."""

    async def keep_keys(self, fno: str, place: str, keys: Mapping[str, str]) -> None:
        """See OrderStore."""


class MemoryCoverageCache:
    """The latest answers in memory."""

    def __init__(
        self,
        ttl_s: float = 6 * 3600,
        *,
        limit: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answers are good for `ttl_s`; at most `limit` are held, the oldest go first."""
        self._ttl, self._limit, self._clock = ttl_s, limit, clock
        self._answers: OrderedDict[tuple[str, str], tuple[float, CoverageResult]] = OrderedDict()

    def get(self, fno: str, address: Address) -> CoverageResult | None:
        """See CoverageCache."""
        kept = self._answers.get((fno, place_of(address)))
        if kept is None or self._clock() - kept[0] >= self._ttl:
            return None
        return kept[1]

    def put(self, fno: str, address: Address, result: CoverageResult) -> None:
        """See CoverageCache."""
        place = (fno, place_of(address))
        self._answers[place] = (self._clock(), result)
        self._answers.move_to_end(place)
        while len(self._answers) > self._limit:
            self._answers.popitem(last=False)


def place_of(address: Address) -> str:
    """One line that is the same for the same place: text without case, coordinates, keys; no identity number."""
    keys = ";".join(f"{key}={value}" for key, value in sorted(address.keys.items()))
    text = redact_text(str(address)).casefold()
    return f"{text}|{address.latitude}|{address.longitude}|{keys}"


async def check_all(
    clients: Mapping[str, GuardedClient],
    address: Address,
    cache: CoverageCache | None,
    keeper: KeyKeeper | None = None,
) -> list[CoverageAnswer]:
    """Ask all at once; the slowest one within its deadline decides how long it takes. Order as in `clients`."""
    asked = (check_one(client, address, cache, keeper) for client in clients.values())
    return list(await asyncio.gather(*asked))


async def check_one(
    client: GuardedClient, address: Address, cache: CoverageCache | None, keeper: KeyKeeper | None = None
) -> CoverageAnswer:
    """Ask one operator; failures are an answer of state unknown with the reason."""
    kept = cache.get(client.name, address) if cache else None
    if kept is not None:
        return _answer(kept, cached=True, began=time.monotonic())
    began = time.monotonic()
    try:
        found = await client.check_coverage(address)
        result = _result(client.name, address, found)
    except FNOError as error:
        return CoverageAnswer(
            fno=client.name, state=CoverageState.UNKNOWN, reason=error.to_dict(), elapsed_ms=_ms(began)
        )
    if cache:
        cache.put(client.name, address, result)
    if keeper and result.address_keys:
        await keeper.keep_keys(client.name, place_of(address), result.address_keys)
    return _answer(result, cached=False, began=began)


def _result(fno: str, address: Address, found: object) -> CoverageResult:
    if not isinstance(found, Mapping):
        raise FNOProtocolError("the coverage answer is not an object", fno=fno, hint="Mend the driver")
    own = {"fno": fno, "address": str(address)}
    try:
        result = CoverageResult.model_validate({**found, **own})
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, one["loc"])) for one in error.errors()[:5])
        raise FNOProtocolError(
            f"the coverage answer is not valid ({fields})",
            fno=fno,
            hint="The operator's interface may have changed",
        ) from None
    return result


def _answer(result: CoverageResult, *, cached: bool, began: float) -> CoverageAnswer:
    state = CoverageState.COVERED if result.is_covered else CoverageState.NOT_COVERED
    return CoverageAnswer(fno=result.fno, state=state, result=result, cached=cached, elapsed_ms=_ms(began))


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
