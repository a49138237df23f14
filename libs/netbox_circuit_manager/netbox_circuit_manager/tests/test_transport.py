"""The session and the paging, without a database."""

from decimal import Decimal
from typing import Any

import requests
from django.test import SimpleTestCase

from netbox_circuit_manager.providers.custom import build_paging, check_parameters
from netbox_circuit_manager.providers.errors import BadAnswer, ConfigurationError, IncompleteList, RowRefused
from netbox_circuit_manager.providers.paging import (
    Answer,
    Cursor,
    DayWindows,
    ListRequest,
    Offset,
    PageNumber,
    SinglePage,
    find,
)
from netbox_circuit_manager.providers.records import (
    read_currency,
    read_date,
    read_moment,
    read_money,
    read_months,
    read_text,
)
from netbox_circuit_manager.providers.registry import ProviderRegistry
from netbox_circuit_manager.providers.tmf import per_month, read_prices
from netbox_circuit_manager.providers.transport import (
    CarrierSession,
    RequestRefused,
    ResponseTooLarge,
    TransportPolicy,
    check_address,
    public_address,
)
from netbox_circuit_manager.sync.listing import Listing
from netbox_circuit_manager.testing import CarrierSimulator, World
from netbox_circuit_manager.testing.shapes import KEY

from .carriers import REST

POLICY = {"backoff_factor": 0, "retries": 2, "allow_loopback_http": True}


def session(**values: Any) -> CarrierSession:
    made = CarrierSession(TransportPolicy(**{**POLICY, **values}))
    made.headers["Authorization"] = f"Bearer {KEY}"
    return made


class SessionTest(SimpleTestCase):
    def setUp(self) -> None:
        self.carrier = CarrierSimulator("rest", World.of(3)).start()
        self.addCleanup(self.carrier.stop)
        self.address = f"{self.carrier.url}/circuits"

    def test_amounts_stay_exact(self) -> None:
        fee = session().get(self.address).json()["data"][0]["billing"]["monthly_fee"]
        self.assertEqual((fee, type(fee)), (Decimal("101.50"), Decimal))

    def test_retry_after_a_passing_failure(self) -> None:
        for fault in ("error_500", "rate_limit"):
            self.carrier.requests.clear()
            self.carrier.faults.set(fault, times=2)
            self.assertEqual(session().get(self.address).status_code, 200)
            self.assertEqual(len(self.carrier.requests), 3)

    def test_last_answer_is_given_when_retries_are_over(self) -> None:
        self.carrier.faults.set("error_500")
        self.assertEqual(session().get(self.address).status_code, 500)
        self.assertEqual(len(self.carrier.requests), 3)

    def test_a_post_is_not_repeated_unless_allowed(self) -> None:
        self.carrier.faults.set("error_500")
        session().post(self.address)
        self.assertEqual(len(self.carrier.requests), 1)

    def test_huge_answer_is_refused_while_it_arrives(self) -> None:
        self.carrier.faults.set("huge")
        with self.assertRaisesRegex(ResponseTooLarge, "larger than 100 MiB"):
            session(retries=0).get(self.address)

    def test_announced_size_is_refused_at_once(self) -> None:
        with self.assertRaises(ResponseTooLarge):
            session(max_response_bytes=100).get(self.address)

    def test_time_limit(self) -> None:
        self.carrier.faults.set("slow")
        self.carrier.faults.seconds = 1
        with self.assertRaises(requests.RequestException):
            session(read_timeout=0.1, retries=0).get(self.address)

    def test_redirects_are_not_followed(self) -> None:
        self.carrier.faults.set("redirect")
        with (made := session()).watching() as watch:
            self.assertEqual(made.get(self.address).status_code, 302)
        self.assertIn("a redirect to elsewhere.example", str(watch.failures[0]))

    def test_watch_sees_what_was_swallowed(self) -> None:
        for fault in ("error_500", "html", "cut_body", "rate_limit"):
            self.carrier.faults.set(fault)
            with (made := session(retries=0)).watching() as watch:
                try:
                    response = made.get(self.address)
                    response.raise_for_status()
                    response.json()
                except requests.RequestException:
                    pass
            self.assertTrue(watch.failures, fault)
            self.carrier.faults.clear()
        with (made := session()).watching() as watch:
            made.get(self.address).json()
        self.assertEqual(watch.failures, [])

    def test_odd_json_counts_as_a_failure(self) -> None:
        for body in ("NaN", "[" * 100_000, "1" * 10_000, ""):
            response = session().get(self.address)
            response._content = body.encode()
            with (made := session()).watching() as watch:
                response.on_failure = made.report
                with self.assertRaises(requests.exceptions.JSONDecodeError):
                    response.json()
            self.assertEqual(len(watch.failures), 1)

    def test_failures_name_no_query(self) -> None:
        self.carrier.faults.set("error_500")
        with (made := session(retries=0)).watching() as watch:
            made.get(self.address, params={"token": "very-secret"})
        self.assertNotIn("very-secret", str(watch.failures[0]))

    def test_rate(self) -> None:
        made = session(requests_per_second=50)
        made.get(self.address)
        first = made._next_request_at
        made.get(self.address)
        self.assertGreaterEqual(made._next_request_at, first + 1 / 50)

    def test_forms_go_out_as_forms(self) -> None:
        made = session()
        made.headers["Content-Type"] = "application/json"
        sent = made.post(self.address, data={"a": "b"}).request
        self.assertEqual(sent.headers["Content-Type"], "application/x-www-form-urlencoded")

    def test_addresses(self) -> None:
        for address in (
            "http://carrier.example/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "",
            "https://",
            "http://127.0.0.1.evil.example/",
            "http://[::1",
        ):
            with self.assertRaises(RequestRefused):
                check_address(address, allow_loopback_http=True)
        for address in ("http://127.0.0.1:1/", "http://localhost/", "http://[::1]/"):
            check_address(address, allow_loopback_http=True)
            with self.assertRaises(RequestRefused):
                check_address(address, allow_loopback_http=False)
        check_address("https://carrier.example", allow_loopback_http=False)
        self.assertEqual(public_address("https://me:pass@host:8443/a?key=1#x"), "https://host:8443/a")


