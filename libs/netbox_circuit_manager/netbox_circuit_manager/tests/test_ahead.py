"""Requests for single rows: a few at a time, with one rate and one token, and not to the end when nobody answers."""

import threading
from typing import Any
from unittest import mock

from django.test import SimpleTestCase, TestCase

from netbox_circuit_manager.models import CircuitCost
from netbox_circuit_manager.providers.ahead import work_ahead
from netbox_circuit_manager.providers.errors import BadAnswer, ConfigurationError, ProviderUnavailable
from netbox_circuit_manager.providers.fake import FakeProviderSync
from netbox_circuit_manager.providers.paging import ListRequest
from netbox_circuit_manager.sync.engine import build_provider, run_sync
from netbox_circuit_manager.sync.silence import LONGEST
from netbox_circuit_manager.testing import SimCharge, World

from .carriers import carrier_of, make_config, make_provider, plugin_settings
from .test_sync import FakeCarrier
from .test_transport import session


class Gate:
    """Work that goes on only when as many are at it at once as it was told; remembers the most there were."""

    def __init__(self, width: int) -> None:
        self._barrier = threading.Barrier(width)
        self._lock = threading.Lock()
        self._inside = self.most = self.calls = 0

    def __call__(self, row: Any) -> Any:
        with self._lock:
            self.calls += 1
            self._inside += 1
            self.most = max(self.most, self._inside)
        self._barrier.wait(20)
        with self._lock:
            self._inside -= 1
        return row


class WorkAheadTest(SimpleTestCase):
    def test_in_order_and_no_more_than_wanted_at_once(self) -> None:
        gate = Gate(4)
        batches = [list(range(first, first + 8)) for first in (0, 8, 16)]
        done = [[(row, result()) for row, result in batch] for batch in work_ahead(gate, batches, 4)]
        self.assertEqual(done, [[(row, row) for row in batch] for batch in batches])
        self.assertEqual(gate.most, 4)

    def test_an_error_is_its_rows_own(self) -> None:
        def work(row: int) -> int:
            if row == 1:
                raise BadAnswer("one")
            return row

        for threads in (1, 3):
            (batch,) = work_ahead(work, [[0, 1, 2]], threads)
            self.assertEqual((batch[0][1](), batch[2][1]()), (0, 2))
            self.assertRaises(BadAnswer, batch[1][1])

    def test_nothing_is_begun_after_the_end(self) -> None:
        gate, begun = Gate(2), work_ahead(Gate(1), [[1], [2]], 1)
        self.assertEqual(next(begun)[0][0], 1)
        begun.close()
        ahead = work_ahead(gate, [[1, 2], [3, 4], [5, 6]], 2)
        next(ahead)
        ahead.close()
        self.assertLessEqual(gate.calls, 4)


