"""The OpenAPI document as what a guard needs of it: operations, lists, filters, bodies, and paths with real ids in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..conftest import Caller  # noqa: TID252 - the suite's own

_PARAMETER = re.compile(r"\{(\w+)\}")
WINDOW = frozenset({"skip", "limit", "sort"})
# Lists whose rows hold the ids of paths that have no list above them: path -> (list, field of its rows).
_ELSEWHERE = {
    "/api/billing/accounts/{customer_id}": ("/api/customers", "id"),
    "/api/data-caps/{service_id}": ("/api/data-caps", "service_id"),
    "/api/addresses/{address}": ("/api/subscribers", "static_ipv4"),
}


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    permission: str | None
    spec: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def filters(self) -> list[str]:
        """Query parameters beside the window."""
        return [one["name"] for one in self.parameters("query") if one["name"] not in WINDOW]

    def parameters(self, place: str) -> list[dict[str, Any]]:
        return [one for one in self.spec.get("parameters", ()) if one["in"] == place]


class Surface:
    """One application's document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.operations = [
            Operation(method.upper(), path, spec.get("x-permission"), spec)
            for path, methods in document["paths"].items()
            for method, spec in methods.items()
        ]

    @property
    def guarded(self) -> list[Operation]:
        return [one for one in self.operations if one.permission is not None]

    @property
    def lists(self) -> list[Operation]:
        """Operations whose answer is a window of something: a `total` and an array."""
        return [one for one in self.operations if one.method == "GET" and self._is_list(one)]

    def _is_list(self, one: Operation) -> bool:
        properties = self.answer(one).get("properties", {})
        return "total" in properties and self._arrays(properties) != []

    def rows_key(self, one: Operation) -> str:
        """The key that a list's rows stand under."""
        return self._arrays(self.answer(one)["properties"])[0]

    @staticmethod
    def _arrays(properties: dict[str, Any]) -> list[str]:
        return [name for name, shape in properties.items() if shape.get("type") == "array"]

    def answer(self, one: Operation) -> dict[str, Any]:
        """The schema of its ordinary JSON answer."""
        answers = one.spec["responses"]
        status = next(status for status in ("200", "201", "202") if status in answers)
        return self.resolve(answers[status].get("content", {}).get("application/json", {}).get("schema", {}))

    def resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema

    def body(self, one: Operation) -> Any:
        """The smallest body that fits the operation's schema; None when it takes none."""
        content = one.spec.get("requestBody", {}).get("content", {}).get("application/json")
        return None if content is None else self._example(content["schema"])

    def body_properties(self, one: Operation) -> dict[str, Any]:
        """The fields of the operation's body by name."""
        content = one.spec.get("requestBody", {}).get("content", {}).get("application/json")
        shape = {} if content is None else self.resolve(content["schema"])
        found: dict[str, Any] = shape.get("properties", {})
        return found

    def _example(self, schema: dict[str, Any]) -> Any:
        shape = self.resolve(schema)
        for key in ("examples", "enum"):
            if shape.get(key):
                return shape[key][0]
        if "const" in shape or "default" in shape:
            return shape.get("const", shape.get("default"))
        for key in ("anyOf", "oneOf", "allOf"):
            if key in shape:
                return self._example(shape[key][0])
        return self._of_type(shape)

    def _of_type(self, shape: dict[str, Any]) -> Any:
        kind = shape.get("type", "object")
        if kind == "object":
            properties = shape.get("properties", {})
            return {name: self._example(properties[name]) for name in shape.get("required", ())}
        if kind == "array":
            return [self._example(shape["items"])] * shape.get("minItems", 0)
        if kind == "string":
            return _TEXTS.get(shape.get("format", ""), "x" * max(shape.get("minLength", 1), 1))
        if kind in ("integer", "number"):
            return int(max(shape.get("minimum", 0), shape.get("exclusiveMinimum", -1) + 1))
        return kind == "boolean"

    async def paths(self, path: str, caller: Caller) -> list[str]:
        """The path with real ids in place of its parameters: one for each row that the caller has."""
        concrete = [""]
        before = ""
        for part in _PARAMETER.split(path)[::2]:
            before, concrete = before + part, [one + part for one in concrete]
            name = _PARAMETER.match(path[len(before) :])
            if name is None:
                break
            whole = f"{before}{name[0]}"
            concrete = [value for one in concrete async for value in self._with_ids(whole, one, caller)]
            before = whole
        return concrete

    async def _with_ids(self, template: str, concrete: str, caller: Caller) -> Any:
        """Each id that the list above names. A template of `…/records/{id}` has its ids in the list `…/records`."""
        listed, key = _ELSEWHERE.get(template, (concrete.rstrip("/"), "id"))
        answer = await caller.get(listed, limit=500)
        assert answer.status_code == 200, f"{template}: where do its ids come from? {listed}: {answer.text}"
        (rows,) = (value for value in answer.json().values() if isinstance(value, list))
        for row in rows:
            if row.get(key) is not None:
                yield f"{concrete}{row[key]}"


_TEXTS = {
    "uuid": "00000000-0000-4000-8000-000000000000",
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "email": "ann@example.com",
    "ipv4": "127.0.9.9",
}
