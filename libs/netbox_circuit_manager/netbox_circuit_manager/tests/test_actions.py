"""Buttons and endpoints that talk to a carrier or queue a run."""

from importlib import import_module
from unittest import mock

from circuits.models import Provider
from core.models import Job, ObjectType
from django.apps import apps
from django.core.management import call_command
from django.test import SimpleTestCase
from django.test import TestCase as DjangoTestCase
from django.urls import reverse
from extras.models import (
    Bookmark,
    Dashboard,
    JournalEntry,
    Notification,
    Subscription,
    Tag,
    TaggedItem,
)
from users.models import ObjectPermission, User
from utilities.testing import APITestCase, TestCase

from netbox_circuit_manager import checks
from netbox_circuit_manager.connection import run_connection_test
from netbox_circuit_manager.jobs import enqueue_sync
from netbox_circuit_manager.models import ProviderAPIConfig
from netbox_circuit_manager.providers.registry import provider_registry
from netbox_circuit_manager.testing import CarrierSimulator, World
from netbox_circuit_manager.testing.shapes import KEY, SECRET
from netbox_circuit_manager.tests.fixtures import config

_APP = "netbox_circuit_manager"
_SYNC = (f"{_APP}.view_providerapiconfig", f"{_APP}.sync_providerapiconfig")


class ConnectionTest(DjangoTestCase):
    def test_success(self):
        with CarrierSimulator("sonata", World.of(1)) as carrier:
            made = config(provider_type="sonata", api_endpoint=carrier.url, api_key=KEY, api_secret=SECRET)
            result = run_connection_test(made)
        self.assertTrue(result["success"], result)

    def test_every_failure_is_a_message(self):
        unknown = run_connection_test(config(provider_type="gone"))
        self.assertEqual((unknown["success"], "gone" in unknown["message"]), (False, True))
        unreadable = run_connection_test(config(api_key="env:NOT_ALLOWED"))
        self.assertEqual((unreadable["success"], "NOT_ALLOWED" in unreadable["message"]), (False, True))

    def test_foreign_code_that_breaks_shows_no_secret(self):
        class Broken:
            def __init__(self, api_config):
                self.key = api_config.api_key.reveal()

            def test_connection(self):
                raise RuntimeError(f"could not log in with {self.key}")

        provider_registry.register("broken", Broken)
        try:
            with self.assertLogs("netbox.plugins.netbox_circuit_manager", "ERROR"):
                result = run_connection_test(config(provider_type="broken"))
        finally:
            provider_registry.unregister("broken")
        self.assertFalse(result["success"])
        self.assertIn("RuntimeError", result["message"])
        self.assertNotIn("key-in-clear", result["message"])


class ButtonsTest(TestCase):
    user_permissions = _SYNC

    @classmethod
    def setUpTestData(cls):
        cls.config = config(
            provider=Provider.objects.create(name="Carrier", slug="carrier"), sync_status="held"
        )

    def url(self, action):
        return reverse(f"plugins:{_APP}:providerapiconfig_{action}", args=[self.config.pk])

    def test_the_page_has_them(self):
        page = self.client.get(self.config.get_absolute_url()).content.decode()
        for button in ("test-connection", "preview", "sync-now", "release"):
            self.assertIn(f'id="{button}"', page)

    def test_sync_and_preview_queue_jobs(self):
        self.assertHttpStatus(self.client.get(self.url("sync")), 302)
        self.assertFalse(Job.objects.exists())
        with (
            mock.patch("django_rq.queues.DjangoRQ.enqueue") as enqueue,
            self.captureOnCommitCallbacks(execute=True),
        ):
            self.assertRedirects(self.client.post(self.url("sync")), self.config.get_absolute_url())
            self.client.post(self.url("sync"), {"dry_run": "true"})
            self.client.post(self.url("sync"), {"release": "true"})
        sent = [(call.kwargs["dry_run"], call.kwargs["release"]) for call in enqueue.call_args_list]
        self.assertEqual(sent, [(False, False), (True, False), (False, True)])
        self.assertEqual({job.object for job in Job.objects.all()}, {self.config})
        self.assertEqual({job.user for job in Job.objects.all()}, {self.user})

    def test_a_waiting_run_is_not_queued_twice(self):
        self.client.post(self.url("sync"))
        self.client.post(self.url("sync"))
        self.assertEqual(Job.objects.count(), 1)

    def test_a_test_says_what_went_wrong(self):
        ProviderAPIConfig.objects.update(provider_type="gone")
        page = self.client.post(self.url("test_connection"), follow=True).content.decode()
        self.assertIn("Connection failed", page)