def pages_of(rows: list[Any], make: Any) -> list[Any]:
    """The rows that a paging collects from a carrier that answers `make(request)`."""
    request = ListRequest("/rows", rows="rows", body={})
    return [row for page in rows.pages(make, request) for row in page] if hasattr(rows, "pages") else []


class PagingTest(SimpleTestCase):
    rows = [{"id": number} for number in range(7)]

    def test_page_number(self) -> None:
        def answer(request: ListRequest) -> Answer:
            page, size = request.query["page"], request.query["per_page"]
            return Answer(
                {"rows": self.rows[(page - 1) * size : page * size], "has_more": page * size < 7, "total": 7}
            )

        for paging in (
            PageNumber(limit=3, more="has_more"),
            PageNumber(limit=3, total="total"),
            PageNumber(limit=3),
        ):
            self.assertEqual(pages_of(paging, answer), self.rows)

    def test_offset_goes_on_from_what_came(self) -> None:
        """A page that is shorter than asked for does not lose the rows behind it."""

        def answer(request: ListRequest) -> Answer:
            skip = request.body["paging"]["skip"]
            return Answer({"rows": self.rows[skip : skip + 2]})

        paging = Offset(offset="paging.skip", limit_name="paging.top", limit=3, where="body")
        self.assertEqual(pages_of(paging, answer), self.rows)

    def test_total_must_be_reached(self) -> None:
        for paging in (Offset(total="total"), SinglePage(total="total"), Cursor(total="total")):
            with self.assertRaisesRegex(IncompleteList, "of 7"):
                pages_of(
                    paging,
                    lambda request: Answer(
                        {"rows": self.rows[:3] if not request.query.get("offset") else [], "total": 7}
                    ),
                )

    def test_cursor(self) -> None:
        def answer(request: ListRequest) -> Answer:
            first = int(request.query.get("cursor", 0))
            return Answer(
                {"rows": self.rows[first : first + 3], "next": str(first + 3) if first + 3 < 7 else None}
            )

        self.assertEqual(pages_of(Cursor(), answer), self.rows)

    def test_cursor_that_never_ends(self) -> None:
        with self.assertRaisesRegex(BadAnswer, "never end"):
            pages_of(Cursor(), lambda _request: Answer({"rows": [], "next": "again"}))

    def test_days(self) -> None:
        asked = []

        def answer(request: ListRequest) -> Answer:
            asked.append((request.query["from"], request.query["to"]))
            return Answer({"rows": [{"id": request.query["from"]}]})

        days = DayWindows(
            since=read_date("2026-01-01", "x"),
            until=read_date("2026-01-10", "x"),
            begin="from",
            end="to",
            days=7,
            within=SinglePage(),
            where="query",
        )
        self.assertEqual(len(pages_of(days, answer)), 2)
        self.assertEqual(asked, [("2026-01-01", "2026-01-07"), ("2026-01-08", "2026-01-10")])

    def test_no_list_where_one_was_promised(self) -> None:
        for body in ({}, {"rows": None}, {"rows": {"a": 1}}, [], "text", None):
            with self.assertRaises(BadAnswer):
                pages_of(SinglePage(), lambda _request, body=body: Answer(body))

    def test_find(self) -> None:
        body = {"a": [{"b": 1}], "c": {"d": None}}
        self.assertEqual(
            [find(body, path) for path in ("a.0.b", "a.1.b", "c.d.e", "x", "")], [1, None, None, None, body]
        )


