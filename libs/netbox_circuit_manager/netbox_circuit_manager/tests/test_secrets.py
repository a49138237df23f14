"""Credentials: encrypted at rest, in through forms and REST, out nowhere."""

import copy
import io
import json
import os
import pickle
from unittest import mock

from core.models import ObjectChange
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.core.serializers import serialize
from django.db import connection
from django.test import SimpleTestCase, TestCase, override_settings
from django.urls import reverse
from extras.models import ExportTemplate
from utilities.jinja2 import render_jinja2
from utilities.testing import APITestCase, ViewTestCases

from netbox_circuit_manager import crypto
from netbox_circuit_manager.models import ProviderAPIConfig
from netbox_circuit_manager.tests.fixtures import config

_OLD, _NEW = crypto.new_key(), crypto.new_key()
_SECRETS = ("key-in-clear", "secret-in-clear", "new-key-in-clear")


def keys(*values):
    """The plugin's settings with these keys."""
    settings = {"encryption_keys": list(values), "environment_variables": ["CIRCUIT_MANAGER_*"]}
    return override_settings(PLUGINS_CONFIG={"netbox_circuit_manager": settings})


def column(name):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {name} FROM netbox_circuit_manager_providerapiconfig ORDER BY id LIMIT 1")
        return cursor.fetchone()[0]


class SecretTest(SimpleTestCase):
    def test_shows_stars_and_equals_its_text(self):
        secret = crypto.Secret.of("hunter2")
        shown = (
            f"{secret}",
            str(secret),
            repr(secret),
            secret[:3],
            secret + "",
            ",".join((secret,) * 2),
            secret.upper(),
        )
        self.assertFalse([text for text in shown if "hunter2" in text.lower()])
        self.assertEqual(secret, "hunter2")
        self.assertNotEqual(secret, "hunter3")
        self.assertEqual(secret, crypto.Secret.of("hunter2"))
        self.assertEqual(secret.reveal(), "hunter2")
        self.assertEqual(crypto.Secret.of(""), "")
        self.assertFalse(crypto.Secret.of(""))

    def test_copies_stay_secret(self):
        secret = crypto.Secret.of("hunter2")
        for twin in (copy.deepcopy(secret), pickle.loads(pickle.dumps(secret))):
            self.assertEqual(twin.reveal(), "hunter2")
        self.assertNotIn(b"hunter2", pickle.dumps(secret))

    def test_templates_cannot_reveal(self):
        secret = crypto.Secret.of("hunter2")
        for template in (
            "{{ s }}",
            "{{ s ~ '' }}",
            "{{ s + '' }}",
            "{{ s|upper }}",
            "{{ s[0:7] }}",
            "{{ s|list }}",
        ):
            self.assertNotIn("hunter2", render_jinja2(template, {"s": secret}).lower())
        for template in ("{{ s.reveal() }}", "{{ s._stored }}x{{ s.encode().__class__ }}"):
            try:
                shown = render_jinja2(template, {"s": secret})
            except Exception as error:  # noqa: BLE001  # whatever the sandbox raises is a refusal
                shown = str(error)
            self.assertNotIn("hunter2", shown)

    def test_two_encryptions_differ(self):
        self.assertNotEqual(crypto.encrypt("x"), crypto.encrypt("x"))

    def test_an_unreadable_secret_says_what_to_do(self):
        with keys(_OLD):
            secret = crypto.Secret.of("hunter2")
        with keys(_NEW), self.assertRaisesRegex(crypto.SecretUnreadable, "encryption_keys"):
            secret.reveal()
        with keys(_NEW):
            self.assertNotEqual(secret, "hunter2")
        with keys(_NEW, _OLD):
            self.assertEqual(secret.reveal(), "hunter2")

    def test_environment(self):
        secret = crypto.Secret.of("env:CIRCUIT_MANAGER_KEY")
        with mock.patch.dict(os.environ, {"CIRCUIT_MANAGER_KEY": "from-outside"}):
            self.assertEqual(secret.reveal(), "from-outside")
        with self.assertRaisesRegex(crypto.SecretUnreadable, "not set"):
            secret.reveal()
        with self.assertRaisesRegex(crypto.SecretUnreadable, "environment_variables"):
            crypto.Secret.of("env:PATH").reveal()


