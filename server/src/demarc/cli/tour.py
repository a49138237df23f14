"""`demarc tour`: one customer's life against the running sandbox, with a real RADIUS exchange at each stage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from rich.console import Console

from demarc.adapters.nas_simulator.nas import Dialed, SimulatedNas, SimulatedSession
from demarc.cli.sandbox import DOCUMENT_TAG, NAS_SECRET, PASSWORD, TENANTS
from demarc.kernel.errors import Unavailable
from demarc.kernel.settings import Settings

ALPHA = TENANTS[0]
NAS_ADDRESS = "127.0.0.12"
GIB = 1 << 30
USED_DOWN, USED_UP = 6 * GIB, 1 * GIB
PATIENCE_SECONDS = 20.0
_POLL_SECONDS = 0.1


class TourStopped(Unavailable):
    """A stage did not show what it should; the message says which and what was seen."""

    code = "TOUR_STOPPED"


@dataclass(slots=True)
class Guide:
    """Says in plain words what happens, and numbers the stages."""

    console: Console = field(default_factory=lambda: Console(highlight=False))
    stage: int = 0

    def begin(self, title: str) -> None:
        self.stage += 1
        self.console.print(f"\n[bold cyan]{self.stage}. {title}[/]")

    def tell(self, text: str) -> None:
        self.console.print(f"   {text}")

    def saw(self, text: str) -> None:
        self.console.print(f"   [green]✔[/] {text}")


@dataclass(slots=True)
class Api:
    """The platform over HTTP, as any integrator uses it."""

    client: httpx.AsyncClient

    async def log_in(self) -> None:
        answer = await self.call("POST", "/api/auth/token", {"username": ALPHA.admin, "password": PASSWORD})
        self.client.headers["Authorization"] = f"Bearer {answer['access_token']}"
        self.client.headers["X-Tenant-ID"] = ALPHA.slug

    async def call(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """The answer's JSON.

        Raises:
            TourStopped: the platform is not there, or answers an error.
        """
        try:
            response = await self.client.request(method, path, json=body, params=params)
        except httpx.HTTPError:
            raise TourStopped(
                f"no platform answers at {self.client.base_url}; start it with `make run`"
            ) from None
        if response.is_error:
            raise TourStopped(f"{method} {path} answered {response.status_code}: {response.text}")
        return response.json()

    async def until(self, what: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask until the answer is truthy."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            if found := await ask():
                return found
            await asyncio.sleep(_POLL_SECONDS)
        raise TourStopped(f"waited {PATIENCE_SECONDS:.0f} s for {what}, in vain")


@dataclass(slots=True)
class Tour:
    """What the stages pass on to each other."""

    api: Api
    guide: Guide
    nas: SimulatedNas
    offset: timedelta
    mark: str
    customer: dict[str, Any] = field(default_factory=dict)
    service: dict[str, Any] = field(default_factory=dict)
    subscriber: dict[str, Any] = field(default_factory=dict)
    invoice: dict[str, Any] = field(default_factory=dict)
    session: SimulatedSession | None = None
    password: str = ""

    def business_now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    # -- the stages, in order --------------------------------------------------------------------------------------

    async def sell(self) -> None:
        self.guide.begin("A customer buys a plan")
        self.customer = await self.api.call(
            "POST",
            "/api/customers",
            {
                "name": f"Tara Tourist {self.mark}",
                "email": f"tara.{self.mark}@alpha.com",
                "phone": "+13125550199",
            },
        )
        plan = await self.api.call("GET", "/api/plans/plan_fiber_200")
        self.guide.tell(
            f"{self.customer['name']} takes {plan['name']}; usage costs 0.05 {plan['currency']} per GB on top."
        )
        self.service = await self.api.call(
            "POST",
            "/api/services/lifecycle/provision",
            {
                "customer_id": self.customer["id"],
                "service_type": "fiber_internet",
                "service_name": "Fiber 200",
                "plan_id": "plan_fiber_200",
                "subscription_id": f"sub_tour_{self.mark}",
                "service_config": {"bandwidth_down_mbps": 200, "bandwidth_up_mbps": 100},
                "auto_activate": True,
            },
        )
        self.guide.saw(f"service {self.service['service_identifier']} is {self.service['status']}")

    async def connect(self) -> None:
        self.guide.begin("The service gets a subscriber: the log-in and address of a router")
        self.subscriber = await self.api.call(
            "POST",
            "/api/subscribers",
            {
                "username": f"tara.{self.mark}@alpha.com",
                "customer_id": self.customer["id"],
                "service_id": self.service["id"],
                "service_type": "fiber_internet",
                "bandwidth_profile": {"download_mbps": 200, "upload_mbps": 100},
                "allocate_ip": True,
            },
        )
        self.password = self.subscriber["password"]
        self.guide.saw(
            f"{self.subscriber['username']} will get {self.subscriber['static_ipv4']}; his password is shown once"
        )

    async def dial_in(self) -> None:
        self.guide.begin("The router dials in: Access-Request, Access-Accept")
        answer = await self.dial()
        if not answer.accepted or answer.session is None:
            raise TourStopped(f"FreeRADIUS refused the log-in: {answer.attributes}")
        self.session = answer.session
        for name in ("Framed-IP-Address", "WISPr-Bandwidth-Max-Down", "WISPr-Bandwidth-Max-Up"):
            self.guide.tell(f"{name} = {answer.attributes.get(name)}")
        if answer.attributes.get("Framed-IP-Address") != self.subscriber["static_ipv4"]:
            raise TourStopped("the router did not get its own address")
        self.guide.saw("on line, at the speed that was sold")

    async def use(self) -> None:
        self.guide.begin("He uses the line; accounting packets become usage")
        session = self.online()
        session.carry(input_octets=USED_UP, output_octets=USED_DOWN)
        session.interim()
        await self.nas.drain()
        self.guide.tell(f"the router reported {USED_DOWN:,} octets down and {USED_UP:,} up")
        stored = await self.api.until("the usage record", self.stored_octets)
        if stored != USED_DOWN + USED_UP:
            raise TourStopped(f"{USED_DOWN + USED_UP:,} octets were sent, {stored:,} are stored")
        self.guide.saw(f"{stored:,} octets stored: not one more, not one less")

    async def bill(self) -> None:
        self.guide.begin("The month ends; what was used becomes an invoice")
        month = self.business_now().strftime("%Y-%m")
        await self.advance_to(_first_of_next_month(self.business_now()) + timedelta(hours=12))
        run = await self.api.call(
            "POST", "/api/billing/runs", {"period": month, "subscription_id": self.service["subscription_id"]}
        )
        await self.api.until("the billing run", lambda: self.run_is_done(run["id"]))
        made = await self.api.call(
            "GET", "/api/billing/invoices", subscription_id=self.service["subscription_id"]
        )
        self.invoice = await self.api.call("GET", f"/api/billing/invoices/{made['invoices'][0]['id']}")
        for line in self.invoice["line_items"]:
            self.guide.tell(f"{line['description']}: {line['amount'] / 100:.2f}")
        self.guide.tell(f"tax {self.invoice['tax_amount'] / 100:.2f}")
        self.guide.saw(
            f"invoice {self.invoice['number']}: {self.invoice['total_amount'] / 100:.2f} {self.invoice['currency']}, due {self.invoice['due_date']}"
        )

    async def remind(self) -> None:
        self.guide.begin("He does not pay: the invoice falls overdue and dunning begins")
        campaign = await self.api.call(
            "POST",
            "/api/billing/dunning/campaigns",
            {
                "name": f"Tour {self.mark}",
                "trigger_after_days": 3,
                "actions": [
                    {"type": "email", "delay_days": 0, "template": "payment_reminder_1"},
                    {"type": "suspend_service", "delay_days": 4},
                ],
                "exclusion_rules": {"customer_tags": [DOCUMENT_TAG]},
                "priority": 100,
            },
        )
        self.guide.tell("campaign: e-mail three days after the due date, suspend four days later")
        due = datetime.fromisoformat(f"{self.invoice['due_date']}T12:00:00+00:00")
        await self.advance_to(due + timedelta(days=4))
        execution = await self.api.until("the dunning execution", self.find_execution)
        self.guide.saw(
            f"the invoice is overdue, the campaign runs (step {execution['current_step']}/{execution['total_steps']})"
        )
        mail = await self.api.until("the reminder", self.find_mail)
        self.guide.saw(f"e-mail over SMTP to {mail['to']}: “{mail['subject']}”")
        await self.api.call("PATCH", f"/api/billing/dunning/campaigns/{campaign['id']}", {"is_active": False})

    async def cut(self) -> None:
        self.guide.begin("Four days later the line is cut")
        session = self.online()
        started = time.monotonic()
        await self.advance_to(self.business_now() + timedelta(days=5))
        await self.api.until("the Disconnect at the router", lambda: _now(not session.active))
        self.guide.saw(
            f"Disconnect-Request obeyed {time.monotonic() - started:.1f} s after the clock moved: {self.nas.orders_obeyed[-1]}"
        )
        answer = await self.dial()
        if answer.accepted:
            raise TourStopped("the router came back on line although the service is suspended")
        self.guide.saw(
            f"the next log-in is refused: {answer.attributes.get('Reply-Message', 'Access-Reject')}"
        )
        service = await self.api.call("GET", f"/api/services/lifecycle/{self.service['id']}")
        self.guide.saw(f"the service is {service['status']}")

    async def pay(self) -> None:
        self.guide.begin("He pays, and is back on line")
        started = time.monotonic()
        await self.api.call(
            "POST",
            "/api/billing/payments",
            {
                "customer_id": self.customer["id"],
                "amount": self.invoice["total_amount"],
                "method": "card",
                "reference": f"tour-{self.mark}",
            },
        )
        await self.api.until("the service to resume", self.is_active)
        self.guide.saw(f"the service is active again {time.monotonic() - started:.1f} s after the payment")
        answer = await self.dial()
        if not answer.accepted or answer.session is None:
            raise TourStopped(f"paid, but FreeRADIUS refuses: {answer.attributes}")
        self.guide.saw(f"Access-Accept, {answer.attributes.get('Framed-IP-Address')}")
        answer.session.stop()
        await self.nas.drain()

    async def close_books(self) -> None:
        self.guide.begin("The books")
        balance = await self.api.call("GET", f"/api/billing/accounts/{self.customer['id']}/balance")
        self.guide.saw(f"the customer owes {balance['balance'] / 100:.2f}")
        self.guide.tell(
            "Look around: the start page, /docs, and `demarc status`. Run the tour again whenever you like."
        )

    # -- what the stages use ---------------------------------------------------------------------------------------

    async def dial(self) -> Dialed:
        return await self.nas.dial(self.subscriber["username"], self.password)

    def online(self) -> SimulatedSession:
        if self.session is None:
            raise TourStopped("nobody is on line")
        return self.session

    async def advance_to(self, moment: datetime) -> None:
        """Move the tenant's clock; the router that stays on line reports with the new time."""
        by = moment - self.business_now()
        answer = await self.api.call(
            "POST", "/api/sandbox/clock/advance", {"minutes": max(int(by.total_seconds() // 60), 1)}
        )
        self.offset = timedelta(seconds=answer["offset_seconds"])
        self.guide.tell(f"[dim]the sandbox clock moves to {self.business_now():%Y-%m-%d %H:%M} UTC[/]")
        if self.session is not None and self.session.active:
            self.session.interim()

    async def stored_octets(self) -> int:
        records = await self.usage()
        return sum(record["input_octets"] + record["output_octets"] for record in records)

    async def usage(self) -> list[dict[str, Any]]:
        answer = await self.api.call(
            "GET", "/api/billing/usage/records", subscription_id=self.service["subscription_id"]
        )
        records: list[dict[str, Any]] = answer["records"]
        return records

    async def run_is_done(self, run_id: str) -> bool:
        run = await self.api.call("GET", f"/api/billing/runs/{run_id}")
        return bool(run["status"] == "completed")

    async def find_execution(self) -> dict[str, Any] | None:
        answer = await self.api.call(
            "GET", "/api/billing/dunning/executions", subscription_id=self.service["subscription_id"]
        )
        return next(iter(answer["executions"]), None)

    async def find_mail(self) -> dict[str, Any] | None:
        answer = await self.api.call("GET", "/api/sandbox/mail")
        return next((mail for mail in answer["messages"] if mail["to"] == self.customer["email"]), None)

    async def is_active(self) -> bool:
        service = await self.api.call("GET", f"/api/services/lifecycle/{self.service['id']}")
        return bool(service["status"] == "active")


async def run_tour(settings: Settings, url: str | None) -> None:
    """Walk all stages.

    Raises:
        TourStopped: a stage did not show what it should.
    """
    address = url or f"http://{settings.http_host}:{settings.http_port}"
    async with httpx.AsyncClient(base_url=address, timeout=30, trust_env=False) as client:
        guide, api = Guide(), Api(client)
        guide.console.print(f"[bold]One customer's life on Demarc[/], against {address}")
        await api.log_in()
        clock = await api.call("GET", "/api/sandbox/clock")
        offset = timedelta(seconds=clock["offset_seconds"])
        tour: Tour | None = None
        async with SimulatedNas(
            NAS_ADDRESS,
            NAS_SECRET.encode(),
            radius_host=str(settings.radius_host),
            auth_port=settings.radius_auth_port,
            acct_port=settings.radius_acct_port,
            clock=lambda: tour.business_now() if tour is not None else datetime.now(UTC) + offset,
        ) as nas:
            tour = Tour(api, guide, nas, offset, mark=f"{int(time.time()):x}")
            started = time.monotonic()
            for stage in (
                tour.sell,
                tour.connect,
                tour.dial_in,
                tour.use,
                tour.bill,
                tour.remind,
                tour.cut,
                tour.pay,
                tour.close_books,
            ):
                await stage()
            guide.console.print(
                f"\n[bold green]The tour is over[/] after {time.monotonic() - started:.0f} seconds."
            )


async def _now(value: Any) -> Any:
    return value


def _first_of_next_month(moment: datetime) -> datetime:
    return (moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(
        day=1
    )
