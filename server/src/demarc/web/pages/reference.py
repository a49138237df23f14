"""The OpenAPI document as a page: operations by tag, shapes as tables."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]
_REF = "#/components/schemas/"
_FIRST_ERROR = "400"
_SAMPLES: dict[str, Any] = {
    "string": "text",
    "integer": 1,
    "number": 1,
    "boolean": True,
    "array": [],
    "object": {},
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "uuid": "660e8400-e29b-41d4-a716-446655440000",
}


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of a type; `shape` names the schema it links to."""

    text: str
    shape: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """One row of a table. `place` is path, query, header or body."""

    name: str
    type: tuple[Word, ...]
    is_required: bool
    limits: str
    description: str
    place: str = "body"


@dataclass(frozen=True, slots=True)
class Answer:
    """One status an operation may answer with."""

    status: str
    description: str
    type: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path. `curl` starts after the address of the server."""

    anchor: str
    method: str
    path: str
    summary: str
    description: str
    permission: str | None
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    body_type: tuple[Word, ...]
    answers: tuple[Answer, ...]
    errors: tuple[Answer, ...]
    curl: str

    @property
    def own_parameters(self) -> tuple[Field, ...]:
        """Those in path and query; headers are described once for all."""
        return tuple(field for field in self.parameters if field.place != "header")

    @property
    def headers(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.parameters if field.place == "header")


@dataclass(frozen=True, slots=True)
class Group:
    """The operations of one tag."""

    name: str
    description: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """One named schema: its fields, or the words it may be."""

    name: str
    description: str
    fields: tuple[Field, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """The whole page."""

    title: str
    description: str
    headers: tuple[Field, ...]
    groups: tuple[Group, ...]
    shapes: tuple[Shape, ...]


def read_document(document: Schema) -> Reference:
    """Turn an OpenAPI 3.1 document into what the page shows."""
    reader = _Reader(document["components"]["schemas"])
    made = [reader.operation(method, path, raw) for path, method, raw in _operations(document)]
    tags = [(raw.get("tags") or ["other"])[0] for _, _, raw in _operations(document)]
    groups = [
        Group(
            tag["name"],
            tag["description"],
            tuple(op for op, name in zip(made, tags, strict=True) if name == tag["name"]),
        )
        for tag in document["tags"]
    ]
    headers = {field.name: field for op in made for field in op.parameters if field.place == "header"}
    return Reference(
        title=document["info"]["title"],
        description=document["info"]["description"],
        headers=tuple(headers.values()),
        groups=tuple(groups),
        shapes=tuple(reader.shape(name) for name in sorted(reader.schemas)),
    )


def _operations(document: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, methods in document["paths"].items():
        for method, raw in methods.items():
            yield path, method.upper(), raw


class _Reader:
    """Reads operations against the document's named schemas."""

    def __init__(self, schemas: dict[str, Schema]) -> None:
        self.schemas = schemas

    def operation(self, method: str, path: str, raw: Schema) -> Operation:
        body = _content(raw.get("requestBody", {}))
        answers = [
            Answer(status, answer["description"], type_of(_content(answer)))
            for status, answer in raw["responses"].items()
        ]
        return Operation(
            anchor=_anchor(method, path),
            method=method,
            path=path,
            summary=raw.get("summary", ""),
            description=raw.get("description", ""),
            permission=raw.get("x-permission"),
            parameters=tuple(_parameter(one) for one in raw.get("parameters", ())),
            body=self._fields(self._resolve(body)),
            body_type=type_of(body),
            answers=tuple(answer for answer in answers if answer.status < _FIRST_ERROR),
            errors=tuple(answer for answer in answers if answer.status >= _FIRST_ERROR),
            curl=self._curl(method, path, raw, body),
        )

    def shape(self, name: str) -> Shape:
        schema = self.schemas[name]
        values = tuple(str(value) for value in schema.get("enum", ()))
        return Shape(name, schema.get("description", ""), self._fields(schema), values)

    def _fields(self, schema: Schema) -> tuple[Field, ...]:
        required = schema.get("required", ())
        return tuple(
            Field(name, type_of(one), name in required, limits_of(one), one.get("description", ""))
            for name, one in schema.get("properties", {}).items()
        )

    def _resolve(self, schema: Schema) -> Schema:
        ref = schema.get("$ref")
        return self.schemas[ref.removeprefix(_REF)] if ref else schema

    def _curl(self, method: str, path: str, raw: Schema, body: Schema) -> str:
        lines = [re.sub(r"\{(\w+)\}", lambda found: "$" + found[1].upper(), path) + '"']
        if method not in ("GET", "POST"):
            lines[0] += f" -X {method}"
        if "x-permission" in raw:
            lines += ['-H "Authorization: Bearer $TOKEN"', "-H 'X-Tenant-ID: demo-alpha'"]
        if body:
            sample = json.dumps(self.sample(body), ensure_ascii=False)
            lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(sample)}"]
        elif method == "POST":
            lines[0] += " -X POST"
        return " \\\n  ".join(lines)

    def sample(self, schema: Schema) -> Any:
        """A value of this shape: an example where one is given, required fields only otherwise."""
        schema = self._resolve(schema)
        if "properties" in schema:
            wanted = {name: one for name, one in schema["properties"].items() if _is_shown(name, one, schema)}
            return {name: self.sample(one) for name, one in wanted.items()}
        for key in ("example", "default", "const"):
            if schema.get(key) is not None:
                return schema[key]
        if listed := [*schema.get("examples", ()), *schema.get("enum", ())]:
            return listed[0]
        if choices := schema.get("anyOf") or schema.get("oneOf"):
            return self.sample(choices[0])
        if schema.get("type") == "array" and schema.get("minItems"):
            return [self.sample(schema["items"])]
        return _plain_sample(schema)


