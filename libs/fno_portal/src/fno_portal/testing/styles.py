"""The wire formats of simulated operators, as Starlette applications."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from fno_portal.drivers.aex import SNAPSHOT_EVERY_S
from fno_portal.testing.operator import API_KEY, PACKAGES, Faults, Premise, SimulatedOperator
from fno_portal.testing.pages import page_routes
from fno_portal.transitions import FROM_TMF641, TO_TMF641

Handler = Callable[[Request], Awaitable[Response]]
_HTML = "<!doctype html><title>Maintenance</title><h1>We are back soon</h1>"
_POLL_S = 0.02
_500_M = 0.005
_ASKED = ("package", "type", "service_reference", "losing_isp", "effective_date")


async def held(is_on: Callable[[], bool], request: Request) -> None:
    """Wait while a switch is on and the caller is there."""
    if is_on():
        await request.body()  # read first: asking whether the caller is there would swallow it
    while is_on() and not await request.is_disconnected():
        await asyncio.sleep(_POLL_S)


def make_app(style: str, operator: SimulatedOperator) -> Starlette:
    """The application of one style (see STYLES) over an operator's state; `/_sim/faults` sets its switches."""
    routes = [*STYLES[style](operator), *_switches(operator)]
    return Starlette(routes=routes, middleware=[Middleware(_Broken, operator=operator, style=style)])


class _Broken(BaseHTTPMiddleware):
    """Checks credentials and plays the faults that are the same in every style."""

    def __init__(self, app: Any, operator: SimulatedOperator, style: str) -> None:
        super().__init__(app)
        self._operator, self._style = operator, style

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        try:
            return await self._played(request, call_next)
        except ClientDisconnect:
            return Response(status_code=499)

    async def _played(self, request: Request, call_next: Any) -> Response:
        operator = self._operator
        if request.url.path.startswith("/_sim"):
            return await call_next(request)  # type: ignore[no-any-return]
        operator.requests += 1
        operator.running += 1
        try:
            return await self._answered(request, call_next)
        finally:
            operator.running -= 1

    async def _answered(self, request: Request, call_next: Any) -> Response:
        faults = self._operator.faults
        if faults.delay_s:
            await asyncio.sleep(faults.delay_s)
        await held(lambda: faults.hang, request)
        if faults.server_error:
            return Response("upstream is down", status_code=503)
        if self._style == "portal":
            return await call_next(request)  # type: ignore[no-any-return]
        if not self._allowed(request):
            return self._forbidden()
        if faults.html:
            return HTMLResponse(_HTML)
        if faults.error_in_200:
            return JSONResponse({"code": "1", "reason": "internal", "error": "the back end failed"})
        return await call_next(request)  # type: ignore[no-any-return]

    def _allowed(self, request: Request) -> bool:
        if self._style == "openserve":
            return request.headers.get("api_key") == API_KEY and "MessageID" in request.headers
        return request.headers.get("authorization") == f"Bearer {API_KEY}"

    def _forbidden(self) -> Response:
        if self._style == "openserve":
            return HTMLResponse("<h1>Forbidden</h1>", status_code=403)
        return JSONResponse({"error": {"code": "unauthorized", "message": "bad token"}}, status_code=401)


def _switches(operator: SimulatedOperator) -> list[Route]:
    async def set_faults(request: Request) -> Response:
        for name, value in (await request.json()).items():
            if name not in Faults.__dataclass_fields__:
                return JSONResponse({"error": f"no switch {name}"}, status_code=400)
            setattr(operator.faults, name, value)
        return JSONResponse({name: getattr(operator.faults, name) for name in Faults.__dataclass_fields__})

    async def set_order(request: Request) -> Response:
        operator.set_status(request.path_params["number"], **(await request.json()))
        return JSONResponse(operator.orders[request.path_params["number"]])

    async def list_orders(_: Request) -> Response:
        return JSONResponse(list(operator.orders.values()))

    return [
        Route("/_sim/faults", set_faults, methods=["POST"]),
        Route("/_sim/orders", list_orders),
        Route("/_sim/orders/{number}", set_order, methods=["POST"]),
    ]


def _missing() -> Response:
    return JSONResponse({"error": {"code": "not_found", "message": "no such thing"}}, status_code=404)