class RecordsTest(SimpleTestCase):
    currencies = frozenset({"USD", "EUR"})

    def test_money(self) -> None:
        for value, expected in (("1.005", "1.01"), (0, "0.00"), (Decimal("9.1"), "9.10"), ("12", "12.00")):
            self.assertEqual(str(read_money(value, "x")), expected)
        self.assertIsNone(read_money(None, "x"))
        for value in (
            -1,
            "-0.01",
            "1,5",
            "1e5",
            "NaN",
            True,
            [],
            {},
            "9" * 15,
            Decimal("Infinity"),
            Decimal("1e400"),
            1.5,
            "½",
            "٣",
        ):
            with self.assertRaises(RowRefused, msg=repr(value)):
                read_money(value, "x")

    def test_others(self) -> None:
        self.assertEqual(read_currency(" usd ", self.currencies), "USD")
        self.assertEqual(read_moment("2026-01-02T03:04:05", "x").isoformat(), "2026-01-02T03:04:05+00:00")
        self.assertEqual(read_months("24", "x"), 24)
        for read, value in (
            (lambda v: read_currency(v, self.currencies), "XXX"),
            (lambda v: read_currency(v, self.currencies), 5),
            (lambda v: read_date(v, "x"), "yesterday"),
            (lambda v: read_date(v, "x"), 20260101),
            (lambda v: read_moment(v, "x"), "2026-13-01T00:00:00Z"),
            (lambda v: read_months(v, "x"), -3),
            (lambda v: read_text(v, "x", 5), "too long"),
            (lambda v: read_text(v, "x", 5), ["list"]),
            (lambda v: read_text(v, "x", 5), "\x00"),
        ):
            with self.assertRaises(RowRefused, msg=repr(value)):
                read(value)

    def test_prices(self) -> None:
        def price(kind: str, value: Any, unit: str = "USD", period: str = "month") -> dict[str, Any]:
            return {
                "priceType": kind,
                "recurringChargePeriod": period,
                "price": {"dutyFreeAmount": {"unit": unit, "value": value}},
            }

        found = read_prices(
            [
                price("recurring", 10),
                price("recurring", 120, period="year"),
                price("nonRecurring", 5),
                price("usageBased", 1),
            ],
            self.currencies,
        )
        self.assertEqual((found.mrc, found.nrc, found.currency), (Decimal("20.00"), Decimal("5.00"), "USD"))
        self.assertIsNone(read_prices([], self.currencies).mrc)
        for prices in (
            [price("recurring", 1), price("recurring", 1, "EUR")],
            [price("recurring", None)],
            [price("other", 1)],
            [{"priceType": "recurring"}],
            {},
            [price("recurring", 1, period="week")],
        ):
            with self.assertRaises(RowRefused):
                read_prices(prices, self.currencies)
        self.assertEqual(per_month(Decimal(100), "year"), Decimal("8.33"))

    def test_listing(self) -> None:
        rows = [
            {"id": "a", "n": Decimal("1.10")},
            {"id": "a", "n": Decimal("1.10")},
            {"id": "b"},
            {"id": "b", "x": 1},
            {"no": "id"},
            {"$decimal": "x"},
        ]
        with Listing(lambda row: row.get("id", "")) as listing:
            listing.read([rows])
            self.assertEqual((listing.count, listing.repeated, listing.without_key), (5, {"b"}, 2))
            self.assertEqual([row for batch in listing.batches(2) for row in batch], [rows[0], *rows[2:]])


