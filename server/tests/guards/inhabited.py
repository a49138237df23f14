"""A platform with something in every list, made through its own surface: what guards walk and schemathesis asks."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from demarc.kernel.context import system
from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Database
from demarc.modules.access.ports import CoaReply, CoaSender
from demarc.modules.access.states import CoaOutcome

from ..conftest import ALPHA, Caller  # noqa: TID252 - the suite's own
from ..notifications.post import Desk, Trap, ports_to  # noqa: TID252 - the tests' own desk

_LIVE = """
    INSERT INTO radius_session (tenant_id, id, nas_id, subscriber_id, service_id, username, acct_session_id,
                                started_at, updated_at, calling_station_id, framed_ip)
    SELECT s.tenant_id, $2, n.id, s.id, s.service_id, s.username, $3, $4, $4, $5, $6
    FROM subscriber s JOIN nas n ON n.tenant_id = s.tenant_id AND n.uid = $7 WHERE s.uid = $1
"""
_PAST = """
    INSERT INTO radius_session_history (tenant_id, id, nas_id, subscriber_id, service_id, username, acct_session_id,
        generation, started_at, updated_at, session_seconds, input_octets, output_octets, framed_ip, stopped_at,
        terminate_cause, calling_station_id)
    SELECT tenant_id, $2, nas_id, subscriber_id, service_id, username, acct_session_id || '-past', generation,
           started_at - interval '1 day', updated_at - interval '1 day', 3600, 5, 7, framed_ip,
           started_at - interval '23 hours', $3, 'of ' || username
    FROM radius_session WHERE id = $1