def _refused(code: str, message: str, status: int = 422) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)


def _page(items: list[dict[str, Any]], number: int, size: int) -> list[dict[str, Any]]:
    return items[(number - 1) * size : number * size]


async def _after_order(operator: SimulatedOperator, request: Request, answer: Response) -> Response:
    """The answer to an order that was taken, unless a fault eats it."""
    await held(lambda: operator.faults.take_then_hang, request)
    return HTMLResponse(_HTML) if operator.faults.take_then_html else answer


# --- the document's REST interface ---


def _document(operator: SimulatedOperator) -> list[Route]:
    def shown(order: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": order["reference"],
            "fno": operator.name,
            "fno_reference": order["number"],
            "customer_id": order.get("customer_id", ""),
            "address": order.get("address", ""),
            "package": order.get("package", ""),
            "rica_verified": True,
            **{key: order[key] for key in ("status", "scheduled_date", "completed_date")},
        }

    async def coverage(request: Request) -> Response:
        found = operator.places(request.query_params.get("address", ""))
        if len(found) > 1:
            return JSONResponse({"candidates": [{"address": one.address, "keys": one.keys} for one in found]})
        if not found or not found[0].covered:
            return JSONResponse({"is_covered": False, "packages": []})
        packages = [
            {
                "name": one.name,
                "download_mbps": one.download,
                "upload_mbps": one.upload,
                "monthly_cost": float(one.price),
                "setup_fee": 0,
                "contract_months": 1,
            }
            for one in PACKAGES
        ]
        place = found[0]
        return JSONResponse(
            {
                "is_covered": True,
                "packages": packages,
                "latitude": place.latitude,
                "longitude": place.longitude,
                "estimated_install_time": "7-14 days",
                "address_keys": {"placeId": place.keys["placeId"]},
            }
        )

    async def create(request: Request) -> Response:
        data = await request.json()
        if data.get("rica_verified") is not True:
            return _refused("rica", "no RICA verification")
        if data.get("package") and operator.package(data["package"]) is None:
            return _refused("package_not_on_offer", "that package is not on offer here")
        reference = data["reference"]
        fields = {key: data.get(key) for key in (*_ASKED, "customer_id")}
        fields["address"] = data.get("new_address") or data.get("address")
        order = operator.take_order(reference, **fields)
        return await _after_order(operator, request, JSONResponse(shown(order), status_code=201))

    async def find(request: Request) -> Response:
        found = operator.look_up(request.query_params.get("reference", ""))
        return JSONResponse({"orders": [shown(one) for one in found]})

    async def read(request: Request) -> Response:
        order = operator.orders.get(request.path_params["number"])
        return JSONResponse(shown(order)) if order else _missing()

    async def cancel(request: Request) -> Response:
        number = request.path_params["number"]
        if number not in operator.orders:
            return _missing()
        return JSONResponse({"cancellation": operator.cancel(number)})

    async def appointments(request: Request) -> Response:
        order = operator.orders.get(request.path_params["number"])
        if order is None:
            return _missing()
        if request.method == "GET":
            return JSONResponse({"slots": ["2099-01-05", "2099-01-06"]})
        slot = (await request.json())["slot"]
        if slot not in {"2099-01-05", "2099-01-06"}:
            return _refused("slot_taken", "that date is not free")
        operator.set_status(order["number"], "scheduled", scheduled_date=slot)
        return JSONResponse(shown(order))

    async def fault(request: Request) -> Response:
        ticket = operator.take_ticket(**(await request.json()))
        return JSONResponse({"fault_id": ticket["number"], "status": "open"}, status_code=201)

    async def read_fault(request: Request) -> Response:
        ticket = operator.tickets.get(request.path_params["number"])
        return (
            JSONResponse({"fault_id": ticket["number"], "status": ticket["status"]}) if ticket else _missing()
        )

    return [
        Route("/coverage/check", coverage),
        Route("/orders", create, methods=["POST"]),
        Route("/orders", find),
        Route("/orders/{number}", read),
        Route("/orders/{number}/cancel", cancel, methods=["POST"]),
        Route("/orders/{number}/appointments", appointments, methods=["GET", "POST"]),
        Route("/faults", fault, methods=["POST"]),
        Route("/faults/{number}", read_fault),
    ]


# --- AEx ---

