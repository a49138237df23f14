"""Guards over the documents: what repeats code is fresh, what is linked exists, what is promised is there."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from demarc.bootstrap import build_app
from demarc.kernel.settings import Settings

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "server" / "src" / "demarc"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *SOURCE.rglob("*.md"),
        ROOT / "server/migrations/README.md",
    ]
)
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))


def page(name: str) -> str:
    return (ROOT / name).read_text()


def load_generator():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_generated_tables_are_fresh():
    check = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stderr


def test_a_stale_table_would_be_noticed():
    generator = load_generator()
    for name in generator.TABLES:
        text = page(f"docs/reference/{name}")
        broken = text.replace("|---|", "|---|---|", 1)
        assert broken != text
        assert generator.render(name, broken) == text


def test_every_machine_and_setting_is_on_its_page():
    generator = load_generator()
    states = page("docs/reference/states.md")
    found = list(generator.machines())
    assert len(found) >= 8
    for module, name, machine in found:
        assert f"`{module}.states.{name}`" in states
        for state in machine.moves:
            assert f"| `{state.value}` |" in states
    for name in Settings.model_fields:
        assert generator._variable(name) in page("docs/reference/settings.md")


def test_the_words_of_api_are_the_stored_ones(settings, database, master_key):
    """`/api` shows a status as it is stored: states.md has one column for both."""
    shapes = build_app(settings, database, master_key).openapi()["components"]["schemas"]
    shown = 0
    for _, _, machine in load_generator().machines():
        kind = type(next(iter(machine.moves)))
        if kind.__name__ in shapes:
            shown += 1
            assert shapes[kind.__name__]["enum"] == [state.value for state in kind]
    assert shown >= 5


def test_every_key_of_a_tenants_settings_is_explained():
    text = page("docs/reference/settings.md")
    keys = set()
    for path in [*(SOURCE / "modules").rglob("*.py"), *(SOURCE / "workflows").rglob("*.py")]:
        keys |= set(re.findall(r"""\bsettings\.get\(\s*"(\w+)\"""", path.read_text()))
    assert len(keys) >= 5
    assert {key for key in keys if f"`{key}`" not in text} == set()


def test_every_dependency_has_its_reason():
    text = page("docs/reference/dependencies.md")
    server = tomllib.loads(page("server/pyproject.toml"))
    wanted = {re.split(r"[<>=\[]", line)[0] for line in server["project"]["dependencies"]}
    explained = set(
        re.findall(r"^\| `([\w-]+)` \| \S.* \| \S.* \|$", text.partition("## Beside")[0], re.MULTILINE)
    )
    assert explained == wanted
    root = tomllib.loads(page("pyproject.toml"))
    for line in root["dependency-groups"]["dev"]:
        name = re.split(r"[<>=\[]", line)[0]
        assert f"`{name}`" in text, line


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_is_dead(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if not target.startswith(("http://127.0.0.1", "https://", "#")):
            assert (path.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_name_no_machine_and_no_placeholder(path):
    text = path.read_text()
    assert not re.search(r"/(work|home|tmp|Users)/", text)
    assert not re.search(r"\b(TODO|TBD|FIXME|XXX|lorem)\b", text)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_pages_name_exist(path):
    """`server/…`, `docs/…`, `deploy/…` and `bench/…` in backticks are files or folders of this repository."""
    for name in re.findall(r"`((?:server|docs|deploy|bench)/[\w./-]+)`", path.read_text()):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.stem)
def test_an_adr_has_its_parts_and_its_length(path):
    text = path.read_text()
    assert re.match(rf"# {path.stem[:4]}: \S", text)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Context",
        "Decision",
        "Consequences",
        "Enforced by",
    ]
    assert 25 <= len(text.splitlines()) <= 60


def test_adrs_are_numbered_on_and_the_code_names_only_those_that_exist():
    numbers = [path.stem[:4] for path in ADRS]
    assert numbers == [f"{number:04}" for number in range(1, len(ADRS) + 1)]
    named = set()
    for path in [*SOURCE.rglob("*.py"), *PAGES]:
        named |= set(re.findall(r"ADR (\d{4})", path.read_text()))
    assert named
    assert named <= set(numbers)


def test_commands_that_pages_name_exist():
    targets = set(re.findall(r"^([a-z-]+):.*## ", page("Makefile"), re.MULTILINE))
    commands = set(
        re.findall(r"@app\.command\((?:\"([\w-]+)\")?\)\ndef (\w+)", (SOURCE / "cli" / "main.py").read_text())
    )
    groups = set(
        re.findall(r"app\.add_typer\([^)]*?name=\"(\w+)\"", (SOURCE / "cli" / "main.py").read_text())
    )
    known = {given or function for given, function in commands} | groups
    for path in PAGES:
        text = path.read_text()
        for target in re.findall(r"`make ([a-z-]+)", text):
            assert target in targets, f"{path.name}: make {target}"
        for command in re.findall(r"`(?:\.venv/bin/)?demarc ([a-z-]+)", text):
            assert command in known, f"{path.name}: demarc {command}"


def test_the_first_success_is_two_commands_and_the_test_command_is_named():
    first = page("README.md").partition("## First success")[2].partition("\n## ")[0]
    assert re.findall(r"```\n(.*?)\n```", first, re.DOTALL) == ["make run", ".venv/bin/demarc tour"]
    assert "```\nmake test\n```" in page("README.md")


def test_the_how_to_shows_code_as_it_is():
    """The snippets of the how-to stand in the source, apart from their comments and spaces."""
    text = page("docs/howto/add-an-endpoint.md")
    source = "".join(
        re.sub(r"\s+", "", (SOURCE / name).read_text())
        for name in ("modules/customers/service.py", "web/bss/customers/routes.py")
    )
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            bare = re.sub(r"\s+", "", line.partition("  #")[0])
            assert bare in source, line


def test_the_licence_is_apache_2():
    assert "Apache License" in page("LICENSE")
    assert "Version 2.0, January 2004" in page("LICENSE")
    assert tomllib.loads(page("server/pyproject.toml"))["project"]["license"] == "Apache-2.0"
