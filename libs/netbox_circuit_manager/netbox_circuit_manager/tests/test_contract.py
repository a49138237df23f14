"""One contract for every shipped provider, against its simulator, faults included.

A failed or partial answer never clears, zeroes or mis-assigns anything, and the report says what was not synced.
"""

from decimal import Decimal
from typing import Any, ClassVar

from circuits.models import Circuit
from core.models import ObjectChange
from django.test import TestCase

from netbox_circuit_manager.models import (
    CarrierCharge,
    CarrierCircuit,
    CircuitContract,
    CircuitCost,
    CircuitCostHistory,
    CircuitTicket,
)
from netbox_circuit_manager.providers.registry import provider_registry
from netbox_circuit_manager.sync.engine import build_provider, run_sync
from netbox_circuit_manager.testing import SimCharge, SimTicket, World

from .carriers import carrier_of, make_circuits, make_config, make_provider, plugin_settings

COUNT = 6


class ProviderContract:
    """What a shipped provider owes."""

    provider_type: ClassVar[str]

    def setUp(self) -> None:
        overridden = plugin_settings()
        overridden.enable()
        self.addCleanup(overridden.disable)
        self.world = World.of(COUNT)
        first = self.world.circuits[0]
        self.world.tickets += [SimTicket("TT-1", first.id), SimTicket("TT-2", self.world.circuits[1].id)]
        self.world.charges.append(SimCharge("L-1", "INV-1", first.id, amount="170.50"))
        self.provider = make_provider()
        self.circuits = make_circuits(self.provider, self.world)
        carrier = carrier_of(self.provider_type, self.world)
        self.carrier = carrier.__enter__()
        self.addCleanup(carrier.__exit__, None, None, None)
        self.config = make_config(self.provider, self.provider_type, self.carrier.url)

    def sync(self, **options: Any) -> Any:
        self.config.refresh_from_db()
        return run_sync(self.config, mode=options.pop("mode", "full"), **options)

    def amounts(self) -> dict[str, tuple[Any, ...]]:
        costs = CircuitCost.objects.select_related("circuit")
        return {cost.circuit.cid: (cost.mrc, cost.nrc, cost.currency) for cost in costs}

    def expected(self) -> dict[str, tuple[Any, ...]]:
        return {
            each.cid: (Decimal(str(each.mrc)), Decimal(str(each.nrc)), each.currency)
            for each in self.world.circuits
        }

    def state(self) -> list[Any]:
        """All that a failed run must leave as it is."""
        models = (CircuitCost, CircuitContract, CircuitTicket, CarrierCharge, CircuitCostHistory)
        rows = [list(model.objects.order_by("pk").values()) for model in models]
        return [*rows, list(Circuit.objects.order_by("pk").values("pk", "status"))]

    # What works

    def test_first_run_brings_every_cost(self) -> None:
        result = self.sync()
        self.assertEqual(result.errors, [])
        self.assertEqual(result.as_result(), {"total": COUNT, "success": COUNT, "failed": 0, "errors": []})
        self.assertEqual(result.status, "success")
        self.assertEqual(self.amounts(), self.expected())
        self.assertEqual(CarrierCircuit.objects.filter(config=self.config).count(), COUNT)
        self.assertEqual(CircuitCostHistory.objects.count(), COUNT)

    def test_second_run_changes_nothing(self) -> None:
        self.sync()
        before, log = self.state(), ObjectChange.objects.count()
        result = self.sync()
        self.assertEqual(self.state(), before)
        self.assertEqual(ObjectChange.objects.count(), log)
        self.assertEqual(result.run.counts["unchanged"], COUNT)
        self.assertFalse(result.run.changes.exists())

    def test_dry_run_shows_and_leaves_all(self) -> None:
        before = self.state()
        result = self.sync(dry_run=True)
        self.assertEqual(self.state(), before)
        self.assertEqual(ObjectChange.objects.count(), 0)
        self.assertEqual(CarrierCircuit.objects.count(), 0)
        shown = result.run.changes.filter(model="circuitcost", field="mrc")
        self.assertEqual(shown.count(), COUNT)
        self.assertIn(("SIM/000001", None, "101.50"), shown.values_list("circuit__cid", "before", "after"))

    def test_preview_refuses_what_the_run_refuses(self) -> None:
        preview, run = self.sync(dry_run=True), self.sync()
        issues = [sorted(each.run.not_synced.values_list("subject", "code")) for each in (preview, run)]
        self.assertEqual(issues[0], issues[1])
        models = [set(each.run.changes.values_list("model", flat=True)) for each in (preview, run)]
        self.assertEqual(models[0], models[1])

    def test_report_says_from_what_to_what(self) -> None:
        self.sync()
        self.world.circuits[2].mrc = "999.99"
        result = self.sync()
        change = result.run.changes.get(model="circuitcost", field="mrc")
        self.assertEqual(
            (change.circuit.cid, change.before, change.after), ("SIM/000003", "103.50", "999.99")
        )
        entry = ObjectChange.objects.filter(changed_object_type__model="circuitcost", action="update").get()
        self.assertEqual((entry.prechange_data["mrc"], entry.postchange_data["mrc"]), ("103.50", "999.99"))

    def test_guide_methods(self) -> None:
        provider = build_provider(self.config)
        self.assertTrue(provider.authenticate())
        self.assertEqual(len(provider.get_circuits()), COUNT)
        details = provider.get_circuit_details("sim-000003")
        circuit = self.circuits[2]
        self.assertTrue(
            provider.sync_circuit_costs(
                circuit, details if self.provider_type != "verizon" else {**details, "ciStatus": "Active"}
            )
        )
        self.assertEqual(CircuitCost.objects.get(circuit=circuit).mrc, Decimal("103.50"))

    def test_connection(self) -> None:
        answer = build_provider(self.config).test_connection()
        self.assertTrue(answer["success"], answer)
        self.assertEqual(set(answer), {"success", "message", "response_time"})

    def test_single_circuit(self) -> None:
        result = self.sync(circuit=self.circuits[4])
        self.assertEqual(result.as_result(), {"total": 1, "success": 1, "failed": 0, "errors": []})
        self.assertEqual(list(self.amounts()), ["SIM/000005"])
        self.world.circuits[4].mrc = "1.00"
        self.sync(circuit=self.circuits[4])
        self.assertEqual(self.amounts()["SIM/000005"][0], Decimal("1.00"))

    def test_other_provider_with_the_same_cids(self) -> None:
        other = make_provider("Another carrier")
        make_circuits(other, self.world)
        self.sync()
        self.assertEqual(
            set(CircuitCost.objects.values_list("circuit__provider", flat=True)), {self.provider.pk}
        )

    def test_tickets_open_and_close(self) -> None:
        if not build_provider(self.config).publishes_tickets:
            self.skipTest("this carrier's API has no tickets")
        self.sync()
        ticket = CircuitTicket.objects.get(ticket_number="TT-1")
        self.assertEqual(
            (ticket.status, ticket.priority, ticket.circuit.cid), ("in_progress", "high", "SIM/000001")
        )
        own = CircuitTicket.objects.create(circuit=self.circuits[0], ticket_number="MINE", subject="by hand")
        del self.world.tickets[0]
        self.sync()
        ticket.refresh_from_db()
        own.refresh_from_db()
        self.assertEqual((ticket.status, own.status), ("closed", "open"))
        self.assertIsNotNone(ticket.closed_date)

    def test_bills_against_costs(self) -> None:
        if not build_provider(self.config).publishes_charges:
            self.skipTest("this carrier's API has no bills")
        self.sync()
        charge = CarrierCharge.objects.get()
        self.assertEqual((charge.expected, charge.billed), (Decimal("101.50"), Decimal("170.50")))
        self.assertEqual((charge.difference, charge.dispute_status), (Decimal("69.00"), "open"))

    # What goes wrong

    def assert_nothing_lost(self, fault: str, status: str = "failed", **changed: Any) -> Any:
        """After a good run, a run under a fault (and settings) changes nothing and says so; the next one is good again."""
        self.sync()
        before = self.state()
        self.carrier.faults.set(fault)
        with plugin_settings(**changed):
            result = self.sync()
        self.assertEqual(self.state(), before, fault)
        self.assertEqual(result.status, status, result.errors)
        self.assertTrue(result.errors)
        self.carrier.faults.clear()
        self.assertEqual(self.sync().status, "success")
        return result

    def test_server_error(self) -> None:
        self.assertIn("500", self.assert_nothing_lost("error_500").run.error)

    def test_rate_limit_for_good(self) -> None:
        self.assertIn("429", self.assert_nothing_lost("rate_limit").run.error)

    def test_html_instead_of_json(self) -> None:
        self.assertIn("text/html", self.assert_nothing_lost("html").run.error)

    def test_cut_connection(self) -> None:
        self.assert_nothing_lost("cut_body")

    def test_redirect(self) -> None:
        self.assertIn("redirect", self.assert_nothing_lost("redirect").run.error)

    def test_wrong_credentials(self) -> None:
        self.assertIn("credentials", self.assert_nothing_lost("refuse_credentials").run.error)

    def test_empty_list_is_held(self) -> None:
        result = self.assert_nothing_lost("empty_list", "held")
        self.assertIn("no circuits", result.run.error)

    def test_slow_answer(self) -> None:
        result = self.assert_nothing_lost("slow", request_retries=0, request_timeout=1)
        self.assertIn("time", result.run.error)

    def test_page_cut_short(self) -> None:
        """Either the missing rows are asked for again, or the run fails; they are never taken for gone."""
        self.config.vanished_circuits = "decommission"
        self.config.save()
        self.sync()
        before = self.state()
        self.carrier.faults.set("truncated_page")
        result = self.sync()
        self.assertEqual(self.state(), before)
        self.assertTrue(result.errors or result.run.counts["success"] == COUNT)
        self.assertFalse(CarrierCircuit.objects.filter(vanished_at__isnull=False).exists())

    def test_passing_faults_are_retried(self) -> None:
        for fault in ("error_500", "rate_limit"):
            self.carrier.faults.set(fault, times=2)
            self.assertEqual(self.sync().status, "success", fault)

    def test_expired_token_is_renewed(self) -> None:
        self.carrier.faults.set("expired_token", times=1)
        self.assertEqual(self.sync().status, "success")

    def test_wrong_currency(self) -> None:
        self.sync()
        before = self.state()
        self.carrier.faults.set("wrong_currency")
        result = self.sync()
        self.assertEqual(self.state(), before)
        self.assertEqual((result.status, result.as_result()["failed"]), ("partial", 1))
        self.assertIn("XXX", result.errors[0])

    def test_duplicate_ids(self) -> None:
        self.sync()
        before = self.state()
        self.carrier.faults.set("duplicate_ids")
        result = self.sync()
        self.assertEqual(self.state(), before)
        self.assertEqual(result.status, "partial")
        self.assertIn("twice", result.errors[0])

    def test_nonsense_money(self) -> None:
        self.sync()
        before = self.state()
        nonsense = ("-5.00", "call us", "1,000.00", [], "12345678901234.00")
        for circuit, value in zip(self.world.circuits, nonsense, strict=False):
            circuit.mrc = value
        result = self.sync()
        self.assertEqual(self.state(), before)
        self.assertEqual((result.as_result()["success"], result.as_result()["failed"]), (1, len(nonsense)))
        self.assertEqual(result.run.not_synced.count(), len(nonsense))

    def test_not_a_number(self) -> None:
        """NaN is not JSON: the answer that has it is refused as a whole."""
        self.sync()
        before = self.state()
        self.world.circuits[0].mrc = "NaN"
        result = self.sync()
        self.assertEqual(self.state(), before)
        self.assertIn(result.status, ("failed", "partial"))
        self.assertIn("not JSON", result.errors[0])

    def test_unstated_money_keeps_what_is_known(self) -> None:
        self.sync()
        self.world.circuits[0].mrc = None
        self.sync()
        self.assertEqual(self.amounts()["SIM/000001"][0], Decimal("101.50"))

    def test_no_secret_in_the_report(self) -> None:
        self.carrier.faults.set("refuse_credentials")
        result = self.sync()
        told = " ".join([result.run.error, *result.errors])
        self.assertNotIn(self.config.api_key.reveal(), told)
        self.assertNotIn(self.config.api_secret.reveal(), told)


