"""Examples run as a reader runs them: one after the other in one Python session, one shell, one Node process each."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from printed.fences import Example

PATIENCE = 120
NODE_MODULES = Path(sys.prefix) / "javascript" / "node_modules"
"""What `make documents` installs."""
_END = "--- end of example {} ---"


@dataclass
class PythonSession:
    """A namespace that examples share. `ran` holds what each printed."""

    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    ran: list[tuple[Example, str]] = field(default_factory=list)

    def run(self, example: Example, code: str) -> str:
        """Run one example; what it raises is the caller's to see. Returns what it printed."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"<{example.name}>", "exec"), self.names)
        self.ran.append((example, printed.getvalue()))
        return printed.getvalue()


def run_shell(blocks: Sequence[str], env: Mapping[str, str] | None = None) -> list[str]:
    """Run blocks in one bash that stops at the first error; what each printed on standard output.

    Raises:
        AssertionError: the shell stopped; with all that it printed.
    """
    text = "".join(f"{block}\necho; echo '{_END.format(n)}'\n" for n, block in enumerate(blocks))
    done = run_process(["bash", "-euo", "pipefail"], text, env)
    answers, rest = [], done
    for number in range(len(blocks)):
        answer, _, rest = rest.partition(f"\n{_END.format(number)}\n")
        answers.append(answer)
    return answers


def run_script(script: str, directory: Path, name: str, env: Mapping[str, str] | None = None) -> str:
    """Write a printed script to a file of its name and execute it."""
    path = directory / name
    path.write_text(script)
    path.chmod(0o755)
    return run_process([str(path)], None, env)


def run_node(script: str, env: Mapping[str, str] | None = None) -> str:
    """Run a script in Node; whatever it writes to standard error fails."""
    assert NODE_MODULES.is_dir(), f"{NODE_MODULES} is missing: run `make documents`"
    return run_process(["node", "-"], script, {**(env or {}), "NODE_PATH": str(NODE_MODULES)}, silent=True)


def run_process(
    argv: Sequence[str], text: str | None, env: Mapping[str, str] | None, *, silent: bool = False
) -> str:
    """Run a program to its end and return its standard output. No proxy: everything that examples talk to is here."""
    here = {**os.environ, **(env or {}), "NO_PROXY": "*", "no_proxy": "*"}
    done = subprocess.run(
        argv, input=text, env=here, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, f"{argv} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert not (silent and done.stderr), f"{argv} complained:\n{done.stderr}\n{done.stdout}"
    return done.stdout