class StoredTest(TestCase):
    def test_the_column_is_encrypted(self):
        made = config()
        self.assertTrue(column("api_key").startswith("fernet:"))
        self.assertNotIn("key-in-clear", column("api_key"))
        made.refresh_from_db()
        self.assertEqual(made.api_key, "key-in-clear")
        before = column("api_key")
        made.save()
        self.assertEqual(column("api_key"), before)

    def test_no_query_compares_secrets(self):
        for lookup in ({"api_key": "key-in-clear"}, {"api_secret__startswith": "s"}):
            with self.assertRaises(Exception):  # noqa: B017  # Django has no one class for a missing lookup
                ProviderAPIConfig.objects.filter(**lookup).exists()

    def test_serializations_hold_none(self):
        made = config()
        texts = [
            serialize("json", [made]),
            json.dumps(made.serialize_object(), default=str),
            repr(vars(made)),
        ]
        self.assertFalse([secret for secret in _SECRETS for text in texts if secret in text])

    def test_the_change_log_sees_that_they_changed(self):
        made = config()
        before = made.serialize_object()["credentials"]
        made.api_key = "new-key-in-clear"
        made.save()
        self.assertNotEqual(made.serialize_object()["credentials"], before)

    def test_rotation(self):
        with keys(_OLD):
            made = config()
        with keys(_NEW, _OLD):
            out = io.StringIO()
            call_command("rotate_circuit_secrets", stdout=out)
            self.assertIn("encrypted under the first key", out.getvalue())
        with keys(_NEW):
            self.assertEqual(ProviderAPIConfig.objects.get(pk=made.pk).api_key.reveal(), "key-in-clear")
        with keys(_OLD), self.assertRaisesRegex(CommandError, str(made.pk)):
            call_command("rotate_circuit_secrets")

    def test_references_are_limited(self):
        made = config(api_key="env:SECRET_KEY")
        with self.assertRaises(ValidationError) as caught:
            made.full_clean()
        self.assertIn("api_key", caught.exception.message_dict)

    def test_stored_credentials_do_not_follow_to_another_host(self):
        made = ProviderAPIConfig.objects.get(pk=config().pk)
        made.api_endpoint = "https://api.carrier.example/v2"
        made.full_clean()
        made.api_endpoint = "https://evil.example/v1"
        with self.assertRaises(ValidationError) as caught:
            made.full_clean()
        self.assertEqual(set(caught.exception.message_dict), {"api_key", "api_secret"})
        made.api_key, made.api_secret = "k", ""
        made.full_clean()


