"""The guide's examples run as printed, and what they get wrong does no harm."""

import io
import sys
from decimal import Decimal
from types import ModuleType
from typing import Any
from unittest.mock import patch

from circuits.models import Circuit
from core.models import ObjectChange
from django.core.management import call_command
from django.test import TestCase

from netbox_circuit_manager.models import CarrierCircuit, CircuitCost, ProviderAPIConfig
from netbox_circuit_manager.providers.base import BaseProviderSync
from netbox_circuit_manager.providers.registry import ProviderRegistry
from netbox_circuit_manager.sync.engine import build_provider, run_sync
from netbox_circuit_manager.testing import CarrierSimulator, World

from . import guide
from .carriers import make_circuits, make_config, make_provider, plugin_settings

COUNT = 5
EXAMPLES = {"mycarrier": "class MyCarrierProviderSync", "att": "class ATTProviderSync"}


def _unit_test_as_printed() -> type[TestCase]:
    with guide.dropped_in("mycarrier", guide.block("python", EXAMPLES["mycarrier"])):
        namespace: dict[str, Any] = {"__name__": __name__}
        exec(compile(guide.block("python", "class MyCarrierProviderSyncTest"), "guide", "exec"), namespace)
    return namespace["MyCarrierProviderSyncTest"]


MyCarrierProviderSyncTest = _unit_test_as_printed()


