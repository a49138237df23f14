"""How each carrier's API answers, over the same world."""

import base64
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote

from .faults import Faults
from .world import SimCharge, SimCircuit, SimTicket, World

KEY = "simulated-key"
SECRET = "simulated-secret"  # noqa: S105 - the simulators' own


@dataclass(frozen=True, slots=True)
class Call:
    """A request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON, an empty object when it is none."""
        try:
            return json.loads(self.body or b"{}")
        except ValueError:
            return {}

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


MARKED = re.compile(r'"\\u0000(\d+)\\u0000"')
NOT_FOUND = Reply({"code": "notFound", "reason": "no such resource"}, 404)
UNAUTHORIZED = Reply({"code": "invalidCredentials", "reason": "the token is not valid"}, 401)


class Number(Decimal):
    """An amount that is written into JSON as a number with its decimals, as carriers do."""


class Shape:
    """A carrier's API: tokens, then routes."""

    token_path: ClassVar[str] = "/oauth/token"  # noqa: S105 - a path
    static_key: ClassVar[bool] = False

    def __init__(self, world: World, faults: Faults) -> None:
        self.world = world
        self.faults = faults
        self.tokens: set[str] = set()

    def answer(self, call: Call) -> Reply:
        """The answer to a request."""
        if call.path == self.token_path and call.method == "POST":
            return self.give_token(call)
        if self.faults.take("expired_token"):
            self.tokens.clear()
        if not self.is_authorized(call):
            return UNAUTHORIZED
        return self.route(call)

    def route(self, call: Call) -> Reply:
        """The answer to an authorized request."""
        raise NotImplementedError

    def give_token(self, call: Call) -> Reply:
        """RFC 6749: the client's name and secret in the header or the form."""
        form = call.form
        given = (form.get("client_id"), form.get("client_secret"))
        if call.headers.get("authorization", "").startswith("Basic "):
            given = _basic(call.headers["authorization"])
        if (
            self.faults.on("refuse_credentials")
            or given != (KEY, SECRET)
            or form.get("grant_type") != "client_credentials"
        ):
            return Reply({"error": "invalid_client"}, 401)
        return Reply({"access_token": self.new_token(), "token_type": "Bearer", "expires_in": 3600})

    def new_token(self) -> str:
        """A token that is good until the simulator forgets it."""
        token = secrets.token_hex(16)
        self.tokens.add(token)
        return token

    def is_authorized(self, call: Call) -> bool:
        """Whether the request carries a token given before."""
        if self.faults.on("refuse_credentials"):
            return False
        bearer = call.headers.get("authorization", "").removeprefix("Bearer ")
        return bearer in self.tokens or (self.static_key and bearer == KEY)

    # What the faults make of the world

    def circuits(self) -> list[SimCircuit]:
        """The circuits as this request sees them."""
        if self.faults.on("empty_list"):
            return []
        circuits = list(self.world.circuits)
        if self.faults.on("wrong_currency") and circuits:
            circuits[0] = replace(circuits[0], currency="XXX")
        if self.faults.on("duplicate_ids") and len(circuits) > 1:
            circuits[1] = replace(circuits[1], id=circuits[0].id)
        return circuits

    def find(self, circuit_id: str) -> SimCircuit | None:
        """A circuit by id, as this request sees it."""
        if any(self.faults.on(name) for name in ("empty_list", "wrong_currency", "duplicate_ids")):
            return next((circuit for circuit in self.circuits() if circuit.id == circuit_id), None)
        return self.world.find(circuit_id)

    def cut(self, rows: list[Any]) -> list[Any]:
        """A page, or half of it."""
        return rows[: len(rows) // 2] if rows and self.faults.take("truncated_page") else rows


class GuideShape(Shape):
    """The guide's MyCarrier (`/auth`, `/circuits`) and AT&T (`/oauth/token`, `/v2/circuits`) examples."""

    def answer(self, call: Call) -> Reply:
        if call.path == "/auth" and call.method == "POST":
            given = (call.json.get("username"), call.json.get("password"))
            if self.faults.on("refuse_credentials") or given != (KEY, SECRET):
                return Reply({"error": "no such user"}, 401)
            return Reply({"token": self.new_token()})
        return super().answer(call)

    def route(self, call: Call) -> Reply:
        prefix, _, circuit_id = call.path.rpartition("/circuits")
        if prefix not in ("", "/v2"):
            return NOT_FOUND
        show = self._mycarrier if not prefix else self._att
        if circuit_id:
            circuit = self.find(unquote(circuit_id.removeprefix("/")))
            return Reply(show(circuit)) if circuit else NOT_FOUND
        rows = self.cut(
            [{"id": circuit.id, "circuit_id": circuit.cid, "cid": circuit.cid} for circuit in self.circuits()]
        )
        return Reply({"circuits" if prefix else "data": rows})

    def _mycarrier(self, circuit: SimCircuit) -> dict[str, Any]:
        billing = {
            "setup_fee": money(circuit.nrc),
            "monthly_fee": money(circuit.mrc),
            "currency": circuit.currency,
        }
        return {"id": circuit.id, "circuit_id": circuit.cid, "billing": billing}

    def _att(self, circuit: SimCircuit) -> dict[str, Any]:
        charges = {
            "installation_charge": money(circuit.nrc),
            "monthly_charge": money(circuit.mrc),
            "ban": circuit.account,
        }
        return {"id": circuit.id, "circuit_id": circuit.cid, "billing_info": charges}


class RestShape(Shape):
    """A plain REST API with page numbers, for the custom provider; a key or a token."""

    static_key = True

    def is_authorized(self, call: Call) -> bool:
        if self.faults.on("refuse_credentials"):
            return False
        key = call.headers.get("x-api-key") == KEY
        basic = _basic(call.headers.get("authorization", "")) == (KEY, SECRET)
        return key or basic or super().is_authorized(call)

    def route(self, call: Call) -> Reply:
        lists: dict[str, tuple[list[Any], Callable[[Any], dict[str, Any]]]] = {
            "/circuits": (self.circuits(), self._circuit),
            "/tickets": (self.world.tickets, self._ticket),
            "/charges": (self.world.charges, self._charge),
        }
        if call.path in lists:
            return self._page(call, *lists[call.path])
        circuit = self.find(unquote(call.path.removeprefix("/circuits/")))
        return Reply({"circuit": self._circuit(circuit)}) if circuit else NOT_FOUND

    def _page(self, call: Call, rows: list[Any], show: Callable[[Any], dict[str, Any]]) -> Reply:
        page, size = int(call.query.get("page", 1)), int(call.query.get("per_page", 100))
        part = [show(row) for row in rows[(page - 1) * size : page * size]]
        return Reply({"data": self.cut(part), "total": len(rows), "has_more": page * size < len(rows)})

    def _circuit(self, circuit: SimCircuit) -> dict[str, Any]:
        return {
            "id": circuit.id,
            "circuit_id": circuit.cid,
            "customer_reference": circuit.customer_id,
            "account": {"number": circuit.account},
            "status": "active" if circuit.active else "disconnected",
            "billing": {
                "monthly_fee": money(circuit.mrc),
                "setup_fee": money(circuit.nrc),
                "currency": circuit.currency,
            },
            "contract": {
                "number": circuit.order,
                "start": circuit.started_on.isoformat(),
                "months": circuit.term_months,
            },
        }

    def _ticket(self, ticket: SimTicket) -> dict[str, Any]:
        return {
            "id": ticket.id,
            "circuit": ticket.circuit_id,
            "title": ticket.subject,
            "state": ticket.status,
            "severity": ticket.priority,
            "opened": ticket.opened_at,
            "closed": ticket.closed_at,
        }

    def _charge(self, charge: SimCharge) -> dict[str, Any]:
        return {
            "id": charge.id,
            "invoice": charge.bill,
            "circuit": charge.circuit_id,
            "type": charge.kind,
            "amount": money(charge.amount),
            "currency": charge.currency,
            "from": charge.start_on.isoformat(),
            "to": charge.end_on.isoformat(),
        }


class TmfShape(Shape):
    """What Sonata and TM Forum's own APIs have in common: offset and limit, totals in headers, products, tickets."""

    products: ClassVar[str] = "/productInventory/v4/product"
    tickets: ClassVar[str] = "/troubleTicket/v4/troubleTicket"
    priced_list: ClassVar[bool] = True

    def route(self, call: Call) -> Reply:
        if call.path == self.products:
            return self.page(
                call, self._changed(call), lambda each: self.product(each, whole=self.priced_list)
            )
        if call.path.startswith(f"{self.products}/"):
            circuit = self.find(unquote(call.path.removeprefix(f"{self.products}/")))
            return Reply(self.product(circuit, whole=True)) if circuit else NOT_FOUND
        if call.path == self.tickets:
            return self.page(call, [self.ticket(each) for each in self.world.tickets])
        return self.bills(call)

    def bills(self, call: Call) -> Reply:
        """The routes of bills."""
        return NOT_FOUND

    def page(self, call: Call, rows: list[Any], show: Callable[[Any], Any] | None = None) -> Reply:
        """A page of a list; `show` turns what is on it into JSON."""
        offset, limit = int(call.query.get("offset", 0)), int(call.query.get("limit", 50))
        part = [show(row) if show else row for row in rows[offset : offset + limit]]
        shown = self.cut(part)
        # A page that lost rows ends the list too early: what follows it is lost as well.
        if len(shown) < len(part) and self.faults.on("truncated_page"):
            shown = shown if offset == 0 else []
        return Reply(shown, headers={"X-Total-Count": str(len(rows)), "X-Result-Count": str(len(shown))})

    def _changed(self, call: Call) -> list[SimCircuit]:
        after = call.query.get("lastUpdateDate.gt")
        circuits = self.circuits()
        return [each for each in circuits if each.changed_on.isoformat() > after[:10]] if after else circuits

    def product(self, circuit: SimCircuit, *, whole: bool) -> dict[str, Any]:
        """A product; the list's form of it has no prices at Sonata."""
        found = {
            "id": circuit.id,
            "externalId": circuit.customer_id,
            "status": "active" if circuit.active else "terminated",
            "startDate": f"{circuit.started_on.isoformat()}T00:00:00Z",
            "billingAccount": {"id": circuit.account},
            "productOrderItem": [{"productOrderId": circuit.order, "productOrderItemId": "1"}],
        }
        if whole:
            found["productPrice"] = [
                self.price("recurring", circuit.mrc, circuit.currency) | {"recurringChargePeriod": "month"},
                self.price("nonRecurring", circuit.nrc, circuit.currency),
                self.price("usageBased", "0.02", circuit.currency),
            ]
            found["productConfiguration"] = {"@type": "AccessEline", "circuitId": circuit.cid}
            found["productTerm"] = self.terms(circuit)
        return found

    def terms(self, circuit: SimCircuit) -> list[dict[str, Any]]:
        """The product's term."""
        if circuit.term_months is None:
            return []
        duration = {"amount": circuit.term_months, "units": "calendarMonths"}
        return [{"name": "Term", "duration": duration, "endOfTermAction": "autoRenew"}]

    def price(self, kind: str, value: Any, unit: Any) -> dict[str, Any]:
        """One of the product's prices."""
        return {
            "priceType": kind,
            "price": {"dutyFreeAmount": {"unit": unit, "value": money(value)}, "taxRate": 16},
        }

    def ticket(self, ticket: SimTicket) -> dict[str, Any]:
        """A trouble ticket."""
        return {
            "id": ticket.id,
            "description": ticket.subject,
            "status": ticket.status,
            "priority": ticket.priority,
            "severity": "significant",
            "creationDate": ticket.opened_at,
            "resolutionDate": ticket.closed_at,
            "relatedEntity": [{"id": ticket.circuit_id, "@referredType": "Product", "role": "product"}],
        }


class SonataShape(TmfShape):
    """MEF LSO Sonata: inventory 7, billing 2, trouble ticket 4."""

    products = "/mefApi/sonata/productInventory/v7/product"
    tickets = "/mefApi/sonata/troubleTicket/v4/troubleTicket"
    billing = "/mefApi/sonata/customerBillManagement/v2"
    priced_list = False

    def bills(self, call: Call) -> Reply:
        names = list(dict.fromkeys(charge.bill for charge in self.world.charges))
        if call.path == f"{self.billing}/customerBill":
            return self.page(
                call,
                [
                    {"id": f"bill-{each}", "billNo": each, "state": "generated", "category": "normal"}
                    for each in names
                ],
            )
        if call.path.startswith(f"{self.billing}/customerBill/"):
            bill = unquote(call.path.rpartition("/")[2]).removeprefix("bill-")
            lines = [{"id": each.id} for each in self.world.charges if each.bill == bill]
            # The standard's answer is a list around the one bill.
            return (
                Reply([{"id": f"bill-{bill}", "billNo": bill, "customerBillItem": lines}])
                if lines
                else NOT_FOUND
            )
        charge = next(
            (each for each in self.world.charges if each.id == unquote(call.path.rpartition("/")[2])), None
        )
        return Reply([self._line(charge)]) if charge else NOT_FOUND

    def _line(self, charge: SimCharge) -> dict[str, Any]:
        return {
            "id": charge.id,
            "customerBillItemType": charge.kind,
            "description": "Ethernet access",
            "product": {"id": charge.circuit_id},
            "state": "generated",
            "taxExcludedAmount": {"unit": charge.currency, "value": money(charge.amount)},
            "periodCoverage": {
                "startDateTime": f"{charge.start_on.isoformat()}T00:00:00Z",
                "endDateTime": f"{charge.end_on.isoformat()}T00:00:00Z",
            },
        }


class LumenShape(TmfShape):
    """TM Forum 637, 621 and 678, with prices in the list."""

    token_path = "/oauth/v2/token"  # noqa: S105 - a path

    def product(self, circuit: SimCircuit, *, whole: bool) -> dict[str, Any]:
        return super().product(circuit, whole=whole) | {
            "productSerialNumber": circuit.cid,
            "name": circuit.customer_id,
        }

    def bills(self, call: Call) -> Reply:
        if call.path != "/customerBillManagement/v4/appliedCustomerBillingRate":
            return NOT_FOUND
        kinds = {"recurring": "recurringCharge", "nonRecurring": "oneTimeCharge", "usageBased": "usageCharge"}
        rows = [
            {
                "id": charge.id,
                "type": kinds[charge.kind],
                "bill": {"id": charge.bill},
                "product": {"id": charge.circuit_id},
                "taxExcludedAmount": {"unit": charge.currency, "value": money(charge.amount)},
                "periodCoverage": {
                    "startDateTime": f"{charge.start_on.isoformat()}T00:00:00Z",
                    "endDateTime": f"{charge.end_on.isoformat()}T00:00:00Z",
                },
            }
            for charge in self.world.charges
        ]
        return self.page(call, rows)


class ZayoShape(Shape):
    """Zayo's existing-services: a POST with top and skip."""

    def route(self, call: Call) -> Reply:
        if (call.method, call.path) != ("POST", "/services/service-management/v1/existing-services"):
            return NOT_FOUND
        paging = call.json.get("paging", {})
        skip, top = int(paging.get("skip", 0)), int(paging.get("top", 50))
        active = [circuit for circuit in self.circuits() if circuit.active]
        return Reply(
            {
                "apiVersion": "v1",
                "data": {"records": self.cut([self._record(each) for each in active[skip : skip + top]])},
            }
        )

    def _record(self, circuit: SimCircuit) -> dict[str, Any]:
        return {
            "serviceName": circuit.order or circuit.id,
            "serviceId": circuit.id,
            "billingAccountNumber": circuit.account,
            "status": "Active",
            "productGroup": "Ethernet",
            "circuitId": circuit.cid,
            "legacyCircuitId": None,
            "customerCircuitId": circuit.customer_id or None,
            "term": circuit.term_months,
            "totalMrc": money(circuit.mrc),
            "totalNrc": money(circuit.nrc),
            "currencyIsoCode": circuit.currency,
        }


class VerizonShape(Shape):
    """Verizon's CIList with nextKey, and a details call."""

    page_size: ClassVar[int] = 5000

    def route(self, call: Call) -> Reply:
        asked = call.json
        if call.method != "POST" or not asked.get("transactionID") or not asked.get("version"):
            return Reply({"succeeded": False, "transactionID": None}, 400)
        envelope = {"succeeded": True, "transactionID": asked["transactionID"]}
        if call.path == "/CIDetails":
            circuit = self.find(str(asked.get("serviceID")))
            return (
                Reply(envelope | self._details(circuit))
                if circuit
                else Reply(envelope | {"succeeded": False})
            )
        if call.path != "/CIList":
            return NOT_FOUND
        return Reply(envelope | self._list(asked))

    def _list(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        circuits = self.circuits()
        if not asked.get("fullInventory"):
            oldest = date.today().toordinal() - int(asked.get("period", 1)) + 1  # noqa: DTZ011 - the carrier's own day
            circuits = [each for each in circuits if each.changed_on.toordinal() >= oldest]
        first = int(asked.get("nextKey") or 0)
        part = circuits[first : first + self.page_size]
        shown = self.cut([self._row(each) for each in part])
        more = first + self.page_size < len(circuits)
        return {"ciList": shown, **({"nextKey": str(first + self.page_size)} if more else {})}

    def _row(self, circuit: SimCircuit) -> dict[str, Any]:
        return {
            "ciName": circuit.cid,
            "serviceID": circuit.id,
            "productServiceName": "Ethernet",
            "ban": circuit.account,
            "ciStatus": "Active" if circuit.active else "Deactive",
            "lastModifiedDate": circuit.changed_on.isoformat(),
        }

    def _details(self, circuit: SimCircuit) -> dict[str, Any]:
        return self._row(circuit) | {
            "monthlyRecurringCharge": money(circuit.mrc),
            "nonRecurringCharge": money(circuit.nrc),
            "currencyCode": circuit.currency,
        }


SHAPES: dict[str, type[Shape]] = {
    "guide": GuideShape,
    "rest": RestShape,
    "sonata": SonataShape,
    "lumen": LumenShape,
    "verizon": VerizonShape,
    "zayo": ZayoShape,
}


def money(value: Any) -> Any:
    """An amount as a JSON number where it is one; nonsense stays as it is."""
    if not isinstance(value, str):
        return value
    try:
        return Number(value)
    except InvalidOperation:
        return value


def encode(body: Any) -> bytes:
    """JSON whose amounts keep their decimals."""
    amounts: list[str] = []

    def mark(value: Any) -> str:
        amounts.append(str(value))
        return f"\x00{len(amounts) - 1}\x00"

    text = json.dumps(body, default=mark)
    return MARKED.sub(lambda found: amounts[int(found[1])], text).encode()


def _basic(header: str) -> tuple[str | None, str | None]:
    try:
        name, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
    except (ValueError, UnicodeDecodeError):
        return None, None
    return name, password
