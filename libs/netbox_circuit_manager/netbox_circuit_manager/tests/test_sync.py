"""The engine: queries per batch, memory, everything NetBox does around a save, policies, modes, one run at a time."""

import gc
import threading
import tracemalloc
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from circuits.models import Circuit, ProviderAccount
from core.models import Job, ObjectChange, ObjectType
from django.contrib.auth import get_user_model
from django.db import connection, connections
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from extras.models import CachedValue, CustomField, EventRule, Notification, Subscription, Tag, Webhook

from netbox_circuit_manager.models import (
    CarrierCharge,
    CarrierCircuit,
    CircuitContract,
    CircuitCost,
    CircuitCostHistory,
    CircuitPath,
    CircuitTicket,
    ProviderSyncRun,
)
from netbox_circuit_manager.sync.engine import build_provider, run_provider, run_sync
from netbox_circuit_manager.sync.report import Report
from netbox_circuit_manager.testing import SimCharge, SimTicket, World
from netbox_circuit_manager.validators import supported_currencies

from .carriers import REST, carrier_of, make_circuits, make_config, make_provider, plugin_settings


def fake(count: int, **values: Any) -> dict[str, Any]:
    """Parameters of the fake provider: circuits with a cost each."""
    circuits = [
        {"carrier_id": each.id, "cid": each.cid, "mrc": each.mrc, "nrc": each.nrc, "currency": "USD"}
        for each in World.of(count).circuits
    ]
    return {"circuits": circuits, **values}


class FakeCarrier:
    """Tests of the engine that need no network."""

    count = 5

    def setUp(self) -> None:
        self.provider = make_provider()
        self.world = World.of(self.count)
        self.circuits = make_circuits(self.provider, self.world)
        self.config = make_config(self.provider, "fake", "https://fake.example", parameters=fake(self.count))

    def sync(self, **options: Any) -> Any:
        self.config.refresh_from_db()
        return run_sync(self.config, **options)

    def set(self, index: int, **values: Any) -> None:
        self.config.refresh_from_db()
        self.config.parameters["circuits"][index].update(values)
        self.config.save()


class QueriesTest(FakeCarrier, TestCase):
    count = 120

    def queries(self) -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            result = self.sync()
        self.assertEqual(result.status, "success", result.errors)
        return len(captured)

    def test_bounded_per_batch(self) -> None:
        """A batch costs the same number of queries however many circuits are in it."""
        counted = {}
        for size in (40, 120):
            for model in (CircuitCost, CarrierCircuit, CircuitCostHistory):
                model.objects.all().delete()
            with plugin_settings(sync_batch_size=size):
                counted[size] = {"first": self.queries()}
                counted[size]["same"] = self.queries()
                self.config.refresh_from_db()
                for each in self.config.parameters["circuits"]:
                    each["mrc"] = str(Decimal(each["mrc"]) + (1 if size == 40 else 2))
                self.config.save()
                counted[size]["changed"] = self.queries()
        for kind in ("first", "same", "changed"):
            per_batch = (counted[40][kind] - counted[120][kind]) / 2
            self.assertLessEqual(per_batch, 30, (kind, counted))
            self.assertLessEqual(counted[120][kind], 75, (kind, counted))
        self.assertLess(counted[120]["same"], counted[120]["first"])


class MemoryTest(FakeCarrier, TransactionTestCase):
    count = 400

    def test_flat(self) -> None:
        """What a batch needs is given back: the memory in use does not grow from batch to batch."""
        in_use: list[int] = []
        flush = Report.flush

        def measure(report: Report) -> None:
            flush(report)
            gc.collect()
            in_use.append(tracemalloc.get_traced_memory()[0])

        with plugin_settings(sync_batch_size=50), patch.object(Report, "flush", measure):
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            self.assertEqual(self.sync().as_result()["success"], self.count)
        # The first batches fill caches that stay.
        self.assertGreaterEqual(len(in_use), 8)
        self.assertLess(in_use[7], in_use[1] * 1.1, in_use)