"""


class Nas:
    """Takes the first order and refuses the others; the real client is tried in test_orders_on_the_wire."""

    def __init__(self) -> None:
        self.asked = 0

    async def send(self, order: object) -> CoaReply:
        self.asked += 1
        return CoaReply(CoaOutcome.ACK if self.asked == 1 else CoaOutcome.NAK, 1)


@dataclass
class Town:
    """Moves customers in, sells them things, lets them use, pay and owe."""

    admin: Caller
    database: Database
    desk: Desk
    trap: Trap
    made: dict[str, list[Any]] = field(default_factory=dict)

    async def post(self, path: str, /, **body: Any) -> Any:
        answer = await self.admin.post(path, body)
        assert answer.is_success, f"POST {path} {body}: {answer.status_code} {answer.text}"
        return answer.json()

    async def keep(self, kind: str, path: str, /, **body: Any) -> Any:
        """Make something and remember it by its kind."""
        made = await self.post(path, **body)
        self.made.setdefault(kind, []).append(made)
        return made

    async def patch(self, path: str, /, **body: Any) -> Any:
        answer = await self.admin.patch(path, body)
        assert answer.is_success, f"PATCH {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def execute(self, sql: str, *values: Any) -> None:
        async with self.database.begin(ALPHA, system("test")) as tx:
            await tx.connection.execute(sql, *values)

    async def settle(self) -> None:
        """Everything, in the order in which one thing needs the other."""
        for step in (
            self.offer,
            self.move_in,
            self.connect,
            self.rearrange,
            self.use,
            self.use_up,
            self.bill,
            self.pay_some,
            self.remind,
            self.order_about,
            self.employ,
            self.go_back,
            self.reword,
            self.go_wrong,
        ):
            await step()
            await self.desk.clear()

    async def offer(self) -> None:
        await self.post("/api/billing/tax-rules", name="sales tax", rate=0.08, effective_on="2020-01-01")
        await self.post("/api/billing/tax-rules", name="city tax", rate=0.01, effective_on="2030-01-01")
        for number, kind in enumerate(("fiber_internet", "fiber_internet", "wireless_internet")):
            plan = await self.keep(
                "plan",
                "/api/plans",
                plan_id=f"plan_{number}",
                name=f"Plan {number}",
                service_type=kind,
                bandwidth_down_mbps=100 * (number + 1),
                bandwidth_up_mbps=50,
                monthly_fee=1000 * (number + 1),
                effective_on="2020-01-01",
            )
            for unit in ("bandwidth_gb", "data_transfer"):
                await self.post(
                    f"/api/plans/{plan['id']}/usage-prices",
                    usage_type=unit,
                    unit="GB",
                    unit_price=0.05,
                    effective_on="2020-01-01",
                )
            await self.post(
                f"/api/plans/{plan['id']}/prices", monthly_fee=1200 * (number + 1), effective_on="2030-01-01"
            )
        retired = await self.post(
            "/api/plans",
            plan_id="plan_old",
            name="Plan old",
            service_type="fiber_internet",
            bandwidth_down_mbps=1,
            bandwidth_up_mbps=1,
            monthly_fee=100,
        )
        await self.patch(f"/api/plans/{retired['id']}", status="retired")

    async def move_in(self) -> None:
        for number, tier in enumerate(("basic", "premium", "vip", "basic", "standard")):
            await self.keep(
                "customer",
                "/api/customers",
                name=f"Customer {number}",
                email=f"customer.{number}@example.com",
                phone=None if number == 2 else f"+1312555010{number}",  # an SMS to nowhere fails
                tier=tier,
                tags=["early"] if number % 2 == 0 else ["late", "north"],
            )

    async def connect(self) -> None:
        await self.keep("pool", "/api/pools", name="homes", network="10.100.0.0/28", is_default=True)
        await self.keep("pool", "/api/pools", name="offices", network="10.101.0.0/29")
        closed = await self.post("/api/pools", name="old", network="10.102.0.0/29")
        await self.patch(f"/api/pools/{closed['id']}", status="closed")
        for number, vendor in enumerate(("generic", "mikrotik", "cisco")):
            await self.keep(
                "nas", "/api/nas", name=f"bng-{number}", source_ip=f"127.0.3.{number + 1}", secret="testing123",
                vendor=vendor,
            )  # fmt: skip
        await self.patch(f"/api/nas/{self.made['nas'][2]['id']}", status="disabled")
        for number, customer in enumerate(self.made["customer"]):
            await self._service(number, customer)
        await self._hand_on_an_address()
        lifecycle = "/api/services/lifecycle"
        services = self.made["service"]
        await self.post(f"{lifecycle}/{services[0]['id']}/suspend", reason="asked for", reason_code="other")
        await self.post(f"{lifecycle}/{services[0]['id']}/suspend", reason="fraud", reason_code="fraud")
        await self.post(f"{lifecycle}/{services[0]['id']}/resume", reason_code="other")
        await self.post(f"{lifecycle}/{services[4]['id']}/terminate", reason="moved away")

    async def _provision(self, plan: Any, customer: Any, number: int) -> Any:
        return await self.keep(
            "service",
            "/api/services/lifecycle/provision",
            customer_id=customer["id"],
            service_type=plan["service_type"],
            service_name=f"Line {number}",
            plan_id=plan["id"],
            subscription_id=f"sub_{number}",
            auto_activate=number != 3,
        )

    async def _service(self, number: int, customer: Any) -> None:
        plan = self.made["plan"][number % 3]
        service = await self._provision(plan, customer, number)
        subscriber = await self.keep(
            "subscriber",
            "/api/subscribers",
            username=f"user.{number}@alpha.example",
            password="secure_pass_456",
            customer_id=customer["id"],
            service_id=service["id"],
            service_type=plan["service_type"],
            allocate_ip=True,
        )
        if number == 1:
            await self.post(f"/api/subscribers/{subscriber['id']}/suspend")
        live, address = uuid.uuid4(), subscriber["static_ipv4"]
        begun = datetime.fromisoformat(service["created_at"]) - timedelta(hours=number + 1)
        nas = uuid.UUID(self.made["nas"][number % 2]["id"])
        await self.execute(
            _LIVE, uuid.UUID(subscriber["id"]), live, f"session-{number}", begun, f"00-{number}", address, nas
        )
        await self.execute(_PAST, live, uuid.uuid4(), "User-Request" if number % 2 else "Lost-Carrier")

    async def _hand_on_an_address(self) -> None:
        """A pool of one address, which two had one after the other."""
        await self.post(
            "/api/pools", name="tiny", network="10.103.0.0/30", gateway="10.103.0.1", quarantine_hours=0
        )
        service = await self._provision(self.made["plan"][2], self.made["customer"][2], 9)
        for name in ("earlier", "later"):
            made = await self.keep(
                "subscriber",
                "/api/subscribers",
                username=f"{name}@alpha.example",
                customer_id=service["customer_id"],
                service_id=service["id"],
                service_type=service["service_type"],
                allocate_ip=True,
                ip_pool_name="tiny",
            )
            if name == "earlier":
                assert (await self.admin.delete(f"/api/subscribers/{made['id']}")).is_success

    async def rearrange(self) -> None:
        """Ranges kept out of a pool, prefixes given and taken back, plans changed, many services at once."""
        homes = self.made["pool"][0]["id"]
        for first, last in (("10.100.0.12", "10.100.0.13"), ("10.100.0.14", None)):
            await self.post(f"/api/pools/{homes}/exclusions", first=first, last=last, note="printers")
        prefixes = await self.post(
            "/api/pools", name="prefixes", kind="delegated_prefix", network="2001:db8:8000::/40"
        )
        for subscriber in self.made["subscriber"][:2]:
            given = await self.post(
                "/api/address-assignments", subscriber_id=subscriber["id"], pool_id=prefixes["id"]
            )
        assert (await self.admin.delete(f"/api/address-assignments/{given['id']}")).is_success
        lifecycle = "/api/services/lifecycle"
        services = [service["id"] for service in self.made["service"]]
        await self.post(f"{lifecycle}/{services[1]}/change-plan", plan_id="plan_0")
        await self.post(f"{lifecycle}/{services[1]}/change-plan", plan_id="plan_1", effective="period_end")
        nobody = [str(uuid.uuid4()) for _ in range(51)]
        bulk = f"{lifecycle}/bulk"
        await self.post(bulk, operation="modify", service_ids=services[:3], changes={"notes": "many"})
        await self.post(bulk, operation="resume", service_ids=[*services[2:4], *nobody[:1]], on_error="skip")
        await self.post(bulk, operation="terminate", service_ids=nobody)  # a job, and it fails
        worn = f"{lifecycle}/{services[2]}"
        for condition in ("degraded", "active"):
            await self.post(f"{worn}/condition", condition=condition, reason="rain")
        # Lifted by the sweep: an event that nobody of the staff made.
        await self.post(f"{worn}/suspend", reason="holiday", auto_resume_at="2025-10-21T10:00:00Z")
        await self.post("/api/sandbox/clock/advance", minutes=1)

    async def use(self) -> None:
        for number in range(12):
            await self.keep(
                "usage",
                "/api/billing/usage/records",
                subscription_id=f"sub_{number % 3}",
                customer_id=self.made["customer"][number % 3]["id"],
                usage_type="data_transfer" if number % 2 else "bandwidth_gb",
                quantity=number + 0.5,
                unit="GB",
                unit_price=0.05,
                period_start=f"2025-{9 + number % 3:02}-{number + 1:02}T08:00:00Z",
                period_end=f"2025-{9 + number % 3:02}-{number + 1:02}T09:00:00Z",
                source_system="test" if number % 4 else "netflow",
                source_record_id=f"s{number}",
            )

    async def bill(self) -> None:
        for number in range(5):
            await self.keep(
                "invoice",
                "/api/billing/invoices",
                subscription_id=f"sub_{number % 3}",
                amount=1000 * (number + 1),
                due_date="2025-10-15" if number < 3 else "2035-10-15",
            )
        for record, invoice in zip(self.made["usage"][:2], self.made["invoice"], strict=False):
            path = f"/api/billing/usage/records/{record['id']}/mark-billed"
            await self.post(path, invoice_id=invoice["id"])
        await self.post(f"/api/billing/invoices/{self.made['invoice'][4]['id']}/void", reason="by mistake")
        for month in ("2025-09", "2025-10"):
            await self.post("/api/billing/runs", period=month)
            await self.post("/api/billing/runs", period=month, subscription_id="sub_0")

    async def pay_some(self) -> None:
        invoice = self.made["invoice"][3]
        for number, (method, amount) in enumerate((("card", 500), ("cash", invoice["amount_due"]))):
            await self.keep(
                "payment",
                "/api/billing/payments",
                invoice_id=invoice["id"],
                amount=amount,
                method=method,
                reference=f"pay-{number}",
            )
        await self.post(
            "/api/billing/payments",
            customer_id=self.made["customer"][4]["id"],
            amount=900,
            method="cash",
            reference="a",
        )

    async def remind(self) -> None:
        for number in range(3):
            await self.keep(
                "campaign",
                "/api/billing/dunning/campaigns",
                name=f"Campaign {number}",
                trigger_after_days=3000,
                actions=[
                    {"type": "email", "delay_days": 0, "template": "payment_reminder_1"},
                    {"type": "sms", "delay_days": 0, "template": "payment_alert"},
                ],
                priority=number,
                is_active=number < 2,
            )
        for number in range(3):
            execution = await self.keep(
                "execution",
                "/api/billing/dunning/executions",
                campaign_id=self.made["campaign"][number % 2]["id"],
                subscription_id=f"sub_{number}",
                customer_id=self.made["customer"][number]["id"],
                invoice_id=self.made["invoice"][number]["id"],
                outstanding_amount=1000,
            )
            if number == 1:
                await self.post(f"/api/billing/dunning/executions/{execution['id']}/pause")
        for _ in range(2):
            await self.post("/api/sandbox/clock/advance", hours=1)
            await self.desk.clear()

    async def employ(self) -> None:
        """Staff that came and went, programs, a reseller with a customer, and what was noted."""
        for number, role in enumerate(("support", "billing")):
            user = await self.post(
                "/api/users", email=f"new.{number}@alpha.example.com", name=f"New {number}", role=role
            )
            token = await self.post("/api/service-tokens", name=f"Program {number}", scopes=["billing.read"])
        await self.patch(f"/api/users/{user['id']}", status="disabled")
        await self.post(f"/api/service-tokens/{token['id']}/revoke")
        resellers = (await self.admin.get("/api/users", role="reseller")).json()["users"]
        path = f"/api/customers/{self.made['customer'][3]['id']}"
        await self.patch(path, reseller_id=resellers[0]["id"])
        for body in ("Likes paper", "Called twice"):
            await self.post(f"{path}/notes", body=body)
        await self.execute("UPDATE customer_note SET author = 'somebody else' WHERE body = 'Likes paper'")

    async def go_back(self) -> None:
        """Credit notes of two customers, a payment that the bank took back, an invoice of an earlier day."""
        for invoice in (self.made["invoice"][0], self.made["invoice"][1]):
            await self.post(f"/api/billing/invoices/{invoice['id']}/credit-notes", reason="outage", amount=10)
        customer = self.made["customer"][4]["id"]
        paid = await self.post("/api/billing/payments", customer_id=customer, amount=5, method="debit")
        await self.post(f"/api/billing/payments/{paid['id']}/reverse", reason="returned")
        earlier = self.made["invoice"][0]["number"]
        await self.execute("UPDATE invoice SET issued_on = issued_on - 3 WHERE number = $1", earlier)

    async def reword(self) -> None:
        for channel, name, language in (
            ("email", "payment_reminder_1", "de"),
            ("email", "payment_reminder_1", "fr"),
            ("sms", "payment_alert", "de"),
        ):
            await self.post(
                "/api/notification-templates",
                channel=channel,
                name=name,
                language=language,
                subject="Invoice" if channel == "email" else "",
                body="Please pay {{ amount_due }}",
            )

    async def use_up(self) -> None:
        """Caps of two services, one used up; speeds with names; other speeds for a while."""
        for name, mbps in (("Slow", 1), ("Slower", 0.5)):
            await self.post("/api/bandwidth-profiles", name=name, download_mbps=mbps, upload_mbps=mbps)
        plan, first, second = self.made["plan"][2], *self.made["service"][1:3]
        await self.patch(f"/api/plans/{plan['id']}", data_limit_gb=100)
        await self.post(
            f"/api/plans/{plan['id']}/usage-prices",
            usage_type="data_topup",
            unit="GB",
            unit_price=1,
            effective_on="2020-01-01",
        )
        throttle = {"action": "throttle", "profile": "Slow"}
        for service, policy in ((first, {"action": "block"}), (second, throttle)):
            path = f"/api/data-caps/{service['id']}"
            body = {"data_limit_gb": 10, "data_limit_policy": policy}
            answer = await self.admin.client.put(path, json=body)
            assert answer.is_success, answer.text
        await self.post(f"{path}/top-ups", gb=1)
        await self.post(f"{path}/top-ups", gb=2, grant=True, reason="sorry")
        of_second = "(SELECT id FROM service WHERE uid = $1)"
        await self.execute(
            f"UPDATE data_period SET used_octets = 20::bigint << 30 WHERE service_id = {of_second}",
            uuid.UUID(second["id"]),
        )
        await self.execute(
            "INSERT INTO data_period (tenant_id, service_id, month_on, limit_octets, used_octets) "
            f"VALUES (1, {of_second}, '2025-10-01', 10, 5)",
            uuid.UUID(second["id"]),
        )
        for threshold, outcome in ((80, "told"), (100, "late")):
            await self.execute(
                "INSERT INTO data_crossing (tenant_id, service_id, month_on, threshold, allowance_octets, used_octets, "
                f"crossed_at, outcome) VALUES (1, {of_second}, '2025-10-01', $2::int, 10, 10, "
                "'2025-10-20'::timestamptz + $2::int * interval '1 minute', $3)",
                uuid.UUID(second["id"]), threshold, outcome,
            )  # fmt: skip
        policies = [
            await self.post("/api/access-policies", **whom, download_mbps=5, upload_mbps=1)
            for whom in ({"service_id": first["id"]}, {"subscriber_id": self.made["subscriber"][2]["id"]})
        ]
        await self.post(f"/api/access-policies/{policies[0]['id']}/lift")
        await self.execute(
            "INSERT INTO access_policy (tenant_id, service_id, kind, blocks, placed_by, placed_at) "
            f"VALUES (1, {of_second}, 'fair_use', true, 'test', now())",
            uuid.UUID(second["id"]),
        )

    async def order_about(self) -> None:
        faster = {"download_mbps": 300, "upload_mbps": 60}
        await self.patch(f"/api/subscribers/{self.made['subscriber'][2]['id']}", bandwidth_profile=faster)
        for subscriber in self.made["subscriber"][2:4]:
            await self.post(f"/api/subscribers/{subscriber['id']}/disconnect")

    async def go_wrong(self) -> None:
        """What nobody orders: a mail server that is away, a customer and a provisioning that somebody else stopped."""
        await self.trap.close()
        invoice = await self.post(
            "/api/billing/invoices", subscription_id="sub_9", amount=700, due_date="2025-10-15"
        )
        await self.post(
            "/api/billing/dunning/executions",
            campaign_id=self.made["campaign"][0]["id"],
            subscription_id="sub_9",
            customer_id=self.made["customer"][2]["id"],
            invoice_id=invoice["id"],
            outstanding_amount=700,
        )
        await self.post("/api/sandbox/clock/advance", hours=1)
        await self.execute("UPDATE customer SET status = 'suspended' WHERE name = 'Customer 4'")
        await self.execute(
            "UPDATE service SET status = 'provisioning_failed', "
            "provisioning_status = 'failed' WHERE name = 'Line 3'"
        )

    async def subscribe(self) -> str:
        """A new customer agrees to pay for a plan; the reference."""
        customer = await self.post("/api/customers", name="Somebody", email="somebody@example.com")
        ref = f"sub_{uuid.uuid4().hex[:12]}"
        await self.post(
            "/api/subscriptions", subscription_id=ref, customer_id=customer["id"], plan_id="plan_0"
        )
        return ref

    async def sell(self) -> Any:
        """An active service of a new customer."""
        customer = await self.post("/api/customers", name="Somebody", email="somebody@example.com")
        return await self.post(
            "/api/services/lifecycle/provision",
            customer_id=customer["id"],
            service_type="fiber_internet",
            service_name="Line",
            plan_id="plan_0",
            auto_activate=True,
        )

    async def owe(self, subscription: str | None = None, due: str = "2025-10-15") -> Any:
        """An invoice over 10.00 before tax, of a new customer unless a subscription is given."""
        ref = subscription or await self.subscribe()
        return await self.post("/api/billing/invoices", subscription_id=ref, amount=1000, due_date=due)

    def payment_of(self, invoice: Any, spare: int = 0) -> dict[str, Any]:
        """A payment of what is due, and something over."""
        return {
            "invoice_id": invoice["id"],
            "amount": invoice["amount_due"] + spare,
            "method": "card",
            "reference": uuid.uuid4().hex,
        }

    async def pay_off(self, invoice: Any, spare: int = 0) -> Any:
        return await self.post("/api/billing/payments", **self.payment_of(invoice, spare))


@asynccontextmanager
async def settled(
    admin: Caller, database: Database, master_key: MasterKey, mail: Path
) -> AsyncIterator[Town]:
    """A town that has settled; its mail lies where `/api/sandbox/mail` looks."""
    async with founded(admin, database, master_key, mail) as town:
        await town.settle()
        yield town


@asynccontextmanager
async def founded(
    admin: Caller, database: Database, master_key: MasterKey, mail: Path
) -> AsyncIterator[Town]:
    """A town where nobody lives yet."""
    trap = Trap(mail)
    await trap.open()
    try:
        ports = ports_to(trap.mailer) | {MasterKey: master_key, CoaSender: Nas()}
        town = Town(admin, database, Desk(database, ports), trap)
        yield town
    finally:
        await trap.close()
