"""The reference page shows all of the OpenAPI document, and its examples fit their shapes."""

from __future__ import annotations

import json
import re
import shlex
from html.parser import HTMLParser

import pytest
from jsonschema import Draft202012Validator

from demarc.bootstrap import build_app
from demarc.web.pages.prose import breakable, paragraphs, words
from demarc.web.pages.reference import limits_of, read_document, type_of


class Seen(HTMLParser):
    """Ids, links, and everything fetched from outside."""

    def __init__(self, html):
        super().__init__()
        self.ids, self.links, self.fetched = set(), set(), set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if "id" in given:
            assert given["id"] not in self.ids, f"two elements are called {given['id']}"
            self.ids.add(given["id"])
        if tag == "a":
            self.links.add(given["href"])
        if tag in ("link", "script", "img"):
            self.fetched.add(given.get("href") or given.get("src"))


@pytest.fixture
def document(settings, database, master_key):
    return build_app(settings, database, master_key).openapi()


async def test_every_operation_and_every_shape_is_there(callers, document):
    answer = await callers.anonymous().get("/docs")
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    page = Seen(answer.text)
    for path, methods in document["paths"].items():
        for method in methods:
            anchor = re.sub(r"[^a-z0-9]+", "-", f"{method} {path}".lower()).strip("-")
            assert anchor in page.ids
    assert {f"shape-{name}" for name in document["components"]["schemas"]} <= page.ids


async def test_no_link_is_dead_and_nothing_comes_from_elsewhere(callers):
    client = callers.anonymous()
    for path in ("/", "/docs"):
        page = Seen((await client.get(path)).text)
        for link in page.links | page.fetched:
            assert link.startswith(("#", "/")), link
            if link.startswith("#"):
                assert link[1:] in page.ids, f"{path}: {link}"
            else:
                assert (await client.get(link)).status_code == 200, f"{path}: {link}"


def test_examples_fit_the_shapes_they_show(document):
    """Each printed body is valid by the schema that it is an example of."""
    seen = 0
    reference = read_document(document)
    raw = {
        (method.upper(), path): op
        for path, methods in document["paths"].items()
        for method, op in methods.items()
    }
    for operation in (op for group in reference.groups for op in group.operations):
        arguments = shlex.split(f'curl "{operation.curl}')
        assert ("-X" in arguments) == (operation.method not in ("GET", "POST")) or not operation.body_type
        if "-d" not in arguments:
            continue
        seen += 1
        schema = raw[operation.method, operation.path]["requestBody"]["content"]["application/json"]["schema"]
        body = json.loads(arguments[arguments.index("-d") + 1])
        errors = list(
            Draft202012Validator({**schema, "components": document["components"]}).iter_errors(body)
        )
        assert errors == [], f"{operation.method} {operation.path}: {errors[0].message}"
    assert seen > 0


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"$ref": "#/components/schemas/A"}, "A"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/A"}}, "list of A"),
        ({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}]}, "uuid or null"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "map to integer"),
        ({"type": "object", "additionalProperties": True}, "object"),
        ({"const": "bearer", "type": "string"}, '"bearer"'),
        ({}, ""),
    ],
)
def test_types_in_words(schema, expected):
    assert "".join(word.text for word in type_of(schema)) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"minLength": 1, "maxLength": 5}, "1 to 5 characters"),
        ({"anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}]}, "at most 5 characters"),
        ({"minimum": 0}, "at least 0"),
        ({"enum": ["a", "b"], "default": "a"}, 'one of `a`, `b`; default `"a"`'),
        ({"default": None}, ""),
        ({"default": False}, "default `false`"),
    ],
)
def test_limits_in_words(schema, expected):
    assert limits_of(schema) == expected


def test_prose_escapes_everything_but_its_own_marks():
    assert words("<b>`a<b` **c**") == "&lt;b&gt;<code>a&lt;b</code> <strong>c</strong>"
    assert paragraphs("one\n\ntwo") == "<p>one</p>\n<p>two</p>"
    assert breakable("a/<b>/c") == "a/<wbr>&lt;b&gt;/<wbr>c"