class CustomParametersTest(SimpleTestCase):
    def test_good(self) -> None:
        check_parameters(REST)
        self.assertIsInstance(
            build_paging({"type": "cursor", "cursor": "after", "next": "meta.next"}), Cursor
        )

    def test_bad(self) -> None:
        circuits = REST["circuits"]
        for parameters, words in (
            ({}, "circuits is missing"),
            ({"circuits": []}, "must be a JSON object"),
            ({"circuits": {**circuits, "path": "https://elsewhere.example/"}}, "begin with a slash"),
            ({"circuits": {**circuits, "fields": {}}}, "must say which"),
            ({"circuits": {**circuits, "fields": {"price": "x"}}}, "has no price"),
            ({"circuits": {**circuits, "fields": {"cid": "x"}}}, "needs carrier_id"),
            ({"circuits": {**circuits, "details": "/one"}}, "must contain {id}"),
            ({"circuits": {**circuits, "paging": {"type": "scroll"}}}, "is unknown"),
            ({"circuits": {**circuits, "paging": {"type": "page", "limit": 0}}}, "above zero"),
            ({"circuits": {**circuits, "paging": {"type": "page", "pages": "x"}}}, "has no pages"),
            ({"circuits": circuits, "auth": {"type": "magic"}}, "auth must be"),
        ):
            with self.assertRaisesRegex(ConfigurationError, words):
                check_parameters(parameters)


class RegistryTest(SimpleTestCase):
    def test_names(self) -> None:
        registry = ProviderRegistry()
        self.assertIsNone(registry.get("nobody"))

        class Duck:
            pass

        registry.register("duck", Duck)
        self.assertIs(registry.get("duck"), Duck)
        self.assertEqual(registry.get_all(), {"duck": Duck})
        registry.unregister("duck")
        registry.unregister("duck")
        self.assertEqual(registry.names(), [])
        with self.assertRaises(TypeError):
            registry.register("", Duck)

    def test_entry_points(self) -> None:
        from importlib.metadata import EntryPoint
        from unittest.mock import patch

        group = "netbox_circuit_manager.providers"
        good = EntryPoint("packaged", "netbox_circuit_manager.providers.fake:FakeProviderSync", group)
        broken = EntryPoint("broken", "no_such_package:Thing", group)
        with patch("netbox_circuit_manager.providers.registry.entry_points", return_value=[good, broken]):
            registry = ProviderRegistry()
            self.assertEqual(registry.names(), ["broken", "packaged"])
            with self.assertLogs("netbox.plugins.netbox_circuit_manager.providers", "ERROR"):
                self.assertEqual(list(registry.get_all()), ["packaged"])
            self.assertEqual(registry.get("packaged").provider_name, "fake")