class AroundASaveTest(FakeCarrier, TestCase):
    def test_change_log(self) -> None:
        self.sync()
        entries = ObjectChange.objects.filter(changed_object_type__model="circuitcost")
        self.assertEqual(entries.count(), self.count)
        entry = entries.get(changed_object_id=CircuitCost.objects.get(circuit__cid="SIM/000001").pk)
        self.assertEqual((entry.action, entry.prechange_data), ("create", None))
        self.assertEqual((entry.postchange_data["mrc"], entry.postchange_data["tags"]), ("101.50", []))
        self.assertEqual(len({each.request_id for each in entries}), 1)
        self.assertEqual((entry.user.username, entry.user.is_active), ("circuit-manager", False))

    def test_change_log_is_what_a_save_writes(self) -> None:
        """The same update through the ORM leaves the same entry."""
        self.sync()
        cost = CircuitCost.objects.get(circuit=self.circuits[0])
        cost.tags.add(Tag.objects.create(name="watched", slug="watched"))
        self.set(0, mrc="150.00")
        self.sync()
        entry = ObjectChange.objects.filter(changed_object_id=cost.pk, action="update").latest("pk")
        again = CircuitCost.objects.get(pk=cost.pk)
        self.assertEqual(entry.postchange_data, again.serialize_object(exclude=["last_updated"]))
        self.assertEqual(entry.postchange_data["tags"], ["watched"])
        self.assertEqual(entry.prechange_data["mrc"], "101.50")
        self.assertGreater(again.last_updated, cost.last_updated)

    def test_user(self) -> None:
        user = get_user_model().objects.create_user("ada")
        self.sync(user=user)
        self.assertEqual(set(ObjectChange.objects.values_list("user_name", flat=True)), {"ada"})

    def test_search(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            self.sync()
        kind = ObjectType.objects.get_for_model(CircuitCost)
        cached = CachedValue.objects.filter(object_type=kind).values_list("object_id", flat=True)
        self.assertEqual(
            set(cached) | set(CircuitCost.objects.values_list("pk", flat=True)),
            set(CircuitCost.objects.values_list("pk", flat=True)),
        )

    def test_ticket_is_found_by_search(self) -> None:
        with plugin_settings(), carrier_of("custom", self.world) as carrier:
            self.world.tickets.append(
                SimTicket("TT-77", self.world.circuits[0].id, subject="Fibre cut at Oslo")
            )
            config = make_config(self.provider, "custom", carrier.url)
            with self.captureOnCommitCallbacks(execute=True):
                run_sync(config)
        self.assertTrue(CachedValue.objects.filter(value__contains="Fibre cut").exists())

    def test_event_rules(self) -> None:
        rule = EventRule.objects.create(
            name="costs",
            event_types=["object_created", "object_updated"],
            action_type="webhook",
            action_object_type=ObjectType.objects.get_for_model(Webhook),
            action_object_id=Webhook.objects.create(name="hook", payload_url="http://localhost/").pk,
        )
        rule.object_types.set([ObjectType.objects.get_for_model(CircuitCost)])
        with patch("extras.events.process_event_rules") as process:
            self.sync()
            self.set(0, mrc="9.00")
            self.sync()
        fired = [each.kwargs["event"] for each in process.call_args_list if each.kwargs["event_rules"]]
        self.assertEqual(
            [each["event_type"] for each in fired], ["object_created"] * self.count + ["object_updated"]
        )
        self.assertEqual(fired[-1]["snapshots"]["prechange"]["mrc"], "101.50")
        self.assertEqual(fired[-1]["snapshots"]["postchange"]["mrc"], "9.00")
        self.assertEqual(Decimal(fired[-1]["data"]["mrc"]), Decimal("9.00"))

    def test_dry_run_fires_nothing(self) -> None:
        with patch("extras.events.process_event_rules") as process:
            self.sync(dry_run=True)
        process.assert_not_called()

    def test_subscribers_are_told(self) -> None:
        self.sync()
        user = get_user_model().objects.create_user("ada")
        cost = CircuitCost.objects.get(circuit=self.circuits[0])
        Subscription.objects.create(user=user, object=cost)
        self.set(0, mrc="9.00")
        self.sync()
        self.assertEqual(Notification.objects.get(user=user).object, cost)

    def test_custom_field_defaults_and_custom_validators(self) -> None:
        field = CustomField.objects.create(name="centre", type="text", default="IT")
        field.object_types.set([ObjectType.objects.get_for_model(CircuitCost)])
        rules = {"netbox_circuit_manager.circuitcost": [{"mrc": {"max": 104}}]}
        with self.settings(CUSTOM_VALIDATORS=rules):
            result = self.sync()
        self.assertEqual(CircuitCost.objects.get(circuit=self.circuits[0]).cf["centre"], "IT")
        self.assertEqual((result.as_result()["success"], result.as_result()["failed"]), (3, 2))
        self.assertEqual(CircuitCost.objects.count(), 3)

    def test_one_bad_row_does_not_take_its_batch_along(self) -> None:
        """What only the database sees (here a trigger) rolls the batch back; then each goes by itself."""
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$BEGIN IF NEW.mrc = 103.50 THEN RAISE EXCEPTION 'no such amount'; END IF; RETURN NEW; END$$"
            )
            cursor.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON netbox_circuit_manager_circuitcost "
                "FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse()"
            )
        result = self.sync()
        self.assertEqual((result.as_result()["success"], result.as_result()["failed"]), (4, 1))
        self.assertIn("no such amount", result.errors[0])
        self.assertEqual(ObjectChange.objects.filter(changed_object_type__model="circuitcost").count(), 4)

    def test_history(self) -> None:
        self.sync()
        CircuitCostHistory.objects.update(effective_on=timezone.localdate() - timedelta(days=30))
        self.set(0, mrc="120.00")
        self.sync()
        rows = CircuitCostHistory.objects.filter(circuit=self.circuits[0]).values_list("mrc", flat=True)
        self.assertEqual(list(rows), [Decimal("120.00"), Decimal("101.50")])

    def test_confirming_is_no_change(self) -> None:
        self.sync()
        CircuitCost.objects.update(last_updated_date="2020-01-01")
        log = ObjectChange.objects.count()
        result = self.sync()
        self.assertEqual(
            set(CircuitCost.objects.values_list("last_updated_date", flat=True)), {timezone.localdate()}
        )
        self.assertEqual((ObjectChange.objects.count(), result.run.counts["unchanged"]), (log, self.count))


