"""The command: its documented output, its exit codes, previews and single circuits."""

import io
from typing import Any
from unittest.mock import MagicMock, patch

from django.core.management import CommandError, call_command
from django.test import TestCase

from netbox_circuit_manager.management.commands.sync_provider import Command
from netbox_circuit_manager.models import CircuitCost
from netbox_circuit_manager.testing import World

from .carriers import make_circuits, make_config, make_provider
from .test_sync import fake


class CommandTest(TestCase):
    def setUp(self) -> None:
        self.provider = make_provider()
        make_circuits(self.provider, World.of(10))
        self.config = make_config(self.provider, "fake", "https://fake.example", parameters=fake(10))

    def run_command(self, *arguments: Any) -> str:
        out = io.StringIO()
        call_command("sync_provider", *arguments, stdout=out, stderr=out)
        return out.getvalue()

    def exit_code(self, *arguments: str) -> int:
        command = Command(stdout=io.StringIO(), stderr=io.StringIO())
        try:
            command.run_from_argv(["netbox", "sync_provider", *arguments, "--skip-checks"])
        except SystemExit as exit_:
            return int(exit_.code or 0)
        return 0

    def test_sync(self) -> None:
        told = self.run_command("--provider", self.config.pk)
        for words in (
            "Processing provider",
            "Starting synchronization",
            "Sync complete",
            "10/10 circuits synced",
            "Done!",
        ):
            self.assertIn(words, told)

    def test_connection(self) -> None:
        told = self.run_command("--provider", self.config.pk, "--test")
        self.assertIn("Testing connection", told)
        self.assertIn("Connection successful", told)
        self.assertNotIn("Starting synchronization", told)
        self.config.parameters["failure"] = "authentication"
        self.config.save()
        self.assertIn("Connection failed", self.run_command("--provider", self.config.pk, "--test"))

    def test_every_enabled_one(self) -> None:
        self.assertIn("No enabled provider configurations found", self.run_command())
        self.config.sync_enabled = True
        self.config.save()
        self.assertIn("10/10 circuits synced", self.run_command())

    def test_failures(self) -> None:
        for each in self.config.parameters["circuits"][:5]:
            each["mrc"] = "nonsense"
        self.config.save()
        told = self.run_command("--provider", self.config.pk)
        self.assertIn("5/10 circuits synced", told)
        self.assertIn("Failed: 5", told)

    def test_unknown(self) -> None:
        self.config.provider_type = "gone"
        self.config.save()
        self.assertIn("not found in registry", self.run_command("--provider", self.config.pk))
        self.config.provider_type = "fake"
        self.config.save()
        with self.assertRaises(CommandError):
            self.run_command("--provider", "999999")
        with self.assertRaises(CommandError):
            self.run_command("--circuit", "SIM/000001")
        with self.assertRaises(CommandError):
            self.run_command("--provider", self.config.pk, "--circuit", "NONE")

    def test_dry_run_and_single_circuit(self) -> None:
        told = self.run_command("--provider", self.config.pk, "--dry-run")
        self.assertIn("mrc from nothing to 101.50", told)
        self.assertFalse(CircuitCost.objects.exists())
        self.assertIn(
            "1/1 circuits synced", self.run_command("--provider", self.config.pk, "--circuit", "SIM/000004")
        )
        self.assertEqual(CircuitCost.objects.get().circuit.cid, "SIM/000004")

    def test_exit_codes(self) -> None:
        key = str(self.config.pk)
        # A command from a shell closes the connections that the test goes on using.
        with patch("django.core.management.base.connections.close_all"):
            self.assertEqual(self.exit_code("--provider", key, "--full"), 0)
            self.config.parameters["circuits"][0]["mrc"] = "-1"
            self.config.save()
            self.assertEqual(self.exit_code("--provider", key), 3)
            del self.config.parameters["circuits"][2:]
            self.config.save()
            self.assertEqual(self.exit_code("--provider", key), 4)
            self.config.parameters["failure"] = "unavailable"
            self.config.save()
            self.assertEqual(self.exit_code("--provider", key), 1)
            self.assertEqual(self.exit_code("--provider", key, "--test"), 1)

    def test_with_a_class_of_their_own(self) -> None:
        """Tests of such commands replace the registry; any object with these methods will do."""
        stand_in = MagicMock()
        stand_in.return_value.sync_all.return_value = {
            "total": 10,
            "success": 5,
            "failed": 5,
            "errors": ["odd"],
        }
        stand_in.return_value.test_connection.return_value = {
            "success": True,
            "message": "OK",
            "response_time": 0.5,
        }
        with patch("netbox_circuit_manager.management.commands.sync_provider.provider_registry") as registry:
            registry.get.return_value = stand_in
            told = self.run_command("--provider", self.config.pk)
            self.assertIn("Connection successful", self.run_command("--provider", self.config.pk, "--test"))
        self.assertIn("5/10 circuits synced", told)
        self.assertIn("Failed: 5", told)