class SharedRateTest(SimpleTestCase):
    def test_what_one_thread_is_told_holds_for_all(self) -> None:
        made = session()
        retry = made.get_adapter("https://").max_retries
        answer = mock.Mock(status=429, headers={"Retry-After": "7"})
        with mock.patch("urllib3.util.retry.time.sleep"):
            retry.increment(response=answer).sleep(answer)
        slept: list[float] = []
        with mock.patch("netbox_circuit_manager.providers.transport.time.sleep", slept.append):
            made._keep_rate()
        self.assertTrue(slept and 6 < slept[0] <= 7, slept)

    def test_slots_are_given_once(self) -> None:
        made, slept = session(requests_per_second=10), []
        with (
            mock.patch("netbox_circuit_manager.providers.transport.time.sleep", slept.append),
            mock.patch("netbox_circuit_manager.providers.transport.time.monotonic", return_value=100.0),
        ):
            threads = [threading.Thread(target=made._keep_rate) for _ in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
        self.assertEqual([round(each, 3) for each in sorted(slept)], [0.1, 0.2, 0.3, 0.4])


class DetailsTest(FakeCarrier, TestCase):
    count = 40

    def with_details(self, details: Any, **values: Any) -> Any:
        with (
            mock.patch.object(FakeProviderSync, "needs_details", new=True),
            mock.patch.object(FakeProviderSync, "details_of", side_effect=details),
        ):
            return self.sync(**values)

    def test_four_at_a_time(self) -> None:
        gate = Gate(4)
        with plugin_settings(sync_batch_size=8):
            result = self.with_details(gate)
        self.assertEqual((result.status, gate.most, gate.calls), ("success", 4, self.count), result.errors)
        self.assertEqual(CircuitCost.objects.count(), self.count)

    def test_as_many_as_the_configuration_says(self) -> None:
        self.config.parameters["requests_at_once"] = 2
        self.config.save()
        gate = Gate(2)
        self.assertEqual((self.with_details(gate).status, gate.most), ("success", 2))

    def test_a_silent_carrier_is_not_asked_to_the_end(self) -> None:
        self.sync()
        before = list(CircuitCost.objects.values_list("pk", "mrc", "last_updated_date"))
        asked: list[Any] = []

        def silent(row: Any) -> Any:
            asked.append(row)
            raise ProviderUnavailable("no answer")

        self.config.parameters["requests_at_once"] = 1
        self.config.save()
        result = self.with_details(silent)
        self.assertEqual((result.status, len(asked)), ("failed", LONGEST))
        self.assertIn("in a row without an answer", result.run.error)
        self.assertEqual(list(CircuitCost.objects.values_list("pk", "mrc", "last_updated_date")), before)

    def test_refused_rows_are_answers(self) -> None:
        def odd(row: Any) -> Any:
            raise BadAnswer("not this one")

        result = self.with_details(odd)
        self.assertEqual((result.run.error, result.as_result()["failed"]), ("", self.count))


class CarrierTest(TestCase):
    def test_one_token_for_all_threads(self) -> None:
        world = World.of(8)
        with plugin_settings(), carrier_of("sonata", world) as carrier:
            provider = build_provider(make_config(make_provider(), "sonata", carrier.url))
            provider.authenticate()
            carrier.shape.tokens.clear()
            paths = [ListRequest(f"{provider.inventory_path}/product/{each.id}") for each in world.circuits]
            answers = list(provider.ask_each(paths))
        self.assertEqual([answer.body["id"] for answer in answers], [each.id for each in world.circuits])
        self.assertEqual(carrier.requests.count(f"POST {provider.token_path}"), 2)

    def test_a_bill_with_a_line_that_fails_is_no_bill(self) -> None:
        world = World.of(3)
        world.charges += [SimCharge(f"L-{number}", "INV-1", world.circuits[0].id) for number in range(6)]
        with plugin_settings(), carrier_of("sonata", world) as carrier:
            provider = build_provider(make_config(make_provider(), "sonata", carrier.url))
            provider.authenticate()
            lines = [line["id"] for page in provider.list_charges(None) for line in page]
            self.assertEqual(lines, [each.id for each in world.charges])
            carrier.faults.set("html")
            self.assertRaises(BadAnswer, list, provider.list_charges(None))

    def test_parameters_are_checked(self) -> None:
        for name, value in (
            ("requests_per_second", 0),
            ("requests_per_second", "5"),
            ("requests_at_once", 0),
            ("requests_at_once", 17),
            ("requests_at_once", True),
        ):
            with self.subTest(name=name, value=value):
                made = make_config(None, "fake", "https://fake.example", parameters={name: value})
                with self.assertRaisesMessage(ConfigurationError, name):
                    build_provider(made).threads  # noqa: B018
        provider = build_provider(
            make_config(None, "fake", "https://fake.example", parameters={"requests_per_second": 2.5})
        )
        self.assertEqual(provider.session.policy.requests_per_second, 2.5)
        self.assertEqual(run_sync(provider.config).status, "failed")
