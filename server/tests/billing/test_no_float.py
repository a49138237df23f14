"""No float near money: the source of every module that holds amounts, prices or quantities is read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import demarc

ROOT = Path(demarc.__file__).parent
ROOMS = ("kernel/money.py", "modules/billing", "modules/usage", "modules/catalog", "modules/subscriptions",
         "workflows/monthly_billing.py", "workflows/usage_intake.py")  # fmt: skip


def sources():
    for room in ROOMS:
        path = ROOT / room
        yield from [path] if path.suffix else sorted(path.rglob("*.py"))


def floats(source):
    """Lines that hold a float constant or name float; asking whether something is one keeps it out and is allowed."""
    tree = ast.parse(source)
    asked = {id(name) for call in ast.walk(tree) if is_question(call) for name in ast.walk(call.args[1])}
    for node in ast.walk(tree):
        constant = isinstance(node, ast.Constant) and isinstance(node.value, float)
        named = isinstance(node, ast.Name) and node.id in ("float", "Float", "Double", "REAL")
        if constant or (named and id(node) not in asked):
            yield node.lineno


def is_question(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance"


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: str(path.relative_to(ROOT)))
def test_money_knows_no_float(path):
    assert list(floats(path.read_text())) == []


def test_the_guard_sees_a_float():
    assert list(floats("price = 0.05")) == [1]
    assert list(floats("def f(x: float) -> None: ...")) == [1]
    assert list(floats("y = float(x)")) == [1]
    assert list(floats("isinstance(x, int | float)")) == []
