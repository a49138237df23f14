"""Writes the tables of docs/reference that repeat the code: `python docs/generate.py`; `--check` only compares."""  # noqa: INP001 - a script beside its pages

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import demarc
from demarc.kernel import errors
from demarc.kernel.settings import Settings
from demarc.kernel.states import StateMachine
from demarc.web.errors import STATUS
from demarc.worker.runner import worth_a_retry

PAGES = Path(__file__).parent / "reference"
SOURCE = Path(demarc.__file__).parent
MODULES = sorted(path.name for path in (SOURCE / "modules").iterdir() if (path / "states.py").exists())
_EVENT = re.compile(r"[a-z_]+\.[a-z_]+")
_CODE = re.compile(r"[A-Z]+(_[A-Z]+)+")
_CATEGORIES = {"DemarcError", *(kind.__name__ for kind in STATUS)}

# Words of `/v1` (integers' surface) where they are not the stored ones; the surface itself is not built yet.
V1_WORDS = {
    "ServiceStatus": {
        "pending": "pending_activation",
        "provisioning_failed": "failed",
        "suspended_non_payment": "suspended",
        "suspended_fraud": "suspended",
        "degraded": "active",
        "maintenance": "active",
        "terminating": "active",
    },
}
V1_ROWS = {"ServiceStatus", "InvoiceStatus", "PlanStatus"}


def machines() -> Iterator[tuple[str, str, StateMachine[StrEnum]]]:
    """(module, name, machine) of every declared state machine."""
    for module in MODULES:
        states = importlib.import_module(f"demarc.modules.{module}.states")
        for name, value in vars(states).items():
            if isinstance(value, StateMachine):
                yield module, name, value


def states_table() -> str:
    parts = []
    for module, name, machine in machines():
        kind = type(next(iter(machine.moves)))
        own = (kind.__doc__ or "").strip() if "__doc__" in vars(kind) else ""
        about = f"{own}\n\n" if own and not own.startswith("An enumeration") else ""
        rows = [
            f"| `{state.value}` | {_v1(kind.__name__, state.value)} | {_moves(machine, state)} |"
            for state in kind
        ]
        parts.append(
            f"### {machine.entity.replace('_', ' ')}\n`{module}.states.{name}`\n\n{about}"
            "| stored and `/api` | `/v1` | may become |\n|---|---|---|\n" + "\n".join(rows)
        )
    return "\n\n".join(parts)


def _v1(kind: str, word: str) -> str:
    changed = V1_WORDS.get(kind, {}).get(word)
    if changed is None and kind not in V1_ROWS:
        return ""
    return f"`{changed or word}`"


def _moves(machine: StateMachine[StrEnum], state: StrEnum) -> str:
    kind = type(state)
    allowed = [f"`{target.value}`" for target in kind if target in machine.moves[state]]
    return ", ".join(allowed) or "nothing: it is final"


def settings_table() -> str:
    rows = [
        f"| `{_variable(name)}` | {_default(info.default)} | {info.description} |"
        for name, info in Settings.model_fields.items()
    ]
    return "| variable | default | meaning |\n|---|---|---|\n" + "\n".join(rows)


def _variable(name: str) -> str:
    alias = Settings.model_fields[name].validation_alias
    return str(alias) if alias else f"DEMARC_{name.upper()}"


def _default(value: object) -> str:
    if value is None:
        return "unset"
    return f"`{str(value).lower() if isinstance(value, bool) else getattr(value, 'value', value)}`"


def categories_table() -> str:
    rows = []
    for kind, status in STATUS.items():
        probe = kind("", retry_after_seconds=1) if kind is errors.LimitExceeded else kind("")
        about = (kind.__doc__ or "").strip() if "__doc__" in vars(kind) and vars(kind)["__doc__"] else ""
        again = "tried again" if worth_a_retry(probe) else "kept for a person"
        rows.append(f"| `{kind.__name__}` | {status} | `{kind.code}` | {again} | {about} |")
    head = "| category | HTTP | default code | in a job | meaning |\n|---|---|---|---|---|\n"
    return head + "\n".join(rows)


@dataclass
class _Code:
    categories: set[str] = field(default_factory=set)
    places: set[str] = field(default_factory=set)


def codes_table() -> str:
    """Codes that are given by name; every other error has its category's."""
    found: dict[str, _Code] = {}
    for place, node in _nodes():
        for code, category in _codes_in(node):
            entry = found.setdefault(code, _Code())
            entry.categories.add(category)
            entry.places.add(place)
    rows = [
        f"| `{code}` | {', '.join(f'`{name}`' for name in sorted(entry.categories))} | {', '.join(sorted(entry.places))} |"
        for code, entry in sorted(found.items())
    ]
    return "| code | category | raised in |\n|---|---|---|\n" + "\n".join(rows)


