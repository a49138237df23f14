"""The guide's code blocks, taken from its text as printed and loaded as the modules that it says they are."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from netbox_circuit_manager.providers.registry import provider_registry

TEXT = Path(__file__).with_name("provider_api_integration.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
PACKAGE = "netbox_circuit_manager"


def block(language: str, beginning: str) -> str:
    """The code block of a language that begins with, or contains, some words."""
    return next(code for kind, code in BLOCKS if kind == language and beginning in code)


def commands() -> list[list[str]]:
    """The words of every `manage.py` command of the guide, without the interpreter and the script."""
    lines = [line for kind, code in BLOCKS if kind == "bash" for line in code.splitlines()]
    return [line.split()[2:] for line in lines if line.startswith("python manage.py")]


@contextmanager
def dropped_in(name: str, code: str) -> Iterator[ModuleType]:
    """The code as the module `netbox_circuit_manager.providers.NAME`, and its registration, for a while."""
    full_name = f"{PACKAGE}.providers.{name}"
    before, registered = sys.modules.get(full_name), provider_registry.get(name)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.py"
        path.write_text(code)
        spec = importlib.util.spec_from_file_location(full_name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[full_name] = module
        try:
            spec.loader.exec_module(module)
            yield module
        finally:
            sys.modules.pop(full_name)
            provider_registry.unregister(name)
            if before is not None:
                sys.modules[full_name] = before
            if registered is not None:
                provider_registry.register(name, registered)