class GuideProviders:
    """Both examples against a carrier of the shape that they expect."""

    name: str

    def setUp(self) -> None:
        dropped = guide.dropped_in(self.name, guide.block("python", EXAMPLES[self.name]))
        self.module: ModuleType = dropped.__enter__()
        self.addCleanup(dropped.__exit__, None, None, None)
        overridden = plugin_settings(request_retries=0)
        overridden.enable()
        self.addCleanup(overridden.disable)
        self.world = World.of(COUNT)
        self.provider = make_provider()
        self.circuits = make_circuits(self.provider, self.world)
        self.carrier = CarrierSimulator("guide", self.world).start()
        self.addCleanup(self.carrier.stop)
        self.config = make_config(self.provider, self.name, self.carrier.url, parameters={})

    def costs(self) -> list[Any]:
        return list(
            CircuitCost.objects.order_by("circuit__cid").values(
                "circuit__cid", "mrc", "nrc", "currency", "last_updated"
            )
        )

    def sync(self, **options: Any) -> Any:
        return run_sync(self.config, **options)

    def test_sync_all(self) -> None:
        result = build_provider(self.config).sync_all()
        self.assertEqual(result, {"total": COUNT, "success": COUNT, "failed": 0, "errors": []})
        cost = CircuitCost.objects.get(circuit__cid="SIM/000003")
        self.assertEqual((cost.mrc, cost.nrc), (Decimal("103.50"), Decimal("30.00")))
        self.assertEqual(CarrierCircuit.objects.count(), COUNT)
        entry = ObjectChange.objects.get(changed_object_type__model="circuitcost", changed_object_id=cost.pk)
        self.assertEqual((entry.action, entry.user_name), ("create", "circuit-manager"))

    def test_again_changes_nothing(self) -> None:
        self.sync()
        before, log = self.costs(), ObjectChange.objects.count()
        result = self.sync()
        self.assertEqual(result.status, "success")
        self.assertEqual((self.costs(), ObjectChange.objects.count()), (before, log))

    def test_change_is_logged_with_what_was_before(self) -> None:
        self.sync()
        self.world.circuits[0].mrc = "77.00"
        result = self.sync()
        change = result.run.changes.get(field="mrc")
        self.assertEqual((change.before, change.after), ("101.50", "77.00"))
        entry = ObjectChange.objects.get(changed_object_type__model="circuitcost", action="update")
        self.assertEqual((entry.prechange_data["mrc"], entry.postchange_data["mrc"]), ("101.50", "77.00"))

    def test_dry_run(self) -> None:
        result = self.sync(dry_run=True)
        self.assertEqual(result.run.changes.filter(field="mrc").count(), COUNT)
        self.assertEqual((CircuitCost.objects.count(), ObjectChange.objects.count()), (0, 0))

    def test_connection(self) -> None:
        provider = build_provider(self.config)
        self.assertTrue(provider.test_connection()["success"])
        self.carrier.faults.set("refuse_credentials")
        answer = provider.test_connection()
        self.assertFalse(answer["success"])
        self.assertIn("credentials", answer["message"])

    def test_failures_never_read_as_nothing(self) -> None:
        self.sync()
        before = self.costs()
        for fault in ("error_500", "html", "cut_body", "rate_limit", "refuse_credentials"):
            self.carrier.faults.set(fault)
            with self.subTest(fault), patch("builtins.print"):
                result = self.sync()
                self.assertEqual(result.status, "failed", result.errors)
                self.assertEqual(self.costs(), before)
            self.carrier.faults.clear()

    def test_details_that_fail_write_no_cost(self) -> None:
        """The list comes, one circuit's details do not: its cost stays, the others are synced."""
        self.sync()
        before = self.costs()
        del self.world.circuits[1:]
        listed = World.of(COUNT).circuits
        provider = build_provider(self.config)
        with (
            patch("builtins.print"),
            patch.object(
                provider, "get_circuits", return_value=[{"id": each.id, "cid": each.cid} for each in listed]
            ),
        ):
            result = run_sync(self.config, provider=provider)
        self.assertEqual((result.as_result()["success"], result.as_result()["failed"]), (1, COUNT - 1))
        self.assertEqual(result.status, "partial")
        self.assertEqual(self.costs(), before)

    def test_missing_billing_does_not_zero(self) -> None:
        self.sync()
        before = self.costs()
        provider = build_provider(self.config)
        with patch.object(
            provider, "get_circuit_details", return_value={"id": "x", "note": "billing is down today"}
        ):
            result = run_sync(self.config, provider=provider)
        self.assertEqual((self.costs(), result.as_result()["success"]), (before, 0))

    def test_negative_money_is_refused(self) -> None:
        self.world.circuits[0].mrc = "-3.00"
        result = self.sync()
        self.assertEqual(result.as_result()["failed"], 1)
        self.assertFalse(CircuitCost.objects.filter(circuit__cid="SIM/000001").exists())

    def test_empty_and_shrunk_lists_are_held(self) -> None:
        self.sync()
        before = self.costs()
        self.carrier.faults.set("empty_list")
        self.assertEqual(self.sync().status, "held")
        self.carrier.faults.clear()
        del self.world.circuits[3:]
        held = self.sync()
        self.assertEqual(held.status, "held")
        self.assertIn("more than a fifth", held.run.error)
        self.assertEqual(self.costs(), before)
        self.assertEqual(self.sync(accept=True).as_result()["success"], 3)

    def test_same_cid_at_another_provider(self) -> None:
        other = make_provider("Another carrier")
        make_circuits(other, self.world)
        self.sync()
        self.assertFalse(CircuitCost.objects.filter(circuit__provider=other).exists())

    def test_matching_that_raises_costs_its_row_only(self) -> None:
        provider = build_provider(self.config)
        names = {each.cid for each in self.world.circuits[:2]}

        def match(row: dict[str, Any]) -> Circuit:
            return Circuit.objects.get(cid=row["circuit_id"] if row["circuit_id"] in names else "no such")

        with patch.object(provider, "_match_circuit", match):
            result = run_sync(self.config, provider=provider)
        self.assertEqual((result.as_result()["success"], result.as_result()["failed"]), (2, COUNT - 2))

    def test_false_is_a_failure(self) -> None:
        provider = build_provider(self.config)
        with patch.object(provider, "sync_circuit_costs", return_value=False):
            result = run_sync(self.config, provider=provider)
        self.assertEqual((result.as_result()["success"], result.as_result()["failed"]), (0, COUNT))


