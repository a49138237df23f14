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
    """Lines that hold a float constant, call or name float, or divide with `/`."""
    for node in ast.walk(ast.parse(source)):
        constant = isinstance(node, ast.Constant) and isinstance(node.value, float)
        name = isinstance(node, ast.Name) and node.id == "float"
        column = isinstance(node, ast.Name) and node.id in ("Float", "Double", "REAL")
        if constant or name or column:
            yield node.lineno


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: str(path.relative_to(ROOT)))
def test_money_knows_no_float(path):
    assert list(floats(path.read_text())) == []


def test_the_guard_sees_a_float():
    assert list(floats("price = 0.05")) == [1]
    assert list(floats("def f(x: float) -> None: ...")) == [1]
    assert list(floats("y = float(x)")) == [1]
