"""The schedule, contract reminders, and files that go with their rows."""

from datetime import date, timedelta
from unittest import mock

import django_rq
from circuits.models import Provider
from core.choices import JobStatusChoices
from core.models import Job, ObjectType
from django.contrib.contenttypes.models import ContentType
from django.core.files.base import ContentFile
from django.test import TestCase, TransactionTestCase
from django.utils import timezone
from extras.models import Notification, NotificationGroup, Subscription
from netbox.registry import registry
from users.models import ObjectPermission, User

from netbox_circuit_manager import jobs, reminders
from netbox_circuit_manager.models import CircuitContract, ProviderSyncRun
from netbox_circuit_manager.tests.fixtures import circuits, config


class ScheduleTest(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.provider = Provider.objects.create(name="Carrier", slug="carrier")

    def enabled(self, **values):
        return config(provider=self.provider, sync_enabled=True, **values)

    def queued(self):
        return [job.object for job in jobs.enqueue_due_syncs()]

    def test_due_configs_are_queued_once(self):
        due = self.enabled()
        config(provider=self.provider)
        self.enabled(last_sync=timezone.now() - timedelta(hours=1))
        self.enabled(sync_status="held")
        self.assertEqual(self.queued(), [due])
        self.queued()
        self.assertEqual(Job.objects.count(), 1)

    def test_a_running_job_holds_up_the_next(self):
        due = self.enabled()
        job = jobs.enqueue_sync(due)
        Job.objects.filter(pk=job.pk).update(status=JobStatusChoices.STATUS_RUNNING, started=timezone.now())
        self.assertEqual(self.queued(), [])

    def test_a_lost_job_holds_nothing_up(self):
        """A worker was killed, or Redis forgot: the next run has a job of its own, and the lost one says so."""
        due = self.enabled()
        for status in (JobStatusChoices.STATUS_RUNNING, JobStatusChoices.STATUS_PENDING):
            lost = jobs.enqueue_sync(due)
            long_ago = timezone.now() - timedelta(minutes=5)
            Job.objects.filter(pk=lost.pk).update(status=status, started=long_ago, created=long_ago)
            (queued,) = jobs.enqueue_due_syncs()
            self.assertNotEqual(queued.pk, lost.pk)
            lost.refresh_from_db()
            self.assertEqual(lost.status, JobStatusChoices.STATUS_ERRORED)
            self.assertIn("lost", lost.error)
            queued.delete()

    def test_a_killed_run_is_closed(self):
        due = self.enabled(sync_status="success")
        killed = ProviderSyncRun.objects.create(config=due, started_at=timezone.now() - timedelta(minutes=5))
        begun = ProviderSyncRun.objects.create(config=due)
        jobs.end_lost_runs()
        killed.refresh_from_db()
        begun.refresh_from_db()
        due.refresh_from_db()
        self.assertEqual((killed.status, begun.status, due.sync_status), ("failed", "running", "failed"))
        self.assertIn("stopped", due.sync_message)
        self.assertIsNotNone(killed.finished_at)

    def test_a_failed_run_is_not_repeated_at_once(self):
        due = self.enabled()
        run = ProviderSyncRun.objects.create(config=due, status="failed")
        self.assertEqual(self.queued(), [])
        ProviderSyncRun.objects.filter(pk=run.pk).update(started_at=timezone.now() - timedelta(hours=1))
        self.assertEqual(self.queued(), [due])

    def test_the_setting_stops_the_schedule(self):
        self.enabled()
        with mock.patch.object(jobs, "get_plugin_config", return_value=False):
            self.assertEqual(self.queued(), [])

    def test_old_reports_go(self):
        made = self.enabled()
        for _number in range(5):
            ProviderSyncRun.objects.create(config=made)
        newest = list(made.runs.values_list("pk", flat=True)[:2])
        with mock.patch.object(jobs, "get_plugin_config", return_value=2):
            jobs.prune_runs(made)
        self.assertEqual(list(made.runs.values_list("pk", flat=True)), newest)

    def test_system_jobs_are_registered(self):
        self.assertIn(jobs.ScheduleSyncsJob, registry["system_jobs"])
        self.assertIn(jobs.ContractRemindersJob, registry["system_jobs"])


class RunTest(TransactionTestCase):
    """A queued job, taken from Redis by RQ's own worker."""

    def work(self):
        queue = django_rq.get_queue("default")
        django_rq.get_worker("default", worker_class="rq.worker.SimpleWorker").work(
            burst=True, with_scheduler=False
        )
        return queue

    def setUp(self):
        django_rq.get_queue("default").empty()
        self.config = config(
            provider_type="gone", provider=Provider.objects.create(name="Carrier", slug="carrier")
        )

    def test_a_failed_run_says_why_in_job_and_report(self):
        job = jobs.enqueue_sync(self.config)
        self.work()
        job.refresh_from_db()
        run = self.config.runs.get()
        self.assertEqual(job.status, JobStatusChoices.STATUS_FAILED)
        self.assertEqual((run.status, run.job_id), ("failed", job.pk))
        self.assertIn("gone", run.error)
        self.assertIn("gone", " ".join(entry["message"] for entry in job.log_entries))
        self.config.refresh_from_db()
        self.assertEqual(self.config.sync_status, "failed")
        self.assertIn("gone", self.config.sync_message)


class RemindersTest(TestCase):
    today = date(2026, 6, 1)

    @classmethod
    def setUpTestData(cls):
        cls.circuit = circuits(1)[0]
        cls.contract = CircuitContract.objects.create(
            circuit=cls.circuit, contract_number="K", end_date=date(2026, 9, 29), renewal_notice_days=90
        )
        permission = ObjectPermission.objects.create(name="Contracts", actions=["view"])
        permission.object_types.add(ObjectType.objects.get_for_model(CircuitContract))
        cls.seeing, cls.group_member, cls.blind = (
            User.objects.create_user(name) for name in ("seeing", "member", "blind")
        )
        permission.users.add(cls.seeing, cls.group_member)
        for user in (cls.seeing, cls.blind):
            Subscription.objects.create(
                user=user,
                object_type=ContentType.objects.get_for_model(cls.circuit),
                object_id=cls.circuit.pk,
            )

    def told(self):
        return sorted(Notification.objects.values_list("user__username", flat=True))

    def test_each_threshold_is_told_once_to_those_who_may_view(self):
        # The last day for notice is 1 July.
        self.assertEqual(reminders.send_reminders(date(2026, 3, 1)), 0)
        self.assertEqual(reminders.send_reminders(date(2026, 4, 20)), 1)
        self.assertEqual(self.told(), ["seeing"])
        self.assertEqual(reminders.send_reminders(date(2026, 4, 21)), 0)
        Notification.objects.update(read=timezone.now())
        self.assertEqual(reminders.send_reminders(date(2026, 6, 5)), 1)
        notification = Notification.objects.get()
        self.assertIsNone(notification.read)
        self.assertEqual(str(notification.event.text), "Circuit contract: notice due")
        self.assertEqual(reminders.send_reminders(date(2026, 7, 2)), 0)

    def test_groups_of_the_settings_are_told(self):
        group = NotificationGroup.objects.create(name="Buyers")
        group.users.add(self.group_member)
        settings = {"reminder_days": [30], "reminder_groups": ["Buyers"]}
        with mock.patch.object(
            reminders, "get_plugin_config", side_effect=lambda _plugin, name: settings[name]
        ):
            self.assertEqual(reminders.send_reminders(date(2026, 6, 20)), 1)
        self.assertEqual(self.told(), ["member", "seeing"])

    def test_dates_move_on(self):
        CircuitContract.objects.filter(pk=self.contract.pk).update(auto_renew=True, term_months=12)
        self.assertEqual(reminders.refresh_dates(date(2026, 9, 29)), 0)
        self.assertEqual(reminders.refresh_dates(date(2026, 9, 30)), 1)
        self.contract.refresh_from_db()
        self.assertEqual(self.contract.renewal_date, date(2027, 9, 29))
        self.assertEqual(self.contract.notice_date, date(2027, 7, 1))


class FilesTest(TestCase):
    def test_files_go_with_their_rows(self):
        contract = CircuitContract.objects.create(
            circuit=circuits(1)[0],
            contract_number="K",
            contract_file=ContentFile(b"1", "../../../etc/one.pdf"),
        )
        storage, first = contract.contract_file.storage, contract.contract_file.name
        self.assertRegex(first, r"^circuit_manager/contracts/[0-9a-f]{32}/one.pdf$")
        with self.captureOnCommitCallbacks(execute=True):
            contract = CircuitContract.objects.get()
            contract.contract_file = ContentFile(b"2", "two.pdf")
            contract.save()
        second = contract.contract_file.name
        self.assertEqual((storage.exists(first), storage.exists(second)), (False, True))
        with self.captureOnCommitCallbacks(execute=True):
            CircuitContract.objects.get().delete()
        self.assertFalse(storage.exists(second))

    def test_large_files_are_refused(self):
        from django.core.exceptions import ValidationError

        file = ContentFile(b"1", "one.pdf")
        file.size = 21 * 2**20
        with self.assertRaisesRegex(ValidationError, "20 MB"):
            CircuitContract(circuit=circuits(1)[0], contract_number="K", contract_file=file).full_clean()