def _contract(name: str) -> type:
    return type(f"{name.title()}ContractTest", (ProviderContract, TestCase), {"provider_type": name})


SonataContractTest = _contract("sonata")
AttContractTest = _contract("att")
LumenContractTest = _contract("lumen")
ZayoContractTest = _contract("zayo")
VerizonContractTest = _contract("verizon")
CustomContractTest = _contract("custom")


class FakeProviderTest(TestCase):
    """The fake carrier has no network; what it answers stands in the configuration."""

    def setUp(self) -> None:
        self.provider = make_provider()
        make_circuits(self.provider, World.of(2))
        circuits = [
            {"cid": "SIM/000001", "mrc": "10.00", "currency": "EUR"},
            {"cid": "SIM/000002", "mrc": "x"},
        ]
        self.config = make_config(
            self.provider, "fake", "https://fake.example", parameters={"circuits": circuits}
        )

    def test_sync(self) -> None:
        result = run_sync(self.config)
        self.assertEqual(result.as_result()["success"], 1)
        self.assertEqual(CircuitCost.objects.get().currency, "EUR")

    def test_told_to_fail(self) -> None:
        self.config.parameters["failure"] = "rate_limited"
        self.assertEqual(run_sync(self.config).status, "failed")

    def test_registered(self) -> None:
        self.assertLessEqual(
            {"att", "custom", "fake", "lumen", "sonata", "verizon", "zayo"}, set(provider_registry.names())
        )