class MatchingTest(FakeCarrier, TestCase):
    def test_two_providers_with_the_same_cid(self) -> None:
        other = make_provider("Other")
        theirs = make_circuits(other, self.world)
        config = make_config(other, "fake", "https://other.example", parameters=fake(self.count))
        config.parameters["circuits"][0]["mrc"] = "1.00"
        config.save()
        self.sync()
        run_sync(config)
        self.assertEqual(CircuitCost.objects.get(circuit=self.circuits[0]).mrc, Decimal("101.50"))
        self.assertEqual(CircuitCost.objects.get(circuit=theirs[0]).mrc, Decimal("1.00"))

    def test_only_the_account_of_the_configuration(self) -> None:
        account = ProviderAccount.objects.create(provider=self.provider, account="A-1")
        Circuit.objects.filter(pk=self.circuits[0].pk).update(provider_account=account)
        self.config.provider_account = account
        self.config.save()
        result = self.sync()
        self.assertEqual([cost.circuit_id for cost in CircuitCost.objects.all()], [self.circuits[0].pk])
        self.assertEqual(result.run.counts["failed"], self.count - 1)

    def test_renamed_circuit_is_still_known(self) -> None:
        self.sync()
        Circuit.objects.filter(pk=self.circuits[0].pk).update(cid="OURS-1")
        self.set(0, mrc="5.00")
        self.sync()
        self.assertEqual(CircuitCost.objects.get(circuit=self.circuits[0]).mrc, Decimal("5.00"))

    def test_swapped_names_are_refused(self) -> None:
        """The carrier's id says one circuit, its circuit ID another: neither is touched."""
        self.sync()
        self.set(0, cid="SIM/000002", mrc="1.00")
        self.set(1, cid="SIM/000001", mrc="2.00")
        result = self.sync()
        self.assertEqual(CircuitCost.objects.get(circuit=self.circuits[0]).mrc, Decimal("101.50"))
        self.assertEqual(CircuitCost.objects.get(circuit=self.circuits[1]).mrc, Decimal("102.50"))
        self.assertEqual(result.run.counts["failed"], 2)

    def test_one_name_for_two_circuits_is_refused_across_batches(self) -> None:
        self.set(4, cid="SIM/000001", mrc="1.00")
        with plugin_settings(sync_batch_size=2):
            result = self.sync()
        self.assertFalse(CircuitCost.objects.filter(circuit=self.circuits[0]).exists())
        self.assertEqual(result.run.counts["failed"], 2)

    def test_circuits_without_id_and_unknown_ones(self) -> None:
        self.set(0, carrier_id="", cid="")
        self.set(1, carrier_id="elsewhere", cid="ELSE/1")
        result = self.sync()
        codes = dict(result.run.not_synced.values_list("subject", "code"))
        self.assertEqual(codes["ELSE/1"], "unknown_circuit")
        self.assertEqual(codes["a circuit without id"], "row_refused")

    def test_text_that_no_database_stores(self) -> None:
        provider = build_provider(self.config)
        rows = [
            {"carrier_id": "a\x00b", "cid": "SIM/000001", "mrc": "1.00"},
            {"carrier_id": "half\ud800", "cid": "SIM/000002", "mrc": "1.00"},
            {"carrier_id": "c" * 300, "cid": "SIM/000003", "mrc": "1.00"},
            {"carrier_id": "d", "cid": "SIM/000004", "mrc": "1.00"},
            "no object",
        ]
        with patch.object(provider, "list_circuits", lambda _since: iter([rows])):
            result = run_sync(self.config, provider=provider)
        self.assertEqual((result.as_result()["success"], result.as_result()["failed"]), (1, 4))

    def test_a_carriers_id_goes_on_to_another_circuit(self) -> None:
        """Its old circuit went to another provider, the new one once was another id's."""
        self.config.vanished_circuits = "keep"
        self.sync()
        self.config.refresh_from_db()
        gone = self.config.parameters["circuits"].pop()
        self.config.save()
        self.sync()
        Circuit.objects.filter(pk=self.circuits[0].pk).update(provider=make_provider("Other"))
        self.set(0, cid=gone["cid"], mrc="77.00")
        result = self.sync()
        self.assertEqual(result.status, "success", result.errors)
        mapping = CarrierCircuit.objects.get(circuit=self.circuits[-1])
        self.assertEqual(mapping.carrier_id, self.world.circuits[0].id)
        self.assertEqual(CircuitCost.objects.get(circuit=self.circuits[-1]).mrc, Decimal("77.00"))
        self.assertEqual(CircuitCost.objects.get(circuit=self.circuits[0]).mrc, Decimal("101.50"))

    def test_a_currency_never_turns_amounts_into_others(self) -> None:
        self.sync()
        CircuitCost.objects.update(last_updated_date="2020-01-01")
        whole = {"nrc": "450.00", "mrc": "90.00", "currency": "EUR"}
        for index, values in enumerate(
            (
                {"currency": "EUR", "mrc": None, "nrc": None},
                {"currency": "EUR", "mrc": "90.00", "nrc": None},
                whole,
            )
        ):
            self.set(index, **values)
        result = self.sync()
        costs = [CircuitCost.objects.get(circuit=each) for each in self.circuits[:3]]
        self.assertEqual(
            [(str(each.nrc), str(each.mrc), each.currency) for each in costs],
            [("10.00", "101.50", "USD"), ("20.00", "102.50", "USD"), ("450.00", "90.00", "EUR")],
        )
        told = result.run.not_synced.get()
        self.assertEqual((told.code, told.circuit, result.status), ("currency", self.circuits[1], "partial"))
        self.assertIn("NRC in USD", told.reason)
        self.assertNotIn("20.00", told.reason)
        # Nothing confirmed the first two.
        self.assertEqual([each.last_updated_date.year for each in costs[:2]], [2020, 2020])
        self.assertEqual(self.sync().as_result()["failed"], 1)

    def test_refused_configurations(self) -> None:
        for values, words in (
            ({"provider_type": "nobody"}, "not found in registry"),
            ({"provider": None}, "names no provider"),
            ({"provider_type": "sonata", "api_endpoint": "http://carrier.example"}, "must be https"),
            ({"provider_type": "sonata", "api_key": ""}, "API key"),
            ({"provider_type": "custom", "parameters": {}}, "circuits is missing"),
            (
                {"provider_type": "zayo", "parameters": {"token_url": "https://thief.example/t"}},
                "not sent there",
            ),
        ):
            config = make_config(
                **{"provider": self.provider, "provider_type": "fake", "url": "https://x.example"}
                | _renamed(values)
            )
            result = run_sync(config)
            self.assertEqual(result.status, "failed")
            self.assertIn(words, result.run.error)
            config.refresh_from_db()
            self.assertEqual((config.sync_status, config.sync_message), ("failed", result.run.error))


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    return {("url" if name == "api_endpoint" else name): value for name, value in values.items()}


