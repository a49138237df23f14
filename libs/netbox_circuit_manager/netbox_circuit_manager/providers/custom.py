"""Any carrier with a JSON API, described in the configuration: where the lists are, how they page, which field is which.

The parameters, all but `circuits` optional:

    {
      "auth": {"type": "bearer" | "basic" | "header" | "oauth", "header": "X-Api-Key", "token_path": "/oauth/token"},
      "currency": "USD",
      "circuits": {
        "path": "/circuits", "method": "GET", "rows": "data", "query": {"status": "active"},
        "paging": {"type": "page", "page": "page", "size": "per_page", "limit": 100, "more": "has_more"},
        "details": "/circuits/{id}", "details_rows": "circuit", "since": "updated_after",
        "ended": ["disconnected"],
        "fields": {"carrier_id": "id", "cid": "circuit_id", "mrc": "billing.monthly_fee", "currency": "billing.currency"}
      },
      "tickets": {"path": "/tickets", "rows": "tickets", "fields": {…}, "statuses": {"New": "open"}, "priorities": {…}},
      "charges": {"path": "/invoices/lines", "rows": "lines", "fields": {…}, "kinds": {"MRC": "recurring"}}
    }

Paging types: `none`, `page`, `offset`, `cursor`, `days`; their other keys are the attributes of the classes in
`providers.paging`. A field is a dotted path into the row.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields as dataclass_fields
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote

from .carrier import OAuthProviderSync
from .errors import ConfigurationError, RowRefused
from .paging import Cursor, DayWindows, ListRequest, Offset, PageNumber, Paging, Row, SinglePage, find
from .records import (
    TICKET_PRIORITIES,
    TICKET_STATUSES,
    ChargeRecord,
    CircuitRecord,
    ContractRecord,
    TicketRecord,
    clip_text,
    read_currency,
    read_date,
    read_moment,
    read_money,
    read_months,
    read_path,
    read_text,
)
from .registry import provider_registry

PAGING: dict[str, type] = {"none": SinglePage, "page": PageNumber, "offset": Offset, "cursor": Cursor}
CIRCUIT_FIELDS = frozenset(
    {
        "carrier_id",
        "cid",
        "customer_id",
        "account",
        "status",
        "nrc",
        "mrc",
        "currency",
        "contract_number",
        "start_date",
        "end_date",
        "term_months",
        "path",
    }
)
TICKET_FIELDS = frozenset(
    {
        "number",
        "circuit",
        "subject",
        "status",
        "priority",
        "opened_at",
        "closed_at",
        "description",
        "resolution",
        "url",
    }
)
CHARGE_FIELDS = frozenset(
    {
        "bill_number",
        "line",
        "circuit",
        "kind",
        "amount",
        "currency",
        "period_start",
        "period_end",
        "description",
    }
)
CHARGE_KINDS = frozenset({"recurring", "non_recurring", "usage", "credit"})


class CustomProviderSync(OAuthProviderSync):
    """A carrier described by the configuration."""

    provider_name = "custom"
    label = "Custom"

    def __init__(self, api_config: Any) -> None:
        super().__init__(api_config)
        self._fields: dict[str, dict[str, str]] = {}

    @property
    def supports_delta(self) -> bool:  # type: ignore[override] # depends on the configuration
        return bool(self._part("circuits").get("since"))

    @property
    def publishes_tickets(self) -> bool:  # type: ignore[override]
        return "tickets" in self.parameters

    @property
    def publishes_charges(self) -> bool:  # type: ignore[override]
        return "charges" in self.parameters

    @property
    def needs_details(self) -> bool:  # type: ignore[override]
        return bool(self._part("circuits").get("details"))

    @property
    def announces_total(self) -> bool:  # type: ignore[override]
        paging = self._part("circuits").get("paging", {})
        return isinstance(paging, Mapping) and bool(paging.get("total") or paging.get("total_header"))

    # Credentials

    def authenticate(self) -> bool:
        check_parameters(self.parameters)
        auth = self._auth()
        if auth.get("type") == "oauth":
            return super().authenticate()
        if not self.api_key:
            raise ConfigurationError("The configuration has no API key")
        self._set_header(auth)
        next(self.list_circuits(None), None)
        return True

    def renew_credentials(self) -> bool:
        return self._auth().get("type") == "oauth" and super().renew_credentials()

    def _set_header(self, auth: Mapping[str, Any]) -> None:
        kind = auth.get("type", "bearer")
        if kind == "basic":
            self.session.headers.pop("Authorization", None)
            self.session.auth = (self.api_key, self.api_secret)
        elif kind == "header":
            self.session.headers.pop("Authorization", None)
            self.session.headers[str(auth.get("header", "X-Api-Key"))] = self.api_key

    def _auth(self) -> Mapping[str, Any]:
        auth = self.parameters.get("auth", {})
        return auth if isinstance(auth, Mapping) else {}

    def _token_address(self) -> str:
        path = self._auth().get("token_path")
        return self.url(str(path)) if path else super()._token_address()

    # Lists

    def list_circuits(self, since: date | None) -> Iterator[list[Row]]:
        yield from self._list("circuits", since)

    def list_tickets(self, since: date | None) -> Iterator[list[Row]]:
        yield from self._list("tickets", since)

    def list_charges(self, since: date | None) -> Iterator[list[Row]]:
        yield from self._list("charges", since)

    def _list(self, name: str, since: date | None) -> Iterator[list[Row]]:
        part = self._part(name)
        query = dict(part.get("query", {}))
        if since and part.get("since"):
            query[str(part["since"])] = since.isoformat()
        request = ListRequest(
            path=str(part["path"]),
            rows=str(part.get("rows", "")),
            method="POST" if part.get("method") == "POST" else "GET",
            query=query,
            body=part.get("body"),
        )
        yield from self.rows(request, build_paging(part.get("paging", {}), since))

    def _part(self, name: str) -> Mapping[str, Any]:
        part = self.parameters.get(name)
        if not isinstance(part, Mapping):
            raise ConfigurationError(
                f"The parameter {name} is missing: it says where the carrier lists its {name}"
            )
        return part

    # Rows

    def identify(self, row: Row) -> str:
        value = self._field("circuits", row, "carrier_id")
        return str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""

    def name_of(self, row: Row) -> str:
        value = self._field("circuits", row, "cid")
        return value.strip() if isinstance(value, str) else ""

    def details_of(self, row: Row) -> Row:
        identifier = read_text(self._field("circuits", row, "carrier_id"), "carrier_id", 200)
        if not identifier:
            raise RowRefused("a circuit without id", "carrier_id")
        return {**row, **self._details(identifier)}

    def get_circuit_details(self, circuit_id: str) -> dict[str, Any]:
        return (
            dict(self._details(circuit_id)) if self.needs_details else super().get_circuit_details(circuit_id)
        )

    def read_circuit(self, row: Row) -> CircuitRecord:
        def value(name: str) -> Any:
            return self._field("circuits", row, name)

        ended = {str(word).lower() for word in self._part("circuits").get("ended", [])}
        status = read_text(value("status"), "status", 100).lower()
        return CircuitRecord(
            carrier_id=read_text(value("carrier_id"), "carrier_id", 200),
            cid=read_text(value("cid"), "cid", 100),
            customer_id=read_text(value("customer_id"), "customer_id", 200),
            account=read_text(value("account"), "account", 100),
            state="ended" if status and status in ended else "",
            nrc=read_money(value("nrc"), "nrc"),
            mrc=read_money(value("mrc"), "mrc"),
            currency=read_currency(value("currency"), self.currencies, self.stated_currency),
            contract=self._read_contract(row),
            path=read_path(value("path")),
        )

    def read_ticket(self, row: Row) -> TicketRecord:
        def value(name: str) -> Any:
            return self._field("tickets", row, name)

        return TicketRecord(
            number=read_text(value("number"), "number", 100),
            circuit=read_text(value("circuit"), "circuit", 200),
            subject=clip_text(value("subject"), 200),
            status=self._word("tickets", "statuses", value("status"), TICKET_STATUSES, "open"),  # type: ignore[arg-type]
            priority=self._word("tickets", "priorities", value("priority"), TICKET_PRIORITIES, "medium"),  # type: ignore[arg-type]
            opened_at=read_moment(value("opened_at"), "opened_at"),
            closed_at=read_moment(value("closed_at"), "closed_at"),
            description=clip_text(value("description"), 10_000),
            resolution=clip_text(value("resolution"), 10_000),
            url=read_text(value("url"), "url", 500),
        )

    def read_charge(self, row: Row) -> ChargeRecord:
        def value(name: str) -> Any:
            return self._field("charges", row, name)

        amount = read_money(value("amount"), "amount")
        if amount is None:
            raise RowRefused("a line without an amount", "amount")
        return ChargeRecord(
            bill_number=read_text(value("bill_number"), "bill_number", 100),
            line=read_text(value("line"), "line", 200),
            circuit=read_text(value("circuit"), "circuit", 200),
            kind=self._word("charges", "kinds", value("kind"), CHARGE_KINDS, "recurring"),  # type: ignore[arg-type]
            amount=amount,
            currency=read_currency(value("currency"), self.currencies, self.stated_currency),
            period_start=read_date(value("period_start"), "period_start"),
            period_end=read_date(value("period_end"), "period_end"),
            description=clip_text(value("description"), 500),
        )

    def _read_contract(self, row: Row) -> ContractRecord | None:
        number = read_text(self._field("circuits", row, "contract_number"), "contract_number", 100)
        if not number:
            return None
        return ContractRecord(
            number=number,
            start_date=read_date(self._field("circuits", row, "start_date"), "start_date"),
            end_date=read_date(self._field("circuits", row, "end_date"), "end_date"),
            term_months=read_months(self._field("circuits", row, "term_months"), "term_months"),
        )

    def _details(self, identifier: str) -> Row:
        part = self._part("circuits")
        path = str(part["details"]).replace("{id}", quote(identifier, safe=""))
        details = find(self.ask(ListRequest(path)).body, str(part.get("details_rows", "")))
        if not isinstance(details, Mapping) or not details:
            raise RowRefused("the carrier answered no details")
        return details

    def _field(self, part: str, row: Row, name: str) -> Any:
        if part not in self._fields:
            self._fields[part] = {
                field: str(path) for field, path in self._part(part).get("fields", {}).items()
            }
        path = self._fields[part].get(name)
        return find(row, path) if path else None

    def _word(self, part: str, mapping: str, value: Any, known: frozenset[str], default: str) -> str:
        """The plugin's word for the carrier's. Raises `RowRefused` for a word that neither knows."""
        if value is None or value == "":
            return default
        words = {str(word).lower(): str(ours) for word, ours in self._part(part).get(mapping, {}).items()}
        word = words.get(str(value).lower(), str(value).lower())
        if word not in known:
            raise RowRefused(f"{value!r} is in neither {mapping} nor the plugin's own words", mapping)
        return word


def build_paging(part: Any, since: date | None = None) -> Paging:
    """The paging that a configuration describes. Raises `ConfigurationError` for an unknown type or key."""
    if not isinstance(part, Mapping):
        raise ConfigurationError("paging must be a JSON object")
    keys = {str(name): value for name, value in part.items() if name not in ("type", "limit")}
    kind = str(part.get("type", "none"))
    if kind == "days":
        within = build_paging(keys.pop("within", {}))
        until = datetime.now(UTC).date()
        try:
            return DayWindows(since=since or until, until=until, within=within, **keys)
        except TypeError as error:
            raise ConfigurationError(f"paging by days: {error}") from error
    paging = PAGING.get(kind)
    if paging is None:
        raise ConfigurationError(f"paging type {kind!r} is unknown; there are {', '.join([*PAGING, 'days'])}")
    limit = _whole_number(part["limit"]) if "limit" in part else None
    known = {each.name for each in dataclass_fields(paging)}
    if unknown := set(keys) - known:
        raise ConfigurationError(f"paging of type {kind} has no {', '.join(sorted(unknown))}")
    return paging(**keys, **({"limit": limit} if limit and "limit" in known else {}))


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raises `ConfigurationError` naming the first thing that cannot work."""
    if "circuits" not in parameters:
        raise ConfigurationError(
            "The parameter circuits is missing: it says where the carrier lists its circuits"
        )
    for name, known in (("circuits", CIRCUIT_FIELDS), ("tickets", TICKET_FIELDS), ("charges", CHARGE_FIELDS)):
        if name in parameters:
            _check_part(name, parameters[name], known)
    auth = parameters.get("auth", {})
    if not isinstance(auth, Mapping) or auth.get("type", "bearer") not in (
        "bearer",
        "basic",
        "header",
        "oauth",
    ):
        raise ConfigurationError("auth must be an object whose type is bearer, basic, header or oauth")


def _check_part(name: str, part: Any, known: frozenset[str]) -> None:
    if not isinstance(part, Mapping):
        raise ConfigurationError(f"{name} must be a JSON object")
    if not str(part.get("path", "")).startswith("/"):
        raise ConfigurationError(f"{name}.path must begin with a slash")
    fields = part.get("fields")
    if not isinstance(fields, Mapping) or not fields:
        raise ConfigurationError(f"{name}.fields must say which of the carrier's fields is which")
    if unknown := set(fields) - known:
        raise ConfigurationError(
            f"{name}.fields has no {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}"
        )
    if name == "circuits" and "carrier_id" not in fields:
        raise ConfigurationError("circuits.fields needs carrier_id: the key by which circuits are recognised")
    if "details" in part and "{id}" not in str(part["details"]):
        raise ConfigurationError("circuits.details must contain {id}")
    build_paging(part.get("paging", {}))


def _whole_number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError("paging.limit must be a whole number above zero")
    return value


provider_registry.register("custom", CustomProviderSync)

__all__ = ["CustomProviderSync", "build_paging", "check_parameters"]