_AEX = {
    "submitted": "New", "accepted": "Accepted", "scheduled": "Scheduled", "in_progress": "In Progress",
    "completed": "Active", "cancelled": "Cancelled", "rejected": "Rejected", "failed": "Failed", "held": "On Hold",
}  # fmt: skip


def _aex(operator: SimulatedOperator) -> list[Route]:
    customers: dict[str, str] = {}

    def location(one: Premise) -> dict[str, Any]:
        keys = {key: one.keys[key] for key in ("premiseId", "areaId")}
        return {**keys, "address": one.address, "latitude": one.latitude, "longitude": one.longitude}

    def shown(order: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": order["number"],
            "reference": order["reference"],
            "status": _AEX[order["status"]],
            "scheduled_date": order["scheduled_date"],
            "activated_date": order["completed_date"],
        }

    async def locations(request: Request) -> Response:
        return JSONResponse(
            {"items": [location(one) for one in operator.places(request.query_params["address"])]}
        )

    async def proximity(request: Request) -> Response:
        data = await request.json()
        near = [
            location(one)
            for one in operator.premises
            if abs(one.latitude - data["latitude"]) < _500_M
            and abs(one.longitude - data["longitude"]) < _500_M
        ]
        return JSONResponse({"items": _page(near, data["page"], 10)})

    async def details(request: Request) -> Response:
        place = operator.by_key("premiseId", request.query_params.get("premiseId", ""))
        products = [
            {
                "id": one.identifier, "name": one.name, "downloadSpeed": one.download, "uploadSpeed": one.upload,
                "price": one.price, "installationFee": "0.00", "term": 1,
            }
            for one in PACKAGES
        ]  # fmt: skip
        covered = place is not None and place.covered
        keys = {key: place.keys[key] for key in ("premiseId", "areaId")} if place else {}
        return JSONResponse({"available": covered, "products": products if covered else [], **keys})

    async def customer(request: Request) -> Response:
        reference = (await request.json())["reference"]
        number = customers.setdefault(reference, f"C{len(customers) + 1}")
        return JSONResponse({"id": number}, status_code=201)

    async def create(request: Request) -> Response:
        data = await request.json()
        package = operator.package(data["product_id"])
        if package is None and (data["product_id"] or data["type"] != "cancellation"):
            return _refused("package_not_on_offer", "no such product")
        place = operator.by_key("premiseId", data["premise_id"])
        order = operator.take_order(
            data["reference"],
            package=package.name if package else "",
            type=data["type"],
            address=place.address if place else None,
            service_reference=data.get("service_id"),
            losing_isp=data.get("losing_isp"),
            effective_date=data.get("effective_date"),
        )
        answer = JSONResponse({}, status_code=201, headers={"Location": f"/services/{order['number']}"})
        return await _after_order(operator, request, answer)

    async def find(request: Request) -> Response:
        query = request.query_params
        wanted = None if operator.faults.filter_ignored else query.get("reference")
        found = [shown(one) for one in operator.orders.values() if wanted in (None, one["reference"])]
        return JSONResponse(
            {"items": _page(found, int(query.get("page", 1)), int(query.get("page_size", 10)))}
        )

    async def snapshot(_: Request) -> Response:
        now = time.monotonic()
        if operator.snapshot_at is not None and now - operator.snapshot_at < SNAPSHOT_EVERY_S:
            return _refused("too_often", "one snapshot in ten minutes", status=429)
        operator.snapshot_at = now
        return JSONResponse({"items": [shown(one) for one in operator.take_changes()]})

    async def one(request: Request) -> Response:
        order = operator.orders.get(request.path_params["number"])
        if order is None:
            return _missing()
        if request.method == "PUT" and operator.cancel(order["number"]) == "rejected":
            return _refused("state", "the service is past that")
        return JSONResponse(shown(order))

    async def ticket(request: Request) -> Response:
        return JSONResponse(
            {"id": operator.take_ticket(**(await request.json()))["number"], "status": "open"}
        )

    async def read_ticket(request: Request) -> Response:
        found = operator.tickets.get(request.path_params["number"])
        return JSONResponse({"status": found["status"]}) if found else _missing()

    return [
        Route("/locations", locations),
        Route("/locations/proximity-search", proximity, methods=["POST"]),
        Route("/details", details),
        Route("/customers", customer, methods=["POST"]),
        Route("/services", create, methods=["POST"]),
        Route("/services", find),
        Route("/services/snapshot", snapshot),
        Route("/services/{number}", one, methods=["GET", "PUT"]),
        Route("/tickets", ticket, methods=["POST"]),
        Route("/tickets/{number}", read_ticket),
    ]