class PolicyTest(FakeCarrier, TestCase):
    def without_last(self) -> Any:
        self.config.refresh_from_db()
        self.config.parameters["circuits"].pop()
        self.config.save()
        return self.sync()

    def status(self) -> str:
        return Circuit.objects.get(pk=self.circuits[-1].pk).status

    def set_policy(self, policy: str) -> None:
        self.config.vanished_circuits = policy
        self.config.save()
        self.sync()

    def test_keep(self) -> None:
        self.set_policy("keep")
        result = self.without_last()
        self.assertEqual((self.status(), result.run.counts["vanished"]), ("active", 1))
        self.assertEqual(result.run.not_synced.get().code, "vanished")
        self.assertEqual(self.sync().run.counts.get("vanished", 0), 0)

    def test_flag_and_its_end(self) -> None:
        self.set_policy("flag")
        kept = self.config.parameters["circuits"][-1]
        self.without_last()
        tags = Circuit.objects.get(pk=self.circuits[-1].pk).tags
        self.assertEqual([tag.name for tag in tags.all()], ["carrier-vanished"])
        self.config.refresh_from_db()
        self.config.parameters["circuits"].append(kept)
        self.config.save()
        self.sync()
        self.assertEqual(list(tags.all()), [])
        self.assertFalse(CarrierCircuit.objects.filter(vanished_at__isnull=False).exists())

    def test_decommission(self) -> None:
        self.set_policy("decommission")
        self.without_last()
        self.assertEqual(self.status(), "decommissioned")
        self.assertTrue(
            ObjectChange.objects.filter(changed_object_type__model="circuit", action="update").exists()
        )
        self.assertEqual(CircuitCost.objects.count(), self.count)

    def test_a_circuit_that_moved_to_another_provider_is_left_alone(self) -> None:
        self.set_policy("decommission")
        Circuit.objects.filter(pk=self.circuits[-1].pk).update(provider=make_provider("Other"))
        result = self.without_last()
        self.assertEqual((self.status(), result.status), ("active", "success"), result.errors)

    def test_a_decommissioned_circuit_that_is_listed_again_is_named_once(self) -> None:
        self.set_policy("decommission")
        kept = self.config.parameters["circuits"][-1]
        self.without_last()
        self.config.refresh_from_db()
        self.config.parameters["circuits"].append(kept)
        self.config.save()
        told = self.sync().run.not_synced.get()
        self.assertEqual(
            (told.code, told.circuit, self.status()), ("reappeared", self.circuits[-1], "decommissioned")
        )
        self.assertEqual(self.sync().status, "success")

    def test_ended_by_the_carrier(self) -> None:
        self.set_policy("decommission")
        self.set(4, status="ended")
        self.sync()
        self.assertEqual(self.status(), "decommissioned")

    def test_dry_run_of_a_policy(self) -> None:
        self.set_policy("decommission")
        self.config.refresh_from_db()
        self.config.parameters["circuits"].pop()
        self.config.save()
        result = self.sync(dry_run=True)
        self.assertEqual(self.status(), "active")
        self.assertEqual(result.run.changes.get(field="status").after, "decommissioned")

    def test_shrunk_list_is_held_until_accepted(self) -> None:
        self.set_policy("decommission")
        for _ in range(2):
            self.config.refresh_from_db()
            self.config.parameters["circuits"].pop()
            self.config.save()
        held = self.sync()
        self.config.refresh_from_db()
        self.assertEqual((held.status, self.config.sync_status, self.status()), ("held", "held", "active"))
        self.assertEqual(self.sync(accept=True).run.counts["vanished"], 2)
        self.assertEqual(self.sync().status, "success")

    def test_uncertain_lists_need_two_misses(self) -> None:
        """A carrier that announces no total may have lost a row: one miss is no proof."""
        self.set_policy("decommission")
        with patch("netbox_circuit_manager.providers.fake.FakeProviderSync.announces_total", new=False):
            first = self.without_last()
            self.assertEqual((first.run.not_synced.get().code, self.status()), ("missing", "active"))
            self.sync()
        self.assertEqual(self.status(), "decommissioned")