class PagesTest(ViewTestCases.GetObjectViewTestCase):
    """As a person with every permission on configs."""

    model = ProviderAPIConfig

    @classmethod
    def setUpTestData(cls):
        for _number in range(3):
            config()

    def _get_base_url(self):
        return "plugins:netbox_circuit_manager:providerapiconfig_{}"

    def setUp(self):
        super().setUp()
        names = ("view", "add", "change", "delete")
        self.permissions = [f"netbox_circuit_manager.{name}_providerapiconfig" for name in names]

    def assert_no_secret(self, content):
        self.assertFalse([secret for secret in _SECRETS if secret in content])

    def test_pages_show_none(self):
        self.add_permissions(*self.permissions, "core.view_objectchange", "extras.view_exporttemplate")
        made = ProviderAPIConfig.objects.first()
        template = ExportTemplate.objects.create(
            name="All",
            template_code="{% for o in queryset %}{{ o.api_key }}{{ o.api_secret|upper }}{% endfor %}",
        )
        template.object_types.add(ContentTypes.of(ProviderAPIConfig))
        for url in (
            self._get_url("list"),
            self._get_url("list") + "?export",
            self._get_url("list") + "?export=All",
            made.get_absolute_url(),
            self._get_url("edit", made),
            self._get_url("changelog", made),
            reverse("search") + "?q=carrier",
        ):
            response = self.client.get(url)
            self.assertHttpStatus(response, 200)
            self.assert_no_secret(response.content.decode())

    def test_an_edit_keeps_replaces_or_clears_them(self):
        self.add_permissions(*self.permissions)
        made = ProviderAPIConfig.objects.first()
        data = {
            "provider_type": "custom",
            "api_endpoint": made.api_endpoint,
            "sync_interval_hours": 5,
            "full_sync_interval_hours": 50,
            "vanished_circuits": "keep",
            "vanished_tickets": "close",
            "parameters": "{}",
        }
        self.post(made, data)
        self.assertEqual(made.api_key.reveal(), "key-in-clear")
        self.assertEqual(made.sync_interval_hours, 5)
        self.post(made, {**data, "api_key": "new-key-in-clear"})
        self.assertEqual(
            (made.api_key.reveal(), made.api_secret.reveal()), ("new-key-in-clear", "secret-in-clear")
        )
        changes = [(row.prechange_data, row.postchange_data) for row in ObjectChange.objects.all()]
        self.assertEqual(len(changes), 2)
        self.assert_no_secret(json.dumps(changes))
        self.post(made, {**data, "clear_credentials": True})
        self.assertEqual((made.api_key.reveal(), made.api_secret.reveal()), ("", ""))

    def post(self, made, data):
        response = self.client.post(self._get_url("edit", made), data)
        self.assertHttpStatus(response, 302)
        made.refresh_from_db()

    def test_a_refused_form_does_not_give_them_back(self):
        self.add_permissions(*self.permissions)
        response = self.client.post(self._get_url("add"), {"api_key": "new-key-in-clear"})
        self.assertHttpStatus(response, 200)
        self.assert_no_secret(response.content.decode())


class ContentTypes:
    """Object types by model."""

    @staticmethod
    def of(model):
        from core.models import ObjectType

        return ObjectType.objects.get_for_model(model)


class RestTest(APITestCase):
    model = ProviderAPIConfig
    view_namespace = "plugins-api:netbox_circuit_manager"
    user_permissions = (
        "netbox_circuit_manager.view_providerapiconfig",
        "netbox_circuit_manager.add_providerapiconfig",
        "netbox_circuit_manager.change_providerapiconfig",
    )

    def test_in_and_never_out(self):
        data = {
            "provider_type": "custom",
            "api_endpoint": "https://api.carrier.example",
            "api_key": "key-in-clear",
            "api_secret": "secret-in-clear",
        }
        made = self.client.post(self._get_list_url(), data, format="json", **self.header)
        self.assertHttpStatus(made, 201)
        stored = ProviderAPIConfig.objects.get()
        self.assertEqual(stored.api_key.reveal(), "key-in-clear")
        changed = self.client.patch(
            self._get_detail_url(stored), {"sync_interval_hours": 3}, format="json", **self.header
        )
        self.assertHttpStatus(changed, 200)
        stored.refresh_from_db()
        self.assertEqual(stored.api_secret.reveal(), "secret-in-clear")
        listed = self.client.get(self._get_list_url(), **self.header)
        for response in (made, changed, listed):
            self.assertNotIn("in-clear", response.content.decode())
        self.assertTrue(listed.json()["results"][0]["has_api_key"])
        self.assertFalse(ObjectChange.objects.filter(postchange_data__icontains="in-clear").exists())

    def test_graphql_has_no_such_field(self):
        config()
        for field in ("api_key", "api_secret"):
            query = {"query": f"{{ provider_api_config_list {{ {field} }} }}"}
            response = self.client.post(reverse("graphql"), query, format="json", **self.header)
            self.assertIn(f"Cannot query field '{field}'", response.content.decode())
