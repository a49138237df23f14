"""Wording into text: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from jinja2 import DebugUndefined, StrictUndefined, TemplateError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment

from demarc.kernel.errors import Invalid, invalid

FALLBACK_LANGUAGE = "en"

# A tenant writes its own templates: they run in Jinja2's sandbox, and hold only what ends soon and stays small. What repeats or
# multiplies (loops, macros, calls, `*`, `%`, `set`) could hold up every tenant, or fill the memory, with a line of text.
# The output is plain text, so nothing is escaped.
_STATEMENTS = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.If)
_VALUES = (
    *(nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Getattr, nodes.Getitem, nodes.CondExpr),
    *(nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Test, nodes.Filter, nodes.Keyword),
    *(nodes.Add, nodes.Sub, nodes.Div, nodes.FloorDiv, nodes.Neg, nodes.Pos, nodes.Concat),
)
FILTERS = frozenset(
    ("capitalize", "d", "default", "first", "last", "length", "lower", "string", "title", "trim", "upper")
)
_TOO_MUCH = (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError)
"""What parser and compiler raise over text that is nested too deep or holds a number of too many digits."""
_JINJA = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined,
    autoescape=False,
    keep_trailing_newline=False,
)
_DRAFT = ImmutableSandboxedEnvironment(
    undefined=DebugUndefined, autoescape=False, keep_trailing_newline=False
)


@dataclass(frozen=True, slots=True)
class Wording:
    """A template: Jinja2 text for the subject (e-mail only) and the body."""

    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Text:
    """What the customer will read."""

    subject: str
    body: str


def check_syntax(field: str, template: str) -> None:
    """Raises `Invalid` when the template cannot be parsed (in Jinja2's own words) or holds what wording may not."""
    try:
        tree = _JINJA.parse(template)
        strange = next(filter(None, map(_strange, tree.find_all(nodes.Node))), None)
        if strange is None:
            _JINJA.compile(tree)
    except TemplateError as error:
        raise invalid(field, f"is not a valid template: {error}") from None
    except _TOO_MUCH:
        raise invalid(
            field, "is not a valid template: it is nested too deep, or a number is too long"
        ) from None
    if strange is not None:
        raise invalid(field, f"{strange}; a template may hold names, if and the filters {_FILTERS_TOLD}")


_FILTERS_TOLD = ", ".join(sorted(FILTERS))


def _strange(node: nodes.Node) -> str | None:
    """What a template may not hold, in words."""
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        return f"line {node.lineno} has the filter {node.name}"
    if not isinstance(node, (*_STATEMENTS, *_VALUES)):
        return f"line {node.lineno} has {_WORDS.get(type(node), type(node).__name__.lower())}"
    return None


_WORDS = {
    nodes.For: "a loop",
    nodes.Call: "a call",
    nodes.Assign: "set",
    nodes.Mul: "*",
    nodes.Pow: "**",
    nodes.Mod: "%",
}


def render(wording: Wording, context: Mapping[str, object]) -> Text:
    """Fill in the context. The subject becomes one line, whatever a customer's name holds.

    Raises:
        Invalid: the template names something that the context does not have, or does what the sandbox forbids.
    """
    return _rendered(_JINJA, wording, context)


def _rendered(environment: SandboxedEnvironment, wording: Wording, context: Mapping[str, object]) -> Text:
    check_syntax("subject", wording.subject)
    check_syntax("body", wording.body)
    try:
        subject = environment.from_string(wording.subject).render(context)
        body = environment.from_string(wording.body).render(context)
    except (TemplateError, ArithmeticError, TypeError, ValueError) as error:
        raise Invalid(f"the template cannot be rendered: {error}", code="TEMPLATE_INVALID") from None
    return Text(" ".join(subject.split()), body.strip() + "\n")


def variables(wording: Wording) -> list[str]:
    """The names that a template takes from its context."""
    return sorted(
        {
            name
            for part in (wording.subject, wording.body)
            for name in meta.find_undeclared_variables(_JINJA.parse(part))
        }
    )


def preview(wording: Wording, context: Mapping[str, object]) -> Text:
    """As `render`, but names that the context lacks stay in the text as they are written: `{{ name }}`."""
    return _rendered(_DRAFT, wording, context)


def languages(language: str) -> Iterator[str]:
    """Where to look, in order: pt-BR, pt, en."""
    yield from dict.fromkeys((language, language.partition("-")[0], FALLBACK_LANGUAGE))


def message_id(uid: UUID, tenant_slug: str) -> str:
    """The Message-ID of a notification: derived, so that every attempt carries the same one."""
    return f"<{uid}@{tenant_slug}.demarc>"


def notification_uid(message_id: str) -> UUID | None:
    """The notification that a Message-ID was derived from, if it is one of ours."""
    try:
        return UUID(message_id.strip().removeprefix("<").partition("@")[0])
    except ValueError:
        return None