class ModesTest(TestCase):
    def setUp(self) -> None:
        overridden = plugin_settings()
        overridden.enable()
        self.addCleanup(overridden.disable)
        self.world = World.of(6)
        self.provider = make_provider()
        make_circuits(self.provider, self.world)

    def test_sonata_delta(self) -> None:
        with carrier_of("sonata", self.world) as carrier:
            config = make_config(self.provider, "sonata", carrier.url, vanished_circuits="decommission")
            self.assertEqual(run_sync(config).run.mode, "full")
            self.world.circuits[3].mrc = "88.00"
            self.world.circuits[3].changed_on = datetime.now(UTC).date()
            result = run_sync(config)
            self.assertEqual((result.run.mode, result.run.counts["total"]), ("delta", 1))
            self.assertEqual(CircuitCost.objects.get(circuit__cid="SIM/000004").mrc, Decimal("88.00"))
            self.assertFalse(Circuit.objects.exclude(status="active").exists())
            self.assertEqual(run_sync(config, mode="full").run.mode, "full")

    def test_nothing_changed_is_a_success(self) -> None:
        with carrier_of("verizon", self.world) as carrier:
            config = make_config(self.provider, "verizon", carrier.url)
            run_sync(config)
            result = run_sync(config)
        self.assertEqual(
            (result.run.mode, result.status, result.run.counts["total"]), ("delta", "success", 0)
        )

    def test_too_long_ago_for_a_delta(self) -> None:
        with carrier_of("verizon", self.world) as carrier:
            config = make_config(self.provider, "verizon", carrier.url, full_sync_interval_hours=8760)
            run_sync(config)
            config.last_sync = timezone.now() - timedelta(days=8)
            config.save()
            self.assertEqual(run_sync(config).run.mode, "full")

    def test_failed_run_keeps_the_last_date(self) -> None:
        with carrier_of("sonata", self.world) as carrier:
            config = make_config(self.provider, "sonata", carrier.url)
            run_sync(config)
            last = config.last_sync
            carrier.faults.set("error_500")
            run_sync(config)
            self.assertEqual(config.last_sync, last)

    def test_tickets_fail_alone(self) -> None:
        """Costs are synced though the tickets cannot be read; the report says so and no ticket is closed."""
        self.world.tickets.append(SimTicket("TT-1", self.world.circuits[0].id))
        with carrier_of("custom", self.world) as carrier:
            config = make_config(self.provider, "custom", carrier.url)
            run_sync(config)
            config.parameters = {**REST, "tickets": {**REST["tickets"], "path": "/nowhere"}}
            config.save()
            self.world.circuits[0].mrc = "1.00"
            result = run_sync(config)
        self.assertEqual((result.status, CircuitTicket.objects.get().status), ("partial", "in_progress"))
        self.assertEqual(CircuitCost.objects.get(circuit__cid="SIM/000001").mrc, Decimal("1.00"))

    def test_reopened_ticket(self) -> None:
        self.world.tickets.append(SimTicket("TT-1", self.world.circuits[0].id, status="closed"))
        with carrier_of("custom", self.world) as carrier:
            config = make_config(self.provider, "custom", carrier.url)
            run_sync(config)
            self.assertIsNotNone(CircuitTicket.objects.get().closed_date)
            self.world.tickets[0].status = "inProgress"
            run_sync(config)
        ticket = CircuitTicket.objects.get()
        self.assertEqual((ticket.status, ticket.closed_date), ("in_progress", None))

    def test_bill_of_an_unknown_circuit(self) -> None:
        self.world.charges.append(SimCharge("L-1", "INV-1", "nobody"))
        with carrier_of("custom", self.world) as carrier:
            result = run_sync(make_config(self.provider, "custom", carrier.url))
        self.assertFalse(CarrierCharge.objects.exists())
        self.assertIn("nobody", result.errors[0])

    def test_contracts(self) -> None:
        with carrier_of("custom", self.world) as carrier:
            config = make_config(self.provider, "custom", carrier.url)
            run_sync(config)
            contract = CircuitContract.objects.get(circuit__cid="SIM/000001")
            self.assertEqual((contract.contract_number, contract.term_months), ("PO-000001", 24))
            self.assertEqual(contract.renewal_date.isoformat(), "2028-01-01")
            self.world.circuits[0].term_months = 36
            run_sync(config)
            contract.refresh_from_db()
            self.assertEqual((contract.term_months, contract.renewal_date.isoformat()), (36, "2029-01-01"))

    def test_paths(self) -> None:
        line = {"type": "LineString", "coordinates": [[10.0, 59.0], [10.5, 59.5, 12]]}
        parameters = {
            **REST,
            "circuits": {**REST["circuits"], "fields": {**REST["circuits"]["fields"], "path": "route"}},
        }
        with carrier_of("custom", self.world) as carrier:
            show = carrier.shape._circuit
            carrier.shape._circuit = lambda circuit: show(circuit) | {"route": line}
            config = make_config(self.provider, "custom", carrier.url, parameters=parameters)
            run_sync(config)
            length = CircuitPath.objects.first().path_distance_km
            self.assertGreater(length, 60)
            self.assertEqual(run_sync(config).run.counts["unchanged"], 6)
            line["coordinates"].append([11.0, 60.0])
            run_sync(config)
            self.assertGreater(CircuitPath.objects.first().path_distance_km, length)
            line["coordinates"] = [[999, 1], [2, 3]]
            self.assertEqual(run_sync(config).as_result()["failed"], 6)

    def test_unknown_currency_setting(self) -> None:
        self.assertIn("USD", supported_currencies())