def _codes_in(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Call):
        category = _category(node)
        for keyword in node.keywords:
            code = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if keyword.arg == "code" and category and _CODE.fullmatch(str(code)):
                yield str(code), category
    if isinstance(node, ast.ClassDef) and node.bases and node.name not in _CATEGORIES:
        for line in node.body:
            if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "code":
                yield ast.literal_eval(line.value), ast.unparse(node.bases[0])
    if isinstance(node, ast.Tuple) and len(node.elts) == len(("code", "message")):
        words = [part.value for part in node.elts if isinstance(part, ast.Constant)]
        if len(words) == len(node.elts) and _CODE.fullmatch(str(words[0])) and " " in str(words[1]):
            yield str(words[0]), "Conflict"  # what a unique constraint means to the caller


def _category(call: ast.Call) -> str:
    name = ast.unparse(call.func).rpartition(".")[2]
    if name == "invalid":
        return "Invalid"
    return name if name[:1].isupper() else ""


@dataclass
class _Event:
    emitted: set[str] = field(default_factory=set)
    payload: set[str] = field(default_factory=set)
    projections: set[str] = field(default_factory=set)
    handlers: set[str] = field(default_factory=set)


def events_table() -> str:
    found: dict[str, _Event] = {}
    for place, node in _nodes():
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("emit"):
            _note_emission(found, place, node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            _note_listeners(found, place, node)
    rows = [
        f"| `{name}` | {_listed(entry.emitted)} | {_quoted(entry.payload)} | {_listed(entry.projections)} | {_listed(entry.handlers)} |"
        for name, entry in sorted(found.items())
    ]
    head = "| event | emitted by | payload | projections (same transaction) | handlers (a job after it) |\n|---|---|---|---|---|\n"
    return head + "\n".join(rows)


def _note_emission(found: dict[str, _Event], place: str, call: ast.Call) -> None:
    for argument in call.args:
        if (
            isinstance(argument, ast.Constant)
            and isinstance(argument.value, str)
            and _EVENT.fullmatch(argument.value)
        ):
            entry = found.setdefault(argument.value, _Event())
            entry.emitted.add(place)
            entry.payload |= {
                word.arg for word in call.keywords if word.arg and word.arg not in ("entity", "entity_id")
            }
            if any(word.arg is None for word in call.keywords) or ast.unparse(call.func) != "emit":
                entry.payload.add("…")


def _note_listeners(
    found: dict[str, _Event], place: str, function: ast.FunctionDef | ast.AsyncFunctionDef
) -> None:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) in ("projects", "handles"):
            name = ast.literal_eval(decorator.args[0])
            entry = found.setdefault(name, _Event())
            side = entry.projections if ast.unparse(decorator.func) == "projects" else entry.handlers
            side.add(f"{place}: `{function.name}`")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _quoted(names: set[str]) -> str:
    return ", ".join([f"`{name}`" for name in sorted(names - {"…"})] + (["…"] if "…" in names else []))


def _nodes() -> Iterator[tuple[str, ast.AST]]:
    """(room, node) of the whole source; the room is the module's or the top folder's name."""
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        place = parts[1] if parts[0] == "modules" and parts[2:] else "/".join(parts[:2])
        for node in ast.walk(ast.parse(path.read_text())):
            yield place, node


TABLES = {
    "states.md": {"states": states_table},
    "settings.md": {"settings": settings_table},
    "errors.md": {"categories": categories_table, "codes": codes_table},
    "events.md": {"events": events_table},
}


def render(page: str, text: str) -> str:
    """The page with fresh tables between its `<!-- name -->` and `<!-- end name -->` marks."""
    for name, table in TABLES[page].items():
        start, end = f"<!-- {name} -->\n", f"\n<!-- end {name} -->"
        before, _, rest = text.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{page} has no place for the table {name}")
        text = f"{before}{start}{table()}{end}{after}"
    return text


def main() -> None:
    stale = []
    for page in TABLES:
        path = PAGES / page
        text = path.read_text()
        fresh = render(page, text)
        if fresh != text:
            stale.append(page)
        if "--check" not in sys.argv:
            path.write_text(fresh)
    if "--check" in sys.argv and stale:
        sys.exit(f"out of date: {', '.join(stale)}; run `.venv/bin/python docs/generate.py`")


if __name__ == "__main__":
    main()