class MyCarrierTest(GuideProviders, TestCase):
    name = "mycarrier"

    def test_commands_as_printed(self) -> None:
        self.config.sync_enabled = True
        self.config.save()
        self.assertEqual(len(guide.commands()), 5)
        for words in guide.commands():
            arguments = [str(self.config.pk) if word in ("<config_id>", "1") else word for word in words]
            out = io.StringIO()
            call_command(*arguments, stdout=out)
            told = out.getvalue()
            self.assertIn("Processing provider", told)
            self.assertIn(
                "Connection successful" if "--test" in words else f"{COUNT}/{COUNT} circuits synced", told
            )
            self.assertIn("Done!", told)

    def test_unknown_currency_is_refused(self) -> None:
        self.carrier.faults.set("wrong_currency")
        result = self.sync()
        self.assertEqual(result.as_result()["failed"], 1)
        self.assertFalse(CircuitCost.objects.filter(currency="XXX").exists())

    def test_without_provider_nothing_is_guessed(self) -> None:
        config = ProviderAPIConfig.objects.create(
            provider_type="mycarrier", api_endpoint=self.carrier.url, api_key="k", api_secret="s"
        )
        result = run_sync(config)
        self.assertEqual(result.status, "failed")
        self.assertIn("names no provider", result.run.error)

    def test_common_patterns_as_printed(self) -> None:
        """The guide's paging, rate limit and error handling are methods of a provider; they compile and define them."""
        for words, name in (
            ("all_circuits = []", "get_circuits"),
            ("time.sleep", "get_circuit_details"),
            ("No billing data", "sync_circuit_costs"),
        ):
            namespace: dict[str, Any] = {"List": list, "Dict": dict}
            exec(compile(guide.block("python", words), "guide", "exec"), namespace)
            self.assertTrue(callable(namespace[name]))


class AttTest(GuideProviders, TestCase):
    name = "att"

    def test_overrides_the_shipped_one_with_a_warning(self) -> None:
        registry = ProviderRegistry()
        registry.register("att", BaseProviderSync)
        with self.assertLogs("netbox.plugins.netbox_circuit_manager.providers", "WARNING"):
            registry.register("att", self.module.ATTProviderSync)
        self.assertIs(registry.get("att"), self.module.ATTProviderSync)


class GuideImportsTest(TestCase):
    def test_init_as_printed(self) -> None:
        """The guide's `providers/__init__.py` imports what it says."""
        code = guide.block("python", "from .mycarrier import MyCarrierProviderSync")
        with guide.dropped_in("mycarrier", guide.block("python", EXAMPLES["mycarrier"])):
            namespace = {
                "__package__": "netbox_circuit_manager.providers",
                "__name__": "netbox_circuit_manager.providers",
            }
            exec(compile(code, "guide", "exec"), namespace)
            self.assertIn("LumenProviderSync", namespace)
        self.assertNotIn("netbox_circuit_manager.providers.mycarrier", sys.modules)


class DuckTypedTest(TestCase):
    def test_class_with_its_own_sync_all(self) -> None:
        class Own:
            def __init__(self, config: ProviderAPIConfig) -> None:
                self.config = config

            def authenticate(self) -> bool:
                return True

            def sync_all(self) -> dict[str, Any]:
                circuit = Circuit.objects.get(cid="SIM/000001")
                CircuitCost.objects.create(circuit=circuit, mrc=Decimal(5))
                return {"total": 2, "success": 1, "failed": 1, "errors": ["one was odd"]}

        provider = make_provider()
        make_circuits(provider, World.of(1))
        config = make_config(provider, "own", "https://own.example", parameters={})
        self.assertEqual(run_sync(config, provider=Own(config), dry_run=True).as_result()["success"], 1)
        self.assertFalse(CircuitCost.objects.exists())
        result = run_sync(config, provider=Own(config))
        self.assertEqual((result.status, result.errors), ("partial", ["sync_all(): one was odd"]))
        self.assertTrue(CircuitCost.objects.exists())
