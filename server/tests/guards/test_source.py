"""Guards that read the source: rooms, names, clocks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "server" / "src" / "demarc"
FILES = sorted(SOURCE.rglob("*.py"))
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "stuff"}
MODULES = SOURCE / "modules"


def test_no_room_is_called_something_vague():
    names = {part for path in FILES for part in path.relative_to(SOURCE).with_suffix("").parts}
    assert names & VAGUE == set()


def test_business_code_takes_its_time_from_the_transaction():
    """`datetime.now`, `date.today` and `time.time` belong to the kernel's clock and to transport."""
    offenders = []
    for path in [
        *MODULES.rglob("*.py"),
        *(SOURCE / "workflows").rglob("*.py"),
        *(SOURCE / "web").rglob("*.py"),
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                call = ast.unparse(node.func)
                if re.search(r"(^|\.)(datetime\.now|datetime\.utcnow|date\.today|time\.time)$", call):
                    offenders.append(f"{path.relative_to(SOURCE)}: {call}")
    assert offenders == []


def test_every_module_has_its_page():
    missing = [
        room.name
        for room in MODULES.iterdir()
        if room.is_dir() and room.name != "__pycache__" and not (room / "README.md").exists()
    ]
    assert missing == []


def test_models_are_private_to_their_module():
    offenders = [
        f"{path.relative_to(SOURCE)} reads the tables of {match[1]}"
        for path in FILES
        if path.relative_to(SOURCE).parts != ("modules", "registry.py")
        for match in re.finditer(r"demarc\.modules\.(\w+)\.models", path.read_text())
        if path.relative_to(SOURCE).parts[:2] != ("modules", match[1])
    ]
    assert offenders == []


def test_broad_except_stands_only_at_the_edges():
    # A sweep and a billing run are jobs of many rows: one that breaks is logged and must not hold up the others.
    edges = {
        "worker/runner.py",
        "cli/supervise.py",
        "workflows/monthly_billing.py",
        "workflows/non_payment.py",
    }
    offenders = {
        str(path.relative_to(SOURCE))
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
        and not _reraises(node)
    }
    assert offenders <= edges


def _reraises(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_the_architecture_page_shows_the_rooms_that_exist():
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    modules = {path.name for path in MODULES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    adapters = {
        path.name for path in (SOURCE / "adapters").iterdir() if path.is_dir() and path.name != "__pycache__"
    }
    for name in rooms | modules | adapters:
        assert f"`{name}`" in page or f"{name}/" in page, (
            f"docs/explanation/architecture.md does not name {name}"
        )