class OneAtATimeTest(FakeCarrier, TransactionTestCase):
    count = 3

    def test_second_run_is_refused(self) -> None:
        entered, leave = threading.Event(), threading.Event()
        provider = build_provider(self.config)
        listed = provider.list_circuits

        def slowly(since: Any) -> Any:
            entered.set()
            leave.wait(20)
            return listed(since)

        def first() -> None:
            try:
                with patch.object(provider, "list_circuits", slowly):
                    run_provider(provider)
            finally:
                connections.close_all()

        thread = threading.Thread(target=first)
        thread.start()
        try:
            self.assertTrue(entered.wait(20))
            refused = run_sync(self.config)
        finally:
            leave.set()
            thread.join(30)
        self.assertEqual(refused.status, "failed")
        self.assertIn("has not ended", refused.run.error)
        self.assertEqual(ProviderSyncRun.objects.filter(status="success").count(), 1)
        self.assertEqual(CircuitCost.objects.count(), self.count)

    def test_report_names_its_job(self) -> None:
        job = Job.objects.create(
            name="x",
            job_id="6e0c7c1e-0d0b-4f0e-9a6c-0d9b6f0a1c11",
            object_type=ObjectType.objects.get_for_model(type(self.config)),
            object_id=self.config.pk,
        )
        self.assertEqual(run_sync(self.config, job=job).run.job, job)