# --- Openserve ---

_OPENSERVE = {
    "submitted": "Validated", "accepted": "Accepted", "scheduled": "Scheduled", "in_progress": "InProgress",
    "completed": "Completed", "cancelled": "Cancelled", "rejected": "Rejected", "failed": "Failed", "held": "Held",
}  # fmt: skip


def _openserve(operator: SimulatedOperator) -> list[Route]:
    def shown(order: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": order["number"],
            "externalId": order["reference"],
            "state": _OPENSERVE[order["status"]],
            "appointmentDate": order["scheduled_date"],
            "completionDate": order["completed_date"],
        }

    def failed(code: str, reason: str) -> Response:
        return JSONResponse({"code": "1", "reasonCode": code, "reason": reason})

    async def qualify(request: Request) -> Response:
        query = request.query_params
        if "AMID" in query:
            place = operator.by_key("AMID", query["AMID"])
        elif "LAT" in query:
            place = operator.near(float(query["LAT"]), float(query["LON"]))
        else:
            return failed("bad_request", "AMID or LAT and LON")
        if place is None or not place.covered:
            return JSONResponse({"qualificationResult": "unqualified"})
        offers = [
            {
                "id": one.identifier,
                "name": one.name,
                "speed": f"{one.download}/{one.upload} Mbps",
                "price": one.price,
            }
            for one in PACKAGES
        ]
        answer = {"qualificationResult": "qualified", "AMID": place.keys["AMID"], "productOffering": offers}
        return JSONResponse({**answer, "LAT": place.latitude, "LON": place.longitude, "leadTime": "10 days"})

    async def create(request: Request) -> Response:
        data = await request.json()
        if data.get("productOffering") and operator.package(data["productOffering"]) is None:
            return failed("package_not_on_offer", "that product is not on offer")
        order = operator.take_order(
            data["externalId"],
            package=data["productOffering"],
            type=data["action"],
            address=data.get("newAddress") or data["address"],
            service_reference=data.get("serviceId"),
            losing_isp=data.get("losingProvider"),
            effective_date=data.get("requestedCompletionDate"),
        )
        text = f"Your order was received. Order Id = {order['number']}. State = Validated"
        return await _after_order(operator, request, JSONResponse({"code": "0", "message": text}))

    async def read(request: Request) -> Response:
        order = operator.orders.get(request.path_params["number"])
        return JSONResponse(shown(order)) if order else failed("not_found", "no such order")

    async def find(request: Request) -> Response:
        found = operator.look_up(request.query_params.get("externalId", ""))
        return JSONResponse([shown(one) for one in found])

    async def cancel(request: Request) -> Response:
        number = (await request.json())["productOrder"]["id"]
        if number not in operator.orders:
            return failed("not_found", "no such order")
        if operator.cancel(number) == "rejected":
            return failed("state", "the order is past that")
        return JSONResponse({"code": "0", "message": "received"})

    async def ticket(request: Request) -> Response:
        return JSONResponse(
            {"id": operator.take_ticket(**(await request.json()))["number"], "status": "open"}
        )

    async def read_ticket(request: Request) -> Response:
        found = operator.tickets.get(request.path_params["number"])
        return JSONResponse({"status": found["status"]}) if found else failed("not_found", "no such ticket")

    return [
        Route("/{tag}/productqualification", qualify),
        Route("/{tag}/productorder", create, methods=["POST"]),
        Route("/{tag}/getproductorder", find),
        Route("/{tag}/getproductorder/{number}", read),
        Route("/{tag}/cancelproductorder", cancel, methods=["POST"]),
        Route("/{tag}/troubleticket", ticket, methods=["POST"]),
        Route("/{tag}/troubleticket/{number}", read_ticket),
    ]


# --- TM Forum ---