class EndpointsTest(APITestCase):
    model = ProviderAPIConfig

    @classmethod
    def setUpTestData(cls):
        provider = Provider.objects.create(name="Carrier", slug="carrier")
        cls.mine, cls.other = config(provider=provider), config(provider=provider)

    def post(self, made, action, data=None):
        url = reverse(f"plugins-api:{_APP}-api:providerapiconfig-{action}", args=[made.pk])
        return self.client.post(url, data or {}, format="json", **self.header)

    def test_sync(self):
        self.add_permissions(*_SYNC)
        answer = self.post(self.mine, "sync", {"dry_run": True})
        self.assertHttpStatus(answer, 202)
        self.assertEqual(Job.objects.get().pk, answer.json()["job"])

    def test_sync_in_a_form(self):
        self.add_permissions(*_SYNC)
        url = reverse(f"plugins-api:{_APP}-api:providerapiconfig-sync", args=[self.mine.pk])
        answer = self.client.post(url, {"dry_run": "false"}, **self.header)
        self.assertEqual(answer.json()["name"], "Provider sync")
        self.assertEqual(
            self.post(self.mine, "sync", {"dry_run": True}).json()["name"], "Provider sync preview"
        )
        self.assertHttpStatus(self.post(self.mine, "sync", {"dry_run": "perhaps"}), 400)

    def test_only_what_the_permission_covers(self):
        permission = ObjectPermission.objects.create(
            name="Mine", actions=["sync"], constraints={"pk": self.mine.pk}
        )
        permission.users.add(self.user)
        permission.object_types.add(ObjectType.objects.get_for_model(ProviderAPIConfig))
        self.assertHttpStatus(self.post(self.mine, "sync"), 202)
        self.assertHttpStatus(self.post(self.other, "sync"), 404)

    def test_a_token_that_may_not_write(self):
        self.add_permissions(*_SYNC)
        self.token.write_enabled = False
        self.token.save()
        self.assertHttpStatus(self.post(self.mine, "sync"), 403)

    def test_connection(self):
        self.add_permissions(*_SYNC)
        ProviderAPIConfig.objects.update(provider_type="gone")
        answer = self.post(self.mine, "test-connection")
        self.assertHttpStatus(answer, 200)
        self.assertFalse(answer.json()["success"])


class ChecksTest(SimpleTestCase):
    def found(self, **settings):
        defaults = {"encryption_keys": ["x"], "supported_currencies": ["USD"], "default_currency": "USD"}
        values = {**defaults, **settings}
        with (
            mock.patch.object(checks, "get_plugin_config", side_effect=lambda _plugin, name: values[name]),
            mock.patch(
                "netbox_circuit_manager.crypto.get_plugin_config",
                side_effect=lambda _plugin, name: values[name],
            ),
        ):
            return {message.id.rpartition(".")[2] for message in checks.check_settings()}

    def test_settings(self):
        self.assertEqual(self.found(encryption_keys=[]), {"W001"})
        self.assertEqual(self.found(), {"E001"})
        self.assertEqual(self.found(encryption_keys=[], default_currency="usd"), {"W001", "E002"})


class MigrationsTest(DjangoTestCase):
    def test_nothing_refers_to_the_plugin_once_it_is_gone(self):
        made = config(provider=Provider.objects.create(name="Carrier", slug="carrier"))
        user = User.objects.create_user("ada")
        made.tags.add(Tag.objects.create(name="tagged", slug="tagged"))
        JournalEntry.objects.create(assigned_object=made, comments="noted", created_by=user)
        Bookmark.objects.create(user=user, object=made)
        Subscription.objects.create(user=user, object=made)
        enqueue_sync(made, user=user).terminate()
        names = {"a": f"{_APP}.SyncHealthWidget", "b": "extras.NoteWidget"}
        dashboard = Dashboard.objects.create(
            user=user,
            layout=[{"id": key} for key in names],
            config={key: {"class": name} for key, name in names.items()},
        )
        kept = JournalEntry.objects.create(assigned_object=made.provider, comments="kept", created_by=user)
        import_module(f"{_APP}.migrations.0002_references").remove_references(apps, None)
        for model in (Bookmark, Job, Notification, Subscription, TaggedItem):
            self.assertFalse(model.objects.exists(), model)
        self.assertEqual(JournalEntry.objects.get(), kept)
        dashboard.refresh_from_db()
        self.assertEqual((dashboard.layout, list(dashboard.config)), ([{"id": "b"}], ["b"]))

    def test_models_and_migrations_agree(self):
        call_command("makemigrations", "netbox_circuit_manager", check=True, dry_run=True, verbosity=0)
