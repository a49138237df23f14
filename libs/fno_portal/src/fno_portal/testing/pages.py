"""A simulated operator's portal: log-in with or without one-time codes, coverage, orders, faults."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from html import escape

import pyotp
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from fno_portal.testing.operator import PACKAGES, PASSWORD, TOTP_SEED, USERNAME, SimulatedOperator

_COOKIE = "portal_session"
_STYLE = "body{font:16px sans-serif;max-width:50em;margin:2em auto}input,select,button{display:block;margin:.4em 0;padding:.4em}"
_MORE = ("end-date", "losing-isp", "new-address")
_ASKED = {
    "package": "package", "type": "type", "service_reference": "service", "losing_isp": "losing-isp",
    "effective_date": "end-date",
}  # fmt: skip
_WORDS = {"in_progress": "In Progress", "held": "On Hold"}
Handler = Callable[[Request], Awaitable[Response]]


def page_routes(operator: SimulatedOperator) -> list[Route]:
    """The portal's pages."""

    def page(body: str, *, menu: bool = True) -> HTMLResponse:
        if operator.faults.captcha:
            body = '<div class="captcha">Prove that you are no robot</div>'
        if operator.faults.layout_changed:
            body = body.replace('id="', 'id="new-').replace('class="', 'class="new-')
        nav = (
            '<nav id="menu"><a href="/coverage">Coverage</a> <a href="/orders">Orders</a></nav>'
            if menu
            else ""
        )
        head = f"<title>{escape(operator.name)} partner portal</title><style>{_STYLE}</style>"
        return HTMLResponse(f"<!doctype html>{head}<h1>{escape(operator.name)}</h1>{nav}{body}")

    def form(path: str, fields: str, button: str, text: str) -> str:
        return f'<form method="post" action="{path}">{fields}<button type="submit" id="{button}">{text}</button></form>'

    def boxes(*names: str) -> str:
        return "".join(f'<label>{name}<input id="{name}" name="{name}"></label>' for name in names)

    def inside(handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            if request.method == "POST" and operator.faults.expire_on_submit:
                operator.faults.expire_on_submit = False
                operator.expire_sessions()
            if not operator.sessions.get(request.cookies.get(_COOKIE, "")):
                return RedirectResponse("/login", status_code=303)
            return await handler(request)

        return guarded

    async def login(request: Request) -> Response:
        if operator.sessions.get(request.cookies.get(_COOKIE, "")) and request.method == "GET":
            return RedirectResponse("/coverage", status_code=303)
        fields = (
            '<label>User<input id="username" name="username"></label>'
            '<label>Password<input id="password" name="password" type="password"></label>'
        )
        shown = form("/login", fields, "sign-in", "Sign in")
        if request.method == "GET":
            return page(shown, menu=False)
        data = await request.form()
        operator.logins += 1
        if (data.get("username"), data.get("password")) != (USERNAME, PASSWORD):
            return page('<p class="login-error">Wrong user or password</p>' + shown, menu=False)
        return opened("/totp" if operator.totp else "/coverage", full=not operator.totp)

    def opened(path: str, *, full: bool) -> Response:
        token = secrets.token_urlsafe(16)
        operator.sessions[token] = full
        answer = RedirectResponse(path, status_code=303)
        answer.set_cookie(_COOKIE, token, httponly=True, max_age=3600)
        return answer

    async def totp(request: Request) -> Response:
        token = request.cookies.get(_COOKIE, "")
        if token not in operator.sessions:
            return RedirectResponse("/login", status_code=303)
        field = '<label>Code<input id="one-time-code" name="code"></label>'
        shown = form("/totp", field, "verify", "Verify")
        if request.method == "GET":
            return page(shown, menu=False)
        code = str((await request.form()).get("code"))
        if not pyotp.TOTP(TOTP_SEED).verify(code, valid_window=1):
            return page('<p class="login-error">Wrong code</p>' + shown, menu=False)
        operator.sessions[token] = True
        return RedirectResponse("/coverage", status_code=303)

    async def coverage(request: Request) -> Response:
        search = (
            '<form method="post" action="/coverage"><input id="address-search" name="address">'
            '<button type="submit" id="search-button">Search</button></form>'
        )
        if request.method == "GET":
            return page(search)
        return page(search + results(str((await request.form()).get("address", ""))))

    def results(address: str) -> str:
        found = operator.places(address)
        if len(found) > 1:
            items = "".join(f'<li class="candidate">{escape(one.address)}</li>' for one in found)
            return f'<div class="coverage-results"><p>Which one?</p><ul>{items}</ul></div>'
        if not found or not found[0].covered:
            return '<div class="coverage-results unavailable">No fibre here yet</div>'
        items = "".join(
            f'<li class="package"><b class="name">{one.name}</b> <span class="speed">{one.download}/{one.upload} Mbps</span>'
            f' <span class="price">R {one.price}</span></li>'
            for one in PACKAGES
        )
        return f'<div class="coverage-results available"><p>Fibre is here</p><ul>{items}</ul></div>'

    async def new_order(request: Request) -> Response:
        options = "".join(f"<option>{one.name}</option>" for one in PACKAGES)
        select = f'<select id="package" name="package"><option></option>{options}</select>'
        fields = (
            boxes("reference", "customer", "address", "type", "service", "date", "notes", *_MORE) + select
        )
        shown = form("/orders/new", fields, "place-order", "Place order")
        if request.method == "GET":
            return page(shown)
        data = await request.form()
        if not data.get("reference") or not data.get("address"):
            return page('<p class="form-error">Reference and address are needed</p>' + shown)
        fields_taken = {ours: str(data.get(theirs) or "") or None for ours, theirs in _ASKED.items()}
        fields_taken["address"] = str(data.get("new-address") or data["address"])
        order = operator.take_order(str(data["reference"]), **fields_taken)
        while operator.faults.take_then_hang and not await request.is_disconnected():
            await asyncio.sleep(0.02)
        return page(f'<p class="confirmation">Thank you: <b class="number">{order["number"]}</b></p>')

    def row(order: dict[str, str]) -> str:
        word = _WORDS.get(order["status"], order["status"].capitalize())
        scheduled = order["scheduled_date"] or ""
        return (
            f'<div class="order"><span class="reference">{escape(order["reference"])}</span> '
            f'<span class="number">{order["number"]}</span> <span class="status">{word}</span> '
            f'<span class="scheduled">{scheduled}</span></div>'
        )

    async def orders(request: Request) -> Response:
        wanted = request.query_params.get("reference")
        found = operator.orders.values() if wanted is None else operator.look_up(wanted)
        rows = [row(one) for one in found]
        return page("".join(rows) or '<p class="no-orders">No orders</p>')

    async def order(request: Request) -> Response:
        found = operator.orders.get(request.path_params["number"])
        return page(row(found) if found else '<p class="not-found">No such order</p>')

    async def cancel(request: Request) -> Response:
        number = request.path_params["number"]
        shown = form(f"/orders/{number}/cancel", boxes("reason"), "confirm-cancel", "Cancel the order")
        if number not in operator.orders or request.method == "GET":
            return page(shown)
        word = {"completed": "Cancelled", "rejected": "Refused"}[operator.cancel(number)]
        return page(f'<p class="confirmation">Your wish: <b class="state">{word}</b></p>')

    async def fault(request: Request) -> Response:
        shown = form(
            "/faults/new", boxes("order", "reference", "severity", "description"), "report-fault", "Report"
        )
        if request.method == "GET":
            return page(shown)
        data = await request.form()
        ticket = operator.take_ticket(
            description=str(data.get("description")), severity=str(data.get("severity"))
        )
        return page(f'<p class="confirmation">Thank you: <b class="number">{ticket["number"]}</b></p>')

    async def start(_: Request) -> Response:
        return RedirectResponse("/login", status_code=303)

    both = ["GET", "POST"]
    return [
        Route("/", start),
        Route("/login", login, methods=both),
        Route("/totp", totp, methods=both),
        Route("/coverage", inside(coverage), methods=both),
        Route("/orders/new", inside(new_order), methods=both),
        Route("/orders", inside(orders)),
        Route("/orders/{number}", inside(order)),
        Route("/orders/{number}/cancel", inside(cancel), methods=both),
        Route("/faults/new", inside(fault), methods=both),
    ]