def _tmf(operator: SimulatedOperator) -> list[Route]:
    def shown(order: dict[str, Any]) -> dict[str, Any]:
        state = next((word for word, one in FROM_TMF641.items() if one.value == order["status"]), None)
        return {
            "id": order["number"],
            "externalId": order["reference"],
            "state": state or _tmf_state(order["status"]),
            "expectedCompletionDate": order["scheduled_date"],
            "completionDate": order["completed_date"],
        }

    def service(place: Premise, number: int) -> dict[str, Any]:
        one = PACKAGES[number]
        values = {
            "downloadSpeed": one.download,
            "uploadSpeed": one.upload,
            "monthlyPrice": one.price,
            "contractMonths": 1,
        }
        return {
            "serviceSpecification": {"id": one.identifier, "name": one.name},
            "serviceCharacteristic": [{"name": key, "value": value} for key, value in values.items()],
            "place": [{"id": place.keys["placeId"], "role": "install"}],
        }

    async def qualify(request: Request) -> Response:
        where = (await request.json())["searchCriteria"]["service"]["place"][0]
        keyed = operator.by_key("placeId", where.get("id", ""))
        found = [keyed] if keyed else operator.places(where["streetName"])
        if len(found) > 1:
            items: list[dict[str, Any]] = [
                {"alternatePlace": {"id": one.keys["placeId"], "streetName": one.address}} for one in found
            ]
        elif found and found[0].covered:
            items = [
                {"qualificationResult": "qualified", "service": service(found[0], number)}
                for number in range(len(PACKAGES))
            ]
        else:
            items = [{"qualificationResult": "unqualified"}]
        return JSONResponse({"id": "q1", "state": "done", "serviceQualificationItem": items})

    async def create(request: Request) -> Response:
        data = await request.json()
        package = data["serviceOrderItem"][0]["service"]["serviceSpecification"]["name"]
        if package and operator.package(package) is None:
            return _refused("package_not_on_offer", "that specification is not on offer")
        service = data["serviceOrderItem"][0]["service"]
        told = {one["name"]: one["value"] for one in service["serviceCharacteristic"]}
        order = operator.take_order(
            data["externalId"],
            package=package,
            type=told["orderType"],
            address=service["place"][0]["streetName"],
            service_reference=service.get("id"),
            losing_isp=told.get("losingProvider"),
            effective_date=data.get("requestedCompletionDate"),
        )
        return await _after_order(operator, request, JSONResponse(shown(order), status_code=201))

    async def find(request: Request) -> Response:
        found = operator.look_up(request.query_params.get("externalId", ""))
        return JSONResponse([shown(one) for one in found])

    async def read(request: Request) -> Response:
        order = operator.orders.get(request.path_params["number"])
        return JSONResponse(shown(order)) if order else _missing()

    async def cancel(request: Request) -> Response:
        number = (await request.json())["serviceOrder"]["id"]
        if number not in operator.orders:
            return _missing()
        word = {"completed": "done", "rejected": "rejected"}[operator.cancel(number)]
        return JSONResponse({"id": "c1", "state": word}, status_code=201)

    async def ticket(request: Request) -> Response:
        number = operator.take_ticket(**(await request.json()))["number"]
        return JSONResponse({"id": number, "status": "acknowledged"}, status_code=201)

    async def read_ticket(request: Request) -> Response:
        found = operator.tickets.get(request.path_params["number"])
        return JSONResponse({"id": found["number"], "status": found["status"]}) if found else _missing()

    order = "/serviceOrderingManagement/v4/serviceOrder"
    return [
        Route("/serviceQualificationManagement/v4/queryServiceQualification", qualify, methods=["POST"]),
        Route(order, create, methods=["POST"]),
        Route(order, find),
        Route(order + "/{number}", read),
        Route("/serviceOrderingManagement/v4/cancelServiceOrder", cancel, methods=["POST"]),
        Route("/troubleTicket/v4/troubleTicket", ticket, methods=["POST"]),
        Route("/troubleTicket/v4/troubleTicket/{number}", read_ticket),
    ]


def _tmf_state(status: str) -> str:
    return {one.value: word for one, word in TO_TMF641.items()}[status]


STYLES: dict[str, Callable[[SimulatedOperator], list[Route]]] = {
    "document": _document,
    "aex": _aex,
    "openserve": _openserve,
    "tmf": _tmf,
    "portal": page_routes,
}
