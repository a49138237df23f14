"""Document 002's campaign on the whole platform: SMTP, SMS, a webhook, a lock, a Disconnect; and a payment that undoes it."""

from __future__ import annotations

import uuid

import pytest

from ..dunning.test_webhook import receiver  # noqa: F401, TID252 - a real HTTP server that takes webhooks
from .conftest import until

pytestmark = [pytest.mark.platform, pytest.mark.radius]

BASE = "/api/billing/dunning"


class Debtor:
    """A customer on line with an invoice that is ten days overdue."""

    def __init__(self, api, nas):
        self.api, self.nas, self.mark = api, nas, uuid.uuid4().hex[:6]

    async def sign(self):
        body = {"name": "Ann Owes", "email": f"ann.{self.mark}@example.com", "phone": "+15550123"}
        self.customer = await self.api.post("/api/customers", body)
        self.login = f"ann.{self.mark}@alpha.com"
        self.subscriber = await self.api.subscribe(
            self.login, "secure_pass_456", customer_id=self.customer["id"]
        )
        self.path = f"/api/services/lifecycle/{self.subscriber['service_id']}"
        self.service = await self.api.get(self.path)
        now = (await self.api.get("/api/sandbox/clock"))["now"]
        self.invoice = await self.api.post(
            "/api/billing/invoices",
            {"subscription_id": self.service["subscription_id"], "amount": 7999, "due_date": now[:10]},
        )
        return self

    async def dial(self):
        return await self.nas.dial(self.login, "secure_pass_456")

    async def execution(self):
        listed = await self.api.get(f"{BASE}/executions", subscription_id=self.service["subscription_id"])
        return next(iter(listed["executions"]), None)

    async def log(self):
        execution = await self.execution()
        listed = await self.api.get(f"{BASE}/executions/{execution['id']}/actions")
        return [(row["type"], row["outcome"]) for row in listed["actions"]]

    async def status(self):
        return (await self.api.get(self.path))["status"]

    async def mail(self):
        listed = await self.api.get("/api/sandbox/mail")
        return [one for one in listed["messages"] if one["to"] == self.customer["email"]]

    async def sms(self):
        listed = await self.api.get("/api/notifications", customer_id=self.customer["id"], channel="sms")
        return [one for one in listed["notifications"] if one["status"] == "sent"]

    async def pay(self):
        await self.api.post(
            "/api/billing/payments",
            {"invoice_id": self.invoice["id"], "amount": self.invoice["total_amount"], "method": "card"},
        )


async def is_(expected, ask):
    return await ask() == expected


async def test_the_documents_campaign_over_a_moved_clock(platform):
    async with platform.api() as api, platform.nas(api) as nas:
        debtor = await Debtor(api, nas).sign()
        dialed = await debtor.dial()
        assert dialed.accepted
        await nas.drain()
        campaign = await api.post(
            f"{BASE}/campaigns",
            {
                "name": "Standard Payment Recovery",
                "description": "Automated 3-step collection workflow",
                "trigger_after_days": 7,
                "max_retries": 3,
                "retry_interval_days": 3,
                "actions": [
                    {"type": "email", "delay_days": 0, "template": "payment_reminder_1"},
                    {"type": "sms", "delay_days": 3, "template": "payment_alert"},
                    {"type": "suspend_service", "delay_days": 7},
                ],
                "exclusion_rules": {
                    "min_lifetime_value": 1000.0,
                    "customer_tiers": ["vip", "premium"],
                    "customer_tags": ["documents"],
                },
                "priority": 100,
                "is_active": True,
            },
        )

        async def days(number):
            await api.post("/api/sandbox/clock/advance", {"days": number})

        await days(6)
        assert await debtor.execution() is None
        await days(2)
        first = await until("the e-mail", debtor.mail)
        assert debtor.invoice["number"] in first[0]["subject"] + first[0]["body"]
        await until("the log", lambda: is_([("email", "done")], debtor.log))
        assert (await debtor.execution())["campaign_id"] == campaign["id"]
        assert await debtor.sms() == []

        await days(4)
        assert len(await until("the SMS", debtor.sms)) == 1
        await until("the log", lambda: is_([("email", "done"), ("sms", "done")], debtor.log))
        assert dialed.session.active
        assert await debtor.status() == "active"

        await days(8)
        await until("the suspension", lambda: is_("suspended_non_payment", debtor.status))

        async def cut():
            return not dialed.session.active

        await until("the Disconnect", cut)
        assert nas.orders_obeyed == [f"disconnect {dialed.session.session_id}"]
        assert not (await debtor.dial()).accepted
        refused = await api.client.delete(f"{BASE}/campaigns/{campaign['id']}")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CAMPAIGN_IN_USE")

        await debtor.pay()
        await until("the line", lambda: is_("active", debtor.status))
        again = await debtor.dial()
        assert again.accepted
        again.session.stop()
        await nas.drain()
        done = await debtor.execution()
        assert (done["status"], done["recovered_amount"]) == ("completed", debtor.invoice["total_amount"])
        assert len(await debtor.mail()) == 1
        stats = await api.get(f"{BASE}/campaigns/{campaign['id']}/stats")
        assert (stats["successful_recoveries"], stats["success_rate"]) == (1, 100.0)
        assert (await api.client.delete(f"{BASE}/campaigns/{campaign['id']}")).status_code == 204


async def test_fraud_survives_the_payment_and_a_webhook_goes_out_signed(platform, receiver):  # noqa: F811
    async with platform.api() as api, platform.nas(api) as nas:
        debtor = await Debtor(api, nas).sign()
        inside = {"type": "webhook", "url": f"http://127.0.0.1:{receiver.port}/hook"}
        body = {
            "name": "Cut",
            "trigger_after_days": 1,
            "priority": 99,
            "actions": [{"type": "suspend_service"}],
        }
        refused = await api.client.post(f"{BASE}/campaigns", json=body | {"actions": [inside]})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "WEBHOOK_ADDRESS_REFUSED")
        campaign = await api.post(
            f"{BASE}/campaigns", body | {"exclusion_rules": {"customer_tags": ["documents"]}}
        )
        await api.post("/api/sandbox/clock/advance", {"days": 3})
        await until("the suspension", lambda: is_("suspended_non_payment", debtor.status))
        await api.post(f"{debtor.path}/suspend", {"reason": "SIM box", "fraud_suspension": True})
        await debtor.pay()

        async def completed():
            return (await debtor.execution())["status"] == "completed"

        await until("the end of the execution", completed)
        assert await debtor.status() == "suspended_fraud"
        assert not (await debtor.dial()).accepted
        assert receiver.calls == []
        await api.client.delete(f"{BASE}/campaigns/{campaign['id']}")
