"""What every driver has to do, as rules that anybody can run on a driver of their own.

    subject = Subject(make=lambda: MyClient(...), covered="12 Main Road", uncovered="99 Lonely Road", package="50/50 Mbps")

    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
    async def test_contract(rule):
        await rule(subject)

A rule that the driver's capabilities do not touch returns at once. Rules over faults need `faults`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from fno_portal.base import C, Capability, FNOClient
from fno_portal.channel import Channel, Limits
from fno_portal.coverage import check_one
from fno_portal.errors import (
    FNOAmbiguousAddressError,
    FNOAuthError,
    FNOError,
    FNONotFoundError,
    FNOOrderError,
    FNOProtocolError,
    FNORicaError,
    FNOTimeoutError,
    FNOUnavailableError,
    FNOUnsupportedError,
    FNOValidationError,
)
from fno_portal.guard import GuardedClient
from fno_portal.models import (
    Address,
    Cancellation,
    CoverageResult,
    CoverageState,
    OrderStatus,
    Outcome,
    RicaVerification,
)
from fno_portal.orders.desk import OrderDesk
from fno_portal.orders.store import MemoryStore
from fno_portal.testing.operator import Faults


@dataclass(frozen=True, slots=True)
class Subject:
    """A driver and what its operator, or its simulator, knows.

    `make` gives a fresh client; `make_wrong` one with credentials that the operator refuses. `count_orders` tells how many
    orders the operator has under a reference.
    """

    make: Callable[[], FNOClient]
    covered: str
    uncovered: str
    package: str
    ambiguous: str | None = None
    make_wrong: Callable[[], FNOClient] | None = None
    faults: Faults | None = None
    count_orders: Callable[[str], int] | None = None


Rule = Callable[[Subject], Awaitable[None]]
# Wide, for a busy machine: what is asked for is there long before.
_PATIENCE_S = 60
ID_NUMBER = "8001015009087"
VERIFIED = RicaVerification(
    verified_by="the contract suite",
    verified_at=datetime(2020, 1, 5, tzinfo=UTC),
    method="in person",
    documents=("smart ID card",),
    evidence_hash="0" * 64,
)


@asynccontextmanager
async def _client(
    make: Callable[[], FNOClient], *, deadline_s: float = _PATIENCE_S, order_deadline_s: float = _PATIENCE_S
) -> AsyncIterator[GuardedClient]:
    client = make()
    limits = Limits(rate=1000, period_s=1, deadline_s=deadline_s, order_deadline_s=order_deadline_s)
    try:
        yield GuardedClient(client, client.name, Channel(client.name, limits))
    finally:
        await client.aclose()


def order_data(subject: Subject, reference: str, **fields_given: Any) -> dict[str, Any]:
    """An order as the desk hands it to a driver."""
    return {
        "reference": reference,
        "type": "new",
        "customer_id": "cust-1",
        "address": str(subject.covered),
        "address_keys": getattr(subject.covered, "keys", {}),
        "package": subject.package,
        "rica_verified": True,
        **fields_given,
    }


def _fresh() -> str:
    return f"ref-{uuid4().hex[:12]}"


@asynccontextmanager
async def _broken(subject: Subject, **switches: bool) -> AsyncIterator[None]:
    assert subject.faults is not None
    for name, value in switches.items():
        setattr(subject.faults, name, value)
    try:
        yield
    finally:
        for one in fields(Faults):
            setattr(subject.faults, one.name, one.default)


def _raises(error: BaseException | None, *kinds: type[FNOError], fno: str) -> None:
    assert isinstance(error, kinds), f"expected {[kind.__name__ for kind in kinds]}, got {error!r}"
    assert isinstance(error, FNOError)
    assert error.fno == fno, f"the error names {error.fno!r}, not {fno!r}"
    assert error.message, "the error does not say what is wrong"


async def _error(call: Awaitable[Any]) -> FNOError | None:
    try:
        await call
    except FNOError as error:
        return error
    return None


async def describes_itself(subject: Subject) -> None:
    """Name, channel, capabilities, source, and whether the wire format is assumed."""
    async with _client(subject.make) as client:
        told = client.describe()
        assert told.operator == client.name
        assert told.source
        assert told.source != "not stated"
        assert isinstance(told.assumed, bool)
        assert all(isinstance(one, Capability) for one in told.capabilities)


async def covered_address_is_covered(subject: Subject) -> None:
    """Covered, with packages that have names, speeds and exact prices."""
    async with _client(subject.make) as client:
        found = await client.check_coverage(subject.covered)
        result = CoverageResult.model_validate({"fno": client.name, "address": str(subject.covered)} | found)
        assert result.is_covered is True
        assert subject.package in {one.name for one in result.packages}
        assert all(one.download_mbps and one.upload_mbps for one in result.packages)


async def uncovered_address_is_not_covered(subject: Subject) -> None:
    """Not covered is a clear no."""
    async with _client(subject.make) as client:
        assert (await client.check_coverage(subject.uncovered))["is_covered"] is False


async def ambiguous_address_gives_candidates(subject: Subject) -> None:
    """Two places of one name are neither covered nor not covered."""
    if subject.ambiguous is None:
        return
    async with _client(subject.make) as client:
        error = await _error(client.check_coverage(subject.ambiguous))
        _raises(error, FNOAmbiguousAddressError, fno=client.name)
        assert isinstance(error, FNOAmbiguousAddressError)
        assert len(error.candidates) > 1


async def order_is_taken_and_read(subject: Subject) -> None:
    """An order has a number, and a state that is read again by it."""
    async with _client(subject.make) as client:
        if not client.supports(C.ORDER):
            return
        taken = await client.create_order(order_data(subject, _fresh()))
        assert taken["fno_reference"]
        read = await client.get_order_status(taken["fno_reference"])
        assert read["fno_reference"] == taken["fno_reference"]
        OrderStatus(read["status"])


async def every_declared_type_is_taken(subject: Subject) -> None:
    """New, takeover, up- and downgrade, relocation, cancellation: each that `describe` lists has a number of its own."""
    async with _client(subject.make) as client:
        if not client.supports(C.ORDER):
            return
        more: dict[str, dict[str, Any]] = {
            "takeover": {"losing_isp": "Other ISP"},
            "upgrade": {"service_reference": "S-1"},
            "downgrade": {"service_reference": "S-1"},
            "relocation": {"service_reference": "S-1", "new_address": str(subject.covered)},
            "cancellation": {"service_reference": "S-1", "effective_date": "2099-01-31", "package": ""},
        }
        numbers = set()
        for kind in client.describe().order_types:
            taken = await client.create_order(order_data(subject, _fresh(), type=kind, **more.get(kind, {})))
            OrderStatus(taken["status"])
            numbers.add(taken["fno_reference"])
        assert len(numbers) == len(client.describe().order_types)


async def order_is_found_by_our_reference(subject: Subject) -> None:
    """The look-up that settles unknown outcomes finds exactly our order, and nothing where there is none."""
    async with _client(subject.make) as client:
        if not client.supports(C.FIND_ORDER):
            return
        reference = _fresh()
        assert await client.find_order(reference) is None
        taken = await client.create_order(order_data(subject, reference))
        await client.create_order(order_data(subject, _fresh()))
        found = await client.find_order(reference)
        assert found is not None
        assert found["fno_reference"] == taken["fno_reference"]


async def same_reference_is_one_order(subject: Subject) -> None:
    """A driver that declares idempotent orders makes one of two."""
    async with _client(subject.make) as client:
        if not client.supports(C.IDEMPOTENT_ORDER):
            return
        reference = _fresh()
        first = await client.create_order(order_data(subject, reference))
        second = await client.create_order(order_data(subject, reference))
        assert first["fno_reference"] == second["fno_reference"]


async def order_without_rica_is_refused(subject: Subject) -> None:
    """Nothing leaves without a verified identity."""
    async with _client(subject.make) as client:
        reference = _fresh()
        error = await _error(client.create_order(order_data(subject, reference, rica_verified=False)))
        _raises(error, FNORicaError, fno=client.name)
        if subject.count_orders:
            assert subject.count_orders(reference) == 0


async def order_with_id_number_is_refused(subject: Subject) -> None:
    """An identity number is not sent, and the error does not repeat it."""
    async with _client(subject.make) as client:
        error = await _error(client.create_order(order_data(subject, _fresh(), notes=f"ID {ID_NUMBER}")))
        _raises(error, FNOValidationError, fno=client.name)
        assert ID_NUMBER not in str(error)


async def unknown_package_is_refused(subject: Subject) -> None:
    """A package that is not on offer gives an order error, and no order."""
    async with _client(subject.make) as client:
        if not client.supports(C.ORDER):
            return
        reference = _fresh()
        error = await _error(client.create_order(order_data(subject, reference, package="9/9 Tbps")))
        _raises(error, FNOOrderError, fno=client.name)
        if subject.count_orders:
            assert subject.count_orders(reference) == 0


async def unknown_order_is_not_found(subject: Subject) -> None:
    """A number that the operator does not have."""
    async with _client(subject.make) as client:
        if not client.supports(C.ORDER_STATUS):
            return
        _raises(await _error(client.get_order_status("NO-0")), FNONotFoundError, fno=client.name)


async def lost_answer_is_one_order(subject: Subject) -> None:
    """The operator takes the order and never answers: the desk looks it up, and nothing is sent twice."""
    # Long enough for the order to be there: what is late is the answer.
    async with _client(subject.make, order_deadline_s=2) as client:
        if (
            subject.faults is None
            or client.describe().channel == "portal"
            or not client.supports(C.FIND_ORDER)
        ):
            return
        reference = _fresh()
        asked = {
            key: value for key, value in order_data(subject, reference).items() if key != "rica_verified"
        }
        async with _broken(subject, take_then_hang=True):
            made = await OrderDesk(MemoryStore()).order(client, {**asked, "rica": VERIFIED})
        assert made.outcome is Outcome.KNOWN
        if subject.count_orders:
            assert subject.count_orders(reference) == 1


async def order_is_cancelled(subject: Subject) -> None:
    """A cancellation answers its own state."""
    async with _client(subject.make) as client:
        if not client.supports(C.CANCEL):
            return
        taken = await client.create_order(order_data(subject, _fresh()))
        answer = await client.cancel_order(taken["fno_reference"], "moved away")
        assert Cancellation(answer["cancellation"]) is not Cancellation.REJECTED


async def changes_tell_of_orders(subject: Subject) -> None:
    """A feed of changes holds an order just made, with its state."""
    async with _client(subject.make) as client:
        if not client.supports(C.CHANGES):
            return
        taken = await client.create_order(order_data(subject, _fresh()))
        told = {one["fno_reference"]: one for one in await client.list_changes()}
        assert taken["fno_reference"] in told
        OrderStatus(told[taken["fno_reference"]]["status"])


async def fault_is_reported(subject: Subject) -> None:
    """A fault has a number."""
    async with _client(subject.make) as client:
        if not client.supports(C.FAULT):
            return
        taken = await client.submit_fault({"description": "no light", "severity": "high", "order_id": "X-1"})
        assert taken["fault_id"]
        if client.supports(C.FAULT_STATUS):
            read = await client.get_fault_status(taken["fault_id"])
            assert read["status"]


async def undeclared_verbs_say_so(subject: Subject) -> None:
    """What is not declared is refused with a typed error."""
    async with _client(subject.make) as client:
        if not client.supports(C.APPOINTMENT):
            _raises(await _error(client.list_appointments("X-1")), FNOUnsupportedError, fno=client.name)
        if not client.supports(C.FIND_ORDER):
            _raises(await _error(client.find_order("x")), FNOUnsupportedError, fno=client.name)
        if not client.supports(C.CHANGES):
            _raises(await _error(client.list_changes()), FNOUnsupportedError, fno=client.name)


async def wrong_credentials_are_an_auth_error(subject: Subject) -> None:
    """Refused credentials are told as such, without repeating them."""
    if subject.make_wrong is None:
        return
    async with _client(subject.make_wrong) as client:
        _raises(await _error(client.check_coverage(subject.covered)), FNOAuthError, fno=client.name)


async def hanging_operator_times_out(subject: Subject) -> None:
    """The deadline holds, and coverage is unknown."""
    if subject.faults is None:
        return
    async with _broken(subject, hang=True), _client(subject.make, deadline_s=0.4) as client:
        answer = await check_one(client, Address.of(subject.covered), None)
        assert answer.state is CoverageState.UNKNOWN
        assert answer.reason is not None
        assert (answer.reason["code"], answer.reason["fno"]) == (FNOTimeoutError.code, client.name)


async def failing_operator_is_unavailable(subject: Subject) -> None:
    """HTTP 5xx."""
    if subject.faults is None:
        return
    async with _broken(subject, server_error=True), _client(subject.make) as client:
        _raises(await _error(client.check_coverage(subject.covered)), FNOUnavailableError, fno=client.name)


async def html_for_json_is_a_protocol_error(subject: Subject) -> None:
    """A maintenance page in place of the API."""
    async with _client(subject.make) as client:
        if subject.faults is None or client.describe().channel == "portal":
            return
        async with _broken(subject, html=True):
            _raises(await _error(client.check_coverage(subject.covered)), FNOProtocolError, fno=client.name)


async def error_in_200_is_no_answer(subject: Subject) -> None:
    """A 200 that carries an error is neither coverage nor an order."""
    async with _client(subject.make) as client:
        if subject.faults is None or client.describe().channel == "portal":
            return
        async with _broken(subject, error_in_200=True):
            answer = await check_one(client, Address.of(subject.covered), None)
            assert answer.state is CoverageState.UNKNOWN
            _raises(
                await _error(client.create_order(order_data(subject, _fresh()))), FNOError, fno=client.name
            )


RULES: tuple[Rule, ...] = (
    describes_itself,
    covered_address_is_covered,
    uncovered_address_is_not_covered,
    ambiguous_address_gives_candidates,
    order_is_taken_and_read,
    every_declared_type_is_taken,
    order_is_found_by_our_reference,
    lost_answer_is_one_order,
    same_reference_is_one_order,
    order_without_rica_is_refused,
    order_with_id_number_is_refused,
    unknown_package_is_refused,
    unknown_order_is_not_found,
    order_is_cancelled,
    changes_tell_of_orders,
    fault_is_reported,
    undeclared_verbs_say_so,
    wrong_credentials_are_an_auth_error,
    hanging_operator_times_out,
    failing_operator_is_unavailable,
    html_for_json_is_a_protocol_error,
    error_in_200_is_no_answer,
)