def _plain_sample(schema: Schema) -> Any:
    found = _SAMPLES.get(schema.get("format", ""), _SAMPLES.get(schema.get("type", ""), "text"))
    if isinstance(found, str) and len(found) < schema.get("minLength", 0):
        return found.ljust(schema["minLength"], "-")
    if schema.get("type") in ("integer", "number"):
        return max(found, schema.get("minimum", found))
    return found


def _is_shown(name: str, schema: Schema, parent: Schema) -> bool:
    return name in parent.get("required", ()) or "examples" in schema


def _content(part: Schema) -> Schema:
    schema: Schema = part.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _parameter(raw: Schema) -> Field:
    return Field(
        name=raw["name"],
        type=type_of(raw["schema"]),
        is_required=raw.get("required", False),
        limits=limits_of(raw["schema"]),
        description=raw.get("description", raw["schema"].get("description", "")),
        place=raw["in"],
    )


def _anchor(method: str, path: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{method} {path}".lower()).strip("-")


def type_of(schema: Schema) -> tuple[Word, ...]:
    """The type in words, with links to named schemas: `list of CustomerOut`, `string or null`."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return (Word(name, name),)
    choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if choices:
        return _joined([type_of(choice) for choice in choices])
    if schema.get("type") == "array":
        return (Word("list of "), *type_of(schema.get("items", {})))
    if "const" in schema:
        return (Word(json.dumps(schema["const"])),)
    inner = schema.get("additionalProperties")
    if isinstance(inner, dict) and inner:
        return (Word("map to "), *type_of(inner))
    kind = schema.get("type", "anything" if schema else "")
    return (Word(schema.get("format") or kind),) if kind else ()


def _joined(parts: list[tuple[Word, ...]]) -> tuple[Word, ...]:
    words: list[Word] = []
    for part in parts:
        words += [Word(" or "), *part] if words else part
    return tuple(words)


def limits_of(schema: Schema) -> str:
    """What a value may be, in words."""
    merged = {**schema}
    for choice in schema.get("anyOf", ()):
        merged = {**choice, **merged}
    found = [
        _range(merged, "minLength", "maxLength", "character"),
        _range(merged, "minItems", "maxItems", "item"),
        _range(merged, "minimum", "maximum"),
        f"above {merged['exclusiveMinimum']}" if "exclusiveMinimum" in merged else "",
        f"matches `{merged['pattern']}`" if "pattern" in merged else "",
        "one of " + ", ".join(f"`{value}`" for value in merged["enum"]) if "enum" in merged else "",
        f"default `{json.dumps(merged['default'])}`" if merged.get("default") is not None else "",
    ]
    return "; ".join(part for part in found if part)


def _range(schema: Schema, least: str, most: str, unit: str = "") -> str:
    low, high = schema.get(least), schema.get(most)
    if low is None and high is None:
        return ""
    span = f"at most {high}" if low is None else f"at least {low}" if high is None else f"{low} to {high}"
    return f"{span} {unit}s" if unit else span
