"""A module's tables are its own: others ask its `queries` and `service` (the order of modules is import-linter's)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import demarc

SOURCES = Path(demarc.__file__).parent
PUBLIC = {"service", "queries", "events", "inputs", "errors", "states"}
# The registry gathers every table for the migrations; it is the one reader of all models.
EXEMPT = {"modules/registry.py"}


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names: `from demarc.modules.x import models` counts as `demarc.modules.x.models`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts(name: str) -> tuple[str, str] | None:
    """(module, file) of `demarc.modules.<module>.<file>…`."""
    match name.split("."):
        case ["demarc", "modules", module, file, *_]:
            return module, file
    return None


def foreign_imports(path: Path, source: str) -> list[str]:
    inside = path.parts[1] if path.parts[0] == "modules" and len(path.parts) > 2 else None
    found = (parts(name) for name in imported(ast.parse(source)))
    return [
        f"{path}: {module}.{file}"
        for module, file in filter(None, found)
        if module != inside and file == "models"
    ]


def foreign_private_imports(path: Path, source: str) -> list[str]:
    """Between modules only what is public; workflows and edges may also know jobs and handlers."""
    inside = path.parts[1]
    found = (parts(name) for name in imported(ast.parse(source)))
    return [
        f"{path}: {module}.{file}"
        for module, file in filter(None, found)
        if module != inside and file not in PUBLIC
    ]


def sources() -> Iterator[tuple[Path, str]]:
    for path in sorted(SOURCES.rglob("*.py")):
        relative = path.relative_to(SOURCES)
        if relative.as_posix() not in EXEMPT:
            yield relative, path.read_text()


def test_nobody_imports_the_models_of_another_module():
    assert [line for path, source in sources() for line in foreign_imports(path, source)] == []


def test_modules_meet_only_at_their_public_files():
    inside = [
        (path, source) for path, source in sources() if path.parts[0] == "modules" and len(path.parts) > 2
    ]
    assert inside
    assert [line for path, source in inside for line in foreign_private_imports(path, source)] == []


def test_the_guard_sees_every_way_to_import():
    path = Path("modules/billing/service.py")
    for source in (
        "from demarc.modules.usage.models import usage_record",
        "from demarc.modules.usage import models",
        "import demarc.modules.usage.models as theirs",
        "def f():\n    from demarc.modules.usage import models",
    ):
        assert foreign_imports(path, source) == ["modules/billing/service.py: usage.models"], source
    assert foreign_imports(path, "from demarc.modules.billing.models import invoice") == []
    assert foreign_imports(Path("web/app.py"), "from demarc.modules.billing import models") != []
